//! Where and how the program was started: folder, environment, user. Some defaults come from there.
//!
//! It is looked at once: a reload counts from the same place, whatever has changed in between.
//! Not here: the settings themselves.

use std::collections::HashMap;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use super::value::Value;

#[derive(Debug, Clone)]
pub struct Origin {
    /// The folder the program was started in.
    pub folder: PathBuf,
    env: HashMap<String, String>,
    /// The effective user and group.
    pub user: u32,
    pub group: u32,
}

impl Origin {
    /// As it is now.
    #[must_use]
    pub fn here() -> Self {
        let text = |text: std::ffi::OsString| text.to_string_lossy().into_owned();
        let env: HashMap<String, String> = std::env::vars_os()
            .map(|(name, value)| (text(name), text(value)))
            .collect();
        Self {
            folder: folder(env.get("PWD").map(String::as_str)),
            env,
            user: nix::unistd::geteuid().as_raw(),
            group: nix::unistd::getegid().as_raw(),
        }
    }

    #[must_use]
    pub fn env(&self, name: &str) -> Option<&str> {
        self.env.get(name).map(String::as_str)
    }

    /// The words of GUNICORN_CMD_ARGS.
    ///
    /// # Errors
    /// Python's sentence when quotes do not match.
    pub fn arguments(&self) -> Result<Vec<String>, String> {
        shell_words::split(self.env("GUNICORN_CMD_ARGS").unwrap_or_default())
            .map_err(|_| "No closing quotation".to_owned())
    }

    pub(super) fn bind(&self) -> Value {
        Value::texts([match self.env("PORT") {
            Some(port) => format!("0.0.0.0:{port}"),
            None => "127.0.0.1:8000".to_owned(),
        }])
    }

    /// A text that is no number is refused when it is checked.
    pub(super) fn workers(&self) -> Value {
        match self.env("WEB_CONCURRENCY") {
            Some(count) => count
                .trim()
                .parse()
                .map_or_else(|_| Value::text(count), Value::Int),
            None => Value::Int(1),
        }
    }

    pub(super) fn chdir(&self) -> Value {
        Value::text(self.folder.to_string_lossy())
    }

    pub(super) fn forwarded_allow_ips(&self) -> Value {
        Value::text(self.env("FORWARDED_ALLOW_IPS").unwrap_or("127.0.0.1,::1"))
    }

    pub(super) fn control_socket(&self) -> Value {
        let runtime = self
            .env("XDG_RUNTIME_DIR")
            .filter(|folder| !folder.is_empty() && Path::new(folder).is_dir());
        let path = match runtime {
            Some(folder) => Path::new(folder).join("gunicorn.ctl"),
            None => Path::new(self.env("HOME").unwrap_or("~")).join(".gunicorn/gunicorn.ctl"),
        };
        Value::text(path.to_string_lossy())
    }
}

/// The current folder by the name it was gone to (PWD), if that is still the same one.
fn folder(pwd: Option<&str>) -> PathBuf {
    let real = std::env::current_dir().unwrap_or_else(|_| PathBuf::from("."));
    let identity = |path: &Path| path.metadata().map(|data| (data.dev(), data.ino())).ok();
    match pwd.map(Path::new) {
        Some(named) if named.is_absolute() && identity(named) == identity(&real) => {
            named.to_owned()
        }
        _ => real,
    }
}
