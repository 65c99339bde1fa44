use std::fs;
use std::path::Path;

use super::*;
use crate::cli::Program;

#[test]
fn the_documents_in_the_repository_are_the_generated_ones() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/wsgi");
    for (name, file) in [
        ("parity", "gunicorn-parity.md"),
        ("reference", "reference.md"),
        ("man", "trine-wsgi.8"),
    ] {
        let written = fs::read_to_string(folder.join(file)).unwrap();
        assert!(
            document(name).unwrap() == written,
            "docs/wsgi/{file} is out of date: cargo run -p trine-wsgi -- --generate {name} > docs/wsgi/{file}"
        );
    }
}

#[test]
fn help_names_every_flag_within_the_width_of_a_terminal() {
    let text = help(&Program::called(Some("trine-wsgi")));
    for setting in crate::config::table::all() {
        for flag in setting.flags {
            assert!(text.contains(flag), "{flag}");
        }
    }
    let long: Vec<&str> = text.lines().filter(|line| line.len() > 80).collect();
    assert!(long.is_empty(), "{long:?}");
}
