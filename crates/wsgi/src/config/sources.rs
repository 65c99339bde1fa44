//! Where settings come from, lowest first: defaults, a configuration file, GUNICORN_CMD_ARGS, the command line.
//!
//! All of it is read again on reload, from the folder that the program was started in.
//! Not here: parsing the command line (`cli`), or what single values mean.

use std::path::{Path, PathBuf};

use trine_config::{Problems, suggest};

use crate::cli::{Line, Program};
use crate::error::Error;
use crate::python::{
    Config, ConfigError, Embedded, Gil, Names, change_folder, import_module, is_hosted, run_file,
};

use super::meaning;
use super::origin::Origin;
use super::settings::Settings;
use super::value::{Value, quoted};
use super::values::Values;
use super::{table, yaml};

/// The file that is read when nobody names one.
const DEFAULT_FILE: &str = "gunicorn.conf.py";

/// A shorter name is like too many others.
const TELLING: usize = 5;

/// Where settings come from; read again on reload.
#[derive(Debug, Clone)]
pub struct Sources {
    pub program: Program,
    line: Line,
    env_line: Line,
    origin: Origin,
    embedded: Option<Embedded>,
}

/// What the sources say.
#[derive(Debug)]
pub struct Read {
    pub values: Values,
    pub settings: Settings,
}

/// A configuration by its notation.
#[derive(Debug, PartialEq, Eq)]
enum Location<'a> {
    Module(&'a str),
    Python(&'a str),
    Yaml(&'a Path),
}

impl<'a> Location<'a> {
    fn parse(text: &'a str) -> Self {
        if let Some(module) = text.strip_prefix("python:") {
            return Self::Module(module);
        }
        let path = text.strip_prefix("file:").unwrap_or(text);
        let end = Path::new(path).extension().and_then(|end| end.to_str());
        match end {
            Some("yaml" | "yml") => Self::Yaml(Path::new(path)),
            _ => Self::Python(path),
        }
    }
}

impl Sources {
    #[must_use]
    pub fn new(program: Program, line: Line, env_line: Line, origin: Origin) -> Self {
        Self {
            program,
            line,
            env_line,
            origin,
            embedded: None,
        }
    }

    /// The settings of an application that brings its own, instead of all other sources.
    #[must_use]
    pub fn embedded(program: Program, embedded: Embedded, origin: Origin) -> Self {
        Self {
            embedded: Some(embedded),
            ..Self::new(program, Line::default(), Line::default(), origin)
        }
    }

    /// A variable of the environment that the program was started with.
    #[must_use]
    pub fn variable(&self, name: &str) -> Option<String> {
        self.origin.env(name).map(str::to_owned)
    }

    /// The folder that the program was started in.
    #[must_use]
    pub fn folder(&self) -> &Path {
        &self.origin.folder
    }

    /// The virtualenv or interpreter to start Python with: it has to be known before a Python file can be read.
    #[must_use]
    pub fn python(&self) -> Option<PathBuf> {
        let named = [&self.line, &self.env_line]
            .into_iter()
            .find_map(|line| line.text("python"));
        let named = named.map(|path| self.origin.folder.join(path));
        named
            .or_else(|| match self.location().map(Location::parse) {
                Some(Location::Yaml(path)) => yaml::python(&self.origin.folder.join(path)),
                _ => None,
            })
            .or_else(|| {
                // A Python that imported us is in its virtualenv already, whatever the variable says.
                let active = self.origin.env("VIRTUAL_ENV");
                let active = active.filter(|path| !path.is_empty() && !is_hosted());
                active.map(PathBuf::from)
            })
    }

    fn location(&self) -> Option<&str> {
        let lines = [&self.line, &self.env_line];
        lines
            .into_iter()
            .find_map(|line| line.text("config").filter(|text| !text.is_empty()))
    }

    /// The settings as the sources say now. The current folder is theirs afterwards, or, if they are wrong, what it
    /// was.
    ///
    /// # Errors
    /// What is wrong, in gunicorn's words.
    pub fn read(&self, gil: Gil<'_>) -> Result<Read, Error> {
        let before = std::env::current_dir();
        let read = self.read_from_origin(gil);
        if let (Err(_), Ok(before)) = (&read, before) {
            let _ = std::env::set_current_dir(before);
        }
        read
    }

    /// Reads the settings without going to their folder.
    ///
    /// # Errors
    /// As [`Sources::read`].
    pub fn rehearse(&self, gil: Gil<'_>) -> Result<Read, Error> {
        let before = std::env::current_dir();
        let read = self.read_from_origin(gil);
        if let Ok(before) = before {
            let _ = std::env::set_current_dir(before);
        }
        read
    }

    fn read_from_origin(&self, gil: Gil<'_>) -> Result<Read, Error> {
        let mut warnings = vec![];
        let values = match &self.embedded {
            Some(embedded) => self.embedded_values(gil, embedded)?,
            None => self.values(gil, &mut warnings)?,
        };
        let app = match &self.embedded {
            Some(_) => Some(Embedded::SPEC),
            None => self.line.args.first().map(String::as_str),
        };
        let app = app.filter(|_| values.text("paste").is_none());
        let mut settings = meaning::settings(&values, app, &self.origin).map_err(Error::Setting)?;
        settings.warnings.splice(0..0, warnings);
        settings.shown = Config::new(gil, &values);
        go(gil, &settings.chdir)?;
        Ok(Read { values, settings })
    }

    fn embedded_values(&self, gil: Gil<'_>, embedded: &Embedded) -> Result<Values, Error> {
        let mut values = Values::defaults(gil, &self.origin).map_err(Error::Setting)?;
        go(gil, &self.origin.folder)?;
        let names = embedded.read(gil).map_err(|error| match error {
            ConfigError::Raised(why) | ConfigError::Import(why) => Error::Setting(why),
            ConfigError::Exit(code) => Error::Exit { code },
        })?;
        for (name, value) in names {
            let Some(place) = table::find(&name) else {
                continue;
            };
            let set = values.set(gil, place, value, &self.origin);
            set.map_err(Error::Setting)?;
        }
        Ok(values)
    }

    /// One value for each setting, before it is looked at what they mean together. The current folder is that of the
    /// origin afterwards.
    ///
    /// # Errors
    /// What is wrong, in gunicorn's words.
    pub fn values(&self, gil: Gil<'_>, warnings: &mut Vec<String>) -> Result<Values, Error> {
        let mut values = Values::defaults(gil, &self.origin).map_err(Error::Setting)?;
        let app = self.line.args.first().map(String::as_str);
        match self.line.text("paste") {
            Some(paste) => self.use_paste(paste, &mut values)?,
            None => {
                if let Some(app) = app {
                    values.put("default_proc_name", Value::text(app));
                }
            }
        }
        go(gil, &self.origin.folder)?;
        match self.location() {
            Some(location) => self.read_file(gil, location, &mut values, warnings)?,
            None if Path::new(DEFAULT_FILE).exists() => {
                let path = self.origin.folder.join(DEFAULT_FILE);
                self.read_file(gil, &path.to_string_lossy(), &mut values, warnings)?;
            }
            None => {}
        }
        for line in [&self.env_line, &self.line] {
            for (place, value) in &line.values {
                values
                    .set(gil, *place, value.clone(), &self.origin)
                    .map_err(Error::Setting)?;
            }
        }
        Ok(values)
    }

    /// The plain words of the command line.
    #[must_use]
    pub fn args(&self) -> &[String] {
        &self.line.args
    }

    /// PasteDeploy's file is looked for before anything else is read, as gunicorn does.
    fn use_paste(&self, paste: &str, values: &mut Values) -> Result<(), Error> {
        let path = self
            .origin
            .folder
            .join(paste.split('#').next().unwrap_or_default());
        if !path.exists() {
            let path = path.to_string_lossy();
            return Err(Error::Setting(format!("{} not found", quoted(&path))));
        }
        values.put("default_proc_name", Value::text(path.to_string_lossy()));
        let text = std::fs::read_to_string(&path).unwrap_or_default();
        if text.lines().any(|line| line.trim_end() == "[loggers]") {
            values.put("logconfig", Value::text(path.to_string_lossy()));
        }
        Ok(())
    }

    fn read_file(
        &self,
        gil: Gil<'_>,
        location: &str,
        values: &mut Values,
        warnings: &mut Vec<String>,
    ) -> Result<(), Error> {
        let is_setting = |name: &str| table::find(name).is_some();
        let names = match Location::parse(location) {
            Location::Yaml(path) => {
                let mut problems = Problems::new();
                let path = self.origin.folder.join(path);
                let read = yaml::read(&path, &mut problems, |place, value| {
                    values.set(gil, place, value, &self.origin)
                });
                return problems.finish(read).map_err(Error::Config);
            }
            Location::Module(name) => import_module(gil, name, is_setting),
            Location::Python(path) => {
                if !Path::new(path).exists() {
                    return Err(Error::Setting(format!("{} doesn't exist", quoted(path))));
                }
                if ![".py", ".pyc"].iter().any(|end| path.ends_with(end)) {
                    eprintln!(
                        "!!!\n!!! WARNING: configuration file should have a valid Python extension.\n!!!\n"
                    );
                }
                run_file(gil, path, is_setting)
            }
        };
        let names = names.map_err(|error| match error {
            ConfigError::Raised(traceback) => Error::ConfigFile {
                path: location.to_owned(),
                traceback,
            },
            ConfigError::Exit(code) => Error::Exit { code },
            ConfigError::Import(why) => Error::Setting(why),
        })?;
        misspelt(location, &names, warnings);
        for (name, value) in names.known {
            let Some(place) = table::find(&name) else {
                continue;
            };
            let shown = value.to_string();
            match values.set(gil, place, value, &self.origin) {
                Ok(()) => {}
                // gunicorn's files may use such a name for a variable.
                Err(why) if table::all()[place].is_own() => {
                    warnings.push(format!("{location}: {name} is ignored: {why}"));
                }
                Err(why) => {
                    return Err(Error::InvalidValue {
                        name,
                        value: shown,
                        why,
                    });
                }
            }
        }
        Ok(())
    }
}

fn go(gil: Gil<'_>, folder: &Path) -> Result<(), Error> {
    change_folder(gil, folder).map_err(|source| Error::Chdir {
        path: folder.to_owned(),
        source,
    })
}

/// Names that are nearly those of settings, one warning each. Configurations are programs and have variables of their
/// own, so other names are no mistake; neither is one whose setting is there beside it (`BIND = …; bind = BIND`).
fn misspelt(location: &str, names: &Names, warnings: &mut Vec<String>) {
    for name in names.unknown.iter().filter(|name| name.len() >= TELLING) {
        let known = table::all().iter().map(|setting| setting.name);
        let Some(meant) = suggest::nearest(name, known) else {
            continue;
        };
        if !names.known.iter().any(|(known, _)| known == meant) {
            warnings.push(format!(
                "{location}: {name} is not a setting and is ignored; did you mean {meant}?"
            ));
        }
    }
}
