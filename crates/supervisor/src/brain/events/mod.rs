//! supervisord's events: what they are called, what they carry, and bringing them to listeners.
//! Not here: the event stream of the control API (`trine_control::EventHub`).

use super::supervisor::Supervisor;
use crate::error::Error;

impl Supervisor {
    pub(super) fn remote_event(&mut self, kind: &str, data: &str) -> Result<(), Error> {
        self.happened("REMOTE_COMMUNICATION", &format!("type:{kind}\n{data}"))
    }

    pub(super) fn group_event(&mut self, kind: &'static str, group: &str) -> Result<(), Error> {
        self.happened(kind, &format!("groupname:{group}\n"))
    }

    fn happened(&mut self, _kind: &str, _payload: &str) -> Result<(), Error> {
        Ok(())
    }
}
