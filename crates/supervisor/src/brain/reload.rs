//! Putting a configuration into effect: read, check, bind what is new, and only then change anything.
//! Not here: what becomes of single processes (see `adopt`).

use super::start::House;
use super::supervisor::{CONFIG_KEY, Supervisor};
use crate::config::{self, Config};
use crate::error::Error;
use crate::holder::wire::Order;
use trine_control::ReloadReport;

impl Supervisor {
    /// Reads the file again. A bad one is reported and changes nothing.
    pub fn reload(&mut self, dry_run: bool) -> Result<ReloadReport, Error> {
        let problems = match self.read_config() {
            _ if self.daemon.closing.is_some() => vec!["everything is being stopped".to_owned()],
            Err(problems) => problems,
            Ok(_) if dry_run => Vec::new(),
            Ok(config) => self.change_to(config)?,
        };
        let report = ReloadReport {
            ok: problems.is_empty(),
            time: jiff::Timestamp::now(),
            dry_run,
            problems,
        };
        if !dry_run {
            for problem in &report.problems {
                tracing::error!("not reloaded: {problem}");
            }
            self.daemon.last_reload = Some(report.clone());
            let store = self.store_daemon();
            self.link.send(&[store])?;
            self.hub.push(
                "reload",
                serde_json::json!({ "ok": report.ok, "problems": report.problems }),
            );
        }
        Ok(report)
    }

    /// The file as it is now, or what is wrong with it, a line each.
    pub fn read_config(&self) -> Result<Config, Vec<String>> {
        match config::load(&self.config.file, &self.overrides) {
            Ok(loaded) => Ok(loaded.config),
            Err(Error::Config(problems)) => Err(problems.iter().map(ToString::to_string).collect()),
            Err(other) => Err(vec![trine_service::exit::chain(&other)]),
        }
    }

    fn change_to(&mut self, config: Config) -> Result<Vec<String>, Error> {
        let mut problems = self.bind_all(&config)?;
        if problems.is_empty() {
            problems = self.bind_new_servers(&config)?;
            self.sockets_may_be_unnamed = true; // whether the rest is put into effect or not
        }
        if !problems.is_empty() {
            return Ok(problems);
        }
        let moved = match self.prepare_move(&config)? {
            Ok(moved) => moved,
            Err(problems) => {
                self.release_unopened(&config)?;
                return Ok(problems);
            }
        };
        self.house = House::new(&config, std::mem::take(&mut self.house.notify_socket));
        let old = std::mem::replace(&mut self.config, config);
        self.match_servers()?;
        self.match_pools();
        self.announce_group_changes(&old)?;
        self.daemon.generation += 1;
        let orders = [
            self.store_config(),
            self.store_daemon(),
            self.forget_reread(),
        ];
        self.link.send(&orders)?;
        self.move_to(moved, &old)?;
        tracing::info!("reloaded {}", self.config.file.display());
        self.reconcile()?;
        Ok(Vec::new())
    }

    #[must_use]
    pub fn store_config(&self) -> Order {
        Order::Store {
            key: CONFIG_KEY.to_owned(),
            value: serde_json::to_string(&self.config).ok(),
        }
    }
}
