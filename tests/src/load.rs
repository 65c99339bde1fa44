//! A client that keeps several connections busy and accounts for every request: answered as it should be, or failed
//! and why. Strict on purpose: it never tries again, so a request that a server lost cannot hide.

use std::io;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use crate::client::{Address, Client, Request};
use crate::wait;

/// What to ask for. `{id}` in a target becomes the request's number, which the answer must hold.
#[derive(Debug, Clone)]
pub struct Mix {
    pub connections: usize,
    pub gets: Vec<&'static str>,
    /// Bodies of changing size go here, and must come back.
    pub post: Option<&'static str>,
    /// The pause of one connection between two requests.
    pub pause: Duration,
    /// A new connection for every request.
    pub close: bool,
}

/// One request and what became of it.
#[derive(Debug, Clone)]
pub struct Answer {
    pub id: usize,
    pub method: &'static str,
    pub started: Instant,
    pub ended: Instant,
    /// `None`: status 200 and the right body.
    pub failure: Option<String>,
}

/// A load that is going on.
#[derive(Debug)]
pub struct Load {
    shared: Arc<Shared>,
    threads: Vec<JoinHandle<()>>,
}

#[derive(Debug, Default)]
struct Shared {
    stop: AtomicBool,
    next: AtomicUsize,
    done: AtomicUsize,
    answers: Mutex<Vec<Answer>>,
}

impl Load {
    #[must_use]
    pub fn start(to: impl Into<Address>, mix: &Mix) -> Self {
        let to = to.into();
        let shared = Arc::new(Shared::default());
        let threads = (0..mix.connections)
            .map(|_| {
                let (to, mix, shared) = (to.clone(), mix.clone(), Arc::clone(&shared));
                thread::spawn(move || keep_asking(&to, &mix, &shared))
            })
            .collect();
        Self { shared, threads }
    }

    /// Waits until this many more requests have their answer, and it goes on.
    #[track_caller]
    pub fn wait_for_more(&self, count: usize) {
        let goal = self.shared.done.load(Ordering::SeqCst) + count;
        wait::until(&format!("{count} more answers under load"), || {
            (self.shared.done.load(Ordering::SeqCst) >= goal).then_some(())
        });
    }

    /// Ends the load after the requests in flight; every request is in the report.
    #[must_use]
    pub fn stop(mut self) -> Report {
        self.shared.stop.store(true, Ordering::SeqCst);
        self.threads
            .drain(..)
            .for_each(|thread| thread.join().unwrap());
        let mut answers = std::mem::take(&mut *self.shared.answers.lock().unwrap());
        answers.sort_by_key(|answer| answer.started);
        assert_eq!(
            answers.len(),
            self.shared.next.load(Ordering::SeqCst),
            "a request without an account"
        );
        Report { answers }
    }
}

impl Drop for Load {
    fn drop(&mut self) {
        self.shared.stop.store(true, Ordering::SeqCst);
    }
}

/// Every request of a load that is over.
#[derive(Debug)]
pub struct Report {
    pub answers: Vec<Answer>,
}

impl Report {
    #[must_use]
    pub fn failed(&self) -> Vec<&Answer> {
        self.answers
            .iter()
            .filter(|answer| answer.failure.is_some())
            .collect()
    }

    /// Nothing may have failed.
    #[track_caller]
    pub fn assert_none_failed(&self) {
        let failed = self.failed();
        assert!(
            failed.is_empty(),
            "{} of {} requests failed: {}",
            failed.len(),
            self.answers.len(),
            describe(&failed)
        );
    }

    /// Only requests that were under way at some moment between `from` and `to` may have failed, and at most `most`.
    #[track_caller]
    pub fn assert_failed_only_within(&self, from: Instant, to: Instant, most: usize) {
        let failed = self.failed();
        let (inside, outside): (Vec<&Answer>, Vec<&Answer>) = failed
            .iter()
            .copied()
            .partition(|answer| answer.started <= to && answer.ended >= from);
        assert!(
            outside.is_empty(),
            "{} requests failed that were not in flight at the kill: {}",
            outside.len(),
            describe(&outside)
        );
        assert!(
            inside.len() <= most,
            "{} requests failed, {most} can have been inside: {}",
            inside.len(),
            describe(&inside)
        );
        eprintln!(
            "{} requests, {} failed inside the killed process: {}",
            self.answers.len(),
            inside.len(),
            describe(&inside)
        );
    }
}

fn describe(answers: &[&Answer]) -> String {
    let lines: Vec<String> = answers
        .iter()
        .take(10)
        .map(|answer| {
            format!(
                "#{} {} ({})",
                answer.id,
                answer.method,
                answer.failure.as_deref().unwrap_or("fine")
            )
        })
        .collect();
    lines.join(", ")
}

fn keep_asking(to: &Address, mix: &Mix, shared: &Shared) {
    let mut client = None;
    while !shared.stop.load(Ordering::SeqCst) {
        let id = shared.next.fetch_add(1, Ordering::SeqCst);
        let (method, request) = request(mix, id);
        let started = Instant::now();
        let failure = ask(&mut client, to, &request, id)
            .err()
            .map(|problem| problem.to_string());
        if failure.is_some() {
            client = None;
        }
        shared.answers.lock().unwrap().push(Answer {
            id,
            method,
            started,
            ended: Instant::now(),
            failure,
        });
        shared.done.fetch_add(1, Ordering::SeqCst);
        thread::sleep(mix.pause);
    }
}

fn request(mix: &Mix, id: usize) -> (&'static str, Request) {
    let (method, request) = match mix.post {
        Some(target) if id % 2 == 1 => {
            let filler = "x".repeat(100 + id * 977 % 40_000);
            ("POST", Request::post(target, format!("id={id};{filler}")))
        }
        Some(_) | None => (
            "GET",
            Request::get(&mix.gets[id / 2 % mix.gets.len()].replace("{id}", &format!("id={id};"))),
        ),
    };
    (
        method,
        if mix.close {
            request.header("Connection", "close")
        } else {
            request
        },
    )
}

fn ask(client: &mut Option<Client>, to: &Address, request: &Request, id: usize) -> io::Result<()> {
    let connection = match client {
        Some(connection) => connection,
        None => client.insert(
            Client::try_connect(to)
                .map_err(|problem| io::Error::other(format!("connecting: {problem}")))?,
        ),
    };
    let reply = connection.try_ask(request)?;
    if !reply.keep_alive {
        *client = None;
    }
    if reply.status != 200 {
        return Err(io::Error::other(format!(
            "status {}: {}",
            reply.status,
            reply.text().trim()
        )));
    }
    let right = match request.method.as_str() {
        "POST" => reply.body == request.body,
        _ => reply.text().contains(&format!("id={id};")),
    };
    if right {
        Ok(())
    } else {
        Err(io::Error::other(format!(
            "a wrong body of {} bytes",
            reply.body.len()
        )))
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicUsize;

    use super::*;
    use crate::upstream::Upstream;

    #[test]
    fn every_request_has_its_account() {
        let asked = AtomicUsize::new(0);
        let server = Upstream::start(move |request, conversation| {
            match asked.fetch_add(1, Ordering::SeqCst) % 10 {
                3 => conversation.break_off(),
                6 => conversation.reply("503 Busy", b"later"),
                9 => conversation.reply("200 OK", b"somebody else's answer"),
                _ if request.method == "POST" => conversation.reply("200 OK", &request.body),
                _ => conversation.reply("200 OK", request.target.as_bytes()),
            }
        });
        let mix = Mix {
            connections: 3,
            gets: vec!["/a?{id}"],
            post: Some("/b"),
            pause: Duration::ZERO,
            close: false,
        };
        let load = Load::start(server.addr(), &mix);
        load.wait_for_more(100);
        let report = load.stop();
        let (all, failed) = (report.answers.len(), report.failed().len());
        assert!(
            all >= 100 && server.seen().len() == all,
            "{all} asked, {} seen",
            server.seen().len()
        );
        assert!((all * 3 / 10).abs_diff(failed) <= 3, "{failed} of {all}");
        let reasons = describe(&report.failed());
        for reason in ["closed after 0 bytes", "status 503: later", "wrong body"] {
            assert!(reasons.contains(reason), "{reason}: {reasons}");
        }
    }
}
