//! nginx's tree to the YAML file that means the same.
//!
//! Not here: reading either language.

use std::fmt::Write as _;

use super::words::{self, Shape};
use crate::config::nginx::lexer::Word;
use crate::config::nginx::table::{self, context};
use crate::config::nginx::tree::Directive;

/// A value to be written.
#[derive(Debug, Clone, PartialEq)]
enum Yaml {
    Text(String),
    Bool(bool),
    List(Vec<Yaml>),
    Map(Vec<(String, Yaml)>),
}

/// The YAML text for a tree with all that it includes. Directives that nginx has and we have not are left out; their
/// names come back.
pub(crate) fn convert(tree: &[Directive]) -> (String, Vec<String>) {
    let mut lost = Vec::new();
    let mut top = vec![("defaults".to_owned(), Yaml::Text("nginx".to_owned()))];
    let mut http: &[Directive] = &[];
    let mut streams = Vec::new();
    let mut main = Vec::new();
    for directive in tree {
        match (directive.name.text.as_str(), &directive.block) {
            ("http", Some(block)) => http = block,
            ("stream", Some(block)) => streams.extend(block.iter()),
            ("events", _) => {}
            _ => main.push(directive),
        }
    }
    put_words(&main, context::MAIN, &mut top, &mut lost);
    let (servers, rest): (Vec<_>, Vec<_>) = http.iter().partition(|one| one.name.text == "server");
    let (groups, rest): (Vec<_>, Vec<_>) = rest
        .into_iter()
        .partition(|one| one.name.text == "upstream");
    let is_both = |one: &&Directive| {
        table::find(&one.name.text).is_some_and(|known| known.contexts & context::MAIN != 0)
    };
    let (both, rest): (Vec<_>, Vec<_>) = rest.into_iter().partition(is_both);
    let mut inside = Vec::new();
    put_words(&both, context::HTTP, &mut inside, &mut lost);
    if !inside.is_empty() {
        top.push(("http".to_owned(), Yaml::Map(inside)));
    }
    put_words(&rest, context::HTTP, &mut top, &mut lost);
    let groups: Vec<_> = groups
        .into_iter()
        .map(|group| (arg(group, 0), upstream(group, context::UPSTREAM, &mut lost)))
        .collect();
    if !groups.is_empty() {
        top.push(("upstreams".to_owned(), Yaml::Map(groups)));
    }
    let servers = servers
        .into_iter()
        .map(|one| server(one, &mut lost))
        .collect();
    top.push(("servers".to_owned(), Yaml::List(servers)));
    if !streams.is_empty() {
        top.push(("stream".to_owned(), stream(&streams, &mut lost)));
    }
    let mut out = String::new();
    write_map(&mut out, &top, 0);
    (out, lost)
}

fn arg(directive: &Directive, index: usize) -> String {
    directive
        .args
        .get(index)
        .map_or_else(String::new, |word| word.text.clone())
}

fn inner(directive: &Directive) -> &[Directive] {
    directive.block.as_deref().unwrap_or_default()
}

fn stream(block: &[&Directive], lost: &mut Vec<String>) -> Yaml {
    let is = |name: &'static str| move |one: &&&Directive| one.name.text == name;
    let rest = block
        .iter()
        .copied()
        .filter(|one| !matches!(one.name.text.as_str(), "server" | "upstream"));
    let mut map = Vec::new();
    put_words(&rest.collect::<Vec<_>>(), context::STREAM, &mut map, lost);
    let groups: Vec<_> = block
        .iter()
        .filter(is("upstream"))
        .map(|group| {
            (
                arg(group, 0),
                upstream(group, context::STREAM_UPSTREAM, lost),
            )
        })
        .collect();
    if !groups.is_empty() {
        map.push(("upstreams".to_owned(), Yaml::Map(groups)));
    }
    let servers = block.iter().filter(is("server"));
    let servers = servers.map(|one| Yaml::Map(server_words(one, context::STREAM_SERVER, lost)));
    map.push(("servers".to_owned(), Yaml::List(servers.collect())));
    Yaml::Map(map)
}

fn upstream(directive: &Directive, here: u16, lost: &mut Vec<String>) -> Yaml {
    let (servers, rest): (Vec<_>, Vec<_>) = inner(directive)
        .iter()
        .partition(|one| one.name.text == "server");
    let servers = servers.iter().map(|one| Yaml::Text(joined(&one.args)));
    let mut map = vec![("servers".to_owned(), Yaml::List(servers.collect()))];
    put_words(&rest, here, &mut map, lost);
    Yaml::Map(map)
}

fn server(directive: &Directive, lost: &mut Vec<String>) -> Yaml {
    let mut map = server_words(directive, context::SERVER, lost);
    put_locations(directive, &mut map, lost);
    Yaml::Map(map)
}

/// All of a server but its locations.
fn server_words(directive: &Directive, here: u16, lost: &mut Vec<String>) -> Vec<(String, Yaml)> {
    let mut map = Vec::new();
    let named = |name: &'static str| {
        inner(directive)
            .iter()
            .filter(move |one| one.name.text == name)
    };
    let listens: Vec<_> = named("listen")
        .map(|one| Yaml::Text(joined(&one.args)))
        .collect();
    if !listens.is_empty() {
        map.push(("listen".to_owned(), Yaml::List(listens)));
    }
    let names: Vec<_> = named("server_name")
        .flat_map(|one| &one.args)
        .map(text)
        .collect();
    if !names.is_empty() {
        map.push(("names".to_owned(), Yaml::List(names)));
    }
    let rest: Vec<_> = inner(directive)
        .iter()
        .filter(|one| {
            !matches!(
                one.name.text.as_str(),
                "listen" | "server_name" | "location"
            )
        })
        .collect();
    put_words(&rest, here, &mut map, lost);
    map
}

fn put_locations(directive: &Directive, map: &mut Vec<(String, Yaml)>, lost: &mut Vec<String>) {
    let list = inner(directive)
        .iter()
        .filter(|one| one.name.text == "location");
    let list: Vec<_> = list.map(|one| location(one, lost)).collect();
    if !list.is_empty() {
        map.push(("locations".to_owned(), Yaml::List(list)));
    }
}

fn location(directive: &Directive, lost: &mut Vec<String>) -> Yaml {
    let (modifier, path) = match directive.args.as_slice() {
        [one] => crate::config::nginx::split_kind(&one.text),
        [kind, path] => (kind.text.as_str(), path.text.as_str()),
        _ => ("", ""),
    };
    let key = match modifier {
        "=" => "exact",
        "^~" => "prefix_first",
        "~" => "regex",
        "~*" => "regex_caseless",
        _ if path.starts_with('@') => "name",
        _ => "prefix",
    };
    let mut map = vec![(key.to_owned(), Yaml::Text(path.to_owned()))];
    let rest: Vec<_> = inner(directive)
        .iter()
        .filter(|one| one.name.text != "location")
        .collect();
    put_words(&rest, context::LOCATION, &mut map, lost);
    put_locations(directive, &mut map, lost);
    Yaml::Map(map)
}

/// Words with their values, each once, in the order in which they first came.
fn put_words(
    list: &[&Directive],
    here: u16,
    map: &mut Vec<(String, Yaml)>,
    lost: &mut Vec<String>,
) {
    let mut done: Vec<&str> = Vec::new();
    for directive in list {
        let name = directive.name.text.as_str();
        let Some(known) = table::find_in(name, here).filter(|known| {
            known.contexts & here != 0 && words::nginx_name(&words::word(name)) == name
        }) else {
            lost.push(name.to_owned());
            continue;
        };
        let key = words::list_of(name).unwrap_or(name);
        if done.contains(&key) {
            continue;
        }
        done.push(key);
        let same = |one: &&&Directive| {
            let other = one.name.text.as_str();
            words::list_of(other).unwrap_or(other) == key
        };
        let group: Vec<&Directive> = list.iter().filter(same).copied().collect();
        if words::list_of(name).is_some() {
            let steps = group.into_iter().map(step).collect();
            map.push((key.to_owned(), Yaml::List(steps)));
        } else {
            let value = value(words::shape(known), &group);
            map.push((words::word(name).into_owned(), value));
        }
    }
}

/// The value for all directives of one name.
fn value(shape: Shape, group: &[&Directive]) -> Yaml {
    let one = |directive: &Directive| match directive.args.as_slice() {
        [one] => text(one),
        args => Yaml::List(args.iter().map(text).collect()),
    };
    let apart = || {
        let list = group
            .iter()
            .map(|directive| Yaml::List(directive.args.iter().map(text).collect()));
        Yaml::List(list.collect())
    };
    match (shape, group) {
        (Shape::Flag, [one]) => Yaml::Bool(arg(one, 0) == "on"),
        (Shape::Bare, _) => Yaml::Bool(true),
        (Shape::One | Shape::Words, [directive]) => one(directive),
        (Shape::Each, [directive]) if directive.args.len() == 1 => one(directive),
        (Shape::Each, _) => Yaml::List(group.iter().map(|directive| one(directive)).collect()),
        (Shape::Pairs, _) => pairs(group).unwrap_or_else(apart),
        (Shape::Blocks, [directive]) if directive.name.text == "types" => types(directive),
        (Shape::Blocks, _) => Yaml::List(group.iter().map(|directive| block(directive)).collect()),
        (Shape::Flag | Shape::One | Shape::Words, _) => apart(),
    }
}

/// `None` if a name comes twice: a map cannot say that.
fn pairs(group: &[&Directive]) -> Option<Yaml> {
    let mut map: Vec<(String, Yaml)> = Vec::new();
    for directive in group {
        let name = arg(directive, 0);
        if map.iter().any(|(known, _)| *known == name) {
            return None;
        }
        let value = match directive.args.get(1..)? {
            [one] => text(one),
            rest => Yaml::List(rest.iter().map(text).collect()),
        };
        map.push((name, value));
    }
    Some(Yaml::Map(map))
}

/// A type that stands in several rows, or twice in the same, needs rows.
fn types(directive: &Directive) -> Yaml {
    let mut map: Vec<(String, Yaml)> = Vec::new();
    for row in inner(directive) {
        let endings = row.args.iter().map(text);
        match map.iter_mut().find(|(kind, _)| *kind == row.name.text) {
            Some((_, Yaml::List(known))) => known.extend(endings),
            _ => map.push((row.name.text.clone(), Yaml::List(endings.collect()))),
        }
    }
    Yaml::Map(map)
}

/// `{ with, rows }` for tables, `{ with, do }` for blocks of directives.
fn block(directive: &Directive) -> Yaml {
    let mut map = Vec::new();
    if !directive.args.is_empty() {
        let args = directive.args.iter().map(text).collect();
        map.push(("with".to_owned(), Yaml::List(args)));
    }
    let is_table = matches!(
        directive.name.text.as_str(),
        "map" | "geo" | "split_clients" | "types" | "charset_map"
    );
    if is_table {
        let row = |row: &Directive| {
            let words = std::iter::once(&row.name).chain(&row.args);
            Yaml::List(words.map(text).collect())
        };
        map.push((
            "rows".to_owned(),
            Yaml::List(inner(directive).iter().map(row).collect()),
        ));
    } else {
        map.push((
            "do".to_owned(),
            Yaml::List(inner(directive).iter().map(step).collect()),
        ));
    }
    Yaml::Map(map)
}

/// One item of a list whose order counts.
fn step(directive: &Directive) -> Yaml {
    let name = directive.name.text.as_str();
    if name == "if" {
        let steps = inner(directive).iter().map(step).collect();
        return Yaml::Map(vec![
            ("if".to_owned(), condition(&directive.args)),
            ("do".to_owned(), Yaml::List(steps)),
        ]);
    }
    if directive.args.is_empty() && directive.block.is_none() {
        return Yaml::Text(name.to_owned());
    }
    let value = match table::find(name) {
        Some(known) => value(words::shape(known), &[directive]),
        None => Yaml::Bool(true),
    };
    Yaml::Map(vec![(words::word(name).into_owned(), value)])
}

/// Without its parentheses, if that is unmistakable.
fn condition(args: &[Word]) -> Yaml {
    let plain = |word: &Word| !word.quoted && !word.text.is_empty();
    let whole = args
        .iter()
        .map(|word| word.text.as_str())
        .collect::<Vec<_>>()
        .join(" ");
    let inside = whole
        .strip_prefix('(')
        .and_then(|rest| rest.strip_suffix(')'));
    match inside.map(str::trim) {
        Some(inside) if args.iter().all(plain) => Yaml::Text(inside.to_owned()),
        _ => Yaml::List(args.iter().map(text).collect()),
    }
}

fn text(word: &Word) -> Yaml {
    Yaml::Text(word.text.clone())
}

fn joined(args: &[Word]) -> String {
    args.iter()
        .map(|word| word.text.as_str())
        .collect::<Vec<_>>()
        .join(" ")
}

fn write_map(out: &mut String, map: &[(String, Yaml)], depth: usize) {
    for (key, value) in map {
        indent(out, depth);
        write_scalar(out, key);
        out.push(':');
        write_below(out, value, depth);
    }
}

/// A value behind its key or dash.
fn write_below(out: &mut String, value: &Yaml, depth: usize) {
    match value {
        Yaml::Map(map) if map.is_empty() => out.push_str(" {}\n"),
        Yaml::Map(map) => {
            out.push('\n');
            write_map(out, map, depth + 1);
        }
        Yaml::List(list) if stands_below(list) => {
            out.push('\n');
            write_list(out, list, depth);
        }
        flow => {
            out.push(' ');
            write_flow(out, flow);
            out.push('\n');
        }
    }
}

fn write_list(out: &mut String, list: &[Yaml], depth: usize) {
    for item in list {
        indent(out, depth);
        out.push('-');
        match item {
            Yaml::Map(map) if !map.is_empty() => {
                // The first key stands beside the dash.
                let mut text = String::new();
                write_map(&mut text, map, depth + 1);
                out.push(' ');
                out.push_str(text.trim_start());
            }
            other => write_below(out, other, depth + 1),
        }
    }
}

/// Each item on a line of its own.
fn stands_below(list: &[Yaml]) -> bool {
    let nested = list.iter().any(|one| matches!(one, Yaml::List(_)));
    list.iter().any(|one| !is_flow(one)) || (nested && list.len() > 1)
}

fn is_flow(value: &Yaml) -> bool {
    match value {
        Yaml::Text(_) | Yaml::Bool(_) => true,
        Yaml::List(list) => list.iter().all(is_flow),
        Yaml::Map(_) => false,
    }
}

fn write_flow(out: &mut String, value: &Yaml) {
    match value {
        Yaml::Text(text) => write_scalar(out, text),
        Yaml::Bool(on) => _ = write!(out, "{on}"),
        Yaml::List(list) => {
            out.push('[');
            for (index, item) in list.iter().enumerate() {
                if index > 0 {
                    out.push_str(", ");
                }
                write_flow(out, item);
            }
            out.push(']');
        }
        Yaml::Map(_) => out.push_str("{}"),
    }
}

/// Bare if nothing else can be meant.
fn write_scalar(out: &mut String, text: &str) {
    let safe = |byte: u8| byte.is_ascii_alphanumeric() || b"_/.$-^~+=".contains(&byte);
    let start = |byte: u8| byte.is_ascii_alphanumeric() || b"_/$".contains(&byte);
    let words = [
        "true", "false", "yes", "no", "on", "off", "null", "none", "y", "n",
    ];
    let bare = text.bytes().next().is_some_and(start)
        && text.bytes().all(safe)
        && !words.contains(&text.to_ascii_lowercase().as_str());
    if bare {
        out.push_str(text);
    } else {
        // JSON's strings are YAML's, too.
        let quoted = serde_json::Value::String(text.to_owned());
        let _ = write!(out, "{quoted}");
    }
}

fn indent(out: &mut String, depth: usize) {
    for _ in 0..depth {
        out.push_str("  ");
    }
}

#[cfg(test)]
mod tests;
