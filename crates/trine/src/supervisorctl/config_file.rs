//! What supervisorctl takes from supervisord.conf: its own section, and nothing else.
//! Not here: the daemon's sections, which the daemon reads.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

/// The keys of `[supervisorctl]`.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Section {
    pub(super) server_url: Option<String>,
    pub(super) username: Option<String>,
    pub(super) password: Option<String>,
    pub(super) prompt: Option<String>,
    pub(super) history_file: Option<PathBuf>,
}

/// supervisord's search path; `program` is what we were called by.
pub(super) fn find(program: &Path) -> Option<PathBuf> {
    let folder = program.parent().unwrap_or(Path::new(""));
    let candidates = [
        folder.join("../etc/supervisord.conf"),
        folder.join("../supervisord.conf"),
        "supervisord.conf".into(),
        "etc/supervisord.conf".into(),
        "/etc/supervisord.conf".into(),
        "/etc/supervisor/supervisord.conf".into(),
    ];
    candidates.into_iter().find(|path| path.exists())
}

/// # Errors
/// One line that says what is wrong with the file.
pub(super) fn read(path: &Path) -> Result<Section, String> {
    let shown = path.display();
    if !path.exists() {
        return Err(format!("could not find config file {shown}"));
    }
    let text =
        fs::read_to_string(path).map_err(|_| format!("could not read config file {shown}"))?;
    let here = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
    let here = here.parent().unwrap_or(Path::new("/")).to_owned();
    let keys = section(&text, "supervisorctl")
        .ok_or(".ini file does not include supervisorctl section")?;
    let mut names: BTreeMap<String, String> = std::env::vars_os()
        .map(|(name, value)| {
            (
                format!("ENV_{}", name.to_string_lossy()),
                value.to_string_lossy().into_owned(),
            )
        })
        .collect();
    names.insert("here".to_owned(), here.to_string_lossy().into_owned());
    let host = nix::unistd::gethostname().unwrap_or_default();
    names.insert(
        "host_node_name".to_owned(),
        host.to_string_lossy().into_owned(),
    );
    let get = |key: &str| -> Result<Option<String>, String> {
        let Some(raw) = keys.get(key) else {
            return Ok(None);
        };
        expand(raw, &names)
            .map(Some)
            .map_err(|why| format!("{why} in section 'supervisorctl' (file: '{shown}')"))
    };
    let server_url = get("serverurl")?.map(|url| match url.strip_prefix("unix://") {
        Some(socket) => format!("unix://{}", normalized(socket).display()),
        None => url,
    });
    Ok(Section {
        server_url,
        username: get("username")?,
        password: get("password")?,
        prompt: get("prompt")?,
        history_file: get("history_file")?
            .filter(|path| !path.is_empty())
            .map(|path| normalized(&path)),
    })
}

fn normalized(path: &str) -> PathBuf {
    let path = match (path.strip_prefix("~/"), std::env::var_os("HOME")) {
        (Some(rest), Some(home)) => Path::new(&home).join(rest),
        _ => PathBuf::from(path),
    };
    std::path::absolute(&path).unwrap_or(path)
}

/// The keys of one section, as Python's parser splits lines: `=` or `:`, `;` and `#` after white space begin a comment,
/// repeated sections are merged, names of keys in lower case.
fn section(text: &str, wanted: &str) -> Option<BTreeMap<String, String>> {
    let mut found: Option<BTreeMap<String, String>> = None;
    let mut inside = false;
    let mut last: Option<String> = None;
    for line in text.lines() {
        let line = without_comment(line);
        if line.trim().is_empty() {
            continue;
        }
        if line.starts_with([' ', '\t'])
            && let (Some(keys), Some(key)) = (&mut found, &last)
        {
            if let Some(value) = keys.get_mut(key) {
                value.push('\n');
                value.push_str(line.trim());
            }
            continue;
        }
        let line = line.trim();
        if let Some(name) = line
            .strip_prefix('[')
            .and_then(|rest| rest.split(']').next())
        {
            inside = name == wanted;
            last = None;
            if inside {
                found.get_or_insert_default();
            }
            continue;
        }
        if let (true, Some((key, value))) = (inside, line.split_once(['=', ':'])) {
            let key = key.trim().to_lowercase();
            found
                .get_or_insert_default()
                .insert(key.clone(), value.trim().to_owned());
            last = Some(key);
        }
    }
    found
}

fn without_comment(line: &str) -> &str {
    let mut before = ' ';
    for (at, c) in line.char_indices() {
        if matches!(c, ';' | '#') && before.is_whitespace() {
            return &line[..at];
        }
        before = c;
    }
    line
}

/// `%(name)s` and `%%`.
fn expand(text: &str, names: &BTreeMap<String, String>) -> Result<String, String> {
    let mut out = String::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('%') {
        out.push_str(before);
        if let Some(after) = after.strip_prefix('%') {
            out.push('%');
            rest = after;
            continue;
        }
        let name = after
            .strip_prefix('(')
            .and_then(|after| after.split_once(")s"))
            .ok_or_else(|| format!("'{text}' is badly formatted: a literal % is written %%"))?;
        let value = names.get(name.0).ok_or_else(|| {
            format!(
                "'{text}' contains the name {} which cannot be expanded",
                name.0
            )
        })?;
        out.push_str(value);
        rest = name.1;
    }
    out.push_str(rest);
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_section_of_a_file() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("supervisord.conf");
        fs::write(
            &path,
            "; all\n[supervisord]\nusername = other\n[supervisorctl]\nServerURL = unix://%(here)s/s.sock ; where\n\
             prompt: a;b%%\n  username = me\n[program:x]\npassword=no\n[supervisorctl]\npassword = x#y\n",
        )
        .unwrap();
        let got = read(&path).unwrap();
        let want = Section {
            server_url: Some(format!("unix://{}/s.sock", dir.path().display())),
            username: None,
            password: Some("x#y".to_owned()),
            prompt: Some("a;b%\nusername = me".to_owned()),
            history_file: None,
        };
        assert_eq!(got, want);
        fs::write(&path, "[supervisord]\n").unwrap();
        assert!(read(&path).unwrap_err().contains("does not include"));
        fs::write(&path, "[supervisorctl]\nserverurl=%(nobody)s\n").unwrap();
        assert!(read(&path).unwrap_err().contains("nobody"));
        assert!(
            read(&dir.path().join("none"))
                .unwrap_err()
                .contains("could not find")
        );
    }
}
