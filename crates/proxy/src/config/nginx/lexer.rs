//! The tokens of `nginx.conf`: words, `;`, `{` and `}`, each with its line. Pure: bytes in, tokens out.
//!
//! Quoting and escapes are nginx's: a quote or a backslash means something at the start of a word only, or inside
//! quotes; `${name}` keeps its braces. Not here: which words make a directive (see `tree`).

/// One token and the line it begins on, from 1.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Token {
    pub(crate) kind: Kind,
    pub(crate) line: u32,
}

/// What a token is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Kind {
    Word(Word),
    /// `;`
    End,
    /// `{`
    Open,
    /// `}`
    Close,
}

/// A word with its escapes resolved.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Word {
    pub(crate) text: String,
    /// It stood in quotes.
    pub(crate) quoted: bool,
    pub(crate) line: u32,
}

/// Why the text cannot be split into tokens; the words are nginx's own.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum LexError {
    #[error("unexpected \"{found}\"")]
    Unexpected { found: char, line: u32 },
    #[error("unexpected end of file, expecting \";\" or \"}}\"")]
    EndInWord { line: u32 },
}

impl LexError {
    pub(crate) fn line(&self) -> u32 {
        match self {
            Self::Unexpected { line, .. } | Self::EndInWord { line } => *line,
        }
    }
}

/// Splits a whole file.
///
/// # Errors
/// The first place that cannot be a token.
pub(crate) fn tokens(text: &str) -> Result<Vec<Token>, LexError> {
    let mut lexer = Lexer {
        rest: text,
        line: 1,
    };
    let mut found = Vec::new();
    while let Some(token) = lexer.next()? {
        found.push(token);
    }
    Ok(found)
}

struct Lexer<'a> {
    rest: &'a str,
    line: u32,
}

impl Lexer<'_> {
    fn bump(&mut self) -> Option<char> {
        let mut chars = self.rest.chars();
        let found = chars.next()?;
        self.rest = chars.as_str();
        if found == '\n' {
            self.line += 1;
        }
        Some(found)
    }

    fn peek(&self) -> Option<char> {
        self.rest.chars().next()
    }

    fn next(&mut self) -> Result<Option<Token>, LexError> {
        while let Some(next) = self.peek() {
            match next {
                ' ' | '\t' | '\r' | '\n' => {
                    self.bump();
                }
                '#' => while self.bump().is_some_and(|comment| comment != '\n') {},
                _ => break,
            }
        }
        let line = self.line;
        let kind = match self.peek() {
            None => return Ok(None),
            Some(';') => Kind::End,
            Some('{') => Kind::Open,
            Some('}') => Kind::Close,
            Some(quote @ ('"' | '\'')) => {
                self.bump();
                return self.quoted(quote, line).map(Some);
            }
            Some(_) => return self.plain(line).map(Some),
        };
        self.bump();
        Ok(Some(Token { kind, line }))
    }

    /// A word without quotes: up to white space, `;` or `{`.
    fn plain(&mut self, line: u32) -> Result<Token, LexError> {
        let mut text = String::new();
        loop {
            match self.peek() {
                None => return Err(LexError::EndInWord { line: self.line }),
                Some(' ' | '\t' | '\r' | '\n' | ';' | '{') => break,
                Some('\\') => self.escape(&mut text)?,
                Some('$') => {
                    self.bump();
                    text.push('$');
                    if self.peek() == Some('{') {
                        self.bump();
                        text.push('{');
                    }
                }
                Some(other) => {
                    self.bump();
                    text.push(other);
                }
            }
        }
        Ok(word(text, false, line))
    }

    fn quoted(&mut self, quote: char, line: u32) -> Result<Token, LexError> {
        let mut text = String::new();
        loop {
            match self.peek() {
                None => return Err(LexError::EndInWord { line: self.line }),
                Some(found) if found == quote => {
                    self.bump();
                    break;
                }
                Some('\\') => self.escape(&mut text)?,
                Some(other) => {
                    self.bump();
                    text.push(other);
                }
            }
        }
        // Something has to separate it from the next word; `)` closes an `if` condition.
        match self.peek() {
            Some(' ' | '\t' | '\r' | '\n' | ';' | '{') => Ok(word(text, true, line)),
            Some(')') => {
                let rest = self.plain(line)?;
                if let Kind::Word(rest) = rest.kind {
                    text.push_str(&rest.text);
                }
                Ok(word(text, true, line))
            }
            Some(found) => Err(LexError::Unexpected {
                found,
                line: self.line,
            }),
            None => Err(LexError::EndInWord { line: self.line }),
        }
    }

    /// A backslash and what follows: quotes and the backslash stand for themselves, `\t`, `\r`, `\n` for control
    /// characters; before anything else the backslash stays.
    fn escape(&mut self, text: &mut String) -> Result<(), LexError> {
        self.bump();
        match self.bump() {
            None => return Err(LexError::EndInWord { line: self.line }),
            Some(plain @ ('"' | '\'' | '\\')) => text.push(plain),
            Some('t') => text.push('\t'),
            Some('r') => text.push('\r'),
            Some('n') => text.push('\n'),
            Some(other) => text.extend(['\\', other]),
        }
        Ok(())
    }
}

fn word(text: String, quoted: bool, line: u32) -> Token {
    Token {
        kind: Kind::Word(Word { text, quoted, line }),
        line,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn render(text: &str) -> String {
        let list = match tokens(text) {
            Ok(list) => list,
            Err(error) => return format!("{error} at {}", error.line()),
        };
        let parts: Vec<String> = list
            .iter()
            .map(|token| match &token.kind {
                Kind::Word(word) if word.quoted => format!("{:?}@{}", word.text, token.line),
                Kind::Word(word) => format!("{}@{}", word.text, token.line),
                Kind::End => ";".to_owned(),
                Kind::Open => "{".to_owned(),
                Kind::Close => "}".to_owned(),
            })
            .collect();
        parts.join(" ")
    }

    #[track_caller]
    fn check(text: &str, want: &str) {
        assert_eq!(render(text), want, "text: {text:?}");
    }

    #[test]
    fn words_and_signs() {
        check("", "");
        check("a b;", "a@1 b@1 ;");
        check(
            "http {\n  server_name a.b;\n}",
            "http@1 { server_name@2 a.b@2 ; }",
        );
        check("# note\na;# more\n", "a@2 ;");
        check("a b#c;", "a@1 b#c@1 ;");
        check("a}b;", "a}b@1 ;");
    }

    #[test]
    fn quotes_and_escapes() {
        check(r#"a "b c" 'd"e';"#, r#"a@1 "b c"@1 "d\"e"@1 ;"#);
        check(r#"a "b\"c\n" d\;e;"#, r#"a@1 "b\"c\n"@1 d\;e@1 ;"#);
        check(r"a ~ \.php$;", r"a@1 ~@1 \.php$@1 ;");
        check("a \"x\ny\"; b;", "a@1 \"x\\ny\"@1 ; b@2 ;");
        check("a b\"c;", "a@1 b\"c@1 ;");
        check("if ($a = \"b\") {", "if@1 ($a@1 =@1 \"b)\"@1 {");
        check("a \"\";", "a@1 \"\"@1 ;");
    }

    #[test]
    fn variables_keep_their_braces() {
        check("a ${b}c{", "a@1 ${b}c@1 {");
        check("a $b{", "a@1 $b{@1".replace("{@1", "@1 {").as_str());
    }

    #[test]
    fn errors() {
        check("a", r#"unexpected end of file, expecting ";" or "}" at 1"#);
        check(
            "a \"b",
            r#"unexpected end of file, expecting ";" or "}" at 1"#,
        );
        check("\na \"b\"c;", r#"unexpected "c" at 2"#);
    }

    #[test]
    fn every_prefix_ends() {
        let text = "http { a \"b\\n\" ${c} 'd' \\; ; } # x\n";
        for cut in 0..text.len() {
            drop(tokens(&text[..cut]));
        }
    }
}
