//! A child that is to get copies of our low descriptors only: where to take those that lie higher.
//! Not here: the child (see `child`).

use std::ffi::c_int;
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd};

use crate::fdpass;

/// Finds sources below the number from which on nothing is copied.
pub(super) struct Low {
    /// `None`: everything is copied.
    pub(super) limit: Option<c_int>,
    copies: Vec<OwnedFd>,
}

impl Low {
    pub(super) fn new(limit: Option<c_int>) -> Self {
        Self {
            limit,
            copies: Vec::new(),
        }
    }

    /// The number to take a descriptor from. One that lies too high is copied down; where there is no room, everything
    /// is copied after all.
    pub(super) fn source(&mut self, fd: BorrowedFd<'_>) -> c_int {
        let number = fd.as_raw_fd();
        let Some(limit) = self.limit.filter(|limit| number >= *limit) else {
            return number;
        };
        match fdpass::duplicate(fd, 3) {
            Ok(copy) if copy.as_raw_fd() < limit => {
                let number = copy.as_raw_fd();
                self.copies.push(copy);
                number
            }
            _ => {
                self.limit = None;
                number
            }
        }
    }
}
