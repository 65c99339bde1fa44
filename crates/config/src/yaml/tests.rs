//! Documents in, problems out.
