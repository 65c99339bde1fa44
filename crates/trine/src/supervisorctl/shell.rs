//! The shell: prompt, history, completion; or just lines when nobody sits at a terminal.
//! Not here: what a line does (see `session`).

use std::cell::RefCell;
use std::io::{self, BufRead as _, IsTerminal as _, Write as _};
use std::rc::Rc;

use rustyline::completion::{Completer, Pair};
use rustyline::error::ReadlineError;
use rustyline::highlight::Highlighter;
use rustyline::hint::Hinter;
use rustyline::history::FileHistory;
use rustyline::validate::Validator;
use rustyline::{Context, Editor, Helper};

use super::help;
use super::session::Session;

/// Runs lines until the end; begins with `status`.
pub(super) fn run(session: &mut Session) {
    session.perform("status");
    let prompt = format!("{}> ", session.options.prompt);
    if !io::stdin().is_terminal() {
        without_terminal(session, &prompt);
        return;
    }
    let names = Rc::new(RefCell::new(Vec::new()));
    let Ok(mut editor) = Editor::<Words, FileHistory>::new() else {
        return without_terminal(session, &prompt);
    };
    editor.set_helper(Some(Words {
        names: names.clone(),
    }));
    let history = session.options.history_file.clone();
    if let Some(path) = &history {
        let _ = editor.load_history(path); // the first time there is none
    }
    loop {
        *names.borrow_mut() = session.known_names();
        match editor.readline(&prompt) {
            Ok(line) => {
                let _ = editor.add_history_entry(&line);
                if session.perform(&line) {
                    break;
                }
            }
            Err(ReadlineError::Eof | ReadlineError::Interrupted) => {
                session.say("");
                break;
            }
            Err(error) => {
                session.fail(format!("error: {error}"));
                break;
            }
        }
    }
    if let Some(path) = &history
        && let Err(error) = editor.save_history(path)
    {
        eprintln!("cannot write {}: {error}", path.display());
    }
}

fn without_terminal(session: &mut Session, prompt: &str) {
    loop {
        match ask(prompt) {
            Some(line) if session.perform(&line) => return,
            Some(_) => {}
            None => return session.say(""),
        }
    }
}

/// One line without its end; `None` when there is none.
fn ask(prompt: &str) -> Option<String> {
    let mut out = io::stdout().lock();
    let _ = write!(out, "{prompt}").and_then(|()| out.flush());
    let mut line = String::new();
    let count = io::stdin().lock().read_line(&mut line).ok()?;
    (count > 0).then(|| line.trim_end_matches('\n').to_owned())
}

/// Asks before something that cannot be taken back.
pub(super) fn confirmed(question: &str) -> bool {
    ask(question).is_some_and(|answer| answer.to_lowercase().starts_with('y'))
}

/// Name and password, the latter not shown.
pub(super) fn credentials() -> Option<(String, String)> {
    let name = ask("Username:")?;
    let _hidden = Hidden::new();
    let password = ask("Password:")?;
    println!();
    Some((name, password))
}

/// The terminal does not echo while this lives.
struct Hidden(Option<nix::sys::termios::Termios>);

impl Hidden {
    fn new() -> Self {
        use nix::sys::termios::{LocalFlags, SetArg, tcgetattr, tcsetattr};
        let stdin = io::stdin();
        let Ok(before) = tcgetattr(&stdin) else {
            return Self(None);
        };
        let mut silent = before.clone();
        silent.local_flags.remove(LocalFlags::ECHO);
        let _ = tcsetattr(&stdin, SetArg::TCSAFLUSH, &silent);
        Self(Some(before))
    }
}

impl Drop for Hidden {
    fn drop(&mut self) {
        if let Some(before) = &self.0 {
            let now = nix::sys::termios::SetArg::TCSANOW;
            let _ = nix::sys::termios::tcsetattr(io::stdin(), now, before);
        }
    }
}

/// What may be completed: commands, then names of groups and processes.
struct Words {
    /// Group and process.
    names: Rc<RefCell<Vec<(String, String)>>>,
}

impl Words {
    fn candidates(&self, before: &str) -> Vec<String> {
        let (command, has_more) = match before.trim_start().split_once(char::is_whitespace) {
            Some((command, _)) => (command, true),
            None => ("", false),
        };
        let names = self.names.borrow();
        match command {
            _ if !has_more => help::names().map(str::to_owned).collect(),
            "help" => help::names().map(str::to_owned).collect(),
            "add" | "remove" | "update" => names.iter().map(|(group, _)| group.clone()).collect(),
            "clear" | "fg" | "pid" | "restart" | "signal" | "start" | "status" | "stop"
            | "tail" => names
                .iter()
                .flat_map(|(group, name)| of_process(group, name))
                .collect(),
            _ => Vec::new(),
        }
    }
}

fn of_process(group: &str, name: &str) -> Vec<String> {
    if group == name {
        vec![name.to_owned()]
    } else {
        vec![format!("{group}:{name}"), format!("{group}:*")]
    }
}

impl Completer for Words {
    type Candidate = Pair;

    fn complete(
        &self,
        line: &str,
        pos: usize,
        _context: &Context<'_>,
    ) -> rustyline::Result<(usize, Vec<Pair>)> {
        let before = &line[..pos];
        let start = before.rfind(char::is_whitespace).map_or(0, |at| at + 1);
        let mut words = self.candidates(before);
        words.retain(|word| word.starts_with(&before[start..]));
        words.sort();
        words.dedup();
        let pairs = words.into_iter().map(|word| Pair {
            replacement: format!("{word} "),
            display: word,
        });
        Ok((start, pairs.collect()))
    }
}

impl Hinter for Words {
    type Hint = String;
}
impl Highlighter for Words {}
impl Validator for Words {}
impl Helper for Words {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn completion() {
        let pair = |group: &str, name: &str| (group.to_owned(), name.to_owned());
        let words = Words {
            names: Rc::new(RefCell::new(vec![
                pair("web", "web"),
                pair("g", "a"),
                pair("g", "b"),
            ])),
        };
        let history = FileHistory::new();
        let check = |line: &str, want: &[&str]| {
            let (_, pairs) = words
                .complete(line, line.len(), &Context::new(&history))
                .unwrap();
            let got: Vec<String> = pairs.into_iter().map(|pair| pair.replacement).collect();
            assert_eq!(got, want, "{line:?}");
        };
        check("st", &["start ", "status ", "stop "]);
        check("start ", &["g:* ", "g:a ", "g:b ", "web "]);
        check("tail -f g:a", &["g:a "]);
        check("update w", &["web "]);
        check("help ma", &["maintail "]);
        check("avail x", &[]);
    }
}
