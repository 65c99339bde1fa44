//! Which processes are written as one program, and which programs as a group.
//! Not here: the keys of a program (see `super`).

use super::{Block, program};
use crate::config::{Loaded, Process, numbering};

/// The processes of one section become one program, where they differ in names and numbers only.
pub(super) fn put(loaded: &Loaded, out: &mut Block) {
    let config = &loaded.config;
    let (mut groups, mut programs) = (Block::default(), Block::default());
    for group in &config.groups {
        let all = config.processes.iter().map(|p| &**p);
        let members = all.filter(|p| p.group == group.name);
        let members: Vec<Member> = together(loaded, members);
        let default = if group.listener.is_some() { -1 } else { 999 };
        if let [only] = members.as_slice()
            && only.name == group.name
            && group_priority_follows(&only.pattern, default)
        {
            programs.put(&only.name, only.block(loaded, &only.name));
            continue;
        }
        let mut names = Vec::new();
        for member in members {
            // One name may be in several groups.
            let is_taken = programs.0.iter().any(|(name, _)| *name == member.name)
                || config.groups.iter().any(|other| other.name == member.name);
            let name = if is_taken {
                format!("{}.{}", group.name, member.name)
            } else {
                member.name.clone()
            };
            programs.put(&name, member.block(loaded, &name));
            names.push(name);
        }
        let mut block = Block::default();
        block.set("programs", names);
        block.set_if(group.priority != default, "priority", group.priority);
        groups.put(&group.name, block);
    }
    out.put("groups", groups);
    out.put("programs", programs);
}

/// One program of the YAML.
#[derive(Debug)]
struct Member {
    name: String,
    /// What all its processes have in common.
    pattern: Process,
    /// The number of the first, and how many there are.
    numbers: (u32, u32),
    /// The id of one of them.
    id: String,
}

impl Member {
    fn block(&self, loaded: &Loaded, name: &str) -> Block {
        let mut out = program(loaded, &self.pattern, &self.id);
        let (first, count) = self.numbers;
        let mut head = Block::default();
        let called = &self.pattern.name;
        // A program of several that is called by another name gives it to its processes.
        let called = match count > 1 && !called.contains("{process_num") {
            true => format!("{called}_{{process_num:02}}"),
            false => called.clone(),
        };
        let usual = if count > 1 {
            format!("{name}_{{process_num:02}}")
        } else {
            name.to_owned()
        };
        head.set_if(called != usual, "process_name", called);
        head.set_if(count > 1, "numprocs", count);
        head.set_if(first > 0 && count > 1, "numprocs_start", first);
        head.0.append(&mut out.0);
        head
    }
}

/// Puts the processes of one section together, if they can be written as one program.
fn together<'a>(loaded: &Loaded, all: impl Iterator<Item = &'a Process>) -> Vec<Member> {
    let mut sections: Vec<(&str, Vec<(&Process, u32)>)> = Vec::new();
    for process in all {
        let (section, number) = match loaded.sections.get(&process.id()) {
            Some((section, number)) => (section.as_str(), *number),
            None => ("", 0),
        };
        match sections.iter_mut().find(|(known, _)| *known == section) {
            Some((_, members)) => members.push((process, number)),
            None => sections.push((section, vec![(process, number)])),
        }
    }
    let alone = |process: &Process| Member {
        name: process.name.clone(),
        pattern: process.clone(),
        numbers: (0, 1),
        id: process.id(),
    };
    let mut members = Vec::new();
    for (section, mut processes) in sections {
        processes.sort_by_key(|(_, number)| *number);
        let name = section.rsplit(':').next().unwrap_or(section).trim();
        let pattern = numbering::pattern(name, &processes).filter(|_| processes.len() > 1);
        match (pattern, processes.first()) {
            (Some(pattern), Some((one, first))) => members.push(Member {
                name: name.to_owned(),
                pattern,
                numbers: (*first, u32::try_from(processes.len()).unwrap_or(1)),
                id: one.id(),
            }),
            _ => members.extend(processes.into_iter().map(|(process, _)| alone(process))),
        }
    }
    members
}

/// In a group of its own a program's priority is the group's.
fn group_priority_follows(process: &Process, default: i32) -> bool {
    process.group_priority == process.priority
        || (process.priority == 999 && process.group_priority == default)
}
