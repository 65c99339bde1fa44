//! What comes before an upstream's answer: interim answers (1xx), and the one that switches protocols.
//!
//! Not here: the final answer (see `relay`), or what follows a switch (see `tunnel`).

use trine_http1::{Response, Version, write_header, write_status_line};

use super::exchange::Exchange;
use super::fault::Fault;
use super::forward::Job;
use super::pool::add;
use super::{head, tunnel};
use crate::config::{ProxyPass, Rules};
use crate::conn::Ending;
use crate::conn::record::Record;
use crate::headers::{response_field_passes, via};
use crate::workbench::Workbench;

impl Job<'_> {
    /// The upstream has switched protocols: from here on only bytes are copied.
    pub(super) async fn switch(
        &self,
        exchange: &mut Exchange<'_>,
        record: &mut Record,
    ) -> Result<Ending, Fault> {
        let conn = self.conn;
        let asked =
            head::wanted_upgrade(&exchange.bench.head.on(exchange.bench.input.all())).is_some();
        if !asked || exchange.head().upgrade().is_none() || !exchange.upload.is_complete() {
            return Err(Fault::UnaskedUpgrade);
        }
        let Exchange {
            bench,
            body,
            head_at,
            ..
        } = exchange;
        write_switch(bench, *head_at, self, &record.visit.bound);
        record.status = 101;
        conn.send(&bench.out).await?;
        let early_up = body.early_bytes(&bench.input, &bench.bulk).to_vec();
        let early_down = bench.answer.unread().to_vec();
        bench.slim();
        let tunnels = &conn.engine.figures.tunnels;
        add(tunnels, 1);
        let (bytes, end) = tunnel::run(
            conn,
            exchange.link.stream(),
            &early_up,
            &early_down,
            self.pass.read_timeout,
        )
        .await;
        tunnels.set(tunnels.get().saturating_sub(1));
        record.body_bytes = bytes;
        tracing::debug!(upstream = %exchange.peer.name, bytes, "the tunnel ended: {end}");
        Ok(Ending::Close)
    }
}

/// The head of an interim answer, for the client.
pub(super) fn write(exchange: &mut Exchange<'_>, rules: &Rules) {
    let Workbench {
        out,
        answer,
        answer_head,
        ..
    } = &mut *exchange.bench;
    let answer = answer_head.on(&answer.all()[exchange.head_at..]);
    out.clear();
    write_status_line(out, Version::Http11, answer.status(), answer.reason());
    for (name, value) in answer
        .headers()
        .filter(|(name, _)| response_field_passes(name))
    {
        write_header(out, name, value);
    }
    tell_way(out, exchange.pass, rules, &answer);
    out.extend_from_slice(b"\r\n");
}

/// That the answer came over this proxy.
fn tell_way(out: &mut Vec<u8>, pass: &ProxyPass, rules: &Rules, answer: &Response<'_>) {
    if let Some(name) = &rules.via {
        via::write_answered(out, pass.protocol, answer.version(), name);
    }
}

/// The head of a 101, for the client. `more` are lines of other fields.
fn write_switch(bench: &mut Workbench, head_at: usize, job: &Job<'_>, more: &[u8]) {
    let Workbench {
        out,
        answer,
        answer_head,
        ..
    } = bench;
    let answer = answer_head.on(&answer.all()[head_at..]);
    out.clear();
    write_status_line(out, Version::Http11, 101, answer.reason());
    for (name, value) in answer
        .headers()
        .filter(|(name, _)| response_field_passes(name))
    {
        write_header(out, name, value);
    }
    out.extend_from_slice(b"Connection: upgrade\r\n");
    write_header(out, b"Upgrade", answer.upgrade().unwrap_or_default());
    if answer.get("date").is_none() {
        job.conn.engine.time.write_date(out);
    }
    tell_way(out, job.pass, job.rules, &answer);
    out.extend_from_slice(more);
    out.extend_from_slice(b"\r\n");
}
