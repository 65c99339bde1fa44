//! Which application is meant: `MODULE:APP` as typed, or the one that the folder obviously holds.
//!
//! Python files are read as text here, never run: a guess must have no side effects. What cannot be
//! seen this way has to be typed.

use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};

use trine_service::exit::Exit;

use crate::failure::Failure;

/// Where an application usually is, and what it is usually called.
const FILES: [&str; 3] = ["app.py", "wsgi.py", "main.py"];
const NAMES: [&str; 2] = ["app", "application"];

/// An importable module and the expression in it, as the WSGI server takes them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct AppRef {
    pub(crate) module: String,
    pub(crate) name: String,
    /// The file that the guess was made from; nothing when the user typed both parts.
    pub(crate) guessed_from: Option<PathBuf>,
}

impl fmt::Display for AppRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.module, self.name)
    }
}

impl AppRef {
    /// What was typed, completed by what lies in `folder`.
    pub(crate) fn find(typed: Option<&str>, folder: &Path) -> Result<Self, Failure> {
        match typed {
            Some(typed) => Self::parse(typed, folder),
            None => Self::guess(folder),
        }
    }

    fn parse(typed: &str, folder: &Path) -> Result<Self, Failure> {
        let (module, name) = typed
            .split_once(':')
            .map_or((typed, None), |(module, name)| (module, Some(name)));
        if module.contains('/') || Path::new(module).extension().is_some_and(|end| end == "py") {
            let dotted = module
                .trim_end_matches(".py")
                .trim_start_matches("./")
                .replace('/', ".");
            let what = format!("`{module}` is a file; an application is named by its module");
            return Err(usage(
                what,
                format!("write it as: trine up {dotted}:{}", name.unwrap_or("app")),
            ));
        }
        let well_formed = module.split('.').all(is_identifier);
        if !well_formed || name.is_some_and(str::is_empty) {
            return Err(usage(
                format!("`{typed}` does not name an application"),
                "write MODULE:APP, for example: trine up app:app",
            ));
        }
        if let Some(name) = name {
            return Ok(Self {
                module: module.to_owned(),
                name: name.to_owned(),
                guessed_from: None,
            });
        }
        let file = module_file(folder, module);
        let name = file.as_deref().and_then(application_in).unwrap_or(NAMES[1]);
        Ok(Self {
            module: module.to_owned(),
            name: name.to_owned(),
            guessed_from: file,
        })
    }

    fn guess(folder: &Path) -> Result<Self, Failure> {
        let here = FILES
            .iter()
            .map(|file| (file.trim_end_matches(".py").to_owned(), folder.join(file)));
        let mut found = candidates(here);
        if found.is_empty() && folder.join("manage.py").is_file() {
            found = candidates(django_modules(folder).into_iter()); // PROJECT/wsgi.py, one folder down
        }
        match <[Self; 1]>::try_from(found) {
            Ok([only]) => Ok(only),
            Err(none) if none.is_empty() => Err(usage(
                format!(
                    "no application was named, and {} has none in app.py, wsgi.py or main.py",
                    folder.display()
                ),
                "name it as MODULE:APP, for example: trine up app:app",
            )),
            Err(several) => {
                let list: Vec<_> = several.iter().map(ToString::to_string).collect();
                Err(usage(
                    format!("there are several applications here: {}", list.join(", ")),
                    format!("name the one to serve, for example: trine up {}", list[0]),
                ))
            }
        }
    }
}

fn usage(what: impl Into<String>, way_out: impl Into<String>) -> Failure {
    Failure::new(Exit::Usage, what, way_out)
}

fn candidates(modules: impl Iterator<Item = (String, PathBuf)>) -> Vec<AppRef> {
    let known = modules.filter_map(|(module, file)| {
        let name = application_in(&file)?.to_owned();
        Some(AppRef {
            module,
            name,
            guessed_from: Some(file),
        })
    });
    known.collect()
}

fn django_modules(folder: &Path) -> Vec<(String, PathBuf)> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    let mut modules: Vec<_> = entries
        .filter_map(|entry| {
            let name = entry
                .file_name()
                .into_string()
                .ok()
                .filter(|name| is_identifier(name))?;
            Some((format!("{name}.wsgi"), entry.path().join("wsgi.py")))
        })
        .collect();
    modules.sort();
    modules
}

/// The file of `module`, if it lies in `folder` and not somewhere else on Python's path.
pub(crate) fn module_file(folder: &Path, module: &str) -> Option<PathBuf> {
    let base = folder.join(module.replace('.', "/"));
    [base.with_extension("py"), base.join("__init__.py")]
        .into_iter()
        .find(|file| file.is_file())
}

/// `app` or `application`, whichever the file binds at its top level (the first one when both).
fn application_in(file: &Path) -> Option<&'static str> {
    let text = fs::read(file).ok()?;
    let text = String::from_utf8_lossy(&text);
    text.lines()
        .find_map(|line| NAMES.into_iter().find(|name| binds(line, name)))
}

/// Whether a line without indentation gives `name` a value: an assignment, a `def`, an import.
fn binds(line: &str, name: &str) -> bool {
    let mut words = line
        .split(|c: char| !(c.is_alphanumeric() || c == '_'))
        .filter(|word| !word.is_empty());
    if line.starts_with(char::is_whitespace) {
        return false;
    }
    match words.next() {
        Some("def" | "class") => words.next() == Some(name),
        Some("from" | "import") => line
            .split('#')
            .next()
            .is_some_and(|code| imports(code, name)),
        Some(first) if first == name => {
            let rest = line[name.len()..].trim_start();
            (rest.starts_with('=') && !rest.starts_with("=="))
                || (rest.starts_with(':') && rest.contains('='))
        }
        _ => false,
    }
}

fn imports(code: &str, name: &str) -> bool {
    let Some((head, list)) = code.split_once("import ") else {
        return false;
    };
    let plain_import = head.trim().is_empty();
    list.split(',').any(|one| {
        let one = one.trim_matches(|c: char| c.is_whitespace() || matches!(c, '(' | ')'));
        match one.split_once(" as ") {
            Some((_, alias)) => alias.trim() == name,
            None => !plain_import && one == name,
        }
    })
}

fn is_identifier(word: &str) -> bool {
    !word.is_empty()
        && !word.starts_with(|c: char| c.is_ascii_digit())
        && word.chars().all(|c| c.is_alphanumeric() || c == '_')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(typed: Option<&str>, files: &[(&str, &str)], want: &str) {
        let folder = tempfile::tempdir().unwrap();
        for (name, text) in files {
            let file = folder.path().join(name);
            fs::create_dir_all(file.parent().unwrap()).unwrap();
            fs::write(file, text).unwrap();
        }
        let got = match AppRef::find(typed, folder.path()) {
            Ok(app) => app.to_string(),
            Err(failure) => format!("{} | {}", failure.what, failure.way_out),
        };
        assert!(
            got.contains(want),
            "{typed:?} {files:?}: {got:?} does not contain {want:?}"
        );
    }

    #[test]
    fn typed() {
        check(Some("app:app"), &[], "app:app");
        check(Some("a.b.c:make()"), &[], "a.b.c:make()");
        check(Some("shop"), &[], "shop:application");
        check(
            Some("shop"),
            &[("shop.py", "app = Flask(__name__)\n")],
            "shop:app",
        );
        check(
            Some("shop"),
            &[("shop/__init__.py", "application = 1\n")],
            "shop:application",
        );
        check(Some("app.py"), &[], "trine up app:app");
        check(Some("src/site.py:web"), &[], "trine up src.site:web");
        check(Some("app:"), &[], "MODULE:APP");
        check(Some(":app"), &[], "MODULE:APP");
        check(Some("my-app:app"), &[], "MODULE:APP");
    }

    #[test]
    fn guessed() {
        check(
            None,
            &[(
                "app.py",
                "from flask import Flask\n\napp = Flask(__name__)\n",
            )],
            "app:app",
        );
        check(
            None,
            &[(
                "wsgi.py",
                "from shop import create\napplication: object = create()\n",
            )],
            "wsgi:application",
        );
        check(
            None,
            &[("main.py", "def app(environ, start_response):\n    pass\n")],
            "main:app",
        );
        check(
            None,
            &[("wsgi.py", "from shop import app as application\n")],
            "wsgi:application",
        );
        check(
            None,
            &[("wsgi.py", "from shop import (db, app)  # both\n")],
            "wsgi:app",
        );
        check(
            None,
            &[("app.py", "app = 1\n"), ("main.py", "print('a tool')\n")],
            "app:app",
        );
        check(
            None,
            &[("manage.py", ""), ("site/wsgi.py", "application = get()\n")],
            "site.wsgi:application",
        );
    }

    #[test]
    fn not_guessed() {
        check(None, &[], "no application was named");
        check(
            None,
            &[(
                "app.py",
                "def create_app():\n    app = Flask()\n    return app\n",
            )],
            "no application",
        );
        check(
            None,
            &[(
                "app.py",
                "import app\nfrom app import thing\napp == 3\napps = 1\n",
            )],
            "no application",
        );
        check(
            None,
            &[("app.py", "app = 1"), ("wsgi.py", "app = 2")],
            "several applications here: app:app, wsgi:app",
        );
        check(
            None,
            &[("site/wsgi.py", "application = get()\n")],
            "no application",
        );
    }
}
