//! Settings: gunicorn's sources over its defaults, checked one by one and then as a whole.
//!
//! `table` is the one list of settings; `sources` reads what is said about them, `values` holds it, `meaning` makes the
//! checked [`Settings`] of it.
//! Not here: opening, binding or importing anything but a configuration.

mod address;
mod meaning;
pub mod origin;
mod refuse;
pub mod settings;
mod sources;
pub mod table;
mod validate;
pub mod value;
pub(crate) mod values;
mod yaml;

pub use settings::Settings;
pub use sources::{Read, Sources};
pub(crate) use validate::integer;
pub use values::Values;
