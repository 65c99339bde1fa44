//! Skeleton: replaced by the crate's own header.
