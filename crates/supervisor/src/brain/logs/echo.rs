//! Output that is copied elsewhere on its way into a log: to syslog line by line, and to the supervisor's own log where
//! that is at level debug.
//! Not here: who is to be copied (see `filter`), or the way to syslog (`brain::syslog`).

use super::filter::Wanted;
use super::lines::Speaker;
use crate::brain::syslog::Syslog;

/// What one channel of one process has said, as others hear it.
#[derive(Debug)]
pub(super) struct Echo {
    syslog: bool,
    main_log: bool,
}

impl Echo {
    /// `None`: nobody wants to hear it.
    pub(super) fn new(wanted: Wanted) -> Option<Self> {
        let Wanted {
            syslog, main_log, ..
        } = wanted;
        (syslog || main_log).then_some(Self { syslog, main_log })
    }

    /// `bytes`: whole lines, where they go to syslog.
    pub(super) fn hear(&self, bytes: &[u8], speaker: &Speaker, syslog: &mut Syslog) {
        if self.main_log {
            // As supervisord says it, so that it is found by the same search.
            let (name, channel) = (speaker.name(), speaker.channel);
            let text = String::from_utf8_lossy(bytes);
            let text = text.strip_suffix('\n').unwrap_or(&text);
            tracing::debug!("'{name}' {channel} output:\n{text}");
        }
        if self.syslog {
            let lines = bytes.split(|byte| *byte == b'\n');
            for line in lines.filter(|line| !line.is_empty()) {
                syslog.send(&[speaker.name().as_bytes(), b" ", line].concat());
            }
        }
    }
}
