//! The variables of a request that came by uwsgi or FastCGI: what of them is a head of HTTP, and what goes into the
//! `environ` as it is.
//!
//! Framing never depends on a header of the client here: the web server has dealt with those that speak of the
//! connection, and their variables are only passed on.
//! Not here: where they came from.

use std::ops::Range;

use trine_gateway::Error;

/// How the answer is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wire {
    /// As HTTP, ended by the end of the connection.
    Uwsgi,
    /// As CGI, in records.
    FastCgi { id: u16 },
}

/// What is wrong with variables that are well-formed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(in crate::worker) enum BadVars {
    #[error("more than {MOST} variables")]
    Number,
    #[error("a variable name with other characters than letters, digits, - and _")]
    Name,
    #[error("a line break or a NUL in a variable")]
    Value,
    #[error("REQUEST_METHOD or REQUEST_URI has a space or a control character")]
    Target,
}

/// gunicorn's limit.
const MOST: usize = 1000;

/// Fields that are about the connection of the client, not ours.
const CONNECTION: [&[u8]; 9] = [
    b"CONNECTION",
    b"CONTENT_LENGTH",
    b"CONTENT_TYPE",
    b"EXPECT",
    b"KEEP_ALIVE",
    b"TE",
    b"TRAILER",
    b"TRANSFER_ENCODING",
    b"UPGRADE",
];

/// Variables that have their own way into the `environ`, or are ours to say.
const OWN_WAY: [&[u8]; 10] = [
    b"CONTENT_LENGTH",
    b"CONTENT_TYPE",
    b"HTTP_CONTENT_LENGTH",
    b"HTTP_CONTENT_TYPE",
    b"PATH_INFO",
    b"QUERY_STRING",
    b"REQUEST_METHOD",
    b"SCRIPT_NAME",
    b"SERVER_PROTOCOL",
    b"SERVER_SOFTWARE",
];

/// What the web server said beside the head.
#[derive(Debug)]
pub struct Given {
    pub wire: Wire,
    bytes: Vec<u8>,
    vars: Vec<(Range<usize>, Range<usize>)>,
}

impl Given {
    /// Keeps `vars` and appends the head that they stand for to `head`.
    pub(super) fn read<'a>(
        vars: impl Iterator<Item = Result<(&'a [u8], &'a [u8]), Error>>,
        wire: Wire,
        head: &mut Vec<u8>,
    ) -> Result<Self, super::DoorError> {
        let mut given = Self {
            wire,
            bytes: Vec::new(),
            vars: Vec::new(),
        };
        for pair in vars {
            let (name, value) = pair?;
            given.add(name, value)?;
        }
        let start = head.len();
        let written = given.write_head(head);
        if written.is_err() {
            head.truncate(start);
        }
        Ok(written.map(|()| given)?)
    }

    fn add(&mut self, name: &[u8], value: &[u8]) -> Result<(), BadVars> {
        if self.vars.len() == MOST {
            return Err(BadVars::Number);
        }
        // Others (`wsgi.url_scheme`) are only looked at here.
        let plain = |&byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-' | b'.');
        if !name.iter().all(plain) {
            return Err(BadVars::Name);
        }
        if value.iter().any(|byte| matches!(byte, b'\r' | b'\n' | 0)) {
            return Err(BadVars::Value);
        }
        let start = self.bytes.len();
        self.bytes.extend_from_slice(name);
        let middle = self.bytes.len();
        self.bytes.extend_from_slice(value);
        self.vars.push((start..middle, middle..self.bytes.len()));
        Ok(())
    }

    fn all(&self) -> impl Iterator<Item = (&[u8], &[u8])> {
        let part = |range: &Range<usize>| self.bytes.get(range.clone()).unwrap_or_default();
        self.vars
            .iter()
            .map(move |(name, value)| (part(name), part(value)))
    }

    /// The last value of a variable; as uWSGI, later ones win.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&[u8]> {
        self.all()
            .filter(|(known, _)| *known == name.as_bytes())
            .last()
            .map(|(_, value)| value)
    }

    fn filled(&self, name: &str) -> Option<&[u8]> {
        self.get(name).filter(|value| !value.is_empty())
    }

    /// As far as the body goes; what is no number is refused with the head.
    pub(super) fn content_length(&self) -> u64 {
        let length = self
            .get("CONTENT_LENGTH")
            .and_then(|text| str::from_utf8(text).ok());
        length.and_then(|text| text.parse().ok()).unwrap_or(0)
    }

    fn write_head(&self, out: &mut Vec<u8>) -> Result<(), BadVars> {
        let method = self.filled("REQUEST_METHOD").unwrap_or(b"GET");
        let mut built = Vec::new();
        let target = match self.filled("REQUEST_URI") {
            Some(target) => target,
            None => {
                self.build_target(&mut built);
                &built
            }
        };
        if !method.iter().chain(target).all(u8::is_ascii_graphic) {
            return Err(BadVars::Target);
        }
        // Without Host it was HTTP/1.0, whatever the variables say; only that needs none.
        let version: &[u8] = match self.get("HTTP_HOST") {
            Some(_) => b" HTTP/1.1\r\n",
            None => b" HTTP/1.0\r\n",
        };
        for part in [method, b" ", target, version] {
            out.extend_from_slice(part);
        }
        for (name, value) in self.all() {
            let field: &[u8] = match name {
                b"CONTENT_TYPE" | b"CONTENT_LENGTH" if value.is_empty() => continue,
                b"CONTENT_TYPE" => b"CONTENT-TYPE",
                b"CONTENT_LENGTH" => b"CONTENT-LENGTH",
                _ => match name.strip_prefix(b"HTTP_") {
                    Some(field) if !field.is_empty() && !CONNECTION.contains(&field) => field,
                    _ => continue,
                },
            };
            out.extend(field.iter().map(|&byte| match byte {
                b'_' => b'-',
                byte => byte,
            }));
            out.extend_from_slice(b": ");
            out.extend_from_slice(value);
            out.extend_from_slice(b"\r\n");
        }
        out.extend_from_slice(b"\r\n");
        Ok(())
    }

    /// The target where the web server does not say it: mount and path, encoded again.
    fn build_target(&self, out: &mut Vec<u8>) {
        let script = self.mount().unwrap_or_default();
        let path = self.path().unwrap_or_default();
        for &byte in script.iter().chain(path) {
            match byte {
                b'/'
                | b'-'
                | b'.'
                | b'_'
                | b'~'
                | b'!'
                | b'$'
                | b'&'..=b','
                | b':'
                | b';'
                | b'='
                | b'@' => out.push(byte),
                byte if byte.is_ascii_alphanumeric() => out.push(byte),
                byte => {
                    let digit = |half: u8| b"0123456789ABCDEF".get(usize::from(half)).copied();
                    out.push(b'%');
                    out.extend(digit(byte >> 4));
                    out.extend(digit(byte & 15));
                }
            }
        }
        if !out.starts_with(b"/") {
            out.insert(0, b'/');
        }
        if let Some(query) = self.filled("QUERY_STRING") {
            out.push(b'?');
            out.extend_from_slice(query);
        }
    }

    /// PATH_INFO. nginx's own `fastcgi_params` has none: there DOCUMENT_URI is the whole path, and SCRIPT_NAME the same.
    #[must_use]
    pub fn path(&self) -> Option<&[u8]> {
        self.get("PATH_INFO").or_else(|| self.get("DOCUMENT_URI"))
    }

    /// SCRIPT_NAME, where it says where the application is mounted.
    #[must_use]
    pub fn mount(&self) -> Option<&[u8]> {
        self.get("PATH_INFO")?;
        self.filled("SCRIPT_NAME")
    }

    /// The client came by TLS.
    #[must_use]
    pub fn secure(&self) -> bool {
        let says = |name: &str, words: &[&[u8]]| {
            self.get(name)
                .is_some_and(|value| words.iter().any(|word| value.eq_ignore_ascii_case(word)))
        };
        says("HTTPS", &[b"on", b"1", b"true"])
            || ["wsgi.url_scheme", "UWSGI_SCHEME", "REQUEST_SCHEME"]
                .iter()
                .any(|name| says(name, &[b"https"]))
    }

    /// What else goes into the `environ`, as it is. Orders to a uWSGI server and names of WSGI's own do not.
    pub fn others(&self) -> impl Iterator<Item = (&[u8], &[u8])> {
        self.all().filter(|(name, _)| {
            let field = name.strip_prefix(b"HTTP_");
            let in_head = field.is_some_and(|field| !CONNECTION.contains(&field));
            let variable =
                |&byte: &u8| byte.is_ascii_uppercase() || byte.is_ascii_digit() || byte == b'_';
            !in_head
                && !OWN_WAY.contains(name)
                && !name.starts_with(b"UWSGI_")
                && name.iter().all(variable)
        })
    }
}
