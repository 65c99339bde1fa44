//! A session of UDP: a client's datagrams to its server, and the server's to the client.
//!
//! It ends when the answers that are expected have come (`proxy_responses`), or when nothing comes any more. What a
//! server refuses (ICMP) goes to the next one. Not here: which datagram belongs to which session (`datagrams`).

use std::cell::Cell;
use std::collections::VecDeque;
use std::future::poll_fn;
use std::io;
use std::rc::Rc;
use std::time::{Duration, Instant};

use super::datagrams::{Inbox, Key, LONGEST, Table};
use super::dial::Search;
use super::session::{Session, reason, status, tell};
use super::wire::Wire;
use crate::config::{PeerAddr, StreamContent, StreamPass};
use crate::deadline::{Call, Place};
use crate::upstream::pool::{Peer, add};

/// How long an answer that is under way is waited for when the door is closed or the daemon ends.
const FAREWELL: Duration = Duration::from_secs(5);
/// What is kept for another server while none has answered.
const MOST_KEPT: usize = 16;
const MOST_KEPT_BYTES: usize = 65_536;
/// How many answers are passed on in one go.
const TURN: usize = 64;

/// All of a session.
pub(super) async fn run(table: Rc<Table>, key: Key, inbox: Rc<Inbox>, mut session: Session) {
    let place = table.engine.deadlines.place(table.door);
    place.set_hears(true);
    session.greet("udp ");
    let status = serve(&table, key, &inbox, &mut session, &place).await;
    let (Ok(status) | Err(status)) = status;
    session.finish(status);
    drop(place);
    table.end(key, &inbox);
}

async fn serve(
    table: &Rc<Table>,
    key: Key,
    inbox: &Inbox,
    session: &mut Session,
    place: &Place,
) -> Result<u16, u16> {
    let first = inbox.pop().unwrap_or_default();
    add(&session.received, first.len() as u64);
    session.admit()?;
    session.set_variables();
    let session = &*session;
    let pass = match &session.rules().content {
        StreamContent::Pass(pass) => pass,
        StreamContent::Return(text) => {
            let text = text.value(session);
            table.send(key, &text).await.map_err(|_| status::OK)?;
            add(&session.sent, text.len() as u64);
            return Ok(status::OK);
        }
    };
    let first = match session.introduction(pass) {
        none if none.is_empty() => first,
        line => [line.as_bytes(), &first].concat().into(),
    };
    let mut exchange = Exchange {
        table,
        key,
        inbox,
        session,
        place,
        pass,
        pending: VecDeque::from([first]),
        kept: Vec::new(),
        waits: true,
        requests: 1,
        responses: 0,
        leaves: None,
    };
    let mut search = Search::new(session, pass).await?;
    loop {
        let dial = async |addr: &PeerAddr| {
            let (PeerAddr::Name(name, port), Some(rules)) = (addr, &pass.names) else {
                return Wire::open(addr, pass.bind).await;
            };
            let found = session.engine.names.addresses(rules, name).await?;
            let first = found.first().ok_or(io::ErrorKind::HostUnreachable)?;
            Wire::open(&PeerAddr::Ip((*first, *port).into()), pass.bind).await
        };
        let (wire, seat) = search.next(dial).await?;
        let in_use = InUse::new(search.peer(&seat));
        let end = exchange.talk(&wire, || search.answered(&seat)).await;
        drop(in_use);
        match end {
            Ok(()) => return Ok(status::OK),
            Err(error) => {
                let reason = reason(&error);
                tell!(
                    error,
                    session,
                    "upstream failed ({reason}) while proxying datagrams"
                );
                let again = search.failed(&seat) && error.kind() != io::ErrorKind::TimedOut;
                if !again || !exchange.begin_again() {
                    return Err(status::BAD_GATEWAY);
                }
            }
        }
    }
}

struct Exchange<'a> {
    table: &'a Table,
    key: Key,
    inbox: &'a Inbox,
    session: &'a Session,
    place: &'a Place,
    pass: &'a StreamPass,
    /// The client's datagrams that were not sent yet, and those since the last answer.
    pending: VecDeque<Box<[u8]>>,
    kept: Vec<Box<[u8]>>,
    /// No answer has come since the client's last datagram.
    waits: bool,
    requests: u32,
    responses: u32,
    /// When it ends, whatever is missing: nothing new comes any more.
    leaves: Option<Instant>,
}

impl Exchange<'_> {
    /// Passes datagrams on both ways until the session is over. An error is the server's.
    async fn talk(&mut self, wire: &Wire, answered: impl Fn()) -> io::Result<()> {
        let mut buf = Vec::new();
        loop {
            while let Some(datagram) = self.pending.pop_front() {
                match wire.send(&datagram).await {
                    Ok(()) => self.sent(datagram),
                    Err(error) if is_too_long(&error) => {
                        let (len, reason) = (datagram.len(), reason(&error));
                        let session = self.session;
                        tell!(
                            error,
                            session,
                            "a datagram of {len} bytes is too long for the server ({reason})"
                        );
                    }
                    Err(error) => {
                        self.pending.push_front(datagram);
                        return Err(error);
                    }
                }
            }
            if self.pass.responses == Some(0) {
                // Nobody will look later.
                wire.take_error()?;
                answered();
            }
            if self.is_complete() {
                self.tell_end("udp done");
                return Ok(());
            }
            if self.table.closing.get() {
                self.leave();
            }
            if self.leaves.is_some() && !self.owes() {
                self.tell_end("udp disconnected on shutdown");
                return Ok(());
            }
            let idle = Instant::now() + self.pass.idle;
            self.place
                .set(Some(self.leaves.map_or(idle, |at| at.min(idle))));
            tokio::select! {
                ready = wire.readable() => {
                    ready?;
                    buf.resize(LONGEST, 0);
                    for _ in 0..TURN {
                        let len = match wire.try_recv(&mut buf) {
                            Ok(len) => len,
                            Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                            Err(error) => return Err(error),
                        };
                        answered();
                        self.answer(&buf[..len]).await;
                        if self.is_complete() {
                            break;
                        }
                    }
                    // While nothing comes no buffer is held.
                    buf = Vec::new();
                }
                datagram = self.inbox.next() => {
                    add(&self.session.received, datagram.len() as u64);
                    self.requests += 1;
                    self.waits = true;
                    self.pending.push_back(datagram);
                }
                call = poll_fn(|cx| self.place.poll(cx)) => match call {
                    Call::Leave => {
                        self.place.heard();
                        self.leave();
                    }
                    Call::Late if self.leaves.is_some() || self.has_answers() => {
                        self.tell_end("udp timed out");
                        return Ok(());
                    }
                    Call::Late => return Err(io::Error::from_raw_os_error(nix::libc::ETIMEDOUT)),
                },
            }
        }
    }

    fn leave(&mut self) {
        self.leaves.get_or_insert_with(|| Instant::now() + FAREWELL);
    }

    fn sent(&mut self, datagram: Box<[u8]>) {
        if let Some(one) = self.session.attempts.borrow_mut().last_mut() {
            one.sent += datagram.len() as u64;
        }
        let bytes: usize = self.kept.iter().map(|one| one.len()).sum();
        if self.kept.len() < MOST_KEPT && bytes + datagram.len() <= MOST_KEPT_BYTES {
            self.kept.push(datagram);
        }
    }

    /// Passes one of the server's datagrams on to the client.
    async fn answer(&mut self, bytes: &[u8]) {
        self.responses += 1;
        self.waits = false;
        self.kept.clear();
        let session = self.session;
        if let Some(one) = session.attempts.borrow_mut().last_mut() {
            one.first_byte.get_or_insert_with(|| one.began.elapsed());
            one.received += bytes.len() as u64;
        }
        match self.table.send(self.key, bytes).await {
            Ok(()) => add(&session.sent, bytes.len() as u64),
            Err(error) => {
                let reason = reason(&error);
                tell!(
                    info,
                    session,
                    "send() failed ({reason}) while proxying datagrams"
                );
            }
        }
    }

    /// What the last server has not answered goes to another; false if nothing of it is left.
    fn begin_again(&mut self) -> bool {
        for datagram in self.kept.drain(..).rev() {
            self.pending.push_front(datagram);
        }
        !self.pending.is_empty()
    }

    /// All that may come has come.
    fn is_complete(&self) -> bool {
        self.requests >= self.pass.requests && self.pass.responses.is_some() && self.has_answers()
    }

    /// There are as many answers as are expected, or nobody knows how many those are.
    fn has_answers(&self) -> bool {
        let expected = self.pass.responses.map(u64::from);
        expected.is_none_or(|one| u64::from(self.responses) >= one * u64::from(self.requests))
    }

    /// An answer is under way, as far as one can know.
    fn owes(&self) -> bool {
        !self.has_answers() || (self.pass.responses.is_none() && self.waits)
    }

    fn tell_end(&self, what: &str) {
        let session = self.session;
        tracing::info!(
            connection = session.number,
            "{what}, packets from/to client: {}/{}, bytes from/to client: {}/{}",
            self.requests,
            self.responses,
            session.received.get(),
            session.sent.get()
        );
    }
}

fn is_too_long(error: &io::Error) -> bool {
    error.raw_os_error() == Some(nix::libc::EMSGSIZE)
}

/// Counts a server's session for as long as it lives.
struct InUse(Rc<Peer>);

impl InUse {
    fn new(peer: &Rc<Peer>) -> Self {
        add(&peer.figures.active, 1);
        Self(Rc::clone(peer))
    }
}

impl Drop for InUse {
    fn drop(&mut self) {
        let active: &Cell<u64> = &self.0.figures.active;
        active.set(active.get().saturating_sub(1));
    }
}
