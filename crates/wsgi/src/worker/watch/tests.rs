//! The watcher against a socket pair, and one look at a time.

use super::*;
use std::io::Read as _;
use std::os::unix::net::UnixStream;
use std::sync::mpsc;

const LIMIT: Duration = Duration::from_millis(20);
const PATIENCE: Duration = Duration::from_secs(30);

fn slots() -> Arc<Slots> {
    Arc::new(Slots::new(1, 2).unwrap())
}

fn socket() -> (UnixStream, Arc<Transport>) {
    let (client, server) = UnixStream::pair().unwrap();
    (client, Arc::new(Transport::plain(server.into())))
}

#[test]
fn an_overdue_request_is_told_once_and_then_answered_for() {
    let watch = Arc::new(Watch::new(LIMIT, 2, slots(), 0));
    let (told, hears) = mpsc::channel();
    let _watcher = watch
        .start(move |overdue| told.send(overdue).unwrap())
        .unwrap();
    for _ in 0..3 {
        watch.begin(0, Instant::now(), None);
        let _ = watch.seat(0).end();
    }
    let (mut client, server) = socket();
    watch.begin(1, Instant::now(), Some(server));
    let overdue = hears.recv_timeout(PATIENCE).unwrap();
    assert_eq!(overdue, Overdue { seat: 1, number: 1 });
    assert!(watch.seat(1).tell(overdue));
    let mut answer = String::new();
    client.read_to_string(&mut answer).unwrap();
    assert!(
        answer.starts_with("HTTP/1.1 504 Gateway Timeout\r\n"),
        "{answer}"
    );
    assert!(!watch.seat(1).speak());
    let ended = watch.seat(1).end();
    assert!(ended.interrupted && ended.answered);
    assert!(hears.try_recv().is_err());
    // The next one is another request.
    watch.begin(1, Instant::now(), None);
    assert!(!watch.seat(1).tell(overdue));
    assert!(hears.recv_timeout(PATIENCE).unwrap() != overdue);
    let ended = watch.seat(1).end();
    assert!(!ended.interrupted && !ended.answered);
}

#[test]
fn who_waits_for_its_client_is_not_told() {
    let watch = Watch::new(LIMIT, 1, slots(), 0);
    let began = Instant::now();
    watch.begin(0, began, None);
    watch.seat(0).set_waits(true);
    let mut told = [0];
    let late = began + LIMIT * 2;
    let next = watch.look(late, &mut told, &|_| panic!("told"));
    assert_eq!(next, Some(late + AGAIN));
    watch.seat(0).set_waits(false);
    let calls = AtomicU64::new(0);
    let count = |_| {
        calls.fetch_add(1, SeqCst);
    };
    watch.look(late, &mut told, &count);
    watch.look(late, &mut told, &count);
    assert_eq!(calls.load(SeqCst), 1);
    let _ = watch.seat(0).end();
    assert_eq!(watch.look(late, &mut told, &count), None);
}
