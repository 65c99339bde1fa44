//! Requests that wait before they are answered: for a password to be checked, for their turn, or because they were refused.
//!
//! A client that leaves meanwhile ends it. Not here: why (see `access`, `limit`).

use std::time::{Duration, Instant};

use super::record::Record;
use super::reply::Reply;
use super::serve::Step;
use super::stage::Stage;
use super::subrequest::{self, Ask, Outcome};
use super::{Conn, Interrupted};
use crate::access::{self, Admission, Check, password};

/// What is waited for.
#[derive(Debug)]
pub(super) enum Pause {
    /// A password is checked, which is slow on purpose, on a thread of its own.
    Check(Check),
    /// Others come first (`limit_req`).
    Turn(Duration),
    /// Another location is asked (`auth_request`).
    Ask(Box<Ask>),
    /// The request goes elsewhere as well; `serve` does it.
    Mirror,
    /// The client is told only then that it may not ask (`auth_delay`).
    Refuse(Duration),
}

/// What follows.
pub(super) enum After {
    Judged(Admission),
    Turn,
    Answered(Outcome),
    Mirrored,
    Reply(Reply),
}

impl Pause {
    /// `None` if the client has left.
    pub(super) async fn wait(self, conn: &Conn) -> Option<After> {
        match self {
            Self::Check(check) => match conn.within(None, true, verified(conn, check)).await {
                Ok(admission) => Some(After::Judged(admission)),
                Err(Interrupted::Late | Interrupted::Gone(_)) => None,
            },
            Self::Turn(delay) => stays(conn, delay).await.then_some(After::Turn),
            Self::Ask(ask) => match conn.within(None, true, subrequest::run(conn, ask)).await {
                Ok(outcome) => Some(After::Answered(outcome)),
                Err(Interrupted::Late | Interrupted::Gone(_)) => None,
            },
            Self::Mirror => Some(After::Mirrored),
            Self::Refuse(delay) => {
                let stays = stays(conn, delay).await;
                stays.then(|| After::Reply(Reply::status(401)))
            }
        }
    }
}

impl After {
    pub(super) fn go_on<'g>(self, stage: &Stage<'_, 'g>, record: &mut Record) -> Step<'g> {
        match self {
            Self::Turn => stage.turn(record),
            Self::Judged(admission) => stage.judged(admission, record),
            Self::Answered(outcome) => stage.answered(outcome, record),
            Self::Mirrored => {
                record.visit.mirrored = true;
                stage.admitted(record)
            }
            Self::Reply(reply) => Step::Reply(reply),
        }
    }
}

/// Waits so long; whether the client is still there then.
async fn stays(conn: &Conn, delay: Duration) -> bool {
    let end = Instant::now() + delay;
    let never = std::future::pending::<()>();
    !matches!(
        conn.within(Some(end), true, never).await,
        Err(Interrupted::Gone(_))
    )
}

async fn verified(conn: &Conn, check: Check) -> Admission {
    let guard = &conn.engine.guard;
    let Ok(_turn) = guard.checking.acquire().await else {
        return Admission::Refused(500, None);
    };
    // Another request with the same password may have been checked while this one waited.
    if guard.proven.knows(&check) {
        return Admission::Granted;
    }
    let on_thread = check.clone();
    let outcome = tokio::task::spawn_blocking(move || {
        password::verify(&on_thread.stored, &on_thread.password)
    });
    match outcome.await {
        Ok(outcome) => {
            if outcome == Ok(true) {
                guard.proven.remember(&check);
            }
            access::judge(check, outcome, &conn.peer_text)
        }
        Err(error) => {
            tracing::error!(client = %conn.peer_text, "a password could not be checked: {error}");
            Admission::Refused(500, None)
        }
    }
}
