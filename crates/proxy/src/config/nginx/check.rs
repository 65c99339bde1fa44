//! Holds every directive against the table: known, in its place, with the right arguments, supported.
//!
//! Not here: what the arguments mean.

use trine_config::Problems;

use super::table::{self, Args, Standing, context};
use super::tree::Directive;

/// Checks a whole file. Directives that nginx has and we have not go to `unsupported`.
/// `own`: the tree comes from a YAML file, which has some of its own.
pub(super) fn check(
    tree: &[Directive],
    own: bool,
    problems: &mut Problems,
    unsupported: &mut Problems,
) {
    let here = if own {
        context::MAIN | OWN
    } else {
        context::MAIN
    };
    level(tree, here, problems, unsupported);
}

/// Beside a context: directives of our own may stand there.
const OWN: u16 = 1 << 15;

fn level(tree: &[Directive], here: u16, problems: &mut Problems, unsupported: &mut Problems) {
    for directive in tree {
        if here & OWN != 0 && directive.name.text.starts_with("trine_") {
            continue;
        }
        let in_upstream = here & (context::UPSTREAM | context::STREAM_UPSTREAM) != 0;
        if in_upstream && directive.name.text == "server" {
            // The other `server`: an address with parameters.
            if directive.args.is_empty() || directive.block.is_some() {
                problems.push(
                    directive.at.clone(),
                    "invalid number of arguments in \"server\" directive",
                    "",
                );
            }
            continue;
        }
        one(directive, here, problems, unsupported);
    }
}

fn one(directive: &Directive, here: u16, problems: &mut Problems, unsupported: &mut Problems) {
    let name = directive.name.text.as_str();
    let at = || directive.at.clone();
    let Some(known) = table::find_in(name, here) else {
        if table::is_known(name) {
            let message = format!("\"{name}\" directive is not allowed here");
            problems.push(at(), message, "");
            return;
        }
        let help = table::nearest(name).map(|near| format!("did you mean \"{near}\"?"));
        problems.push(
            at(),
            format!("unknown directive \"{name}\""),
            help.unwrap_or_default(),
        );
        return;
    };
    if known.contexts & here == 0 {
        problems.push(
            at(),
            format!("\"{name}\" directive is not allowed here"),
            "",
        );
        return;
    }
    let wants_block = matches!(known.args, Args::Block(..));
    match (&directive.block, wants_block) {
        (None, true) => {
            problems.push(
                at(),
                format!("directive \"{name}\" has no opening \"{{\""),
                "",
            );
            return;
        }
        (Some(_), false) => {
            problems.push(
                at(),
                format!("directive \"{name}\" is not terminated by \";\""),
                "",
            );
            return;
        }
        _ => {}
    }
    let count = directive.args.len();
    let fits = match known.args {
        Args::Flag => count == 1,
        Args::Words(least, most) | Args::Block(least, most) => (least..=most).contains(&count),
    };
    if !fits {
        problems.push(
            at(),
            format!("invalid number of arguments in \"{name}\" directive"),
            "",
        );
        return;
    }
    let first = directive.args.first().map(|word| word.text.as_str());
    if known.args == Args::Flag
        && let Some(value) = first
        && !matches!(value, "on" | "off")
    {
        problems.push(
            at(),
            format!(
                "invalid value \"{value}\" in \"{name}\" directive, it must be \"on\" or \"off\""
            ),
            "",
        );
        return;
    }
    if known.standing == Standing::Refused && !(count == 1 && first == Some("off")) {
        let message = format!("\"{name}\" is not supported");
        unsupported.push(at(), message, known.note);
        return;
    }
    let Some(block) = &directive.block else {
        return;
    };
    let own = here & OWN;
    match name {
        "events" => level(block, context::EVENTS | own, problems, unsupported),
        "http" => level(block, context::HTTP | own, problems, unsupported),
        "stream" => level(block, context::STREAM | own, problems, unsupported),
        "server" if here & context::STREAM != 0 => {
            level(block, context::STREAM_SERVER | own, problems, unsupported);
        }
        "upstream" if here & context::STREAM != 0 => {
            level(block, context::STREAM_UPSTREAM | own, problems, unsupported);
        }
        "server" => level(block, context::SERVER | own, problems, unsupported),
        "location" => level(block, context::LOCATION | own, problems, unsupported),
        "upstream" => level(block, context::UPSTREAM | own, problems, unsupported),
        "if" if here & context::SERVER != 0 => {
            level(block, context::SERVER_IF | own, problems, unsupported);
        }
        "limit_except" => level(block, context::LIMIT_EXCEPT | own, problems, unsupported),
        "if" => level(block, context::IF | own, problems, unsupported),
        // Their blocks are tables of their own.
        _ => {}
    }
}
