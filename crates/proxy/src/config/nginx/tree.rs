//! Directives and blocks of `nginx.conf`, with `include` followed; every one knows its file and line.
//!
//! Not here: which directives exist (see `table`), or what they mean (see `build`).

use std::path::{Path, PathBuf};

use trine_config::{Place, Problems};

use super::lexer::{self, Kind, Word};

/// One directive, as it was typed.
#[derive(Debug, Clone)]
pub(crate) struct Directive {
    pub(crate) name: Word,
    pub(crate) args: Vec<Word>,
    /// What stands between its braces.
    pub(crate) block: Option<Vec<Directive>>,
    pub(crate) at: Place,
}

/// A file as it was read, for `-T`.
#[derive(Debug)]
pub(crate) struct SourceFile {
    pub(crate) path: PathBuf,
    pub(crate) text: String,
}

/// Blocks deeper than this are refused, and so are includes.
const DEEPEST: usize = 32;

/// Reads `path` and all that it includes. Relative paths start at `prefix`, the folder of the main file.
pub(crate) fn read(
    path: &Path,
    prefix: &Path,
    problems: &mut Problems,
) -> (Vec<Directive>, Vec<SourceFile>) {
    let mut reader = Reader {
        prefix,
        problems,
        files: Vec::new(),
    };
    let tree = reader.file(path, None, 0);
    (tree, reader.files)
}

/// The directives of `text`, without following includes.
pub(crate) fn parse(text: &str, file: &Path, problems: &mut Problems) -> Vec<Directive> {
    let place = |line| Place::new(file, line, 0, "");
    let tokens = match lexer::tokens(text) {
        Ok(tokens) => tokens,
        Err(error) => {
            problems.push(place(error.line()), &error, "");
            return Vec::new();
        }
    };
    // The innermost open block is last; the first is the file.
    let mut open: Vec<(Option<Directive>, Vec<Directive>)> = vec![(None, Vec::new())];
    let mut words: Vec<Word> = Vec::new();
    let last_line = tokens.last().map_or(1, |token| token.line);
    for token in tokens {
        let here = place(token.line);
        match token.kind {
            Kind::Word(word) => words.push(word),
            Kind::End => match directive(&mut words, file) {
                Some(done) => {
                    if let Some((_, list)) = open.last_mut() {
                        list.push(done);
                    }
                }
                None => problems.push(here, "unexpected \";\"", ""),
            },
            Kind::Open => match directive(&mut words, file) {
                Some(head) if open.len() < DEEPEST => open.push((Some(head), Vec::new())),
                Some(_) => {
                    problems.push(
                        here,
                        format!("more than {DEEPEST} blocks in one another"),
                        "",
                    );
                    return Vec::new();
                }
                None => {
                    problems.push(here, "unexpected \"{\"", "");
                    return Vec::new();
                }
            },
            Kind::Close if !words.is_empty() => {
                problems.push(
                    here,
                    "unexpected \"}\"",
                    format!("end \"{}\" with \";\"", words[0].text),
                );
                return Vec::new();
            }
            Kind::Close => match open.pop() {
                Some((Some(mut head), list)) => {
                    head.block = Some(list);
                    if let Some((_, outer)) = open.last_mut() {
                        outer.push(head);
                    }
                }
                _ => {
                    problems.push(here, "unexpected \"}\"", "");
                    return Vec::new();
                }
            },
        }
    }
    if !words.is_empty() {
        let message = "unexpected end of file, expecting \";\" or \"}\"";
        problems.push(place(last_line), message, "");
    } else if open.len() > 1 {
        problems.push(
            place(last_line),
            "unexpected end of file, expecting \"}\"",
            "",
        );
    }
    open.into_iter()
        .next()
        .map(|(_, list)| list)
        .unwrap_or_default()
}

fn directive(words: &mut Vec<Word>, file: &Path) -> Option<Directive> {
    if words.is_empty() {
        return None;
    }
    let mut words = std::mem::take(words).into_iter();
    let name = words.next()?;
    let at = Place::new(file, name.line, 0, "");
    Some(Directive {
        name,
        args: words.collect(),
        block: None,
        at,
    })
}

struct Reader<'a> {
    prefix: &'a Path,
    problems: &'a mut Problems,
    files: Vec<SourceFile>,
}

impl Reader<'_> {
    fn file(&mut self, path: &Path, from: Option<&Place>, depth: usize) -> Vec<Directive> {
        let text = match std::fs::read_to_string(path) {
            Ok(text) => text,
            Err(error) => {
                let at = from.cloned().unwrap_or_else(|| Place::file_only(path));
                self.problems.push(at, open_failed(path, &error), "");
                return Vec::new();
            }
        };
        let tree = parse(&text, path, self.problems);
        // As with `nginx -T`, a file that is included twice is shown once.
        if !self.files.iter().any(|file| file.path == path) {
            self.files.push(SourceFile {
                path: path.to_owned(),
                text,
            });
        }
        self.follow(tree, depth)
    }

    /// Puts included files in the place of their `include`.
    fn follow(&mut self, tree: Vec<Directive>, depth: usize) -> Vec<Directive> {
        let mut all = Vec::with_capacity(tree.len());
        for mut directive in tree {
            if let Some(block) = directive.block.take() {
                directive.block = Some(self.follow(block, depth));
                all.push(directive);
            } else if directive.name.text == "include" {
                all.extend(self.include(&directive, depth));
            } else {
                all.push(directive);
            }
        }
        all
    }

    fn include(&mut self, directive: &Directive, depth: usize) -> Vec<Directive> {
        let [pattern] = directive.args.as_slice() else {
            self.problems.push(
                directive.at.clone(),
                "invalid number of arguments in \"include\" directive",
                "",
            );
            return Vec::new();
        };
        if depth >= DEEPEST {
            self.problems.push(
                directive.at.clone(),
                format!("more than {DEEPEST} files include one another"),
                "look for a file that includes itself",
            );
            return Vec::new();
        }
        let full = self.prefix.join(&pattern.text);
        let is_pattern = pattern.text.contains(['*', '?', '[']);
        let mut paths = vec![full.clone()];
        if is_pattern {
            let found = full.to_str().map(glob::glob);
            paths = match found {
                Some(Ok(found)) => found.filter_map(Result::ok).collect(),
                Some(Err(error)) => {
                    self.problems
                        .push(directive.at.clone(), format!("bad pattern: {error}"), "");
                    return Vec::new();
                }
                None => return Vec::new(),
            };
        }
        paths
            .iter()
            .flat_map(|path| self.file(path, Some(&directive.at), depth + 1))
            .collect()
    }
}

/// nginx's words for a file that cannot be opened.
pub(crate) fn open_failed(path: &Path, error: &std::io::Error) -> String {
    let text = error.to_string();
    let reason = text.split(" (os error").next().unwrap_or(&text).to_owned();
    let number = error.raw_os_error().unwrap_or(0);
    format!("open() \"{}\" failed ({number}: {reason})", path.display())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn render(list: &[Directive]) -> String {
        let mut out = String::new();
        for directive in list {
            out += &directive.name.text;
            for arg in &directive.args {
                out += " ";
                out += &arg.text;
            }
            match &directive.block {
                Some(block) => out += &format!(" {{ {}}} ", render(block)),
                None => out += "; ",
            }
        }
        out
    }

    #[track_caller]
    fn check(text: &str, want: &str) {
        let mut problems = Problems::new();
        let tree = parse(text, Path::new("n.conf"), &mut problems);
        let got = if problems.is_empty() {
            render(&tree).trim().to_owned()
        } else {
            problems.to_string()
        };
        assert_eq!(got, want, "text: {text:?}");
    }

    #[test]
    fn blocks() {
        check("a; b c { d e; f {} }", "a; b c { d e; f { } }");
        check("", "");
    }

    #[test]
    fn mistakes() {
        check(
            "a {\n b;\n",
            "n.conf:2: unexpected end of file, expecting \"}\"",
        );
        check("a;\n}", "n.conf:2: unexpected \"}\"");
        check("a b }", "n.conf:1: unexpected \"}\"; end \"a\" with \";\"");
        check(
            "a b",
            "n.conf:1: unexpected end of file, expecting \";\" or \"}\"",
        );
        check("a b\n}", "n.conf:2: unexpected \"}\"; end \"a\" with \";\"");
        check(";", "n.conf:1: unexpected \";\"");
        check("{", "n.conf:1: unexpected \"{\"");
    }

    #[test]
    fn includes() {
        let temp = tempfile::tempdir().unwrap();
        std::fs::create_dir(temp.path().join("sites")).unwrap();
        std::fs::write(temp.path().join("sites/b"), "two;").unwrap();
        std::fs::write(temp.path().join("sites/a"), "one;").unwrap();
        let main = temp.path().join("nginx.conf");
        std::fs::write(
            &main,
            "x { include sites/*; include none/*; } include gone;",
        )
        .unwrap();
        let mut problems = Problems::new();
        let (tree, files) = read(&main, temp.path(), &mut problems);
        assert_eq!(render(&tree).trim(), "x { one; two; }");
        assert_eq!(files.len(), 3);
        let told = problems.to_string();
        assert!(
            told.contains("gone\" failed (2: No such file or directory)")
                && told.contains(":1: open()"),
            "{told}"
        );
    }
}
