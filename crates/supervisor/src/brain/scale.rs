//! Changing how many processes a program has, while it runs.
//! Not here: what becomes of single processes (`adopt`).

use super::supervisor::Supervisor;
use crate::error::Error;

const MOST: u32 = 1000;

impl Supervisor {
    /// Gives a program another number of processes than its file says, until the file's own number changes or it is
    /// scaled again. Gives the problems that prevented it.
    pub fn scale(&mut self, name: &str, count: u32) -> Result<Vec<String>, Error> {
        if !(1..=MOST).contains(&count) {
            return Ok(vec![format!(
                "expected 1 to {MOST} processes, found {count}"
            )]);
        }
        if !self
            .config
            .processes
            .iter()
            .any(|process| process.group == name)
        {
            return Ok(vec![format!("there is no program {name}")]);
        }
        let before = self.overrides.numprocs.insert(name.to_owned(), count);
        let report = self.reload(false)?;
        if report.ok {
            let actual = self.config.processes.iter();
            let actual = actual.filter(|process| process.group == name).count();
            if actual == count as usize {
                self.daemon.numprocs.clone_from(&self.overrides.numprocs);
                let store = self.store_daemon();
                self.link.send(&[store])?;
                tracing::info!("{name} has {count} processes now");
                return Ok(Vec::new());
            }
        }
        match before {
            Some(count) => self.overrides.numprocs.insert(name.to_owned(), count),
            None => self.overrides.numprocs.remove(name),
        };
        if report.ok {
            self.reload(false)?;
            let what = format!(
                "{name} is a group of several programs; scale one that is a group of its own"
            );
            return Ok(vec![what]);
        }
        Ok(report.problems)
    }
}
