//! What each event carries, byte for byte as supervisord writes it. Not here: who gets it.

use crate::brain::logs::filter::Heard;
use crate::brain::supervisor::Supervisor;
use crate::error::Error;
use crate::holder::wire::{Channel, Order};
use crate::program::state::{Code, Why};

impl Supervisor {
    pub(in crate::brain) fn remote_event(&mut self, kind: &str, data: &str) -> Result<(), Error> {
        self.happened("REMOTE_COMMUNICATION", &format!("type:{kind}\n{data}"))
    }

    pub(in crate::brain) fn group_event(&mut self, kind: &str, group: &str) -> Result<(), Error> {
        self.happened(kind, &format!("groupname:{group}\n"))
    }

    /// `pid`: of the process that it is about, which may be gone. To be sent together with the change itself.
    pub(in crate::brain) fn state_event(
        &mut self,
        id: &str,
        pid: Option<i32>,
        (from, to): (Code, Code),
        why: Why,
    ) -> Vec<Order> {
        if self.events.pools.is_empty() {
            return Vec::new();
        }
        let Some(process) = self.processes.get(id) else {
            return Vec::new();
        };
        let settings = &process.record.settings;
        let pid = pid.or(process.pid).unwrap_or_default();
        let more = match to {
            Code::Starting => format!(" tries:{}", process.record.life.failures),
            Code::Backoff => {
                // The last failure before giving up is counted away already.
                let tries = match process.record.life.failures {
                    0 => settings.policy.start_retries.saturating_add(1),
                    tries => tries,
                };
                format!(" tries:{tries}")
            }
            Code::Running | Code::Stopping | Code::Stopped => format!(" pid:{pid}"),
            Code::Exited => {
                let expected = u8::from(matches!(why, Why::Expected(_)));
                format!(" expected:{expected} pid:{pid}")
            }
            Code::Fatal => String::new(),
        };
        let payload = format!(
            "processname:{} groupname:{} from_state:{}{more}",
            settings.name,
            settings.group,
            from.name()
        );
        self.note_event(&format!("PROCESS_STATE_{}", to.name()), &payload)
    }

    /// Output of a program that is of interest: everything it writes, or what stood between tags.
    pub(in crate::brain) fn output_event(&mut self, heard: Heard) -> Result<(), Error> {
        let Some(process) = self.processes.get(&heard.key.id) else {
            return Ok(());
        };
        let settings = &process.record.settings;
        let pid = process.pid.or(process.last_pid).unwrap_or_default();
        let channel = match heard.key.channel {
            Channel::Stdout => "STDOUT",
            Channel::Stderr => "STDERR",
            // No output.
            Channel::Ready | Channel::StdoutStaging | Channel::StderrStaging => return Ok(()),
        };
        let head = format!(
            "processname:{} groupname:{} pid:{pid}",
            settings.name, settings.group
        );
        let text = String::from_utf8_lossy(&heard.bytes);
        let (kind, payload) = if heard.is_captured {
            ("PROCESS_COMMUNICATION", format!("{head}\n{text}"))
        } else {
            let name = heard.key.channel.name();
            ("PROCESS_LOG", format!("{head} channel:{name}\n{text}"))
        };
        self.happened(&format!("{kind}_{channel}"), &payload)
    }
}
