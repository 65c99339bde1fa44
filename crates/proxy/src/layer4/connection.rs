//! A session of TCP, from its first byte: preamble, address, access, TLS, first bytes, content, as in nginx's order.
//!
//! Not here: what a session is (`session`), finding a server (`dial`), copying (`relay`).

use std::future::poll_fn;
use std::io::{self, IoSlice};
use std::rc::Rc;
use std::task::Poll;
use std::time::{Duration, Instant};

use trine_sys::net::{self, SockAddr};

use super::hello::{self, Preread};
use super::session::{Arrival, Session, reason, status, tell};
use super::{dial, handshake, relay};
use crate::config::{Listen, StreamContent};
use crate::deadline::Place;
use crate::engine::Engine;
use crate::preamble;
use crate::stream::{Next, Stream};
use crate::upstream::pool::add;

/// Serves a connection.
pub(crate) async fn serve(engine: Rc<Engine>, stream: Stream, mut arrival: Arrival) {
    if let Ok(SockAddr::Tcp(local)) = net::local_addr(&stream) {
        arrival.local = Some(local);
    }
    let place = engine.deadlines.place(arrival.door);
    let Some(mut session) = Session::new(&engine, &arrival) else {
        return;
    };
    session.greet("");
    let status = session.run(stream, &place).await;
    let (Ok(status) | Err(status)) = status;
    if let Some(stream) = &session.stream {
        stream.farewell();
    }
    session.finish(status);
}

/// How long a client may take nothing of what it is answered.
const SEND: Duration = Duration::from_secs(60);

impl Session {
    /// All of a session of TCP: its status in the end.
    async fn run(&mut self, stream: Stream, place: &Place) -> Result<u16, u16> {
        let door = self.door_number;
        let listen = self.generation.listen(door);
        let is = |what: fn(&Listen) -> bool| listen.is_some_and(what);
        let (introduced, tls) = (is(|one| one.proxy_protocol), is(|one| one.tls));
        if introduced {
            let limit = self.rules().preamble_timeout;
            match preamble::read(&self.engine, door, &stream, limit).await {
                Ok(addresses) => self.introduced = addresses,
                Err(why) => {
                    tell!(
                        error,
                        self,
                        "broken header while reading PROXY protocol: {why}"
                    );
                    return Err(status::BAD_REQUEST);
                }
            }
        }
        self.admit()?;
        if let (false, Stream::Tcp(tcp)) = (self.rules().nodelay, &stream) {
            // If this fails the connection is already broken.
            let _ = tcp.set_nodelay(false);
        }
        self.stream = if tls {
            self.generation.dress(door, stream)
        } else {
            Some(stream)
        };
        let Some(stream) = &self.stream else {
            return Err(status::INTERNAL);
        };
        if let Some(tls) = stream.tls() {
            handshake::run(self, tls, place).await?;
            let name = tls.server_name();
            self.choose(name.as_deref().map(str::as_bytes));
            handshake::judge(self, tls)?;
        }
        let rules = self.rules();
        let early = if rules.preread {
            let early = self.preread(stream, place).await?;
            if let Some(hello) = self.hello.get() {
                self.choose(Some(&hello.server_name));
            }
            early
        } else {
            Vec::new()
        };
        self.set_variables();
        let rules = self.rules();
        match &rules.content {
            StreamContent::Return(text) => self.answer(stream, place, &text.value(self)).await,
            StreamContent::Pass(pass) => {
                let mut found = dial::connect(self, pass).await?;
                let first = match &pass.tls {
                    None => self.introduction(pass),
                    // It went out in front of the handshake.
                    Some(_) => String::new(),
                };
                relay::run(
                    self,
                    stream,
                    &mut found,
                    place,
                    pass,
                    first.as_bytes(),
                    &early,
                )
                .await
            }
        }
    }

    /// The client's first bytes, until they tell what it asks for or that it speaks no TLS.
    async fn preread(&self, stream: &Stream, place: &Place) -> Result<Vec<u8>, u16> {
        let rules = self.rules();
        let mut bytes = vec![0; rules.preread_bytes];
        let mut filled = 0;
        place.set(Some(Instant::now() + rules.preread_timeout));
        loop {
            match hello::read(&bytes[..filled]) {
                Preread::Partial => {}
                Preread::Other => break,
                Preread::Hello(hello) => {
                    // It is read once.
                    let _ = self.hello.set(hello);
                    break;
                }
            }
            if filled == bytes.len() {
                tell!(error, self, "preread buffer full");
                return Err(status::BAD_REQUEST);
            }
            let read = poll_fn(|cx| {
                if let Poll::Ready(read) = stream.poll_read(cx, &mut bytes[filled..]) {
                    return Poll::Ready(Some(read));
                }
                place.poll(cx).map(|_| None)
            });
            match read.await {
                None => {
                    tell!(info, self, "client timed out (110: Connection timed out)");
                    return Err(status::OK);
                }
                Some(Ok(0)) => return Err(status::OK),
                Some(Ok(count)) => {
                    filled += count;
                    add(&self.received, count as u64);
                }
                Some(Err(error)) => {
                    tell!(info, self, "recv() failed ({})", reason(&error));
                    return Err(status::OK);
                }
            }
        }
        bytes.truncate(filled);
        Ok(bytes)
    }

    /// `return`: all there is to say.
    async fn answer(&self, stream: &Stream, place: &Place, mut text: &[u8]) -> Result<u16, u16> {
        place.set(Some(Instant::now() + SEND));
        while !text.is_empty() {
            let sent = poll_fn(|cx| {
                if let Poll::Ready(sent) = stream.poll_write(cx, &[IoSlice::new(text)], Next::Any) {
                    return Poll::Ready(sent);
                }
                place.poll(cx).map(|_| Err(io::ErrorKind::TimedOut.into()))
            });
            let sent = sent.await.map_err(|_| status::OK)?;
            add(&self.sent, sent as u64);
            text = &text[sent..];
        }
        stream.shutdown_write();
        Ok(status::OK)
    }
}
