//! What every daemon's configuration is made of: durations, sizes, addresses, places in files, collected
//! problems, and YAML read so that all problems come out at once.
//!
//! No daemon's keys live here, and nothing opens a socket, asks a clock or resolves a name. The only I/O is
//! reading the file that the caller names.

mod duration;
mod listen;
mod many;
mod place;
mod problems;
mod schema;
mod size;
pub mod suggest;
mod value;
pub mod yaml;

pub use duration::Duration;
pub use listen::ListenAddr;
pub use many::OneOrMany;
pub use place::Place;
pub use problems::{Problem, Problems};
pub use schema::schema;
pub use size::ByteSize;
pub use value::Invalid;
