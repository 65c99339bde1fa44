//! Entries of the fuzzers.
