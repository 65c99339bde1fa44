//! Why a request could not be forwarded, whose fault that was, and what the client is told.
//!
//! Not here: writing the answer or the log line.

use std::io;
use std::time::Duration;

use trine_http1::{BodyError, ResponseError};

use crate::conn::body::BodyFault;
use crate::spool::Full;

/// What went wrong between a request and its answer.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Fault {
    #[error("the client went away while {while_}")]
    ClientGone {
        while_: &'static str,
        #[source]
        source: Option<io::Error>,
    },
    #[error("the client sent nothing of its body for {0:?}")]
    BodyTimeout(Duration),
    #[error("the client took nothing of the answer for {0:?}")]
    ClientSendTimeout(Duration),
    #[error("the client sent its body slower than {0} bytes in a second")]
    BodyTooSlow(u64),
    #[error("the client took its answer slower than {0} bytes in a second")]
    TakesTooSlowly(u64),
    #[error("the request's body cannot be read")]
    Body(#[source] BodyError),
    #[error("the request's body cannot be kept")]
    Keep(#[source] Full),
    #[error("the request's body cannot be read from its temporary file")]
    Spool(#[source] io::Error),
    #[error("its answer cannot be read from its temporary file")]
    SpoolAnswer(#[source] io::Error),
    #[error("the request's body is larger than {limit} bytes")]
    BodyTooLarge { limit: u64 },
    #[error("the request took longer than {0:?} in all")]
    Total(Duration),
    #[error("cannot connect")]
    Connect(#[source] io::Error),
    #[error("it did not accept a connection within {0:?}")]
    ConnectTimeout(Duration),
    #[error("it is busy: its backlog stayed full for {0:?}")]
    Busy(Duration),
    #[error(
        "no live upstreams: every server is down, was tried, or has all the connections it may have"
    )]
    NoLive,
    /// The servers have changed while it waited: it goes over to those that there are now.
    #[error("the upstream has other servers now")]
    Regrouped,
    #[error("{0} requests wait for a server already, which is as many as may")]
    QueueFull(usize),
    #[error("no server had a connection to spare within {0:?}")]
    QueueTimeout(Duration),
    /// An answer that sends the request to another server, if there is one.
    #[error("it answered {0}")]
    Unwanted(u16),
    #[error("it closed the connection before the request was sent")]
    Unsent(#[source] io::Error),
    #[error("it closed the connection without an answer")]
    Unanswered(#[source] Option<io::Error>),
    #[error("it took nothing of the request for {0:?}")]
    SendTimeout(Duration),
    #[error("it sent nothing for {0:?}")]
    ReadTimeout(Duration),
    #[error("its answer is not HTTP")]
    Head(#[source] ResponseError),
    #[error("its answer is not one of its protocol")]
    Gateway(#[source] trine_gateway::Error),
    #[error("it closed the connection within the head of its answer")]
    CutHead,
    #[error("it said that it has too much to do")]
    Overloaded,
    /// `fastcgi_catch_stderr`.
    #[error("it said on its standard error what counts as a failure")]
    Caught,
    #[error("the request's variables do not fit into its protocol")]
    Variables(#[source] trine_gateway::Error),
    #[error("it switched protocols without being asked")]
    UnaskedUpgrade,
    #[error("the body of its answer is malformed")]
    AnswerBody(#[source] BodyError),
    /// An error page of ours takes the place of the answer.
    #[error("it answered {0}, which an error page stands for")]
    Intercepted(u16),
    /// Another location answers (`X-Accel-Redirect`).
    #[error("it has another location answer")]
    Handed,
    #[error("the body of its answer cannot be unpacked or compressed")]
    Filter(#[source] io::Error),
    #[error("it closed the connection within the body of its answer")]
    CutBody(#[source] Option<io::Error>),
}

/// Who has to look into it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Blame {
    /// All is as it should be.
    Nobody,
    Client,
    Upstream,
    /// This machine's.
    Own,
    /// Nobody did anything wrong, or it cannot be told.
    Limits,
}

impl Fault {
    /// What the client is told, or what is logged if nobody is there to be told (499, as nginx has it).
    pub(crate) fn status(&self) -> u16 {
        match self {
            Self::ClientGone { .. } => 499,
            Self::BodyTimeout(_)
            | Self::ClientSendTimeout(_)
            | Self::BodyTooSlow(_)
            | Self::TakesTooSlowly(_) => 408,
            Self::Body(error) => error.status(),
            Self::BodyTooLarge { .. } => 413,
            Self::Keep(_) | Self::Spool(_) | Self::SpoolAnswer(_) => 500,
            Self::Intercepted(status) | Self::Unwanted(status) => *status,
            Self::Variables(_) => 431,
            Self::Busy(_) | Self::Overloaded => 503,
            Self::Total(_)
            | Self::ConnectTimeout(_)
            | Self::SendTimeout(_)
            | Self::ReadTimeout(_) => 504,
            Self::Connect(_)
            | Self::NoLive
            | Self::Regrouped
            | Self::QueueFull(_)
            | Self::QueueTimeout(_)
            | Self::Unsent(_)
            | Self::Unanswered(_)
            | Self::Head(_)
            | Self::Gateway(_)
            | Self::CutHead
            | Self::Caught
            | Self::UnaskedUpgrade
            | Self::AnswerBody(_)
            | Self::Filter(_)
            | Self::CutBody(_)
            | Self::Handed => 502,
        }
    }

    pub(crate) fn blame(&self) -> Blame {
        match self {
            Self::ClientGone { .. }
            | Self::BodyTooSlow(_)
            | Self::TakesTooSlowly(_)
            | Self::BodyTimeout(_)
            | Self::ClientSendTimeout(_)
            | Self::Body(_)
            | Self::BodyTooLarge { .. }
            | Self::Variables(_) => Blame::Client,
            Self::Keep(_) | Self::Spool(_) | Self::SpoolAnswer(_) => Blame::Own,
            Self::Total(_) => Blame::Limits,
            Self::Intercepted(_) | Self::Handed => Blame::Nobody,
            Self::Connect(_)
            | Self::NoLive
            | Self::Regrouped
            | Self::QueueFull(_)
            | Self::QueueTimeout(_)
            | Self::Unwanted(_)
            | Self::ConnectTimeout(_)
            | Self::Busy(_)
            | Self::Unsent(_)
            | Self::Unanswered(_)
            | Self::SendTimeout(_)
            | Self::ReadTimeout(_)
            | Self::Head(_)
            | Self::Gateway(_)
            | Self::CutHead
            | Self::Overloaded
            | Self::Caught
            | Self::UnaskedUpgrade
            | Self::AnswerBody(_)
            | Self::Filter(_)
            | Self::CutBody(_) => Blame::Upstream,
        }
    }
}

impl From<BodyFault> for Fault {
    fn from(fault: BodyFault) -> Self {
        match fault {
            BodyFault::Gone(source) => Self::ClientGone {
                while_: "it sent its body",
                source: Some(source),
            },
            BodyFault::Cut => Self::ClientGone {
                while_: "it sent its body",
                source: None,
            },
            BodyFault::Malformed(error) => Self::Body(error),
            BodyFault::Spool(error) => Self::Spool(error),
            BodyFault::TooLarge { limit } => Self::BodyTooLarge { limit },
        }
    }
}
