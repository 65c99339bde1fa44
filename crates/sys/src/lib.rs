//! The system calls Trine needs, behind safe functions over owned and borrowed descriptors.
//!
//! Everything here is mechanism: who may signal whom, when to retry, what a limit should be, is decided
//! by the daemons. Functions return [`std::io::Error`]; the caller knows the path or address to add.
//! Nothing here logs, reads configuration, or keeps state between calls.

#[cfg(feature = "crypt")]
pub mod crypt;
pub mod epoll;
pub mod fdpass;
pub mod file;
pub mod limits;
pub mod memory;
pub mod net;
pub mod privileges;
pub mod process;
pub mod shm;
pub mod signals;
pub mod spawn;
