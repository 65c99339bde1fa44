//! Every directive we know of: where it may stand, how many arguments it takes, and how it stands with us.
//!
//! `docs/proxy/nginx-parity.md` is printed from here. The rows are in a file for each subject. Not here: what a
//! directive does (see `build`).

mod absent;
mod access;
mod cache;
mod client;
mod compression;
mod files;
mod gateway;
mod http;
mod limits;
mod logs;
mod main;
mod proxy;
mod rewrite;
mod stream;
mod tls;
mod upstream;
mod variables;

/// Where a directive may stand; several are or-ed.
pub(crate) mod context {
    pub(crate) const MAIN: u16 = 1;
    pub(crate) const EVENTS: u16 = 1 << 1;
    pub(crate) const HTTP: u16 = 1 << 2;
    pub(crate) const SERVER: u16 = 1 << 3;
    pub(crate) const LOCATION: u16 = 1 << 4;
    pub(crate) const UPSTREAM: u16 = 1 << 5;
    /// `if` in a location.
    pub(crate) const IF: u16 = 1 << 6;
    pub(crate) const LIMIT_EXCEPT: u16 = 1 << 7;
    /// `if` in a server.
    pub(crate) const SERVER_IF: u16 = 1 << 8;
    pub(crate) const STREAM: u16 = 1 << 9;
    pub(crate) const STREAM_SERVER: u16 = 1 << 10;
    pub(crate) const STREAM_UPSTREAM: u16 = 1 << 11;
    /// All that is in `stream`, which has a table of its own.
    pub(crate) const OF_STREAM: u16 = STREAM | STREAM_SERVER | STREAM_UPSTREAM;
}

use context::{HTTP, IF, LOCATION, SERVER};

/// How a directive stands with us.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Standing {
    /// It does what it does in nginx.
    Works,
    /// It is read and means nothing here; why is in the note.
    Accepted,
    /// It is refused; the note says what to do instead.
    Refused,
}

/// How many arguments, and whether a block follows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Args {
    /// So many, from and to.
    Words(usize, usize),
    /// `on` or `off`.
    Flag,
    /// So many, from and to, and then a block.
    Block(usize, usize),
}

const ANY: usize = usize::MAX;

/// One row.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Known {
    pub(crate) name: &'static str,
    pub(crate) contexts: u16,
    pub(crate) args: Args,
    pub(crate) standing: Standing,
    pub(crate) note: &'static str,
}

/// Looks a name up.
pub(crate) fn find(name: &str) -> Option<&'static Known> {
    rows().find(|known| known.name == name)
}

/// Looks a name up that stands in one of these contexts.
pub(crate) fn find_in(name: &str, contexts: u16) -> Option<&'static Known> {
    if contexts & context::OF_STREAM == 0 {
        return find(name);
    }
    STREAM.iter().find(|known| known.name == name)
}

/// Whether the name stands for something anywhere.
pub(crate) fn is_known(name: &str) -> bool {
    rows().chain(STREAM).any(|known| known.name == name)
}

/// The known name that is most like `name`.
pub(crate) fn nearest(name: &str) -> Option<&'static str> {
    rows()
        .map(|known| (strsim::damerau_levenshtein(known.name, name), known.name))
        .filter(|(distance, known)| *distance <= 1 + known.len() / 6)
        .min()
        .map(|(_, known)| known)
}

const HS: u16 = HTTP | SERVER;
const HSL: u16 = HTTP | SERVER | LOCATION;
const HSLI: u16 = HSL | IF;

const fn works(name: &'static str, contexts: u16, args: Args) -> Known {
    Known {
        name,
        contexts,
        args,
        standing: Standing::Works,
        note: "",
    }
}

/// A directive that nginx does not have.
const fn own(name: &'static str, contexts: u16, args: Args) -> Known {
    Known {
        name,
        contexts,
        args,
        standing: Standing::Works,
        note: "nginx does not have it",
    }
}

const fn accepted(name: &'static str, contexts: u16, args: Args, note: &'static str) -> Known {
    Known {
        name,
        contexts,
        args,
        standing: Standing::Accepted,
        note,
    }
}

const fn refused(name: &'static str, contexts: u16, args: Args, note: &'static str) -> Known {
    Known {
        name,
        contexts,
        args,
        standing: Standing::Refused,
        note,
    }
}

const ONE: Args = Args::Words(1, 1);
const ONE_OR_TWO: Args = Args::Words(1, 2);
const MORE: Args = Args::Words(1, ANY);
const FLAG: Args = Args::Flag;

const TUNING: &str = "sizes itself";
const MEMORY: &str = "buffers grow as needed within fixed limits";
const HEADS: &str = "heads of answers may have 64 KiB, whatever it says";
const AT_ONCE: &str = "what has come goes on at once, in pieces of up to 64 KiB";
const NOT_HERE: &str =
    "not supported; remove it, or serve this location with nginx behind this proxy";

/// All rows, by subject.
pub(crate) const SECTIONS: &[(&str, &[Known])] = &[
    ("Processes, files and events", main::ROWS),
    ("Servers, locations and requests", http::ROWS),
    ("The connection to the client", client::ROWS),
    ("Added fields, access, identity", access::ROWS),
    ("Variables", variables::ROWS),
    ("Limits", limits::ROWS),
    ("Logs", logs::ROWS),
    ("Files", files::ROWS),
    ("Compression", compression::ROWS),
    ("Proxying", proxy::ROWS),
    ("The cache", cache::ROWS),
    ("The cache of answers by FastCGI", cache::FASTCGI),
    ("The cache of answers by uwsgi", cache::UWSGI),
    ("The cache of answers by SCGI", cache::SCGI),
    ("FastCGI, uwsgi and SCGI", gateway::ROWS),
    ("Upstreams", upstream::ROWS),
    ("Rewriting", rewrite::ROWS),
    ("TLS and HTTP/2", tls::ROWS),
    ("Modules that are not here", absent::ROWS),
];

/// The rows of `stream`, which has names in common with `http`.
pub(crate) const STREAM: &[Known] = stream::ROWS;

pub(crate) fn rows() -> impl Iterator<Item = &'static Known> {
    SECTIONS.iter().flat_map(|(_, rows)| *rows)
}
