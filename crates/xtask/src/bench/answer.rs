//! `cargo xtask answer PROTOCOL SOCKET`: an application that answers FastCGI or uwsgi as fast as one core can, for
//! measurements of what stands in front of it.
//!
//! One thread, one epoll, and no look at what is asked. Not here: who asks.

use std::collections::HashMap;
use std::io::{ErrorKind, Read as _, Write as _};
use std::os::fd::{AsFd as _, AsRawFd as _};
use std::os::unix::net::{UnixListener, UnixStream};

use anyhow::Context as _;
use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout};
use trine_gateway::fastcgi::{
    Event, Kind, ProtocolStatus, Server, write_end_request, write_stream,
};
use trine_gateway::uwsgi;

use super::proxy::HELLO;
use crate::cli::{AnswerOptions, Gateway};

/// Marks the listener's events.
const LISTENER: u64 = u64::MAX;
const MOST_PARAMS: usize = 64 * 1024;

/// One web server's connection.
struct Peer {
    stream: UnixStream,
    /// What came and was not understood yet.
    input: Vec<u8>,
    server: Server,
}

/// What becomes of a connection.
#[derive(PartialEq)]
enum Then {
    Keep,
    Close,
}

/// Answers until it is ended.
pub(crate) fn run(options: &AnswerOptions) -> anyhow::Result<bool> {
    let listener = UnixListener::bind(&options.socket)
        .with_context(|| format!("cannot listen on {}", options.socket.display()))?;
    // The standard library asks for a queue of 128.
    nix::sys::socket::listen(&listener, nix::sys::socket::Backlog::new(1024)?)?;
    listener.set_nonblocking(true)?;
    let epoll = Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC)?;
    epoll.add(
        listener.as_fd(),
        EpollEvent::new(EpollFlags::EPOLLIN, LISTENER),
    )?;
    let mut peers: HashMap<u64, Peer> = HashMap::new();
    let mut events = [EpollEvent::empty(); 256];
    let mut buffer = vec![0; 64 * 1024];
    loop {
        let count = epoll.wait(&mut events, EpollTimeout::NONE)?;
        for event in &events[..count] {
            if event.data() == LISTENER {
                accept(&listener, &epoll, &mut peers)?;
                continue;
            }
            let Some(peer) = peers.get_mut(&event.data()) else {
                continue;
            };
            if serve(peer, options.protocol, &mut buffer) == Then::Close {
                peers.remove(&event.data());
            }
        }
    }
}

fn accept(
    listener: &UnixListener,
    epoll: &Epoll,
    peers: &mut HashMap<u64, Peer>,
) -> anyhow::Result<()> {
    loop {
        let stream = match listener.accept() {
            Ok((stream, _)) => stream,
            Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
            Err(error) => return Err(error.into()),
        };
        stream.set_nonblocking(true)?;
        let number = u64::try_from(stream.as_raw_fd())?;
        epoll.add(stream.as_fd(), EpollEvent::new(EpollFlags::EPOLLIN, number))?;
        let peer = Peer {
            stream,
            input: Vec::new(),
            server: Server::new(MOST_PARAMS, 1),
        };
        peers.insert(number, peer);
    }
}

/// Reads what is there, and answers if that is a whole request.
fn serve(peer: &mut Peer, protocol: Gateway, buffer: &mut [u8]) -> Then {
    match peer.stream.read(buffer) {
        Ok(0) => return Then::Close,
        Ok(count) => peer.input.extend_from_slice(&buffer[..count]),
        Err(error) if error.kind() == ErrorKind::WouldBlock => return Then::Keep,
        Err(_) => return Then::Close,
    }
    let answer = match protocol {
        Gateway::Fastcgi => fastcgi(peer),
        Gateway::Uwsgi => uwsgi(peer),
    };
    match answer {
        None => Then::Keep,
        // The answers are shorter than any socket's buffer.
        Some((bytes, then)) => match peer.stream.write_all(&bytes) {
            Ok(()) => then,
            Err(_) => Then::Close,
        },
    }
}

fn fastcgi(peer: &mut Peer) -> Option<(Vec<u8>, Then)> {
    let mut out = Vec::new();
    let mut at = 0;
    let mut then = Then::Keep;
    loop {
        let Ok((event, used)) = peer.server.advance(&peer.input[at..], &mut out) else {
            return Some((out, Then::Close));
        };
        at += used;
        match event {
            Event::More => break,
            Event::Request | Event::Body(_) => {}
            Event::BodyEnd | Event::Abort => {
                let id = peer.server.id();
                let head = "Content-Type: text/plain\r\n\r\n";
                write_stream(
                    &mut out,
                    Kind::STDOUT,
                    id,
                    &[head.as_bytes(), HELLO].concat(),
                );
                write_end_request(&mut out, id, 0, ProtocolStatus::Complete);
                if !peer.server.keep() {
                    then = Then::Close;
                }
                peer.server.finish();
            }
            Event::Refused { .. } => then = Then::Close,
        }
    }
    peer.input.drain(..at);
    (!out.is_empty()).then_some((out, then))
}

fn uwsgi(peer: &mut Peer) -> Option<(Vec<u8>, Then)> {
    match uwsgi::decode(&peer.input, MOST_PARAMS) {
        Ok(None) => None,
        Ok(Some(_)) => {
            let head = "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 13\r\n\r\n";
            Some(([head.as_bytes(), HELLO].concat(), Then::Close))
        }
        Err(_) => Some((Vec::new(), Then::Close)),
    }
}
