//! Which programs of supervisord.conf form which groups. A program in a group has left its own; one that two groups
//! name is there twice.
//! Not here: programs (`program`).

use super::keys::Keys;
use super::program::{self, Kind, small};
use super::{Here, Notes, Nothing};
use crate::config::groups::{
    LISTENER_PRIORITY, PRIORITY, Program, check_name, same_logs, same_names,
};
use crate::config::{Group, Process, extras};
use std::collections::BTreeMap;
use trine_config::Place;
use trine_config::ini::{Ini, Section};
use trine_config::suggest::nearest;

/// Program sections by their kind and name.
type Sections<'a> = Vec<(Kind, String, &'a Section)>;

pub(super) fn read(ini: &Ini, here: &Here, notes: &mut Notes) -> (Vec<Group>, Vec<Process>) {
    let sections = program_sections(ini, notes);
    let mut formed = Formed::default();
    let mut taken: Vec<&str> = Vec::new();
    for section in ini.sections() {
        let Some(name) = section.name.strip_prefix("group:") else {
            continue;
        };
        let keys = Keys::new(section, &here.names);
        let name = name.trim();
        check_name(name, &keys.place, &mut notes.problems);
        let _: Nothing = keys.beyond(&["programs", "priority"], &[], notes);
        let group = Group {
            name: name.to_owned(),
            priority: keys.parse("priority", small, notes).unwrap_or(PRIORITY),
            listener: None,
        };
        let members = keys.text("programs", notes).unwrap_or_default();
        let members = members.split(',').map(str::trim);
        for member in members.filter(|member| !member.is_empty()) {
            let place = keys.place.key("programs");
            let Some((kind, section)) = member_section(&sections, member, &place, notes) else {
                continue;
            };
            taken.push(&section.name);
            let program = program::read(section, kind, member, name, here, notes);
            formed.put(&group, section, &program, notes);
            formed.programs.insert(section.name.clone(), program);
        }
        formed.add(group, &keys.place, notes);
    }
    for (kind, name, section) in &sections {
        if taken.contains(&section.name.as_str()) {
            continue;
        }
        let program = program::read(section, *kind, name, name, here, notes);
        let default = match kind {
            Kind::EventListener => LISTENER_PRIORITY,
            Kind::Program | Kind::FastCgi => PRIORITY,
        };
        let group = Group {
            name: name.clone(),
            priority: program.priority.unwrap_or(default),
            listener: program.listener.clone(),
        };
        formed.put(&group, section, &program, notes);
        formed.programs.insert(section.name.clone(), program);
        formed.add(group, &section.place(), notes);
    }
    formed.finish(ini, notes)
}

#[derive(Debug, Default)]
struct Formed {
    groups: BTreeMap<String, Group>,
    processes: Vec<Process>,
    /// By section, for what two of them must not share.
    programs: BTreeMap<String, Program>,
}

impl Formed {
    fn put(&mut self, group: &Group, section: &Section, program: &Program, notes: &mut Notes) {
        for (number, process) in (program.first..).zip(&program.processes) {
            let process = process.in_group(group);
            let origin = (section.name.clone(), number);
            notes.sections.insert(process.id(), origin);
            self.processes.push(process);
        }
    }

    fn add(&mut self, group: Group, place: &Place, notes: &mut Notes) {
        let name = group.name.clone();
        if self.groups.insert(name.clone(), group).is_some() {
            let message = format!("there is another group called {name}");
            notes
                .problems
                .push(place.clone(), message, "rename one of the two");
        }
    }

    fn finish(mut self, ini: &Ini, notes: &mut Notes) -> (Vec<Group>, Vec<Process>) {
        self.processes
            .sort_by(|a, b| (&a.group, &a.name).cmp(&(&b.group, &b.name)));
        let place_of = |name: &str| {
            let own = |section: &&Section| {
                section
                    .name
                    .split_once(':')
                    .is_some_and(|(_, rest)| rest.trim() == name)
            };
            ini.sections().find(own).map(Section::place)
        };
        same_names(&self.processes, &place_of, &mut notes.problems);
        extras::check_together(&self.processes, &place_of, &mut notes.problems);
        let section_of = |name: &str| ini.section(name).map(Section::place);
        same_logs(&self.programs, &section_of, &mut notes.traps);
        (self.groups.into_values().collect(), self.processes)
    }
}

fn program_sections<'a>(ini: &'a Ini, notes: &mut Notes) -> Sections<'a> {
    let mut found: Sections<'a> = Vec::new();
    for section in ini.sections() {
        let kinds = Kind::ALL.into_iter();
        let mut kinds =
            kinds.filter_map(|(kind, start)| Some((kind, section.name.strip_prefix(start)?)));
        if let Some((kind, name)) = kinds.next() {
            let name = name.trim().to_owned();
            check_name(&name, &section.place(), &mut notes.problems);
            found.push((kind, name, section));
        }
    }
    found
}

fn member_section<'a>(
    sections: &Sections<'a>,
    member: &str,
    place: &Place,
    notes: &mut Notes,
) -> Option<(Kind, &'a Section)> {
    let can_be = |kind: Kind| kind != Kind::EventListener;
    let mut named = sections
        .iter()
        .filter(|(kind, name, _)| can_be(*kind) && name == member);
    let Some((kind, _, section)) = named.next() else {
        let known = sections.iter().filter(|(kind, ..)| can_be(*kind));
        let help = nearest(member, known.map(|(_, name, _)| name.as_str()));
        let help = help.map(|near| format!("did you mean \"{near}\"?"));
        let message = format!("there is no program or fcgi-program {member:?}");
        notes
            .problems
            .push(place.clone(), message, help.unwrap_or_default());
        return None;
    };
    if named.next().is_some() {
        let message = format!("{member:?} is both a program and an fcgi-program");
        notes
            .problems
            .push(place.clone(), message, "rename one of the two");
    }
    Some((*kind, section))
}
