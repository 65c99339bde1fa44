//! What every daemon's configuration is made of: durations, sizes, addresses, places in files, collected
//! problems, YAML read so that all problems come out at once, and the INI dialect of supervisord.
//!
//! No daemon's keys live here, and nothing opens a socket, asks a clock or resolves a name. The only I/O is
//! reading the file that the caller names.

mod duration;
mod fields;
pub mod ini;
mod listen;
mod many;
pub mod percent;
mod place;
mod problems;
mod schema;
mod size;
pub mod suggest;
mod value;
pub mod yaml;

pub use duration::Duration;
pub use fields::field_names;
pub use listen::ListenAddr;
pub use many::OneOrMany;
pub use place::Place;
pub use problems::{Problem, Problems};
pub use schema::schema;
pub use size::ByteSize;
pub use value::Invalid;
