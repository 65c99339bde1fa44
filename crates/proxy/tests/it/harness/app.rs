//! An application that answers by itself, from threads: its name to every request, and what the test says to checks.

use std::io::{BufRead as _, BufReader, Read, Write};
use std::net::TcpListener;
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::sync::atomic::{AtomicU16, AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Mutex};
use std::time::Instant;

use super::PATIENCE;

#[derive(Debug, Clone)]
pub(crate) struct App {
    told: Arc<Told>,
    /// Where it listens.
    pub(crate) address: String,
}

#[derive(Debug)]
struct Told {
    name: String,
    /// What `/healthz` is answered; 0: nothing at all.
    health: AtomicU16,
    checks: AtomicUsize,
    requests: AtomicUsize,
    /// The head of the last check.
    last: Mutex<String>,
}

impl App {
    fn new(name: &str, address: String) -> Self {
        let told = Told {
            name: name.to_owned(),
            health: AtomicU16::new(200),
            checks: AtomicUsize::new(0),
            requests: AtomicUsize::new(0),
            last: Mutex::default(),
        };
        Self {
            told: Arc::new(told),
            address,
        }
    }

    pub(crate) fn on_unix(name: &str, path: &Path) -> Self {
        let listener = UnixListener::bind(path).unwrap();
        let app = Self::new(name, format!("unix:{}", path.display()));
        let told = Arc::clone(&app.told);
        std::thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let (told, other) = (Arc::clone(&told), stream.try_clone().unwrap());
                std::thread::spawn(move || told.serve(stream, other));
            }
        });
        app
    }

    /// On a port of 127.0.0.1 or another address of this machine; 0 for any.
    pub(crate) fn on_tcp(name: &str, address: &str) -> Self {
        let listener = TcpListener::bind(address).unwrap();
        let app = Self::new(name, listener.local_addr().unwrap().to_string());
        let told = Arc::clone(&app.told);
        std::thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let (told, other) = (Arc::clone(&told), stream.try_clone().unwrap());
                std::thread::spawn(move || told.serve(stream, other));
            }
        });
        app
    }

    /// What checks are answered from now on; 0: nothing.
    pub(crate) fn set_health(&self, status: u16) {
        self.told.health.store(status, SeqCst);
    }

    pub(crate) fn requests(&self) -> usize {
        self.told.requests.load(SeqCst)
    }

    pub(crate) fn last_check(&self) -> String {
        self.told.last.lock().unwrap().clone()
    }

    /// Waits until it has been checked so often in all.
    #[track_caller]
    pub(crate) fn wait_checks(&self, want: usize) {
        let end = Instant::now() + PATIENCE;
        while self.told.checks.load(SeqCst) < want {
            assert!(Instant::now() < end, "{} is not checked", self.told.name);
            std::thread::sleep(std::time::Duration::from_millis(1));
        }
    }
}

impl Told {
    fn serve(&self, input: impl Read, mut output: impl Write) {
        let mut input = BufReader::new(input);
        loop {
            let mut head = String::new();
            while !head.ends_with("\r\n\r\n") {
                match input.read_line(&mut head) {
                    Ok(0) | Err(_) => return,
                    Ok(_) => {}
                }
            }
            let answer = if head.starts_with("GET /healthz ") {
                *self.last.lock().unwrap() = head;
                self.checks.fetch_add(1, SeqCst);
                let status = self.health.load(SeqCst);
                if status == 0 {
                    // Until the other side gives up.
                    let _ = input.read_to_end(&mut Vec::new());
                    return;
                }
                let body = format!("{} is {status}", self.name);
                let length = body.len();
                format!(
                    "HTTP/1.1 {status} X\r\nX-App: {}\r\nContent-Length: {length}\r\n\r\n{body}",
                    self.name
                )
            } else {
                self.requests.fetch_add(1, SeqCst);
                let name = &self.name;
                let length = name.len();
                format!("HTTP/1.1 200 OK\r\nContent-Length: {length}\r\n\r\n{name}")
            };
            if output.write_all(answer.as_bytes()).is_err() {
                return;
            }
        }
    }
}
