//! Texts made from the table of settings.
//!
//! Not here: what the settings do.

mod help;

pub use help::help;
