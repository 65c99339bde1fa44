//! Listening sockets of programs: which ones the holder has to bind, and which it may let go.
//! Not here: the control socket (see `mod`), or handing sockets to a program (see `start`).

use super::start;
use super::supervisor::Supervisor;
use crate::config::{Config, Socket};
use crate::error::Error;
use crate::holder::wire::{BindOrder, Failure, Order};
use std::collections::BTreeSet;
use std::path::Path;

impl Supervisor {
    /// Has the holder bind every socket of a configuration that it does not hold yet; all or none.
    pub fn bind_all(&mut self, config: &Config) -> Result<Vec<String>, Error> {
        let mut fresh = Vec::new();
        let mut problems = Vec::new();
        for process in &config.processes {
            for socket in process.sockets.iter().chain(&process.stdin_socket) {
                let key = socket.key(&process.group);
                if self.sockets.contains_key(&key) {
                    continue;
                }
                match self.bind(&key, socket)? {
                    Ok(address) => {
                        self.sockets.insert(key.clone(), address);
                        fresh.push(key);
                    }
                    Err(failure) => problems.push(format!(
                        "programs.{}.sockets.{}: {}",
                        process.group, socket.name, failure.text
                    )),
                }
            }
        }
        if !problems.is_empty() {
            self.release(fresh)?;
        }
        problems.dedup(); // the processes of one program have the same
        Ok(problems)
    }

    fn bind(&mut self, key: &str, socket: &Socket) -> Result<Result<String, Failure>, Error> {
        if let Some(path) = socket.address.strip_prefix("unix:").map(Path::new)
            && let Some(folder) = path.parent()
            && let Err(err) = std::fs::create_dir_all(folder)
        {
            let text = format!("cannot make the folder {}: {err}", folder.display());
            return Ok(Err(Failure {
                step: "bind".to_owned(),
                errno: err.raw_os_error(),
                text,
            }));
        }
        let owner = match socket.owner.as_deref().map(start::identity).transpose() {
            Ok(owner) => owner.map(|who| (who.uid, who.gid)),
            Err(text) => {
                return Ok(Err(Failure {
                    step: "bind".to_owned(),
                    errno: None,
                    text,
                }));
            }
        };
        let bind = BindOrder {
            owner,
            address: socket.address.clone(),
            mode: socket.mode,
            backlog: socket.backlog,
            blocking: true,
        };
        let bound = self.link.call(|ticket| Order::Bind {
            ticket,
            key: key.to_owned(),
            bind,
            give: false,
        })?;
        Ok(bound.map(|(address, _)| address))
    }

    /// Lets go of sockets that neither the configuration nor a process with older settings names, if a reload may have
    /// left some.
    pub fn release_unnamed(&mut self) -> Result<(), Error> {
        if !self.sockets_may_be_unnamed {
            return Ok(());
        }
        let in_use = self
            .processes
            .values()
            .flat_map(|p| p.record.settings.socket_keys());
        let wanted = self.config.processes.iter().flat_map(|p| p.socket_keys());
        let named: BTreeSet<String> = in_use.chain(wanted).collect();
        let unnamed = self.sockets.keys().filter(|key| !named.contains(*key));
        let unnamed: Vec<String> = unnamed.cloned().collect();
        self.release(unnamed)?;
        let mut processes = self.processes.values();
        self.sockets_may_be_unnamed = processes.any(|p| p.retiring || p.next.is_some());
        Ok(())
    }

    fn release(&mut self, keys: Vec<String>) -> Result<(), Error> {
        keys.iter().for_each(|key| drop(self.sockets.remove(key)));
        let orders: Vec<Order> = keys.into_iter().map(|key| Order::Release { key }).collect();
        self.link.send(&orders)
    }
}
