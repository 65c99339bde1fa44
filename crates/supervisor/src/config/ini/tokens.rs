//! The words of an `environment` value: Python's `shlex`, the old way and without POSIX rules, as supervisord uses it.
//! Not here: what the words mean (`values`).

/// Quotes stay part of a word. A `#` drops the rest of its line, even inside a word.
pub(super) fn split(text: &str) -> Result<Vec<String>, String> {
    let mut words = Vec::new();
    let mut word = String::new();
    let mut chars = text.chars().peekable();
    while let Some(c) = chars.next() {
        match c {
            ' ' | '\t' | '\r' | '\n' => words.extend(taken(&mut word)),
            '#' => drop(chars.by_ref().find(|c| *c == '\n')),
            '"' | '\'' if word.is_empty() => {
                word.push(c);
                loop {
                    let inner = chars.next().ok_or("a quote is not closed")?;
                    word.push(inner);
                    if inner == c {
                        break;
                    }
                }
                words.extend(taken(&mut word));
            }
            '"' | '\'' => word.push(c),
            c if is_word(c) => word.push(c),
            other => {
                words.extend(taken(&mut word));
                words.push(other.to_string());
            }
        }
    }
    words.extend(taken(&mut word));
    Ok(words)
}

fn taken(word: &mut String) -> Option<String> {
    Some(std::mem::take(word)).filter(|word| !word.is_empty())
}

fn is_word(c: char) -> bool {
    c.is_ascii_alphanumeric() || "_/.+-():".contains(c)
}
