//! The control socket, served from the arbiter's own poll loop: the same calls and messages as other daemons', with
//! `http1` instead of a runtime.
//!
//! Not here: what the messages say (`report`), which calls there are (`trine_control::route`).

use std::collections::BTreeMap;
use std::fs::Permissions;
use std::io;
use std::os::fd::AsFd as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::rc::Rc;

use serde::Serialize;
use serde_json::json;
use trine_control::{ActionResult, Call, Event, EventQuery, ProblemDocument, Role, metrics, sse};
use trine_http1::{BodyLength, Limits, Policy, RequestHead};
use trine_service::listeners::Listener;
use trine_sys::epoll::{Epoll, Interest};
use trine_sys::net;

use crate::python::Gil;
use crate::worker::outbox::{Outbox, Sent};
use crate::worker::transport::Transport;

use super::state::Event as Happening;
use super::{Arbiter, token};

/// Clients at the same time.
const MOST_CLIENTS: usize = 64;
/// A reader of events that is this far behind is let go.
const MOST_WAITING: usize = 1024 * 1024;
/// Bodies of calls are not looked at, and larger ones not even read.
const MOST_BODY: u64 = 64 * 1024;

pub(super) struct Control {
    listener: Listener,
    epoll: Rc<Epoll>,
    clients: BTreeMap<u32, Client>,
    next: u32,
}

struct Client {
    fd: Transport,
    role: Role,
    received: Vec<u8>,
    head: RequestHead,
    out: Outbox,
    /// It reads events, for as long as it likes.
    events: Option<EventQuery>,
    closing: bool,
}

/// One call, with what is needed to answer it.
pub(super) struct Asked {
    call: Result<Call, ProblemDocument>,
    keep: bool,
    head_only: bool,
}

impl Control {
    pub(super) fn bind(
        path: &Path,
        mode: u32,
        epoll: Rc<Epoll>,
    ) -> Result<Self, trine_service::Error> {
        let listener = trine_control::bind(path)?;
        // Made for its owner alone; others are let in only if the settings say so.
        if let Err(error) = std::fs::set_permissions(path, Permissions::from_mode(mode)) {
            tracing::warn!("cannot give {} mode {mode:o}: {error}", path.display());
        }
        epoll
            .add(listener.as_fd(), token::CONTROL, Interest::EPOLLIN)
            .map_err(trine_service::Error::Signals)?;
        Ok(Self {
            listener,
            epoll,
            clients: BTreeMap::new(),
            next: 0,
        })
    }

    pub(super) fn accept(&mut self) {
        while let Ok((fd, _)) = net::accept4(&self.listener) {
            let Ok(role) = Role::of_peer(&fd) else {
                continue;
            };
            if self.clients.len() >= MOST_CLIENTS {
                continue;
            }
            self.next = self.next.wrapping_add(1);
            let interest = Interest::EPOLLIN | Interest::EPOLLOUT | Interest::EPOLLET;
            if self
                .epoll
                .add(&fd, token::CONTROL_CLIENT | u64::from(self.next), interest)
                .is_ok()
            {
                let client = Client {
                    fd: Transport::plain(fd),
                    role,
                    received: Vec::new(),
                    head: RequestHead::default(),
                    out: Outbox::default(),
                    events: None,
                    closing: false,
                };
                self.clients.insert(self.next, client);
            }
        }
    }

    /// Receives; returns the next complete call. `None`: there is none (any more).
    fn next_call(&mut self, number: u32) -> Option<Asked> {
        let client = self.clients.get_mut(&number)?;
        if client.receive().is_err() {
            self.clients.remove(&number);
            return None;
        }
        client.parse()
    }

    fn answer(&mut self, number: u32, keep: bool, bytes: &[u8]) {
        if let Some(client) = self.clients.get_mut(&number) {
            client.out.bytes().extend_from_slice(bytes);
            client.closing |= !keep;
        }
        self.flush(number);
    }

    fn flush(&mut self, number: u32) {
        let Some(client) = self.clients.get_mut(&number) else {
            return;
        };
        let done = match client.out.flush(&client.fd) {
            Ok(Sent::All) => client.closing,
            Ok(Sent::Blocked) => client.out.waiting() > MOST_WAITING,
            Err(_) => true,
        };
        if done {
            self.clients.remove(&number);
        }
    }

    /// Tells an event to everybody who wants it.
    pub(super) fn tell(&mut self, event: &Event) {
        let mut told = Vec::new();
        for (number, client) in &mut self.clients {
            if client
                .events
                .as_ref()
                .is_some_and(|query| query.wants(&event.kind))
            {
                client
                    .out
                    .bytes()
                    .extend_from_slice(sse::encode(event).as_bytes());
                told.push(*number);
            }
        }
        for number in told {
            self.flush(number);
        }
    }
}

impl Client {
    fn receive(&mut self) -> io::Result<()> {
        loop {
            self.received.reserve(4096);
            match net::recv_append(&self.fd, &mut self.received) {
                Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
                // Who reads events has nothing more to say.
                Ok(_) if self.events.is_some() => self.received.clear(),
                Ok(_) if self.received.len() as u64 > 2 * MOST_BODY => {
                    return Err(io::ErrorKind::InvalidData.into());
                }
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
                Err(error) => return Err(error),
            }
        }
    }

    fn parse(&mut self) -> Option<Asked> {
        if self.closing || self.events.is_some() || self.received.is_empty() {
            return None;
        }
        let refuse = |status, text: &str| {
            Some(Asked {
                call: Err(ProblemDocument::new(status, text)),
                keep: false,
                head_only: false,
            })
        };
        let used = match self
            .head
            .parse(&self.received, &Limits::default(), &Policy::default())
        {
            Ok(None) => return None,
            Ok(Some(used)) => used,
            Err(error) => return refuse(error.status(), &error.to_string()),
        };
        let request = self.head.on(&self.received);
        let body = match request.body() {
            BodyLength::Empty => 0,
            BodyLength::Known(length) if length <= MOST_BODY => length as usize,
            _ => return refuse(413, "no call takes a body of that kind"),
        };
        if self.received.len() < used + body {
            return None;
        }
        let target = String::from_utf8_lossy(request.target());
        let last_event = request.get("last-event-id").map(String::from_utf8_lossy);
        let asked = Asked {
            call: Call::read(request.method(), &target, last_event.as_deref(), self.role),
            keep: request.keep_alive(),
            head_only: request.method() == "HEAD",
        };
        self.received.drain(..used + body);
        Some(asked)
    }
}

impl Arbiter {
    pub(super) fn control_client(&mut self, gil: Gil<'_>, number: u32) {
        if let Some(control) = &mut self.control {
            control.flush(number);
        }
        while let Some(asked) = self
            .control
            .as_mut()
            .and_then(|control| control.next_call(number))
        {
            self.control_call(gil, number, asked);
        }
    }

    fn control_call(&mut self, gil: Gil<'_>, number: u32, asked: Asked) {
        let Asked {
            call,
            keep,
            head_only,
        } = asked;
        let answer = match call {
            Ok(Call::Status) => json_answer(200, &self.status()),
            Ok(Call::Metrics) => {
                Answer::new(200, metrics::CONTENT_TYPE, self.metrics().into_bytes())
            }
            Ok(Call::Events(query)) => return self.stream_events(number, query, head_only),
            Ok(Call::Drain) => {
                tracing::info!("told to drain by the control socket");
                self.happen(gil, Happening::Stop);
                json_answer(202, &ActionResult::done("draining"))
            }
            Ok(Call::Stop) => {
                tracing::info!("told to stop by the control socket");
                self.happen(gil, Happening::Stop);
                json_answer(202, &ActionResult::done("stopping"))
            }
            Ok(Call::Reload { dry_run: true }) => self.rehearse(gil),
            Ok(Call::Reload { dry_run: false }) => {
                tracing::info!("told to reload by the control socket");
                self.reload(gil);
                json_answer(
                    202,
                    &ActionResult::done("reloading; see last_reload of /v1/status"),
                )
            }
            Ok(Call::Other) => problem(&ProblemDocument::new(404, "there is no such call")),
            Err(document) => problem(&document),
        };
        if let Some(control) = &mut self.control {
            control.answer(number, keep, &answer.render(keep, head_only));
        }
    }

    /// Reads the settings without using them.
    fn rehearse(&self, gil: Gil<'_>) -> Answer {
        match self.sources.rehearse(gil) {
            Ok(_) => json_answer(200, &ActionResult::done("the settings are good")),
            Err(error) => {
                let lines = trine_service::exit::chain(&error);
                let lines = lines.lines().map(str::to_owned).collect();
                problem(&ProblemDocument::new(422, "the settings are wrong").with_problems(lines))
            }
        }
    }

    fn stream_events(&mut self, number: u32, query: EventQuery, head_only: bool) {
        let mut text = String::from(
            "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nCache-Control: no-store\r\nConnection: close\r\n\r\n",
        );
        if !head_only {
            // The first piece goes out at once, so that the client knows that it is subscribed.
            text.push_str(": hello\n\n");
        }
        if let Some(since) = query.since.filter(|_| !head_only) {
            let missed = self.events.since(since);
            for event in missed.iter().filter(|event| query.wants(&event.kind)) {
                text.push_str(&sse::encode(event));
            }
        }
        let Some(control) = &mut self.control else {
            return;
        };
        if let Some(client) = control.clients.get_mut(&number).filter(|_| !head_only) {
            client.events = Some(query);
        }
        control.answer(number, !head_only, text.as_bytes());
    }
}

struct Answer {
    status: u16,
    content_type: &'static str,
    body: Vec<u8>,
}

impl Answer {
    fn new(status: u16, content_type: &'static str, body: Vec<u8>) -> Self {
        Self {
            status,
            content_type,
            body,
        }
    }

    fn render(&self, keep: bool, head_only: bool) -> Vec<u8> {
        let mut out = format!(
            "HTTP/1.1 {} {}\r\nContent-Type: {}\r\nContent-Length: {}\r\n{}\r\n",
            self.status,
            trine_http1::default_reason(self.status),
            self.content_type,
            self.body.len(),
            if keep { "" } else { "Connection: close\r\n" },
        )
        .into_bytes();
        if !head_only {
            out.extend_from_slice(&self.body);
        }
        out
    }
}

fn json_answer(status: u16, value: &impl Serialize) -> Answer {
    let body = serde_json::to_vec(value)
        .unwrap_or_else(|error| json!({ "error": error.to_string() }).to_string().into());
    Answer::new(status, "application/json", body)
}

fn problem(document: &ProblemDocument) -> Answer {
    let body = serde_json::to_vec(document).unwrap_or_default();
    Answer::new(document.status, ProblemDocument::CONTENT_TYPE, body)
}
