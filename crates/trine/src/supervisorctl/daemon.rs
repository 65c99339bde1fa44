//! shutdown and reload: the end of the daemon, or its fresh start. Not here: its configuration (`groups`).

use std::io;

use super::session::{GENERIC, Outcome, Session, fault};

impl Session {
    pub(super) fn shutdown(&mut self, rest: &str) -> Outcome {
        if !rest.is_empty() {
            self.misused("shutdown", "shutdown accepts no arguments");
            return Ok(());
        }
        if self.options.interactive
            && !super::shell::confirmed("Really shut the remote supervisord process down y/N? ")
        {
            return Ok(());
        }
        let error = match self.call("shutdown", &[]) {
            Ok(_) => {
                self.say("Shut down");
                return Ok(());
            }
            Err(error) => error,
        };
        let url = self.server.url.clone();
        match (error.fault(), error.io_kind()) {
            (Some(fault::SHUTDOWN_STATE), _) => self.say("ERROR: already shutting down"),
            (_, Some(io::ErrorKind::ConnectionRefused)) => {
                self.fail(format!(
                    "ERROR: {url} refused connection (already shut down?)"
                ));
            }
            (_, Some(io::ErrorKind::NotFound)) => {
                self.fail(format!("ERROR: {url} no such file (already shut down?)"));
            }
            _ => return Err(error),
        }
        Ok(())
    }

    pub(super) fn reload(&mut self, rest: &str) -> Outcome {
        if !rest.is_empty() {
            self.misused("reload", "reload accepts no arguments");
            return Ok(());
        }
        if self.options.interactive
            && !super::shell::confirmed("Really restart the remote supervisord process y/N? ")
        {
            return Ok(());
        }
        match self.call("restart", &[]) {
            Ok(_) => self.say("Restarted supervisord"),
            Err(error) => {
                self.exit = GENERIC;
                if error.fault() != Some(fault::SHUTDOWN_STATE) {
                    return Err(error);
                }
                self.say("ERROR: already shutting down");
            }
        }
        Ok(())
    }
}
