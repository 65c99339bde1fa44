//! What a script is given: its file, its folder and its environment (RFC 3875 section 4), from a request's variables.
//!
//! Only looks at the file system. Not here: starting anything.

use std::fs::canonicalize;
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Component, Path, PathBuf};

/// Where scripts find programs, unless they are told otherwise.
const PATH: &[u8] = b"/usr/local/bin:/usr/bin:/bin";

/// A script and all that it gets.
#[derive(Debug)]
pub(super) struct Order {
    pub(super) file: PathBuf,
    pub(super) env: Variables,
}

/// Why no script is run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(super) enum Refusal {
    #[error("there is no such script")]
    Missing,
    #[error("it is outside of the folders of scripts")]
    Outside,
    #[error("it is no file that can be executed")]
    NotExecutable,
    #[error("neither SCRIPT_FILENAME nor DOCUMENT_ROOT and SCRIPT_NAME say which script")]
    Unnamed,
}

impl Refusal {
    pub(super) fn status(self) -> &'static str {
        match self {
            Self::Missing => "404 Not Found",
            Self::Outside | Self::NotExecutable => "403 Forbidden",
            Self::Unnamed => "500 Internal Server Error",
        }
    }
}

/// Names and values; each name once.
#[derive(Debug, Default, Clone)]
pub(super) struct Variables(Vec<(Vec<u8>, Vec<u8>)>);

impl Variables {
    fn get(&self, name: &str) -> Option<&[u8]> {
        let found = self.0.iter().find(|(known, _)| known == name.as_bytes());
        found
            .map(|(_, value)| value.as_slice())
            .filter(|value| !value.is_empty())
    }

    /// What came last counts, as in PHP and Perl.
    pub(super) fn set(&mut self, name: &[u8], value: &[u8]) {
        match self.0.iter_mut().find(|(known, _)| known == name) {
            Some((_, known)) => *known = value.to_vec(),
            None => self.0.push((name.to_vec(), value.to_vec())),
        }
    }

    fn preset(&mut self, name: &str, value: &[u8]) {
        if !self.0.iter().any(|(known, _)| known == name.as_bytes()) {
            self.0.push((name.as_bytes().to_vec(), value.to_vec()));
        }
    }

    /// What RFC 3875 wants left out when there is nothing to say.
    fn leave_out_empty(&mut self, name: &str) {
        self.0
            .retain(|(known, value)| known != name.as_bytes() || !value.is_empty());
    }

    /// As `NAME=value`.
    pub(super) fn lines(&self) -> impl Iterator<Item = Vec<u8>> {
        self.0
            .iter()
            .map(|(name, value)| [name, &b"="[..], value].concat())
    }
}

/// Whether a variable can be in an environment, and may be. `HTTP_PROXY` comes from a client's `Proxy` field, and many
/// programs take it for their proxy.
fn passes(name: &[u8], value: &[u8]) -> bool {
    let is_name = !name.is_empty()
        && name
            .iter()
            .all(|byte| byte.is_ascii_alphanumeric() || *byte == b'_');
    is_name && name != b"HTTP_PROXY" && !value.contains(&0)
}

/// Makes the order. `roots` are folders without links in their paths.
pub(super) fn order<'a>(
    params: impl Iterator<Item = (&'a [u8], &'a [u8])>,
    own: &Variables,
    roots: &[PathBuf],
) -> Result<Order, Refusal> {
    let mut env = own.clone();
    for (name, value) in params.filter(|(name, value)| passes(name, value)) {
        env.set(name, value);
    }
    let wanted = match (
        env.get("SCRIPT_FILENAME"),
        env.get("DOCUMENT_ROOT"),
        env.get("SCRIPT_NAME"),
    ) {
        (Some(file), _, _) => file.to_vec(),
        (None, Some(root), Some(name)) => [root, name].concat(),
        _ => return Err(Refusal::Unnamed),
    };
    let (file, rest) = locate(&wanted, roots)?;
    if !rest.is_empty() {
        // What follows the script is the path for the script.
        let name = env.get("SCRIPT_NAME").unwrap_or_default();
        let name = name.strip_suffix(&rest[..]).unwrap_or(name).to_vec();
        env.set(b"SCRIPT_NAME", &name);
        env.set(b"PATH_INFO", &rest);
    }
    env.set(b"SCRIPT_FILENAME", file.as_os_str().as_bytes());
    env.set(b"GATEWAY_INTERFACE", b"CGI/1.1");
    for (name, value) in [
        ("PATH", PATH),
        ("QUERY_STRING", b""),
        ("SCRIPT_NAME", b""),
        ("PATH_INFO", b""),
        ("REQUEST_METHOD", b"GET"),
        ("SERVER_PROTOCOL", b"HTTP/1.1"),
        ("SERVER_SOFTWARE", b"trine"),
    ] {
        env.preset(name, value);
    }
    if let (None, Some(root), Some(info)) = (
        env.get("PATH_TRANSLATED"),
        env.get("DOCUMENT_ROOT"),
        env.get("PATH_INFO"),
    ) {
        let translated = [root, info].concat();
        env.set(b"PATH_TRANSLATED", &translated);
    }
    for name in [
        "AUTH_TYPE",
        "CONTENT_LENGTH",
        "CONTENT_TYPE",
        "REMOTE_IDENT",
        "REMOTE_USER",
        "PATH_TRANSLATED",
    ] {
        env.leave_out_empty(name);
    }
    Ok(Order { file, env })
}

/// The script that a path leads to, and what is left of the path behind it.
fn locate(wanted: &[u8], roots: &[PathBuf]) -> Result<(PathBuf, Vec<u8>), Refusal> {
    let path = PathBuf::from(std::ffi::OsString::from_vec(wanted.to_vec()));
    let mut here = PathBuf::new();
    let mut rest = Vec::new();
    let mut found = false;
    for part in path.components() {
        match part {
            Component::RootDir => here.push("/"),
            Component::Normal(name) if found => {
                rest.push(b'/');
                rest.extend_from_slice(name.as_bytes());
            }
            Component::Normal(name) => {
                here.push(name);
                let there = here.metadata().map_err(|_| Refusal::Missing)?;
                found = !there.is_dir();
            }
            Component::CurDir | Component::ParentDir | Component::Prefix(_) => {
                return Err(Refusal::Outside);
            }
        }
    }
    if found && wanted.ends_with(b"/") {
        rest.push(b'/');
    }
    let file = canonicalize(&here).map_err(|_| Refusal::Missing)?;
    // What is elsewhere is not told from what is not there.
    if !roots.iter().any(|root| is_inside(&file, root)) {
        return Err(Refusal::Outside);
    }
    let there = file.metadata().map_err(|_| Refusal::Missing)?;
    if !there.is_file() || there.permissions().mode() & 0o111 == 0 {
        return Err(Refusal::NotExecutable);
    }
    Ok((file, rest))
}

fn is_inside(file: &Path, root: &Path) -> bool {
    file.starts_with(root) && file != root
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    #[test]
    fn scripts_and_their_environment() {
        let folder = tempfile::tempdir().unwrap();
        let root = canonicalize(folder.path()).unwrap();
        let at = |name: &str| root.join(name).to_str().unwrap().to_owned();
        fs::create_dir_all(at("cgi/sub")).unwrap();
        for (name, mode) in [
            ("cgi/a.cgi", 0o755),
            ("cgi/sub/b", 0o711),
            ("cgi/plain", 0o644),
            ("out", 0o755),
        ] {
            fs::write(at(name), "").unwrap();
            fs::set_permissions(at(name), fs::Permissions::from_mode(mode)).unwrap();
        }
        std::os::unix::fs::symlink(at("out"), at("cgi/link")).unwrap();
        let roots = [root.join("cgi")];
        let check = |params: &[(&str, &str)], want: &str| {
            let pairs = params
                .iter()
                .map(|(name, value)| (name.as_bytes(), value.as_bytes()));
            let got = match order(pairs, &Variables::default(), &roots) {
                Err(refusal) => format!("{refusal:?}"),
                Ok(order) => {
                    let shown = [
                        "SCRIPT_NAME",
                        "PATH_INFO",
                        "PATH_TRANSLATED",
                        "CONTENT_LENGTH",
                        "HTTP_PROXY",
                        "HTTP_A",
                    ];
                    let text = |name: &&str| {
                        let value = order
                            .env
                            .0
                            .iter()
                            .find(|(known, _)| known == name.as_bytes());
                        value.map_or("-".to_owned(), |(_, value)| {
                            String::from_utf8_lossy(value).into_owned()
                        })
                    };
                    let values: Vec<_> = shown.iter().map(text).collect();
                    let file = order
                        .file
                        .strip_prefix(&root)
                        .unwrap()
                        .display()
                        .to_string();
                    format!("{file} {}", values.join(" "))
                }
            };
            assert_eq!(
                got.replace(root.to_str().unwrap(), "ROOT"),
                want,
                "{params:?}"
            );
        };
        let file = |name: &str| at(name);
        check(
            &[("SCRIPT_FILENAME", &file("cgi/a.cgi"))],
            "cgi/a.cgi   - - - -",
        );
        check(
            &[
                ("SCRIPT_FILENAME", &file("cgi/a.cgi/x/y")),
                ("SCRIPT_NAME", "/a.cgi/x/y"),
                ("DOCUMENT_ROOT", "/d"),
            ],
            "cgi/a.cgi /a.cgi /x/y /d/x/y - - -",
        );
        check(
            &[("DOCUMENT_ROOT", &file("cgi")), ("SCRIPT_NAME", "/sub/b/")],
            "cgi/sub/b /sub/b / ROOT/cgi/ - - -",
        );
        check(
            &[
                ("SCRIPT_FILENAME", &file("cgi/a.cgi")),
                ("CONTENT_LENGTH", ""),
                ("HTTP_PROXY", "x"),
                ("HTTP_A", "1"),
                ("HTTP_A", "2"),
                ("A=B", "x"),
            ],
            "cgi/a.cgi   - - - 2",
        );
        check(&[("SCRIPT_FILENAME", &file("cgi/none"))], "Missing");
        check(&[("SCRIPT_FILENAME", &file("cgi/plain"))], "NotExecutable");
        check(&[("SCRIPT_FILENAME", &file("cgi/sub"))], "NotExecutable");
        check(&[("SCRIPT_FILENAME", &file("out"))], "Outside");
        check(&[("SCRIPT_FILENAME", &file("cgi/link"))], "Outside");
        check(&[("SCRIPT_FILENAME", &file("cgi/../out"))], "Outside");
        check(&[("SCRIPT_FILENAME", "a.cgi")], "Missing");
        check(&[("SCRIPT_NAME", "/a.cgi")], "Unnamed");
        check(&[], "Unnamed");
    }
}
