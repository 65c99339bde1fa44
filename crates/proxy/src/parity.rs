//! `docs/proxy/nginx-parity.md`, from the table of directives.
//!
//! Not here: the table (`config::nginx::table`).

use std::fmt::Write as _;

use crate::config::nginx::table::{Known, SECTIONS, STREAM, Standing, context};

/// The document.
pub(crate) fn document() -> String {
    let mut out = format!(
        "# nginx directives\n\n\
         Printed by `trine-proxy --generate nginx-parity` from the table that the reader itself uses.\n\
         Behaviour and defaults are those of nginx {}. What *works* does what it does there; what is *accepted* is \
         read and means nothing here; what is *refused* ends the start with file and line, unless it only says `off`.\n\
         `--ignore-unsupported` turns refusals into warnings.\n",
        crate::NGINX_VERSION,
    );
    for (subject, rows) in SECTIONS.iter().chain(&[("TCP and UDP", STREAM)]) {
        // Writing to a String cannot fail.
        let _ = write!(
            out,
            "\n## {subject}\n| directive | where | standing | note |\n|---|---|---|---|\n"
        );
        for known in *rows {
            row(&mut out, known);
        }
    }
    out
}

fn row(out: &mut String, known: &Known) {
    let standing = match known.standing {
        Standing::Works => "works",
        Standing::Accepted => "accepted",
        Standing::Refused => "refused",
    };
    // Writing to a String cannot fail.
    let _ = writeln!(
        out,
        "| `{}` | {} | {standing} | {} |",
        known.name,
        places(known.contexts),
        known.note
    );
}

fn places(contexts: u16) -> String {
    const NAMES: [(u16, &str); 12] = [
        (context::MAIN, "main"),
        (context::EVENTS, "events"),
        (context::HTTP, "http"),
        (context::SERVER, "server"),
        (context::LOCATION, "location"),
        (context::UPSTREAM, "upstream"),
        (context::IF, "if in location"),
        (context::LIMIT_EXCEPT, "limit_except"),
        (context::SERVER_IF, "if in server"),
        (context::STREAM, "stream"),
        (context::STREAM_SERVER, "server of stream"),
        (context::STREAM_UPSTREAM, "upstream of stream"),
    ];
    let names = NAMES.iter().filter(|(bit, _)| contexts & bit != 0);
    let names: Vec<_> = names.map(|(_, name)| *name).collect();
    names.join(", ")
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_document_in_the_repository_is_this_one() {
        let path = concat!(
            env!("CARGO_MANIFEST_DIR"),
            "/../../docs/proxy/nginx-parity.md"
        );
        let there = std::fs::read_to_string(path).unwrap_or_default();
        assert!(
            there == super::document(),
            "run: cargo run -p trine-proxy -- --generate nginx-parity > docs/proxy/nginx-parity.md"
        );
    }
}
