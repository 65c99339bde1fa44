//! A socket of its own for each worker, for a proxy that chooses among them: `CONTROL.workers/PLACE-NUMBER.sock`, made
//! before the fork and unlinked before the worker is told to leave, so that nobody connects to one that will not answer.
//!
//! Not here: who connects there, and how many requests a worker can take (`slots`).

use std::fs;
use std::path::PathBuf;
use std::rc::Rc;

use trine_config::ListenAddr;
use trine_service::listeners::{Inherited, Listener, bind};

use crate::config::Settings;

use super::Arbiter;
use super::listeners::{given, options};

impl Arbiter {
    /// The socket of the next worker in this place; `None` without a control socket, which is where it is told of.
    pub(super) fn personal_socket(
        &mut self,
        slot: usize,
        settings: &Settings,
    ) -> Option<Rc<Listener>> {
        let mut folder = settings.control.clone()?.into_os_string();
        folder.push(".workers");
        let folder = PathBuf::from(folder);
        self.sockets_made += 1;
        let path = folder.join(format!("{slot}-{}.sock", self.sockets_made));
        let made = fs::create_dir_all(&folder).map_err(|error| error.to_string());
        let made = made.and_then(|()| {
            let address = ListenAddr::Unix(path.clone());
            bind(&address, &options(settings), &mut Inherited::default())
                .map_err(|error| trine_service::exit::chain(&error))
        });
        match made {
            Ok(listener) => Some(Rc::new(given(listener, settings))),
            Err(error) => {
                // The worker is of use all the same.
                tracing::warn!("no socket of its own for a worker: {error}");
                None
            }
        }
    }
}
