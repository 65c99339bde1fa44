//! Environment files: lines of NAME=value, as systemd and Docker read them. Pure but for [`read`].
//! Not here: which files a program has.

use crate::config::extras::EnvironmentFile;

/// All of them, later ones last. `Err` says which line of which file is not usable.
pub(super) fn read(files: &[EnvironmentFile]) -> Result<Vec<(String, String)>, String> {
    let mut all = Vec::new();
    for EnvironmentFile { path, optional } in files {
        let name = path.display();
        match std::fs::read_to_string(path) {
            Ok(text) => {
                all.extend(parse(&text).map_err(|(line, what)| {
                    format!("environment file {name}, line {line}: {what}")
                })?)
            }
            Err(err) if *optional && err.kind() == std::io::ErrorKind::NotFound => {}
            Err(err) => return Err(format!("can't read environment file {name}: {err}")),
        }
    }
    Ok(all)
}

/// Comments begin a line with # or ;. Values may stand in quotes: in double ones a backslash takes the next character
/// as it is, in single ones nothing does.
fn parse(text: &str) -> Result<Vec<(String, String)>, (usize, String)> {
    let mut all = Vec::new();
    for (index, line) in text.lines().enumerate() {
        let line = line.trim();
        if line.is_empty() || line.starts_with(['#', ';']) {
            continue;
        }
        let line = line.strip_prefix("export ").unwrap_or(line);
        let wrong = |what: &str| (index + 1, what.to_owned());
        let (name, value) = line
            .split_once('=')
            .ok_or_else(|| wrong("expected NAME=value"))?;
        let name = name.trim_end();
        if name.is_empty() || name.contains(char::is_whitespace) {
            return Err(wrong("the name has a space in it"));
        }
        let value = unquote(value.trim_start()).ok_or_else(|| wrong("a quote is not closed"))?;
        all.push((name.to_owned(), value));
    }
    Ok(all)
}

fn unquote(value: &str) -> Option<String> {
    if let Some(inner) = value.strip_prefix('\'') {
        return inner.strip_suffix('\'').map(str::to_owned);
    }
    let Some(inner) = value.strip_prefix('"') else {
        return Some(value.to_owned());
    };
    let mut out = String::new();
    let mut chars = inner.chars();
    loop {
        match chars.next()? {
            '\\' => out.push(chars.next()?),
            '"' => return chars.as_str().is_empty().then_some(out),
            other => out.push(other),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, want: &str) {
        let got = match parse(text) {
            Ok(all) => all
                .iter()
                .map(|(name, value)| format!("{name}=[{value}]"))
                .collect::<Vec<_>>()
                .join(" "),
            Err((line, what)) => format!("line {line}: {what}"),
        };
        assert_eq!(got, want, "{text:?}");
    }

    #[test]
    fn lines() {
        check("A=1\n\n# no\n; no\nB = two words \n", "A=[1] B=[two words]");
        check("export A='it is \"x\"'", "A=[it is \"x\"]");
        check(r#"A="a \"b\" \\ c # d""#, r#"A=[a "b" \ c # d]"#);
        check("A=", "A=[]");
        check("A=1\nnonsense", "line 2: expected NAME=value");
        check("A B=1", "line 1: the name has a space in it");
        check("A=\"open", "line 1: a quote is not closed");
        check("A='open", "line 1: a quote is not closed");
        check("A=\"x\"y", "line 1: a quote is not closed");
    }
}
