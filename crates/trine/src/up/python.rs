//! Which Python the application runs on: the environment that was named, is active, or lies here.

use std::env;
use std::path::{Path, PathBuf};

use trine_service::exit::Exit;
use trine_sys::spawn::find_program;

use crate::failure::Failure;

/// A virtual environment or an interpreter, and how it was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Python {
    pub(crate) path: PathBuf,
    pub(crate) found_by: FoundBy,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum FoundBy {
    Option,
    Active,
    Folder,
}

impl Python {
    /// `Ok(None)`: there is no environment, so `trine-wsgi` takes the Python it was built for.
    pub(crate) fn find(named: Option<&Path>, folder: &Path) -> Result<Option<Self>, Failure> {
        Self::choose(
            named,
            env::var_os("VIRTUAL_ENV").map(PathBuf::from).as_deref(),
            folder,
        )
    }

    fn choose(
        named: Option<&Path>,
        active: Option<&Path>,
        folder: &Path,
    ) -> Result<Option<Self>, Failure> {
        if let Some(named) = named {
            // The link itself, never what it points to: `.venv/bin/python` is what makes it an environment.
            let path = folder.join(named);
            let path = if path.exists() {
                path
            } else {
                in_path(named).unwrap_or(path)
            };
            return if is_environment(&path) || path.is_file() {
                Ok(Some(Self {
                    path: plain(&path),
                    found_by: FoundBy::Option,
                }))
            } else {
                let what = format!(
                    "{} is neither a virtual environment nor a Python",
                    path.display()
                );
                Err(Failure::new(
                    Exit::Usage,
                    what,
                    format!("make one: python3 -m venv {}", named.display()),
                ))
            };
        }
        if let Some(active) = active.filter(|path| is_environment(path)) {
            return Ok(Some(Self {
                path: active.to_owned(),
                found_by: FoundBy::Active,
            }));
        }
        let here = [".venv", "venv"]
            .map(|name| folder.join(name))
            .into_iter()
            .find(|path| is_environment(path));
        Ok(here.map(|path| Self {
            path,
            found_by: FoundBy::Folder,
        }))
    }

    /// The pip that installs into it, as a command to type.
    pub(crate) fn pip(&self) -> String {
        let python = if self.path.is_dir() {
            self.path.join("bin/python")
        } else {
            self.path.clone()
        };
        format!("{} -m pip", shell_words::quote(&python.to_string_lossy()))
    }
}

/// `python3.12`, as a shell would find it.
fn in_path(named: &Path) -> Option<PathBuf> {
    let bare = named.components().count() == 1 && !named.as_os_str().is_empty();
    let path = env::var_os("PATH").filter(|_| bare)?;
    find_program(named.as_os_str(), &path)
}

fn is_environment(path: &Path) -> bool {
    path.join("pyvenv.cfg").is_file() || path.join("bin/python").exists()
}

/// Without `.` parts, so that messages read well.
fn plain(path: &Path) -> PathBuf {
    path.components().collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    fn environment(path: &Path) {
        fs::create_dir_all(path).unwrap();
        fs::write(path.join("pyvenv.cfg"), "").unwrap();
    }

    #[test]
    fn the_nearest_word_wins() {
        let folder = tempfile::tempdir().unwrap();
        let here = folder.path();
        let find = |named: Option<&str>, active: Option<&Path>| {
            Python::choose(named.map(Path::new), active, here)
                .map(|python| python.map(|p| (p.path, p.found_by)))
        };
        assert_eq!(find(None, None).unwrap(), None);

        environment(&here.join("venv"));
        assert_eq!(
            find(None, None).unwrap(),
            Some((here.join("venv"), FoundBy::Folder))
        );
        environment(&here.join(".venv"));
        assert_eq!(
            find(None, None).unwrap(),
            Some((here.join(".venv"), FoundBy::Folder))
        );
        environment(&here.join("active"));
        let active = here.join("active");
        assert_eq!(
            find(None, Some(&active)).unwrap(),
            Some((active.clone(), FoundBy::Active))
        );
        assert_eq!(
            find(None, Some(&here.join("gone"))).unwrap(),
            Some((here.join(".venv"), FoundBy::Folder))
        );
        assert_eq!(
            find(Some("./venv"), Some(&active)).unwrap(),
            Some((here.join("venv"), FoundBy::Option))
        );

        let failure = find(Some("nothing"), None).unwrap_err();
        assert!(failure.what.contains("neither"), "{}", failure.what);
        assert_eq!(failure.way_out, "make one: python3 -m venv nothing");
    }
}
