//! The words of a `command`: Python's `shlex.split`, as supervisord uses it. Like a shell's, except that within double
//! quotes a backslash only takes the meaning of `"` and of another backslash away.
//! Not here: `environment`, which is split another way (`tokens`).

/// Whether a quote is open, and which.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Within {
    Nothing,
    Quote(char),
}

pub(super) fn split(text: &str) -> Result<Vec<String>, &'static str> {
    let mut words = Vec::new();
    let mut word: Option<String> = None;
    let mut within = Within::Nothing;
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        match within {
            Within::Nothing => match c {
                ' ' | '\t' | '\r' | '\n' => words.extend(word.take()),
                '"' | '\'' => {
                    within = Within::Quote(c);
                    word.get_or_insert_default();
                }
                '\\' => {
                    let next = chars.next().ok_or("ends with a backslash")?;
                    word.get_or_insert_default().push(next);
                }
                c => word.get_or_insert_default().push(c),
            },
            Within::Quote(quote) => {
                let word = word.get_or_insert_default();
                if c == quote {
                    within = Within::Nothing;
                } else if c == '\\' && quote == '"' {
                    let next = chars.next().ok_or("ends with a backslash")?;
                    if next != '\\' && next != '"' {
                        word.push('\\');
                    }
                    word.push(next);
                } else {
                    word.push(c);
                }
            }
        }
    }
    if within != Within::Nothing {
        return Err("a quote is not closed");
    }
    words.extend(word);
    Ok(words)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, want: &[&str]) {
        assert_eq!(split(text).unwrap(), want, "{text:?}");
    }

    /// Each of these was tried with Python.
    #[test]
    fn words_as_python_splits_them() {
        check("", &[]);
        check("  a \t b\nc ", &["a", "b", "c"]);
        check("a'b c'd \"\" ''", &["ab cd", "", ""]);
        check(
            r#"a\ b "c\"d\\" "e\$f" 'g\h'"#,
            &["a b", "c\"d\\", "e\\$f", "g\\h"],
        );
        check("a # b", &["a", "#", "b"]);
        check("x=\"1 2\"'3'", &["x=1 23"]);
        for bad in ["'a", "a\"", "a\\", "\"a\\"] {
            assert!(split(bad).is_err(), "{bad:?}");
        }
    }
}
