//! Deadlines of one core's connections: a table of cells and one sleeping task, not a timer per wait.
//!
//! Setting a deadline is storing a value. The sleeper wakes at the earliest one it has seen; a deadline before
//! that wakes it earlier. Not here: which wait has which timeout.

use std::cell::{Cell, RefCell};
use std::fmt;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use tokio::sync::Notify;

use crate::tally::Part;

/// The deadlines of one core.
#[derive(Debug)]
pub(crate) struct Deadlines {
    slots: RefCell<Vec<Rc<Slot>>>,
    /// Places that are no connections.
    parts: Cell<usize>,
    /// What others may know of the connections here.
    pub(crate) tally: Arc<Part>,
    /// When the sleeper will look again.
    next: Cell<Instant>,
    earlier: Notify,
}

/// One task's place in the table.
pub(crate) struct Slot {
    /// Its index in the table.
    index: Cell<usize>,
    deadline: Cell<Option<Instant>>,
    fired: Cell<bool>,
    /// Waits between requests: may be asked to leave.
    idle: Cell<bool>,
    /// Hears that it should leave while it is busy, too: a connection that can tell its client.
    hears: Cell<bool>,
    leave: Cell<bool>,
    /// A part of another task's connection.
    part: bool,
    /// The door that the task's connection came in by.
    door: usize,
    waker: RefCell<Option<Waker>>,
}

/// Keeps a task's place; dropping it gives the place back.
#[derive(Debug)]
pub(crate) struct Place {
    slot: Rc<Slot>,
    table: Rc<Deadlines>,
}

/// Why a wait is to end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Call {
    /// The deadline passed.
    Late,
    /// The connection is idle and should go: a drain, or descriptors are short.
    Leave,
}

/// Far enough not to come.
const FAR: Duration = Duration::from_secs(24 * 3600);
/// With anybody in the table the sleeper looks this often, so that ordinary deadlines, which are farther away, never
/// have to wake it: else each request would cost a walk through all connections.
const LOOK_EVERY: Duration = Duration::from_secs(3);

impl Deadlines {
    pub(crate) fn new() -> Rc<Self> {
        Rc::new(Self {
            slots: RefCell::default(),
            parts: Cell::new(0),
            tally: Arc::default(),
            next: Cell::new(Instant::now() + FAR),
            earlier: Notify::new(),
        })
    }

    /// A place for the running task, whose connection came in by `door`.
    pub(crate) fn place(self: &Rc<Self>, door: usize) -> Place {
        self.add(door, false)
    }

    /// A place for a task that serves a part of a connection, which has a place of its own.
    pub(crate) fn place_of_part(self: &Rc<Self>, door: usize) -> Place {
        self.parts.set(self.parts.get() + 1);
        self.add(door, true)
    }

    fn add(self: &Rc<Self>, door: usize, part: bool) -> Place {
        let mut slots = self.slots.borrow_mut();
        let slot = Rc::new(Slot {
            index: Cell::new(slots.len()),
            deadline: Cell::new(None),
            fired: Cell::new(false),
            idle: Cell::new(false),
            hears: Cell::new(false),
            leave: Cell::new(false),
            part,
            door,
            waker: RefCell::new(None),
        });
        slots.push(Rc::clone(&slot));
        if !part {
            self.tally.active.up();
        }
        Place {
            slot,
            table: Rc::clone(self),
        }
    }

    /// How many connections have a place.
    pub(crate) fn len(&self) -> usize {
        self.slots.borrow().len() - self.parts.get()
    }

    /// How many of them wait between requests.
    pub(crate) fn idle(&self) -> usize {
        self.slots
            .borrow()
            .iter()
            .filter(|slot| slot.idle.get())
            .count()
    }

    /// Asks all connections to go that are idle or can tell their client.
    pub(crate) fn dismiss_all(&self) {
        self.dismiss(|_| true);
    }

    fn dismiss(&self, who: impl Fn(&Slot) -> bool) {
        for slot in self.slots.borrow().iter() {
            if (slot.idle.get() || slot.hears.get()) && who(slot) {
                slot.leave.set(true);
                slot.wake();
            }
        }
    }

    /// Asks at most `count` idle connections to go. Returns how many were asked.
    pub(crate) fn dismiss_idle(&self, count: usize) -> usize {
        let slots = self.slots.borrow();
        let idle = slots
            .iter()
            .filter(|slot| slot.idle.get() && !slot.leave.get())
            .take(count);
        idle.inspect(|slot| {
            slot.leave.set(true);
            slot.wake();
        })
        .count()
    }

    /// The same for those that came in by a door that was closed.
    pub(crate) fn dismiss_door(&self, door: usize) {
        self.dismiss(|slot| slot.door == door);
    }

    /// Wakes whoever is late, for as long as it is polled.
    pub(crate) async fn watch(self: Rc<Self>) {
        loop {
            let next = self.sweep(Instant::now());
            self.next.set(next);
            tokio::select! {
                () = tokio::time::sleep_until(next.into()) => {}
                () = self.earlier.notified() => {}
            }
        }
    }

    /// Fires what is due at `now`, and says when the next one is.
    fn sweep(&self, now: Instant) -> Instant {
        let slots = self.slots.borrow();
        let mut next = now + if slots.is_empty() { FAR } else { LOOK_EVERY };
        for slot in slots.iter() {
            match slot.deadline.get() {
                Some(at) if at <= now => {
                    slot.deadline.set(None);
                    slot.fired.set(true);
                    slot.wake();
                }
                Some(at) => next = next.min(at),
                None => {}
            }
        }
        next
    }
}

impl Slot {
    fn wake(&self) {
        if let Some(waker) = self.waker.borrow().as_ref() {
            waker.wake_by_ref();
        }
    }
}

impl Place {
    /// From now on the wait is late at `at`; `None`: never.
    pub(crate) fn set(&self, at: Option<Instant>) {
        self.slot.deadline.set(at);
        self.slot.fired.set(false);
        if let Some(at) = at
            && at < self.table.next.get()
        {
            self.table.next.set(at);
            self.table.earlier.notify_one();
        }
    }

    /// Whether the task waits between requests and may be told to [leave](Call::Leave).
    pub(crate) fn set_idle(&self, idle: bool) {
        if self.slot.idle.replace(idle) == idle || self.slot.part {
            return;
        }
        let waiting = &self.table.tally.waiting;
        if idle {
            waiting.up();
        } else {
            waiting.down();
        }
    }

    /// Whether the task may be told to leave whatever it does.
    pub(crate) fn set_hears(&self, hears: bool) {
        self.slot.hears.set(hears);
    }

    /// The task was told to leave, and need not be told again.
    pub(crate) fn heard(&self) {
        self.slot.leave.set(false);
    }

    /// Ready when the deadline has passed, or when an idle task should leave. Poll it in every wait.
    pub(crate) fn poll(&self, cx: &mut Context<'_>) -> Poll<Call> {
        if self.slot.fired.get() {
            return Poll::Ready(Call::Late);
        }
        if (self.slot.idle.get() || self.slot.hears.get()) && self.slot.leave.get() {
            return Poll::Ready(Call::Leave);
        }
        let mut waker = self.slot.waker.borrow_mut();
        match waker.as_ref() {
            Some(old) if old.will_wake(cx.waker()) => {}
            _ => *waker = Some(cx.waker().clone()),
        }
        Poll::Pending
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.set_idle(false);
        if !self.slot.part {
            self.table.tally.active.down();
        }
        let mut slots = self.table.slots.borrow_mut();
        let index = self.slot.index.get();
        slots.swap_remove(index);
        if self.slot.part {
            self.table.parts.set(self.table.parts.get() - 1);
        }
        if let Some(moved) = slots.get(index) {
            moved.index.set(index);
        }
    }
}

impl fmt::Debug for Slot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Slot")
            .field("deadline", &self.deadline)
            .field("idle", &self.idle)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::future::poll_fn;

    fn run(test: impl Future<Output = ()>) {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .build()
            .unwrap();
        runtime.block_on(test);
    }

    #[test]
    fn fires_in_order_and_wakes_early_enough() {
        run(async {
            let table = Deadlines::new();
            let (first, second) = (table.place(0), table.place(0));
            let start = Instant::now();
            second.set(Some(start + Duration::from_secs(3600)));
            let wait = async {
                first.set(Some(start + Duration::from_millis(5)));
                assert_eq!(poll_fn(|cx| first.poll(cx)).await, Call::Late);
                assert!(start.elapsed() >= Duration::from_millis(5));
                first.set(Some(Instant::now() + Duration::from_millis(5)));
                assert_eq!(poll_fn(|cx| first.poll(cx)).await, Call::Late);
            };
            tokio::select! {
                () = wait => {}
                () = Rc::clone(&table).watch() => unreachable!(),
            }
            assert!(second.slot.deadline.get().is_some());
        });
    }

    #[test]
    fn only_idle_ones_leave() {
        run(async {
            let table = Deadlines::new();
            let (busy, idle, gone) = (table.place(0), table.place(1), table.place(1));
            idle.set_idle(true);
            drop(gone);
            assert_eq!((table.len(), table.idle()), (2, 1));
            table.dismiss_door(0);
            assert!(poll_fn(|cx| Poll::Ready(idle.poll(cx).is_pending())).await);
            assert_eq!(table.dismiss_idle(10), 1);
            assert_eq!(poll_fn(|cx| idle.poll(cx)).await, Call::Leave);
            assert!(poll_fn(|cx| Poll::Ready(busy.poll(cx).is_pending())).await);
            drop(busy);
            assert_eq!(table.len(), 1);
            assert_eq!(
                poll_fn(|cx| idle.poll(cx)).await,
                Call::Leave,
                "the place survives another one's removal"
            );
        });
    }
}
