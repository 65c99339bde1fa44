//! What brain and holder say to each other: length-prefixed frames of JSON, with descriptors counted in the head.
//! Bytes in, values out. Not here: sockets (see `holder::channel`), or what an order does (see `holder::orders`).
//!
//! A frame from the brain is a list of orders that are carried out together or, if the brain dies before the whole
//! frame is out, not at all. JSON, so that a newer brain and an older holder (or the reverse) understand each other
//! as long as fields are only added.

mod frame;
mod order;
mod report;

pub use frame::{Frame, HEAD_BYTES, MAX_BODY_BYTES, VERSION, WireError, decode, encode};
pub use order::{BindOrder, Confinement, Identity, Input, Order, Output, SpawnOrder};
pub use report::{Failure, Report, SlotLife, TableHead};

use serde::{Deserialize, Serialize};

/// Stored from the beginning: what the first brain begins with.
pub const FIRST_KEY: &str = "first";
/// Number of an order that is answered; the brain chooses it.
pub type Ticket = u64;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Channel {
    Stdout,
    Stderr,
    /// No output: where a process says that it is ready, s6's way.
    Ready,
    /// No pipes, but memory files for the brain: where output lies while it is changed on its way into a log.
    StdoutStaging,
    StderrStaging,
}

impl Channel {
    /// The one for the memory file of an output, and the other way round.
    #[must_use]
    pub fn other(self) -> Option<Self> {
        match self {
            Self::Stdout => Some(Self::StdoutStaging),
            Self::Stderr => Some(Self::StderrStaging),
            Self::Ready => None,
            Self::StdoutStaging => Some(Self::Stdout),
            Self::StderrStaging => Some(Self::Stderr),
        }
    }

    #[must_use]
    pub fn is_staging(self) -> bool {
        matches!(self, Self::StdoutStaging | Self::StderrStaging)
    }

    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Stdout => "stdout",
            Self::Stderr => "stderr",
            Self::Ready => "ready",
            Self::StdoutStaging => "stdout-staging",
            Self::StderrStaging => "stderr-staging",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_come_back_as_they_went() {
        let orders = vec![
            Order::Hello,
            Order::Store {
                key: "life/web".into(),
                value: Some("{}".into()),
            },
            Order::Spawn(Box::new(SpawnOrder {
                id: "web".into(),
                umask: Some(0o22),
                ..SpawnOrder::default()
            })),
            Order::Bind {
                ticket: 1,
                key: "web/http".into(),
                bind: BindOrder {
                    address: "127.0.0.1:0".into(),
                    mode: 0o600,
                    owner: None,
                    backlog: 128,
                    blocking: true,
                },
                give: false,
            },
            Order::Exit {
                code: 78,
                leave: false,
            },
        ];
        let bytes = encode(&orders, 0).unwrap();
        let (frame, used) = decode(&bytes).unwrap().unwrap();
        assert_eq!(used, bytes.len());
        assert_eq!(frame.message::<Vec<Order>>().unwrap(), orders);
        assert!(matches!(
            frame.message::<Vec<Report>>(),
            Err(WireError::Body(_))
        ));
    }

    #[test]
    fn a_spawn_order_of_an_older_brain_lacks_newer_fields() {
        let order: SpawnOrder =
            serde_json::from_str(r#"{"id":"web","generation":3,"unknown":1}"#).unwrap();
        assert_eq!((order.generation, order.stdout), (3, Output::Null));
    }
}
