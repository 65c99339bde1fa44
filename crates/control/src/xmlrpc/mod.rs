//! XML-RPC as supervisord speaks it: calls and answers, bytes in and bytes out, for the daemon and for the command.
//! Not here: HTTP, sockets, or what any method means.
//!
//! The protocol is <http://xmlrpc.com/spec.md>; what is written is byte for byte what Python's `xmlrpc.client` writes,
//! as that is what supervisord's clients have met so far. `nil` is left out, as supervisord has none.

mod read;
mod value;
mod write;

pub use read::{ReadError, read_answer, read_call};
pub use value::{Fault, MethodCall, Value, Written};
pub use write::{ArrayWriter, StructWriter, write_call, write_fault, write_response};

/// The most bytes that a call or an answer may have.
pub const MAX_BYTES: usize = 64 << 20;
/// How deep arrays and structs may be nested.
pub const MAX_DEPTH: usize = 32;
/// How many values one message may hold.
pub const MAX_VALUES: usize = 1 << 18;

#[cfg(test)]
mod tests;
