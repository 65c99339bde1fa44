//! What programs say on NOTIFY_SOCKET, and whose words they are.
//! Not here: the format (`trine_service::readiness`), or the socket's making (the holder's).

use super::supervisor::Supervisor;
use crate::clock;
use crate::error::Error;
use crate::holder::wire::Order;
use crate::program::state::{Event, State};
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixDatagram as StdUnixDatagram;
use std::time::Duration;
use tokio::io::Interest;
use tokio::net::UnixDatagram;
use trine_service::readiness::NotifyMessage;
use trine_sys::fdpass;

/// systemd's limit too.
const MAX_DATAGRAM_BYTES: usize = 4096;
/// A process deeper below a program than this is not looked for.
const MAX_DEPTH: usize = 32;

/// A message with what was attached to it.
#[derive(Debug)]
struct Said {
    message: NotifyMessage,
    fds: Vec<OwnedFd>,
}

#[derive(Debug)]
pub struct NotifySocket {
    socket: UnixDatagram,
}

impl NotifySocket {
    /// Must be called inside a runtime.
    pub fn new(socket: OwnedFd) -> io::Result<Self> {
        fdpass::set_nonblocking(&socket, true)?;
        Ok(Self {
            socket: UnixDatagram::from_std(StdUnixDatagram::from(socket))?,
        })
    }

    pub async fn readable(&self) -> io::Result<()> {
        self.socket.readable().await
    }

    /// The first message, left where it is: should we die before its meaning is written down, the next brain reads it.
    /// Inner `None`: a message of nobody, or too long a one.
    fn peek(&self) -> io::Result<Option<Option<Said>>> {
        let mut buffer = [0; MAX_DATAGRAM_BYTES];
        let got = match fdpass::peek_message(&self.socket, &mut buffer) {
            Ok(got) => got,
            Err(err) if err.kind() == io::ErrorKind::WouldBlock => return Ok(None),
            Err(err) if err.kind() == io::ErrorKind::Interrupted => return Ok(Some(None)),
            Err(err) => return Err(err),
        };
        let sender = got.sender.filter(|_| !got.truncated);
        Ok(Some(sender.map(|who| Said {
            message: NotifyMessage::parse(who.pid, who.uid, &buffer[..got.len]),
            fds: got.fds,
        })))
    }

    /// Takes the first message out.
    fn take(&self) {
        let mut buffer = [0; MAX_DATAGRAM_BYTES];
        let _ = fdpass::recv_message(&self.socket, &mut buffer);
    }

    fn clear_ready(&self) -> io::Result<()> {
        // Whatever comes from now on makes the socket ready again.
        match self.socket.try_io(Interest::READABLE, || {
            Err::<(), _>(io::ErrorKind::WouldBlock.into())
        }) {
            Err(err) if err.kind() == io::ErrorKind::WouldBlock => Ok(()),
            other => other,
        }
    }
}

impl Supervisor {
    /// Hears all messages that wait. A program may speak before the holder's report of its start is here: what nobody
    /// seems to have said then stays where it is until the next report.
    pub fn notified(&mut self, socket: &NotifySocket) -> Result<(), Error> {
        let failed = |source| Error::Brain {
            doing: "listen to programs",
            source,
        };
        socket.clear_ready().map_err(failed)?;
        while let Some(message) = socket.peek().map_err(failed)? {
            if let Some(Said { message, fds }) = message {
                let speaker = self.speaker(message.pid);
                if speaker.is_none() && self.awaits_spawn() {
                    return Ok(());
                }
                self.heard(&message, fds, speaker)?;
            }
            socket.take();
        }
        Ok(())
    }

    /// Whether a start was ordered and not reported yet.
    fn awaits_spawn(&self) -> bool {
        self.processes.values().any(|process| {
            let starts = matches!(process.record.life.state, State::Starting { .. });
            starts && process.pid.is_none()
        })
    }

    fn heard(
        &mut self,
        message: &NotifyMessage,
        fds: Vec<OwnedFd>,
        speaker: Option<String>,
    ) -> Result<(), Error> {
        let Some(id) = speaker else {
            tracing::debug!(
                "a message from pid {}, which belongs to no program",
                message.pid
            );
            return Ok(());
        };
        let Some(process) = self.processes.get_mut(&id) else {
            return Ok(());
        };
        let before = process.record.clone();
        if let Some(text) = message.status() {
            process.record.status_text = Some(text.to_owned());
        }
        if message.is_stopping() {
            process.record.leaving = true;
        }
        if message.is_ready() {
            process.record.leaving = false;
        }
        let speaks_for_itself =
            process.pid == Some(message.pid) || process.main_pid == Some(message.pid);
        let main = message.main_pid().filter(|_| speaks_for_itself);
        if let Some(time) = message.extend_timeout() {
            process.extended = Some(clock::now() + time);
        }
        if process.record != before {
            let store = process.store(&id);
            self.link.send(&[store])?;
        }
        if let Some(main) = main.filter(|main| self.speaker(*main).as_ref() == Some(&id)) {
            self.named_main(&id, main)?;
        }
        let interval = message
            .get("WATCHDOG_USEC")
            .and_then(|text| text.parse().ok())
            .map(Duration::from_micros);
        match message.get("WATCHDOG") {
            Some("trigger") => self.patted(&id, Some(Duration::ZERO)),
            Some("1") => self.patted(&id, interval),
            _ if interval.is_some() => self.patted(&id, interval),
            _ => {}
        }
        self.keep_descriptors(&id, message, fds)?;
        if message.is_ready() {
            self.feed(&id, Event::Ready)?;
        }
        Ok(())
    }

    /// The program says that another of its processes is its main one: when this one ends, that one goes on.
    fn named_main(&mut self, id: &str, pid: i32) -> Result<(), Error> {
        let Some(process) = self.processes.get_mut(id) else {
            return Ok(());
        };
        process.main_pid = Some(pid);
        let generation = process.record.generation;
        self.link.send(&[Order::Follow {
            id: id.to_owned(),
            generation,
            pid,
        }])
    }

    /// FDSTORE and FDSTOREREMOVE: descriptors that the next process gets.
    fn keep_descriptors(
        &mut self,
        id: &str,
        message: &NotifyMessage,
        fds: Vec<OwnedFd>,
    ) -> Result<(), Error> {
        let name = message.get("FDNAME").unwrap_or("stored").to_owned();
        let is_good = name.len() <= 255 && !name.contains(|c: char| c == ':' || c.is_control());
        let id = id.to_owned();
        if message.get("FDSTOREREMOVE") == Some("1") {
            return self.link.send(&[Order::DropFds { id, name }]);
        }
        if message.get("FDSTORE") == Some("1") && is_good && !fds.is_empty() {
            return self.link.send_with(&[Order::KeepFds { id, name }], fds);
        }
        Ok(())
    }

    /// The program that a pid belongs to: itself, a descendant, or a member of its process group whose parents are gone.
    fn speaker(&self, pid: i32) -> Option<String> {
        let owner = |pid: i32| {
            let is_it = |process: &super::process::Process| {
                process.pid == Some(pid) || process.main_pid == Some(pid)
            };
            self.processes
                .iter()
                .find(|(_, process)| is_it(process))
                .map(|(id, _)| id.clone())
        };
        let mut at = pid;
        for _ in 0..MAX_DEPTH {
            if let Some(id) = owner(at) {
                return Some(id);
            }
            let (parent, group) = kin(at)?;
            if let Some(id) = owner(group) {
                return Some(id);
            }
            if parent <= 1 || parent == self.holder_pid {
                return None;
            }
            at = parent;
        }
        None
    }
}

/// Parent and process group of a process, from /proc.
fn kin(pid: i32) -> Option<(i32, i32)> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    parse_kin(&stat)
}

/// The name may hold anything, so fields count from its closing parenthesis.
fn parse_kin(stat: &str) -> Option<(i32, i32)> {
    let mut fields = stat.rsplit_once(") ")?.1.split(' ').skip(1);
    Some((fields.next()?.parse().ok()?, fields.next()?.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kin_of_a_process_with_a_nasty_name() {
        assert_eq!(parse_kin("7 (a) (b) S 3 5 1 0"), Some((3, 5)));
        assert_eq!(parse_kin("7 (a"), None);
        assert_eq!(
            kin(std::process::id() as i32).unwrap().0,
            nix::unistd::getppid().as_raw()
        );
    }
}
