//! What the application under load noted: which process began which request, and which answer it handed over.

use std::collections::HashSet;

use e2e::site::Site;

pub(super) struct Journal {
    started: HashSet<(usize, i32)>,
    ended: HashSet<(usize, i32)>,
}

impl Journal {
    pub(super) fn read(site: &Site) -> Self {
        let mut journal = Self {
            started: HashSet::new(),
            ended: HashSet::new(),
        };
        let text = site.folder.read("journal");
        // What follows the last line end is a line that is being written.
        for line in text
            .split_inclusive('\n')
            .filter(|line| line.ends_with('\n'))
            .map(str::trim_end)
        {
            let words: Vec<&str> = line.split(' ').collect();
            let [what, id, pid] = words[..] else {
                panic!("a torn line in the journal: {line:?}")
            };
            let entry = (id.parse().unwrap(), pid.parse().unwrap());
            let fresh = match what {
                "start" => journal.started.insert(entry),
                _ => journal.ended.insert(entry),
            };
            assert!(fresh, "a process noted the same twice: {line:?}");
        }
        journal
    }

    /// The processes that are inside a request.
    pub(super) fn open(&self) -> impl Iterator<Item = i32> {
        self.started.difference(&self.ended).map(|(_, pid)| *pid)
    }

    /// Whether a process of `killed` had begun the request and not finished it.
    pub(super) fn was_inside(&self, id: usize, killed: &[i32]) -> bool {
        killed
            .iter()
            .any(|pid| self.started.contains(&(id, *pid)) && !self.ended.contains(&(id, *pid)))
    }

    /// Whether any application process ever saw the request.
    pub(super) fn was_seen(&self, id: usize) -> bool {
        self.started.iter().any(|(seen, _)| *seen == id)
    }

    /// Whether the application was done with the request in a process of `killed` (its answer may have been half sent).
    pub(super) fn was_answered_in(&self, id: usize, killed: &[i32]) -> bool {
        killed.iter().any(|pid| self.ended.contains(&(id, *pid)))
    }
}
