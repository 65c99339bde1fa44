//! Clients that stay with a server: which one a request belongs to, and telling the client or remembering it.
//!
//! Servers are known by their ids: the word of their `route`, or else the MD5 of their address in hexadecimal digits, as
//! nginx has it. Not here: taking another server when that one cannot be asked (see `Group::pick`).

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use md5::{Digest as _, Md5};

use super::exchange::Exchange;
use super::forward::Job;
use crate::config::{CookieEnd, Learn, Sticky, StickyCookie, UpstreamServer, nginx};
use crate::conn::record::Record;
use crate::headers::added::is_clean;
use crate::limit::table::Table;
use crate::template::{Scene, Template};
use crate::workbench::Workbench;

/// The longest id: that of a hash.
const LONGEST: usize = 32;
const FAR: &str = "; expires=Thu, 31-Dec-37 23:55:55 GMT; max-age=315360000";

/// What a server is known by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Id {
    bytes: [u8; LONGEST],
    length: u8,
}

impl Id {
    /// `None`: no server has one that is so long.
    fn new(text: &[u8]) -> Option<Self> {
        let mut bytes = [0; LONGEST];
        bytes.get_mut(..text.len())?.copy_from_slice(text);
        let length = u8::try_from(text.len()).ok()?;
        Some(Self { bytes, length })
    }

    pub(crate) fn of(server: &UpstreamServer) -> Self {
        let route = server.route.as_ref();
        route
            .and_then(|route| Self::new(route.as_bytes()))
            .unwrap_or_else(|| {
                let digest = Md5::digest(server.addr.to_string());
                let mut bytes = [0; LONGEST];
                for (pair, byte) in bytes.chunks_exact_mut(2).zip(digest) {
                    pair[0] = hex(byte >> 4);
                    pair[1] = hex(byte & 15);
                }
                Self { bytes, length: 32 }
            })
    }

    pub(crate) fn as_bytes(&self) -> &[u8] {
        &self.bytes[..usize::from(self.length)]
    }
}

fn hex(digit: u8) -> u8 {
    b"0123456789abcdef"[usize::from(digit)]
}

/// Which server has which session, for all cores. It outlives reloads.
#[derive(Debug)]
pub(crate) struct Sessions {
    zone: String,
    size: u64,
    began: Instant,
    table: Mutex<Table<Bound>>,
}

/// A session's server.
#[derive(Debug, Clone, Copy)]
struct Bound {
    id: Id,
    /// When an answer came from there last; milliseconds.
    last: u64,
}

impl Sessions {
    pub(crate) fn new(learn: &Learn) -> Self {
        Self {
            zone: learn.zone.clone(),
            size: learn.size,
            began: Instant::now(),
            table: Mutex::new(Table::new(learn.size)),
        }
    }

    /// Whether they are good for a new configuration.
    pub(crate) fn fits(&self, learn: &Learn) -> bool {
        self.zone == learn.zone && self.size == learn.size
    }

    fn now(&self) -> u64 {
        millis(self.began.elapsed())
    }

    fn lock(&self) -> MutexGuard<'_, Table<Bound>> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn find(&self, session: &[u8], timeout: Duration, now: u64) -> Option<Id> {
        let key = Md5::digest(session);
        let mut table = self.lock();
        let bound = *table.get(&key)?;
        if now.saturating_sub(bound.last) >= millis(timeout) {
            table.remove(&key);
            return None;
        }
        Some(bound.id)
    }

    /// An answer to a request of this session came from this server. One that is not known is taken up if `begins`.
    fn learn(&self, session: &[u8], id: Id, begins: bool, timeout: Duration, now: u64) {
        let key = Md5::digest(session);
        let mut table = self.lock();
        let is_old = |bound: &Bound| now.saturating_sub(bound.last) >= millis(timeout);
        while table.oldest().is_some_and(is_old) {
            table.remove_oldest();
        }
        let bound = Bound { id, last: now };
        if let Some(known) = table.get(&key) {
            *known = bound;
        } else if begins {
            table.add(&key, bound, |_| true);
        }
    }
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

/// A session that is to be remembered, and whether it has just begun.
pub(super) struct Lesson {
    session: Vec<u8>,
    begins: bool,
}

impl Job<'_> {
    /// The id of the server that the request belongs to.
    pub(super) fn bound(&self, bench: &Workbench, record: &Record) -> Option<Id> {
        let sticky = self.group.config.sticky.as_ref()?;
        let request = bench.head.on(bench.input.all());
        let value = first(&sticky.lookup, &self.scene(&request, record))?;
        match (&sticky.learn, &self.group.squad.sessions) {
            (Some(learn), Some(sessions)) => sessions.find(&value, learn.timeout, sessions.now()),
            _ => Id::new(&value),
        }
    }

    /// Tells the client the server that it is sent to.
    pub(super) fn tell_bound(&self, index: usize, bench: &Workbench, record: &mut Record) {
        let Some(cookie) = cookie(self.group.config.sticky.as_deref()) else {
            return;
        };
        let request = bench.head.on(bench.input.all());
        let scene = self.scene(&request, record);
        let id = self.group.squad.ids[index];
        record.visit.bound = line(cookie, &id, self.conn.engine.time.now(), &scene);
    }

    /// What the head of an answer tells of a session.
    pub(super) fn lesson(&self, exchange: &Exchange<'_>, record: &Record) -> Option<Lesson> {
        let sticky = self.group.config.sticky.as_ref()?;
        let learn = sticky.learn.as_ref()?;
        let request = exchange.bench.head.on(exchange.bench.input.all());
        let scene = Scene {
            answer: Some(exchange.head()),
            ..self.scene(&request, record)
        };
        let begun = first(&learn.create, &scene);
        let begins = begun.is_some();
        let session = begun.or_else(|| first(&sticky.lookup, &scene))?;
        Some(Lesson { session, begins })
    }

    /// Whether sessions are known before the end of an answer.
    pub(super) fn learns_at_head(&self) -> bool {
        let sticky = self.group.config.sticky.as_ref();
        sticky.is_some_and(|sticky| sticky.learn.as_ref().is_some_and(|learn| learn.at_head))
    }

    /// Remembers a session.
    pub(super) fn learn(&self, index: usize, lesson: Option<Lesson>) {
        let squad = &self.group.squad;
        let learn = self
            .group
            .config
            .sticky
            .as_ref()
            .and_then(|one| one.learn.as_ref());
        if let (Some(lesson), Some(learn), Some(sessions)) = (lesson, learn, &squad.sessions) {
            let now = sessions.now();
            let Lesson { session, begins } = &lesson;
            sessions.learn(session, squad.ids[index], *begins, learn.timeout, now);
        }
    }
}

fn cookie(sticky: Option<&Sticky>) -> Option<&StickyCookie> {
    sticky?.cookie.as_ref()
}

/// The value of the first one that has one.
fn first(templates: &[Template], scene: &Scene<'_>) -> Option<Vec<u8>> {
    let mut values = templates.iter().map(|one| one.value(scene));
    values.find(|value| !value.is_empty())
}

/// The field that binds a client, its line and all.
fn line(cookie: &StickyCookie, id: &Id, now: SystemTime, scene: &Scene<'_>) -> Vec<u8> {
    let value = |template: &Option<Template>| {
        let value = template.as_ref().map(|one| one.value(scene));
        value.filter(|value| !value.is_empty() && is_clean(value))
    };
    let mut line = b"Set-Cookie: ".to_vec();
    let mut put = |parts: &[&[u8]]| parts.iter().for_each(|part| line.extend_from_slice(part));
    put(&[cookie.name.as_bytes(), b"=", id.as_bytes()]);
    match cookie.expires {
        Some(CookieEnd::Never) => put(&[FAR.as_bytes()]),
        Some(CookieEnd::After(time)) => {
            let until = date(now + time);
            let text = format!("; expires={until}; max-age={}", time.as_secs());
            put(&[text.as_bytes()]);
        }
        None => {}
    }
    if let Some(domain) = value(&cookie.domain) {
        put(&[b"; domain=", &domain]);
    }
    if cookie.http_only {
        put(&[b"; httponly"]);
    }
    if cookie.secure {
        put(&[b"; secure"]);
    }
    if let Some(same_site) = value(&cookie.same_site) {
        let good = nginx::is_same_site(&same_site);
        put(&[b"; samesite=", if good { &same_site } else { b"strict" }]);
    }
    if let Some(path) = &cookie.path {
        put(&[b"; path=", path.as_bytes()]);
    }
    put(&[b"\r\n"]);
    line
}

/// A point in time as nginx writes it in cookies: `Thu, 31-Dec-37 23:55:55 GMT`.
fn date(at: SystemTime) -> String {
    let text = httpdate::fmt_http_date(at);
    let words: Vec<_> = text.split(' ').collect();
    let [weekday, day, month, year, time, zone] = words[..] else {
        return text;
    };
    let short = year.strip_prefix("20").filter(|short| *short <= "37");
    format!(
        "{weekday} {day}-{month}-{} {time} {zone}",
        short.unwrap_or(year)
    )
}

#[cfg(test)]
mod tests {
    use std::time::UNIX_EPOCH;

    use super::*;
    use crate::config::PeerAddr;

    fn id(text: &str) -> Id {
        Id::new(text.as_bytes()).unwrap()
    }

    #[test]
    fn ids_are_those_of_nginx() {
        let mut server = UpstreamServer::new(PeerAddr::Ip(([127, 0, 0, 1], 8080).into()));
        // printf 127.0.0.1:8080 | md5sum
        let want = "5958c386bf5e9109ac10d2a628645aea";
        assert_eq!(Id::of(&server).as_bytes(), want.as_bytes());
        server.route = Some("a".to_owned());
        assert_eq!(Id::of(&server).as_bytes(), b"a");
        assert_eq!(Id::new(&[b'x'; 33]), None);
    }

    #[test]
    fn dates_of_cookies() {
        let check = |seconds, want: &str| {
            assert_eq!(date(UNIX_EPOCH + Duration::from_secs(seconds)), want);
        };
        check(2_145_916_555, "Thu, 31-Dec-37 23:55:55 GMT");
        check(2_145_916_555 + 86_400, "Fri, 01-Jan-2038 23:55:55 GMT");
        check(0, "Thu, 01-Jan-1970 00:00:00 GMT");
    }

    #[test]
    fn sessions_are_learned_moved_and_forgotten() {
        let learn = Learn {
            create: Vec::new(),
            zone: "z".to_owned(),
            // Room for two.
            size: 256,
            timeout: Duration::from_secs(1),
            at_head: false,
        };
        let sessions = Sessions::new(&learn);
        let find = |session: &str, now| sessions.find(session.as_bytes(), learn.timeout, now);
        let put = |session: &str, server: &str, begins, now| {
            sessions.learn(session.as_bytes(), id(server), begins, learn.timeout, now);
        };
        put("one", "a", false, 0);
        assert_eq!(find("one", 0), None, "it was not there to be moved");
        put("one", "a", true, 0);
        assert_eq!(find("one", 999), Some(id("a")));
        put("one", "b", false, 999);
        assert_eq!(find("one", 1998), Some(id("b")));
        assert_eq!(find("one", 1999), None);
        for (number, session) in ["x", "y", "z"].into_iter().enumerate() {
            put(session, "a", true, 3000 + number as u64);
        }
        assert_eq!(find("x", 3002), None, "the one used longest ago had to go");
        assert_eq!(
            (find("y", 3002), find("z", 3002)),
            (Some(id("a")), Some(id("a")))
        );
        let other = Learn { size: 512, ..learn };
        assert!(!sessions.fits(&other));
    }
}
