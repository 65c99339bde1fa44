//! The proxy's cache end to end: the cases of RFC 9111 through a running proxy, and `trine cache`.

mod orders;
mod rfc9111;
