//! The command line, by the rules of Python's argparse, which gunicorn's users' scripts rely on.
//!
//! Long flags may be shortened while that is unambiguous, `-w2` and `--workers=2` are the same as `-w 2`, short flags
//! without a value may be bundled, lists grow, and only the first group of plain words is the application.
//! Not here: what values mean (`config`); here a value is a text, or a number where the flag takes one.

use crate::config::integer;
use crate::config::table::{self, Action, Setting};
use crate::config::value::{Value, quoted};

/// The version of gunicorn whose settings these are.
pub const GUNICORN: &str = "27.0.1";
/// argparse's code for a command line that makes no sense.
const USAGE: u8 = 2;

/// By which name we were called: under gunicorn's, its flags come before ours where they collide.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Program {
    pub name: String,
}

impl Program {
    /// From the first word of the command line.
    #[must_use]
    pub fn called(word: Option<&str>) -> Self {
        let name = word
            .and_then(|word| word.rsplit('/').next())
            .filter(|name| !name.is_empty());
        Self {
            name: name.unwrap_or("trine-wsgi").to_owned(),
        }
    }

    #[must_use]
    pub fn is_gunicorn(&self) -> bool {
        self.name == "gunicorn"
    }

    /// The line that help and complaints begin with.
    #[must_use]
    pub fn usage(&self) -> String {
        format!("usage: {} [OPTIONS] [APP_MODULE]\n", self.name)
    }

    /// gunicorn's line, with the version whose place we take; or our own.
    #[must_use]
    pub fn version(&self) -> String {
        let own = env!("CARGO_PKG_VERSION");
        if self.is_gunicorn() {
            format!("gunicorn (version {GUNICORN})\ntrine-wsgi {own}\n")
        } else {
            format!("{} (version {own})\n", self.name)
        }
    }
}

/// What a command line says.
#[derive(Debug, Clone, Default)]
pub struct Line {
    /// By the place of the setting in the table, in its order.
    pub values: Vec<(usize, Value)>,
    /// The plain words; the first is the application.
    pub args: Vec<String>,
}

impl Line {
    /// The text that a flag was given.
    #[must_use]
    pub fn text(&self, name: &str) -> Option<&str> {
        let place = table::find(name)?;
        let (_, value) = self.values.iter().find(|(known, _)| *known == place)?;
        value.as_str()
    }
}

/// Why the program ends before it has begun.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Stop {
    /// `--help` and `--version`.
    Help,
    Version,
    /// For standard error, after the usage.
    Wrong(String),
    /// GUNICORN_CMD_ARGS has quotes that do not match.
    Error(String),
}

impl Stop {
    #[must_use]
    pub const fn code(&self) -> u8 {
        match self {
            Self::Help | Self::Version => 0,
            Self::Wrong(_) => USAGE,
            Self::Error(_) => 1,
        }
    }

    /// Prints it, and says what the program ends with.
    pub fn tell(&self, program: &Program) -> u8 {
        let name = &program.name;
        match self {
            Self::Help => print!("{}", crate::generate::help(program)),
            Self::Version => print!("{}", program.version()),
            Self::Wrong(why) => eprintln!("{}{name}: error: {why}", program.usage()),
            Self::Error(why) => eprintln!("\nError: {why}"),
        }
        self.code()
    }
}

/// What a flag stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Flag {
    Help,
    Version,
    Setting(usize),
}

impl Flag {
    fn action(self) -> Action {
        match self {
            Self::Help | Self::Version => Action::On,
            Self::Setting(place) => table::all()[place].action,
        }
    }

    /// `-w/--workers`
    fn name(self) -> String {
        match self {
            Self::Help => "-h/--help".to_owned(),
            Self::Version => "-v/--version".to_owned(),
            Self::Setting(place) => table::all()[place].flags.join("/"),
        }
    }
}

/// A word of the command line, before anything is done.
#[derive(Debug, PartialEq, Eq)]
enum Word {
    Plain,
    /// `--`: everything after it is plain.
    End,
    Unknown,
    Flag(Flag, String, Option<String>),
}

/// Takes a command line apart.
///
/// # Errors
/// What to print instead of running.
pub fn parse(program: &Program, words: &[String]) -> Result<Line, Stop> {
    let flags = flags(program);
    let mut sorted = Vec::with_capacity(words.len());
    for word in words {
        sorted.push(match sorted.contains(&Word::End) {
            true => Word::Plain,
            false if word == "--" => Word::End,
            false => classify(&flags, word)?,
        });
    }
    Parser {
        words,
        sorted,
        next: 0,
        found: vec![None; table::all().len()],
        args: None,
        extra: vec![],
    }
    .run()
}

type Flags = Vec<(&'static str, Flag)>;

fn flags(program: &Program) -> Flags {
    let mut flags = vec![
        ("-h", Flag::Help),
        ("--help", Flag::Help),
        ("-v", Flag::Version),
        ("--version", Flag::Version),
    ];
    for (place, setting) in table::all().iter().enumerate() {
        // `--python` is short for `--pythonpath` in gunicorn.
        let hidden = |flag: &str| program.is_gunicorn() && setting.is_own() && shortens(flag);
        flags.extend(
            setting
                .flags
                .iter()
                .filter(|flag| !hidden(flag))
                .map(|flag| (*flag, Flag::Setting(place))),
        );
    }
    flags
}

/// Whether one of gunicorn's flags begins like this.
fn shortens(flag: &str) -> bool {
    table::of_gunicorn()
        .iter()
        .flat_map(|setting| setting.flags)
        .any(|known| known.starts_with(flag))
}

fn classify(flags: &Flags, word: &str) -> Result<Word, Stop> {
    let exact = |text: &str| {
        flags
            .iter()
            .find(|(flag, _)| *flag == text)
            .map(|(_, flag)| *flag)
    };
    if !word.starts_with('-') || word == "-" {
        return Ok(Word::Plain);
    }
    if let Some(flag) = exact(word) {
        return Ok(Word::Flag(flag, word.to_owned(), None));
    }
    let split = word.split_once('=');
    if let Some((name, value)) = split
        && let Some(flag) = exact(name)
    {
        return Ok(Word::Flag(flag, name.to_owned(), Some(value.to_owned())));
    }
    let meant = if word.starts_with("--") {
        let (prefix, value) = split.map_or((word, None), |(prefix, value)| {
            (prefix, Some(value.to_owned()))
        });
        shortened(flags, prefix)
            .into_iter()
            .map(|(name, flag)| (name, flag, value.clone()))
            .collect()
    } else {
        bundled(flags, word)
    };
    match meant.as_slice() {
        [] => {}
        [(name, flag, value)] => return Ok(Word::Flag(*flag, (*name).to_owned(), value.clone())),
        many => {
            let names: Vec<&str> = many.iter().map(|(name, _, _)| *name).collect();
            return Err(Stop::Wrong(format!(
                "ambiguous option: {word} could match {}",
                names.join(", ")
            )));
        }
    }
    let negative = word[1..].parse::<f64>().is_ok()
        && word[1..].bytes().all(|b| b.is_ascii_digit() || b == b'.');
    Ok(if negative || word.contains(' ') {
        Word::Plain
    } else {
        Word::Unknown
    })
}

/// What a shortened long flag can mean: gunicorn's, and ours only if none of its flags begins so.
fn shortened(flags: &Flags, prefix: &str) -> Vec<(&'static str, Flag)> {
    let own = |flag: &Flag| matches!(flag, Flag::Setting(place) if table::all()[*place].is_own());
    let all: Vec<_> = flags
        .iter()
        .filter(|(name, _)| name.starts_with(prefix))
        .copied()
        .collect();
    let theirs: Vec<_> = all.iter().filter(|(_, flag)| !own(flag)).copied().collect();
    if theirs.is_empty() { all } else { theirs }
}

/// `-w2`: a short flag and its value, or more short flags.
fn bundled(flags: &Flags, word: &str) -> Vec<(&'static str, Flag, Option<String>)> {
    let Some(end) = word.char_indices().nth(2).map(|(end, _)| end) else {
        return vec![];
    };
    let (short, value) = word.split_at(end);
    let found = flags.iter().filter(|(name, _)| *name == short);
    found
        .map(|(name, flag)| (*name, *flag, Some(value.to_owned())))
        .collect()
}

struct Parser<'a> {
    words: &'a [String],
    sorted: Vec<Word>,
    next: usize,
    found: Vec<Option<Value>>,
    /// The first group of plain words.
    args: Option<Vec<String>>,
    extra: Vec<String>,
}

impl Parser<'_> {
    fn run(mut self) -> Result<Line, Stop> {
        while self.next < self.words.len() {
            match &self.sorted[self.next] {
                Word::Plain | Word::End => self.plain(),
                Word::Unknown => {
                    self.extra.push(self.words[self.next].clone());
                    self.next += 1;
                }
                Word::Flag(flag, name, value) => {
                    let (flag, name, value) = (*flag, name.clone(), value.clone());
                    self.next += 1;
                    self.flag(flag, &name, value)?;
                }
            }
        }
        if !self.extra.is_empty() {
            return Err(Stop::Wrong(format!(
                "unrecognized arguments: {}",
                self.extra.join(" ")
            )));
        }
        let values = self.found.into_iter().enumerate();
        Ok(Line {
            values: values
                .filter_map(|(place, value)| Some((place, value?)))
                .collect(),
            args: self.args.unwrap_or_default(),
        })
    }

    fn plain(&mut self) {
        let mut group = vec![];
        while let Some(word @ (Word::Plain | Word::End)) = self.sorted.get(self.next) {
            if *word == Word::Plain {
                group.push(self.words[self.next].clone());
            }
            self.next += 1;
        }
        match self.args {
            None => self.args = Some(group),
            Some(_) => self.extra.extend(group),
        }
    }

    fn flag(&mut self, mut flag: Flag, name: &str, mut value: Option<String>) -> Result<(), Stop> {
        let short = !name.starts_with("--");
        while matches!(flag.action(), Action::On | Action::Off)
            && let Some(rest) = value.take()
        {
            let ignored = || {
                Stop::Wrong(format!(
                    "argument {}: ignored explicit argument {}",
                    flag.name(),
                    quoted(&rest)
                ))
            };
            let first = rest.chars().next().filter(|_| short).ok_or_else(ignored)?;
            let all = flags(&Program::called(None));
            let next = all
                .iter()
                .find(|(name, _)| *name == format!("-{first}"))
                .ok_or_else(ignored)?
                .1;
            self.store(flag, None)?;
            flag = next;
            value = Some(rest[first.len_utf8()..].to_owned()).filter(|rest| !rest.is_empty());
        }
        match (flag.action(), value) {
            (Action::On | Action::Off, _) => self.store(flag, None),
            (_, Some(value)) => self.store(flag, Some(value)),
            (Action::Maybe(_), None) => {
                let value = self.take();
                self.store(flag, value)
            }
            (_, None) => match self.take() {
                Some(value) => self.store(flag, Some(value)),
                None => Err(Stop::Wrong(format!(
                    "argument {}: expected one argument",
                    flag.name()
                ))),
            },
        }
    }

    /// The next word, if it can be a value.
    fn take(&mut self) -> Option<String> {
        let at = self.next + usize::from(self.sorted.get(self.next) == Some(&Word::End));
        if self.sorted.get(at) != Some(&Word::Plain) {
            return None;
        }
        self.next = at + 1;
        self.words.get(at).cloned()
    }

    fn store(&mut self, flag: Flag, value: Option<String>) -> Result<(), Stop> {
        let place = match flag {
            Flag::Help => return Err(Stop::Help),
            Flag::Version => return Err(Stop::Version),
            Flag::Setting(place) => place,
        };
        let setting = table::all()[place];
        let value = typed(setting, value)
            .map_err(|why| Stop::Wrong(format!("argument {}: {why}", flag.name())))?;
        match (&mut self.found[place], value) {
            (Some(Value::List(list)), Value::List(more)) => list.extend(more),
            (found, value) => *found = Some(value),
        }
        Ok(())
    }
}

fn typed(setting: &Setting, value: Option<String>) -> Result<Value, String> {
    let text = value.unwrap_or_default();
    Ok(match setting.action {
        Action::Text => Value::Text(text),
        Action::Each => Value::List(vec![Value::Text(text)]),
        Action::On => Value::Bool(true),
        Action::Off => Value::Bool(false),
        Action::Maybe(alone) => Value::Text(if text.is_empty() {
            alone.to_owned()
        } else {
            text
        }),
        Action::Number => match integer(&text, 10) {
            Some(number) => Value::Int(number),
            None if setting.check == table::Check::Seconds
                && text.parse::<trine_config::Duration>().is_ok() =>
            {
                Value::Text(text)
            }
            None => return Err(format!("invalid int value: {}", quoted(&text))),
        },
        Action::Octal => {
            let digits = text
                .strip_prefix('0')
                .filter(|rest| rest.starts_with(|c: char| c.is_ascii_digit()));
            match integer(
                &digits.map_or(text.clone(), |digits| format!("0o{digits}")),
                0,
            ) {
                Some(number) => Value::Int(number),
                None => return Err(format!("invalid auto_int value: {}", quoted(&text))),
            }
        }
    })
}

#[cfg(test)]
mod tests;
