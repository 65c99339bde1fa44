//! Texts that are put before and behind a body (`add_before_body`, `add_after_body`).
//!
//! Not here: where they come from (`conn::around`).

use std::sync::Arc;

use crate::compress::Then;

/// The texts.
#[derive(Debug, Default)]
pub(crate) struct Around {
    pub(crate) before: Vec<u8>,
    pub(crate) after: Vec<u8>,
}

/// One body that they are put around.
#[derive(Debug)]
pub(super) struct Surround {
    texts: Arc<Around>,
    begun: bool,
}

impl Surround {
    pub(super) fn new(texts: Arc<Around>) -> Self {
        Self {
            texts,
            begun: false,
        }
    }

    pub(super) fn put(&mut self, bytes: &[u8], then: Then, out: &mut Vec<u8>) {
        if !std::mem::replace(&mut self.begun, true) {
            out.extend_from_slice(&self.texts.before);
        }
        out.extend_from_slice(bytes);
        if then == Then::End {
            out.extend_from_slice(&self.texts.after);
        }
    }
}
