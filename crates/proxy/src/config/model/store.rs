//! Answers of upstreams that are left behind as files, for good.
//!
//! Not here: writing them (`upstream::store`).

use crate::template::Template;

/// Which files, and who may read them.
#[derive(Debug, Clone)]
pub(crate) struct Store {
    /// `None`: where the location would look for the file.
    pub(crate) path: Option<Template>,
    /// Permissions of files.
    pub(crate) mode: u32,
    /// Those of the folders that are made for them.
    pub(crate) folder_mode: u32,
}
