//! How a brain begins: what must succeed before any program is started, taking over what an earlier one has left, and
//! the first lines of the log; then it runs to the end.
//! Not here: reading the holder's table (`table`), adopting single processes (`adopt`), the loop itself (`supervisor`).

use super::ask::{Asks, Handle};
use super::notify::NotifySocket;
use super::presence::Door;
use super::process;
use super::supervisor::Supervisor;
use super::table::Table;
use crate::config::Habits;
use crate::error::Error;
use crate::holder::wire::{FIRST_KEY, Order, WireError};
use crate::launch::{Said, leave_terminal};
use trine_service::Phase;

const ASKS_WAITING: usize = 256;

impl Supervisor {
    pub(super) async fn begin_and_run(
        &mut self,
        mut table: Table,
        first: Option<Said>,
    ) -> Result<(), Error> {
        let is_first = first.is_some();
        if let Some(said) = first {
            self.tell_of(&said);
        }
        let door = self.begin(&mut table, is_first)?;
        self.bind_first_servers(&table.servers, is_first)?;
        self.begun(is_first)?;
        let notify = table
            .notify
            .take()
            .ok_or(Error::Protocol(WireError::Descriptors))?;
        let notify = NotifySocket::new(notify).map_err(|source| Error::Brain {
            doing: "listen to programs",
            source,
        })?;
        if is_first {
            let name = match self.config.habits {
                Habits::Own => "trine-supervisor",
                Habits::Supervisord => "supervisord",
            };
            tracing::info!("{name} started with pid {}", self.holder_pid);
        } else if self.daemon.upgrades != self.upgrades.done {
            self.daemon.upgrades = self.upgrades.done;
            let store = self.store_daemon();
            self.link.send(&[store])?;
            tracing::info!(
                "upgraded to version {}; going on with the programs as they are",
                env!("CARGO_PKG_VERSION")
            );
        } else {
            let how = table.head.last_brain.map_or_else(String::new, |exit| {
                format!(" ({})", process::describe(exit))
            });
            tracing::warn!("the brain was replaced{how}; going on with the programs as they are");
        }
        if is_first {
            self.clear_auto_logs();
        }
        self.adopt_reread(&table.head.stored);
        self.find_cgroups();
        self.adopt_events(&table.head.stored);
        if is_first {
            self.announce_groups()?;
        }
        self.adopt(&table.head.stored, table.rows)?;
        self.hear_what_was_noted()?;
        drop(table.head); // large, and of no more use
        self.sweep_old_generations();
        self.reconcile()?;

        let (handle, mut asks) = Handle::new(ASKS_WAITING);
        self.open_servers(handle)?;
        self.open_control(door)?;
        self.run_and_answer(&notify, &mut asks).await?;
        self.servers.end().await;
        tracing::info!("all programs are stopped");
        if let Some(cgroups) = &self.cgroups {
            cgroups.remove();
        }
        let code = self.daemon.exit_code;
        let leave = self.leaves_orphans();
        self.link.send(&[Order::Exit { code, leave }])
    }

    async fn run_and_answer(
        &mut self,
        notify: &NotifySocket,
        asks: &mut Asks,
    ) -> Result<(), Error> {
        self.run(notify, asks).await?;
        asks.close();
        Ok(())
    }

    /// What must succeed before any program is started; the control socket, if there is to be one.
    fn begin(&mut self, table: &mut Table, is_first: bool) -> Result<Option<Door>, Error> {
        let door = self.control_socket(table)?;
        if is_first {
            let config = self.config.clone();
            let problems = self.bind_all(&config)?;
            if !problems.is_empty() {
                return Err(Error::Sockets {
                    problems: problems.join("\n"),
                });
            }
            let forget = Order::Store {
                key: FIRST_KEY.to_owned(),
                value: None,
            };
            let orders = [self.store_config(), self.store_daemon(), forget];
            self.link.send(&orders)?;
        }
        Ok(door)
    }

    /// All that may fail has not: whoever waits for us to go into the background is told.
    fn begun(&mut self, is_first: bool) -> Result<(), Error> {
        self.write_pidfile(is_first)?;
        if is_first {
            self.link.send(&[Order::Started])?;
        }
        if self.config.daemon.daemonize {
            leave_terminal().map_err(|source| Error::Brain {
                doing: "leave the terminal",
                source,
            })?;
        }
        if self.daemon.ready {
            self.set_phase(Phase::Ready);
        }
        Ok(())
    }

    /// What there is to say at the very beginning.
    fn tell_of(&self, said: &Said) {
        let is_root = trine_sys::privileges::effective_uid() == 0;
        match &self.config.daemon.user {
            None if is_root && self.config.habits == Habits::Supervisord => tracing::error!(
                critical = true,
                "Supervisor is running as root. Privileges were not dropped because no user is specified in the config \
                 file. If you intend to run as root, you can set user=root in the config file to avoid this message."
            ),
            None => {}
            Some(user) => tracing::info!("Set uid to user {user} succeeded"),
        }
        for trap in &said.traps {
            tracing::warn!("{trap}");
        }
        for info in &said.infos {
            tracing::info!("{info}");
        }
    }
}
