//! What a mistyped name was probably meant to be.

/// The known name that is near enough to `typed` to be meant.
pub fn nearest<'a>(typed: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let typed = plain(typed);
    let allowed = 1 + typed.chars().count() / 4;
    known
        .into_iter()
        .map(|name| (strsim::damerau_levenshtein(&typed, &plain(name)), name))
        .filter(|(distance, name)| *distance <= allowed && *distance < name.chars().count())
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, name)| name)
}

/// `max-body`, `maxBody` and `max_body` are the same to a person.
fn plain(name: &str) -> String {
    name.chars()
        .filter(char::is_ascii_alphanumeric)
        .flat_map(char::to_lowercase)
        .collect()
}

/// `did you mean "listen"?`, or what there is to choose from.
pub(crate) fn way_out(what: &str, typed: &str, known: &[&str]) -> String {
    match nearest(typed, known.iter().copied()) {
        Some(name) => format!("did you mean \"{name}\"?"),
        None => list(what, known),
    }
}

pub(crate) fn list(what: &str, known: &[&str]) -> String {
    match known {
        [] => format!("there are no {what} here"),
        [only] => format!("the only one of the {what} here is {only}"),
        _ => format!("{what}: {}", known.join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(typed: &str, want: Option<&str>) {
        let known = [
            "listen",
            "names",
            "max_body",
            "read_timeout",
            "send_timeout",
            "tls",
        ];
        assert_eq!(nearest(typed, known), want, "{typed:?}");
    }

    #[test]
    fn near_and_far() {
        check("lisen", Some("listen"));
        check("Listen", Some("listen"));
        check("listne", Some("listen"));
        check("name", Some("names"));
        check("max-body", Some("max_body"));
        check("maxBody", Some("max_body"));
        check("readtimeout", Some("read_timeout"));
        check("sent_timeout", Some("send_timeout"));
        check("workers", None);
        check("x", None);
        check("", None);
    }
}
