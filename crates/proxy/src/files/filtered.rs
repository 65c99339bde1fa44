//! Files that are changed on their way: compressed, or unpacked.
//!
//! Not here: whether they are (`filter`), and files that go out as they are (`send`).

use std::rc::Rc;
use std::time::SystemTime;

use trine_http1::{Request, write_header};

use super::cache::{Entry, SMALL};
use super::send::{Broken, Job};
use crate::compress::{self, Answer, Coding, Then};
use crate::config::Rules;
use crate::conn::record::Record;
use crate::conn::reply::{self, write_number};
use crate::filter::{self, From, Plan, Shown, Tally, Texts};

/// What becomes of the file's content, which is of the type `kind`, in an answer with this status.
pub(super) fn plan<'a>(
    rules: &'a Rules,
    request: &Request<'_>,
    entry: &Entry,
    kind: &[u8],
    status: u16,
    now: SystemTime,
) -> Plan<'a> {
    if !rules.filters() {
        return filter::PLAIN;
    }
    let modified = httpdate::fmt_http_date(entry.modified);
    let field = |name: &str| match name {
        "etag" if !entry.etag.is_empty() => Some(&entry.etag[..]),
        "last-modified" => Some(modified.as_bytes()),
        "content-encoding" => entry.coding.map(|coding| coding.name().as_bytes()),
        _ => None,
    };
    let about = Answer {
        status,
        content_type: kind,
        length: Some(entry.size),
        encoded: entry.coding.is_some(),
        field: &field,
        now,
    };
    Plan::new(rules, request, &about)
}

impl Job<'_> {
    /// Sends it; `added` is what the location adds to the head.
    pub(super) async fn changed(
        &self,
        out: &mut Vec<u8>,
        (plan, texts): (&Plan<'_>, Texts),
        status: u16,
        added: &[u8],
        record: &mut Record,
    ) -> Result<(), Broken> {
        let Self { conn, entry, .. } = *self;
        reply::start_head(out, &conn.engine.time, &self.server, status);
        write_header(out, b"Content-Type", self.kind);
        if !entry.etag.is_empty() && plan.shows(b"etag") == Shown::Weak {
            write_header(out, b"ETag", &compress::weak(&entry.etag));
        }
        if status == 200 && plan.shows(b"last-modified") != Shown::Not {
            let modified = httpdate::fmt_http_date(entry.modified);
            write_header(out, b"Last-Modified", modified.as_bytes());
        }
        if let Some(coding) = entry.coding
            && plan.shows(b"content-encoding") != Shown::Not
        {
            write_header(out, b"Content-Encoding", coding.name().as_bytes());
        }
        plan.write(out);
        out.extend_from_slice(added);
        let small = match plan.mark() {
            Some(how) if entry.size <= SMALL && !self.head_only && self.finale.is_none() => {
                Some(self.small(plan, how).await?)
            }
            _ => None,
        };
        if let Some(body) = small {
            write_number(out, b"Content-Length", body.len() as u64);
            self.end_head(out);
            record.note_head(self.config, out);
            out.extend_from_slice(&body);
            record.body_bytes += body.len() as u64;
            record.packed = Tally {
                coding: plan.mark().map(|(coding, _)| coding),
                taken: entry.size,
                made: body.len() as u64,
            };
            return conn.send(out).await.map_err(Broken::Client);
        }
        let chunked = self.is_new();
        if chunked && !self.head_only {
            out.extend_from_slice(b"Transfer-Encoding: chunked\r\n");
        }
        self.end_head(out);
        record.note_head(self.config, out);
        let chain = plan.chain(Some(entry.size), texts);
        let chain = chain.map_err(Broken::Read)?;
        let Some(chain) = chain.filter(|_| !self.head_only) else {
            return conn.send(out).await.map_err(Broken::Client);
        };
        let from = From::File(&entry.fd, entry.size);
        let out = std::mem::take(out);
        let sent = filter::send(conn, record, chain, from, out, (chunked, self.finale));
        sent.await.map_err(|broken| match broken {
            filter::Broken::Client(fault) => Broken::Client(fault),
            filter::Broken::Body(error) => Broken::Changed(error),
            filter::Broken::Shrunk => Broken::Shrunk,
        })
    }

    /// All of a small file's content, compressed, for this time and the next.
    async fn small(&self, plan: &Plan<'_>, how: (Coding, u32)) -> Result<Rc<[u8]>, Broken> {
        let files = &self.conn.engine.files;
        if let Some(body) = files.squeezed(self.entry, how) {
            return Ok(body);
        }
        let body = files.body(self.entry).map_err(Broken::from_read)?;
        let presses = &self.conn.engine.presses;
        let chain = plan.chain(Some(self.entry.size), Texts::default());
        let mut made = Vec::new();
        if let Some(mut chain) = chain.map_err(Broken::Read)? {
            let work = chain.run(presses, &body, Then::End, &mut made);
            work.await.map_err(Broken::Changed)?;
        }
        let made: Rc<[u8]> = made.into();
        files.keep_squeezed(self.entry, how, &made);
        Ok(made)
    }
}
