//! The order in which the connections of one core do their work.
//!
//! Not here: waiting for anything.

use std::future::poll_fn;
use std::task::Poll;

/// Lets every other connection go first that has something to do right now.
///
/// To be called before something is sent. What many connections have to send then leaves in one burst: who receives it is
/// woken once and finds all of it, where it would otherwise be woken for each, which costs both sides dearly.
pub(crate) async fn after_others() {
    let mut again = true;
    poll_fn(|cx| {
        if std::mem::take(&mut again) {
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        Poll::Ready(())
    })
    .await;
}
