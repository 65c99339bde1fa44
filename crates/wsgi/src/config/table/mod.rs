//! The one table of settings: names, flags, defaults, what gunicorn's value means, and how far we follow it.
//!
//! The command line, the checks, the reference, the manual page and the list of parity are all made from it.
//! Not here: checking values (`validate`), or what they add up to (`settings`).

mod gunicorn;
mod own;

use std::collections::HashMap;
use std::sync::LazyLock;

use super::origin::Origin;
use super::value::Value;

/// One setting.
#[derive(Debug)]
pub struct Setting {
    /// Its name in configuration files.
    pub name: &'static str,
    pub section: Section,
    /// On the command line; empty if it can only stand in a file.
    pub flags: &'static [&'static str],
    /// What the help calls the value; empty for a flag without one.
    pub metavar: &'static str,
    pub action: Action,
    pub check: Check,
    pub default: Default,
    /// The environment variable that makes the default.
    pub env: Option<&'static str>,
    pub tier: Tier,
    pub meaning: &'static str,
}

/// gunicorn's sections, and one for what it does not have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Section {
    ConfigFile,
    ServerSocket,
    WorkerProcesses,
    Security,
    Debugging,
    ServerMechanics,
    Logging,
    ProcessNaming,
    ServerHooks,
    Ssl,
    Http2,
    DirtyArbiters,
    DirtyArbiterHooks,
    Control,
    Own,
}

impl Section {
    pub const ALL: [Self; 15] = [
        Self::ConfigFile,
        Self::ServerSocket,
        Self::WorkerProcesses,
        Self::Security,
        Self::Debugging,
        Self::ServerMechanics,
        Self::Logging,
        Self::ProcessNaming,
        Self::Ssl,
        Self::ServerHooks,
        Self::Control,
        Self::Http2,
        Self::DirtyArbiters,
        Self::DirtyArbiterHooks,
        Self::Own,
    ];

    #[must_use]
    pub const fn title(self) -> &'static str {
        match self {
            Self::ConfigFile => "Config File",
            Self::ServerSocket => "Server Socket",
            Self::WorkerProcesses => "Worker Processes",
            Self::Security => "Security",
            Self::Debugging => "Debugging",
            Self::ServerMechanics => "Server Mechanics",
            Self::Logging => "Logging",
            Self::ProcessNaming => "Process Naming",
            Self::ServerHooks => "Server Hooks",
            Self::Ssl => "SSL",
            Self::Http2 => "HTTP/2",
            Self::DirtyArbiters => "Dirty Arbiters",
            Self::DirtyArbiterHooks => "Dirty Arbiter Hooks",
            Self::Control => "Control",
            Self::Own => "Beyond gunicorn",
        }
    }
}

/// What a flag does with what follows it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    /// Takes a text.
    Text,
    /// Takes a whole number.
    Number,
    /// Takes a whole number, octal if it starts with 0.
    Octal,
    /// Takes a text, and may come again.
    Each,
    /// Stands alone and means yes.
    On,
    /// Stands alone and means no.
    Off,
    /// May take a text; alone it means this.
    Maybe(&'static str),
}

/// Which values a setting takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Check {
    Bool,
    /// A whole number from 0.
    Count,
    /// Whole seconds from 0; ours also takes a time with a unit.
    Seconds,
    /// Like [`Check::Seconds`], or nothing.
    MaybeSeconds,
    /// Bytes: a number, or with a unit; or nothing.
    Size,
    Text,
    /// A text that is a path.
    Path,
    /// Texts; one alone is a list of one.
    Texts,
    /// Texts that are paths of files or patterns.
    Files,
    /// Words, separated by commas.
    Words,
    /// Addresses and networks, separated by commas, or `*`.
    Addresses,
    /// One of these words in any case; `None` means the first. The text begins the message about another.
    OneOf(&'static [&'static str], Wrong),
    /// A class, its dotted name, or a function that returns it.
    Class,
    /// A callable with so many parameters.
    Hook(usize),
    PostRequest,
    User,
    Group,
    Chdir,
    Statsd,
    Dict,
    SslVersion,
    ProxyProtocol,
    HttpProtocols,
    Http2Cleartext,
    /// A whole number in this range, with the message about another.
    Range(i64, i64, &'static str),
}

/// How gunicorn words that a value is none of those a setting knows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wrong {
    /// `Invalid THIS: value`
    Invalid(&'static str),
    /// `NAME must be one of: a, b`
    Must(&'static str),
    /// `Invalid THIS: 'value'`, in any case as it stands, without `None`.
    Exactly(&'static str),
}

/// The value when nobody says anything.
#[derive(Debug, Clone, Copy)]
pub enum Default {
    Nothing,
    Bool(bool),
    Int(i64),
    Text(&'static str),
    Texts(&'static [&'static str]),
    Pairs(&'static [(&'static str, &'static str)]),
    /// A hook that does nothing.
    Hook(&'static str),
    /// Depends on where the program was started; the text is for people.
    From(fn(&Origin) -> Value, &'static str),
}

/// How far gunicorn's meaning is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tier {
    /// A: as gunicorn has it.
    Identical,
    /// B: accepted; what is different.
    Mapped(&'static str),
    /// C: refused at start when it is set to anything but its default: why, and what to use.
    Refused(&'static str),
    /// Ours.
    Own,
}

/// Rows of the table: `name Section ["-f" "--flag"] "META" Action, check, default, env, tier, "meaning";`
macro_rules! settings {
    ($($name:ident $section:ident [$($flag:literal)*] $meta:literal $action:expr, $check:expr, $default:expr,
        $env:expr, $tier:expr, $meaning:literal;)*) => {
        &[$(Setting {
            name: stringify!($name),
            section: Section::$section,
            flags: &[$($flag),*],
            metavar: $meta,
            action: $action,
            check: $check,
            default: $default,
            env: $env,
            tier: $tier,
            meaning: $meaning,
        }),*]
    };
}
use settings;

static ALL: LazyLock<Vec<&'static Setting>> =
    LazyLock::new(|| gunicorn::SETTINGS.iter().chain(own::SETTINGS).collect());

static BY_NAME: LazyLock<HashMap<&'static str, usize>> = LazyLock::new(|| {
    let places = all().iter().enumerate();
    places
        .map(|(place, setting)| (setting.name, place))
        .collect()
});

/// gunicorn's settings in its order, then ours.
pub fn all() -> &'static [&'static Setting] {
    &ALL
}

/// gunicorn's own.
pub fn of_gunicorn() -> &'static [Setting] {
    gunicorn::SETTINGS
}

/// The place of a setting in [`all`].
pub fn find(name: &str) -> Option<usize> {
    BY_NAME.get(name).copied()
}

impl Default {
    /// As people write it; empty if there is none.
    #[must_use]
    pub fn shown(&self) -> String {
        match self {
            Self::Nothing | Self::Hook(_) => String::new(),
            Self::Bool(false) => "off".to_owned(),
            Self::Bool(true) => "on".to_owned(),
            Self::Int(number) => number.to_string(),
            Self::Text(text) | Self::From(_, text) => (*text).to_owned(),
            Self::Texts(texts) => texts.join(","),
            Self::Pairs(pairs) => {
                let pairs: Vec<String> = pairs
                    .iter()
                    .map(|(key, value)| format!("{key}: {value}"))
                    .collect();
                pairs.join(", ")
            }
        }
    }
}

impl Setting {
    #[must_use]
    pub fn is_own(&self) -> bool {
        self.section == Section::Own
    }

    /// The default, before it is checked like any other value.
    #[must_use]
    pub fn default(&self, origin: &Origin) -> Value {
        match self.default {
            Default::Nothing => Value::Nothing,
            Default::Bool(value) => Value::Bool(value),
            Default::Int(number) => Value::Int(number),
            Default::Text(text) => Value::text(text),
            Default::Texts(texts) => Value::texts(texts.iter().copied()),
            Default::Pairs(pairs) => Value::Dict(super::value::Dict {
                pairs: pairs
                    .iter()
                    .map(|(key, value)| (Value::text(*key), Value::text(*value)))
                    .collect(),
                object: None,
            }),
            Default::Hook(name) => Value::Builtin(name),
            Default::From(make, _) => make(origin),
        }
    }
}

impl Check {
    /// What would do, for messages and the reference.
    #[must_use]
    pub fn expected(self) -> String {
        match self {
            Self::Bool => "true or false".to_owned(),
            Self::Count => "a whole number from 0".to_owned(),
            Self::Seconds => "seconds, or a time such as 500ms or 2m".to_owned(),
            Self::MaybeSeconds => "seconds, a time such as 500ms or 2m, or nothing".to_owned(),
            Self::Size => "bytes, or a size such as 512MiB".to_owned(),
            Self::Text => "a text".to_owned(),
            Self::Path => "a path".to_owned(),
            Self::Texts => "a text or a list of texts".to_owned(),
            Self::Files => "paths or patterns".to_owned(),
            Self::Words => "words, separated by commas".to_owned(),
            Self::Addresses => "addresses and networks, separated by commas, or *".to_owned(),
            Self::OneOf(known, _) => format!("one of {}", known.join(", ")),
            Self::Class => "a class or its dotted name".to_owned(),
            Self::Hook(1) => "a callable with 1 parameter".to_owned(),
            Self::Hook(arity) => format!("a callable with {arity} parameters"),
            Self::PostRequest => "a callable with 2, 3 or 4 parameters".to_owned(),
            Self::User => "the name or number of a user".to_owned(),
            Self::Group => "the name or number of a group".to_owned(),
            Self::Chdir => "a folder that is there".to_owned(),
            Self::Statsd => "HOST:PORT or unix://PATH".to_owned(),
            Self::Dict => "a mapping".to_owned(),
            Self::SslVersion => "anything".to_owned(),
            Self::ProxyProtocol => "off, v1, v2 or auto".to_owned(),
            Self::HttpProtocols => "h1".to_owned(),
            Self::Http2Cleartext => "off, prior-knowledge, upgrade or both".to_owned(),
            Self::Range(least, i64::MAX, _) => format!("a whole number from {least}"),
            Self::Range(least, most, _) => format!("a whole number from {least} to {most}"),
        }
    }
}
