//! Which processes belong together, and what they must not share.
//! Not here: single programs (`program`).

use super::raw::RawGroup;
use super::{Group, Listener, Process};
use std::collections::BTreeMap;
use std::path::Path;
use trine_config::suggest::nearest;
use trine_config::{Place, Problems};

pub(super) const PRIORITY: i32 = 999;
/// Listeners start first and stop last, so that they miss nothing.
pub(super) const LISTENER_PRIORITY: i32 = -1;

/// One program with its processes, not yet in a group other than its own.
#[derive(Debug)]
pub(super) struct Program {
    pub(super) processes: Vec<Process>,
    /// The number of the first of them.
    pub(super) first: u32,
    pub(super) listener: Option<Listener>,
    /// As it was typed.
    pub(super) priority: Option<i32>,
}

/// Puts programs into the groups that name them, each of the others into one of its own.
pub(super) fn form(
    programs: &BTreeMap<String, Program>,
    groups: BTreeMap<String, RawGroup>,
    at: &Place,
    problems: &mut Problems,
) -> (Vec<Group>, Vec<Process>) {
    let mut formed = BTreeMap::new();
    let mut processes = Vec::new();
    let mut taken = Vec::new();
    for (name, raw) in groups {
        let at = at.key(&name);
        check_name(&name, &at, problems);
        let mut group = Group {
            name: name.clone(),
            priority: raw.priority.unwrap_or(PRIORITY),
            listener: None,
        };
        let pool = raw.programs.first().and_then(|member| programs.get(member));
        if raw.priority.is_none() && pool.is_some_and(|program| program.listener.is_some()) {
            group.priority = LISTENER_PRIORITY;
        }
        for (index, member) in raw.programs.iter().enumerate() {
            let at = at.key("programs").index(index);
            match programs.get(member) {
                None => {
                    let known = programs.keys().map(String::as_str);
                    let help = nearest(member, known)
                        .map(|near| format!("did you mean \"{near}\"?"))
                        .unwrap_or_default();
                    problems.push(at, format!("there is no program {member:?}"), help);
                }
                Some(program) if index > 0 && program.listener != group.listener => problems.push(
                    at,
                    format!("{member:?} does not listen to the same events as the others"),
                    "a group is of programs, or of event listeners with the same events and buffer_size",
                ),
                Some(program) => {
                    if index == 0 {
                        group.listener.clone_from(&program.listener);
                    }
                    taken.push(member.clone());
                    processes.extend(program.processes.iter().map(|p| p.in_group(&group)));
                }
            }
        }
        formed.insert(name, group);
    }
    for (name, program) in programs {
        if taken.contains(name) {
            continue;
        }
        let default = match program.listener {
            Some(_) => LISTENER_PRIORITY,
            None => PRIORITY,
        };
        let group = Group {
            name: name.clone(),
            priority: program.priority.unwrap_or(default),
            listener: program.listener.clone(),
        };
        processes.extend(program.processes.iter().map(|p| p.in_group(&group)));
        if formed.insert(name.clone(), group).is_some() {
            problems.push(
                at.key(name),
                format!("a program that is not in it is called {name} too"),
                "rename one of the two, or name the program in the group",
            );
        }
    }
    processes.sort_by(|a, b| (&a.group, &a.name).cmp(&(&b.group, &b.name)));
    (formed.into_values().collect(), processes)
}

impl Process {
    pub(super) fn in_group(&self, group: &Group) -> Self {
        Self {
            group: group.name.clone(),
            group_priority: group.priority,
            ..self.clone()
        }
    }
}

pub(super) fn check_name(name: &str, at: &Place, problems: &mut Problems) {
    if name.is_empty()
        || name.contains(|c: char| c.is_whitespace() || c.is_control() || c == ':' || c == '/')
    {
        problems.push(
            at.clone(),
            "not usable as a name",
            "leave out spaces, colons and slashes",
        );
    }
}

/// Where a program or group stands.
type PlaceOf<'a> = &'a dyn Fn(&str) -> Option<Place>;

pub(super) fn same_names(processes: &[Process], at: PlaceOf<'_>, problems: &mut Problems) {
    for pair in processes.windows(2) {
        let [one, other] = pair else { continue };
        if one.id() == other.id() {
            let place = at(&one.name).or_else(|| at(&one.group));
            problems.push(
                place.unwrap_or_else(|| Place::file_only("")),
                format!("two processes would be called {}", one.id()),
                "rename one of the programs",
            );
        }
    }
}

/// Processes of one program may share a file; two programs would mix what nobody can tell apart again.
pub(super) fn same_logs(
    programs: &BTreeMap<String, Program>,
    at: PlaceOf<'_>,
    problems: &mut Problems,
) {
    let mut seen: BTreeMap<&Path, (&str, &str)> = BTreeMap::new();
    for (name, program) in programs {
        let files = program.processes.iter().flat_map(Process::log_files);
        for (channel, path) in files {
            match seen.get(path) {
                Some((other, _)) if other == name => {}
                Some((other, theirs)) => problems.push(
                    at(name)
                        .unwrap_or_else(|| Place::file_only(""))
                        .key(&format!("{channel}_logfile")),
                    format!(
                        "{name}'s {channel} and {other}'s {theirs} would write the same file {}",
                        path.display()
                    ),
                    "give each its own file",
                ),
                None => drop(seen.insert(path, (name, channel))),
            }
        }
    }
}
