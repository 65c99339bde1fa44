//! Settings in YAML: the same names as in a Python file, and times and sizes with units.
//!
//! Every problem is told, with its place. Relative paths are taken from the folder of the file.
//! Not here: which values are good (`validate`).

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};

use serde::Deserialize;
use serde::de::{Deserializer, Error, MapAccess, SeqAccess, Visitor};
use trine_config::{ListenAddr, Problems, suggest, yaml};

use super::address;
use super::table::{self, Check, Setting};
use super::value::{Dict, Value};

/// Reads the file and hands each value, with the place of its setting, to `set`; every problem is noted.
pub(super) fn read(
    path: &Path,
    problems: &mut Problems,
    mut set: impl FnMut(usize, Value) -> Result<(), String>,
) -> Option<()> {
    let document = yaml::load::<BTreeMap<String, Value>>(path, problems)?;
    let folder = path.parent().unwrap_or(Path::new("."));
    for (name, value) in &document.raw {
        let at = document.at(name);
        let Some(place) = table::find(name) else {
            let known = table::all().iter().map(|setting| setting.name);
            let help = match suggest::nearest(name, known) {
                Some(meant) => format!("did you mean \"{meant}\"?"),
                None => "trine-wsgi --help lists the settings".to_owned(),
            };
            problems.push(at, "is not a setting", help);
            continue;
        };
        let setting = table::all()[place];
        let value = beneath(folder, setting, value.clone());
        let set = sockets(setting, &value).and_then(|()| set(place, value));
        if let Err(why) = set {
            problems.push(at, why, format!("expected {}", setting.check.expected()));
        }
    }
    Some(())
}

/// The `python` of the file, which is needed before the rest can be checked.
pub(super) fn python(path: &Path) -> Option<PathBuf> {
    // Whatever is wrong with the file is told when it is read as a whole.
    let mut unused = Problems::new();
    let document = yaml::load::<BTreeMap<String, Value>>(path, &mut unused)?;
    let python = document.raw.get("python")?.as_str()?;
    Some(path.parent()?.join(python))
}

/// With addresses looked at here, so that they are told with their line.
fn sockets(setting: &Setting, value: &Value) -> Result<(), String> {
    let addresses = match value {
        Value::List(items) if setting.name == "bind" => {
            items.iter().filter_map(Value::as_str).collect()
        }
        Value::Text(text) if setting.name == "bind" => vec![text.as_str()],
        _ => vec![],
    };
    addresses
        .into_iter()
        .try_for_each(|text| address::listen(text).map(|_| ()))
}

/// With relative paths taken from `folder`.
fn beneath(folder: &Path, setting: &Setting, value: Value) -> Value {
    let join = |path: &str| match path {
        "-" | "" => path.to_owned(),
        path => folder.join(path).to_string_lossy().into_owned(),
    };
    match (setting.check, value) {
        (_, Value::Text(list)) if setting.name == "pythonpath" => {
            let folders: Vec<String> = list.split(',').map(join).collect();
            Value::text(folders.join(","))
        }
        (_, Value::Int(port)) if setting.name == "bind" => Value::text(port.to_string()),
        (_, Value::Text(text)) if setting.name == "bind" => match text.parse::<ListenAddr>() {
            Ok(addr @ ListenAddr::Unix(_)) => Value::text(addr.resolved_in(folder).to_string()),
            _ => Value::Text(text),
        },
        (Check::Path | Check::Chdir | Check::Files, Value::Text(path)) => Value::Text(join(&path)),
        (_, Value::List(items)) if setting.name == "bind" || setting.check == Check::Files => {
            Value::List(
                items
                    .into_iter()
                    .map(|item| beneath(folder, setting, item))
                    .collect(),
            )
        }
        (_, value) => value,
    }
}

impl<'de> Deserialize<'de> for Value {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        from.deserialize_any(Any)
    }
}

struct Any;

impl<'de> Visitor<'de> for Any {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value")
    }

    fn visit_unit<E: Error>(self) -> Result<Value, E> {
        Ok(Value::Nothing)
    }

    fn visit_none<E: Error>(self) -> Result<Value, E> {
        Ok(Value::Nothing)
    }

    fn visit_some<D: Deserializer<'de>>(self, from: D) -> Result<Value, D::Error> {
        from.deserialize_any(self)
    }

    fn visit_bool<E: Error>(self, value: bool) -> Result<Value, E> {
        Ok(Value::Bool(value))
    }

    fn visit_i64<E: Error>(self, number: i64) -> Result<Value, E> {
        Ok(Value::Int(number))
    }

    fn visit_u64<E: Error>(self, number: u64) -> Result<Value, E> {
        i64::try_from(number).map(Value::Int).map_err(E::custom)
    }

    fn visit_f64<E: Error>(self, number: f64) -> Result<Value, E> {
        Ok(Value::Float(number))
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Value, E> {
        Ok(Value::text(text))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Value, A::Error> {
        let mut list = vec![];
        while let Some(item) = items.next_element()? {
            list.push(item);
        }
        Ok(Value::List(list))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Value, A::Error> {
        let mut dict = Dict::default();
        while let Some(entry) = entries.next_entry()? {
            dict.pairs.push(entry);
        }
        Ok(Value::Dict(dict))
    }
}
