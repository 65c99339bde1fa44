//! What a shared HTTP cache may store, reuse, validate and forget: RFC 9111 as pure functions, with stale-while-revalidate
//! and stale-if-error (RFC 5861) and the `Cache-Status` field (RFC 9211).
//!
//! Fields and the clock come in, decisions go out: [`store::judge`] says whether an answer may be kept and for how long,
//! [`reuse::decide`] what happens with a request for which something is kept, [`validate`] what a 304 and an answer to
//! HEAD change, [`invalidate`] what an unsafe request makes worthless.
//!
//! Not here: where answers are kept, keys, sockets, and nginx's directives (they fill [`Rules`] and [`Lifetime`]).
//!
//! # Strictness
//! What cannot be read is never taken for permission: a lifetime that is no number means stale, contradicting ones too.
#![forbid(unsafe_code)]

pub mod directives;
pub mod fields;
pub mod invalidate;
pub mod reuse;
pub mod status;
pub mod store;
pub mod validate;

pub use fields::Fields;
pub use store::{Kept, Lifetime, Rules};

/// Seconds since 1970. Times before it do not occur.
pub type Seconds = u64;

/// The longest time that is told apart from forever (RFC 9111, 1.2.2).
pub const FOREVER: Seconds = 1 << 31;
