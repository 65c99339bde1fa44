//! Buffers, lent to a connection while it has a request and to nobody while it is idle.
//!
//! Each core keeps those that are free, so a request allocates nothing. Not here: what the bytes mean.

use std::cell::RefCell;

use trine_http1::{RequestHead, ResponseHead};

/// Large enough for nearly every head, and for a small body behind it.
const HEAD_BYTES: usize = 16 * 1024;
/// For bodies that stream: fewer, larger system calls.
const BULK_BYTES: usize = 64 * 1024;
/// What grew beyond this is not kept.
const KEEP_BYTES: usize = 64 * 1024;
/// Free ones kept by each core.
const KEEP_COUNT: usize = 256;

/// Everything one request needs to be read, forwarded and answered.
#[derive(Debug)]
pub(crate) struct Workbench {
    /// From the client: the head at its front, then body, then perhaps the next request.
    pub(crate) input: Input,
    pub(crate) head: RequestHead,
    /// To the client: heads and chunk lines.
    pub(crate) out: Vec<u8>,
    /// To the upstream: the head, then chunk lines.
    pub(crate) request: Vec<u8>,
    /// From the upstream.
    pub(crate) answer: Input,
    pub(crate) answer_head: ResponseHead,
    /// From the client, once its body does not fit behind its head.
    pub(crate) bulk: Input,
    /// A piece of a request's body that waited, and one of an answer's.
    pub(crate) page: Input,
    pub(crate) sending: Input,
}

impl Workbench {
    fn new() -> Self {
        Self {
            input: Input::new(HEAD_BYTES),
            head: RequestHead::default(),
            out: Vec::with_capacity(HEAD_BYTES),
            request: Vec::with_capacity(2048),
            answer: Input::new(HEAD_BYTES),
            answer_head: ResponseHead::default(),
            bulk: Input::new(0),
            page: Input::new(0),
            sending: Input::new(0),
        }
    }

    /// Gives up all buffers but the request's head, for a connection that goes on for long without HTTP.
    pub(crate) fn slim(&mut self) {
        self.input.shrink();
        self.answer = Input::new(0);
        self.out = Vec::new();
        self.request = Vec::new();
    }

    fn tidy(&mut self) {
        self.input.reset(HEAD_BYTES);
        self.answer.reset(HEAD_BYTES);
        self.head.clear();
        self.answer_head.clear();
        self.out.clear();
        self.out.shrink_to(KEEP_BYTES);
        self.request.clear();
        self.request.shrink_to(KEEP_BYTES);
    }
}

/// The free workbenches and large buffers of one core.
#[derive(Debug, Default)]
pub(crate) struct Store {
    #[expect(
        clippy::vec_box,
        reason = "a bench is lent to a connection's future, which stays small by holding a pointer"
    )]
    benches: RefCell<Vec<Box<Workbench>>>,
    bulk: RefCell<Vec<Input>>,
}

impl Store {
    pub(crate) fn bench(&self) -> Box<Workbench> {
        self.benches
            .borrow_mut()
            .pop()
            .unwrap_or_else(|| Box::new(Workbench::new()))
    }

    pub(crate) fn give_back(&self, mut bench: Box<Workbench>) {
        let Workbench {
            bulk,
            page,
            sending,
            ..
        } = &mut *bench;
        for lent in [bulk, page, sending] {
            if lent.capacity() > 0 {
                self.give_back_bulk(std::mem::replace(lent, Input::new(0)));
            }
        }
        let mut benches = self.benches.borrow_mut();
        if benches.len() < KEEP_COUNT && bench.answer.capacity() > 0 {
            bench.tidy();
            benches.push(bench);
        }
    }

    /// After a request whose body was read with the large buffer: puts what came behind it where the next request is
    /// looked for.
    pub(crate) fn reunite(&self, bench: &mut Workbench) {
        if bench.bulk.capacity() > 0 {
            bench.input.clear();
            bench.input.append(bench.bulk.unread());
            self.give_back_bulk(std::mem::replace(&mut bench.bulk, Input::new(0)));
        }
    }

    /// A large buffer.
    pub(crate) fn bulk(&self) -> Input {
        self.bulk
            .borrow_mut()
            .pop()
            .unwrap_or_else(|| Input::new(BULK_BYTES))
    }

    pub(crate) fn give_back_bulk(&self, mut input: Input) {
        let mut bulk = self.bulk.borrow_mut();
        if input.capacity() == BULK_BYTES && bulk.len() < KEEP_COUNT / 4 {
            input.clear();
            bulk.push(input);
        }
    }
}

/// Bytes that were read and not yet used, in a buffer of fixed size.
#[derive(Debug)]
pub(crate) struct Input {
    /// Initialised to its full length, so that a read needs no unsafe code.
    bytes: Vec<u8>,
    start: usize,
    end: usize,
}

impl Input {
    pub(crate) fn new(capacity: usize) -> Self {
        Self {
            bytes: vec![0; capacity],
            start: 0,
            end: 0,
        }
    }

    pub(crate) fn capacity(&self) -> usize {
        self.bytes.len()
    }

    /// All bytes of the buffer, so that positions in it stay good while `start` moves.
    pub(crate) fn all(&self) -> &[u8] {
        &self.bytes
    }

    pub(crate) fn all_mut(&mut self) -> &mut [u8] {
        &mut self.bytes
    }

    /// What has not been used yet.
    pub(crate) fn unread(&self) -> &[u8] {
        &self.bytes[self.start..self.end]
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.start == self.end
    }

    pub(crate) fn start(&self) -> usize {
        self.start
    }

    /// Where the next read goes.
    pub(crate) fn space(&mut self) -> &mut [u8] {
        &mut self.bytes[self.end..]
    }

    /// `count` bytes were read into [`space`](Self::space).
    pub(crate) fn filled(&mut self, count: usize) {
        self.end = (self.end + count).min(self.bytes.len());
    }

    /// The last `count` bytes that were read, to be worked over in place.
    pub(crate) fn came(&mut self, count: usize) -> &mut [u8] {
        &mut self.bytes[self.end - count.min(self.end)..self.end]
    }

    /// The last `count` bytes are none.
    pub(crate) fn drop_last(&mut self, count: usize) {
        self.end = self.start.max(self.end.saturating_sub(count));
    }

    /// Puts `with` in the place of the first `count` unread bytes.
    pub(crate) fn replace_front(&mut self, count: usize, with: &[u8]) {
        let rest = self.start + count.min(self.end - self.start);
        if rest < with.len() {
            // Not enough room before the rest: it moves behind.
            let left = self.end - rest;
            let end = with.len() + left;
            if self.bytes.len() < end {
                self.bytes.resize(end, 0);
            }
            self.bytes.copy_within(rest..self.end, with.len());
            self.end = end;
            self.start = 0;
        } else {
            self.start = rest - with.len();
        }
        self.bytes[self.start..self.start + with.len()].copy_from_slice(with);
    }

    pub(crate) fn consume(&mut self, count: usize) {
        self.start = (self.start + count).min(self.end);
    }

    pub(crate) fn clear(&mut self) {
        self.start = 0;
        self.end = 0;
    }

    /// Moves what is unread to the front.
    pub(crate) fn compact(&mut self) {
        if self.start > 0 {
            self.bytes.copy_within(self.start..self.end, 0);
            self.end -= self.start;
            self.start = 0;
        }
    }

    /// Makes room for more, up to `most` bytes in all. Returns false if there is none to be had.
    pub(crate) fn make_room(&mut self, most: usize) -> bool {
        if self.end < self.bytes.len() {
            return true;
        }
        if self.bytes.len() >= most {
            return false;
        }
        self.bytes
            .resize((self.bytes.len() * 2).clamp(HEAD_BYTES, most), 0);
        true
    }

    /// Makes it long enough for positions up to `end`.
    pub(crate) fn reserve(&mut self, end: usize) {
        if self.bytes.len() < end {
            self.bytes.resize(end, 0);
        }
    }

    /// Puts unread bytes of another buffer behind what is unread here.
    pub(crate) fn append(&mut self, bytes: &[u8]) {
        self.compact();
        let end = self.end + bytes.len();
        if self.bytes.len() < end {
            self.bytes.resize(end, 0);
        }
        self.bytes[self.end..end].copy_from_slice(bytes);
        self.end = end;
    }

    /// Keeps only what lies before the unread bytes.
    fn shrink(&mut self) {
        self.end = self.start;
        self.bytes.truncate(self.end);
        self.bytes.shrink_to_fit();
    }

    fn reset(&mut self, capacity: usize) {
        self.clear();
        if self.bytes.len() > capacity {
            self.bytes.truncate(capacity);
            self.bytes.shrink_to_fit();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn put(input: &mut Input, bytes: &[u8]) {
        input.space()[..bytes.len()].copy_from_slice(bytes);
        input.filled(bytes.len());
    }

    #[test]
    fn input() {
        let mut input = Input::new(8);
        put(&mut input, b"abcdef");
        input.consume(4);
        assert_eq!(input.unread(), b"ef");
        assert_eq!(input.space().len(), 2);
        input.append(b"ghijklmnop");
        assert_eq!(input.unread(), b"efghijklmnop");
        input.consume(100);
        assert!(input.is_empty());
        input.clear();
        assert_eq!(input.space().len(), 12);
    }

    #[test]
    fn a_front_is_replaced() {
        let check = |skip: usize, count: usize, with: &[u8], want: &[u8]| {
            let mut input = Input::new(8);
            put(&mut input, b"abcdefgh");
            input.consume(skip);
            input.replace_front(count, with);
            assert_eq!(input.unread(), want, "{skip} {count}");
        };
        check(0, 3, b"xy", b"xydefgh");
        check(0, 3, b"", b"defgh");
        check(0, 3, b"wxyz", b"wxyzdefgh");
        check(2, 3, b"uvwxyz", b"uvwxyzfgh");
        check(2, 3, b"vwxyz", b"vwxyzfgh");
        check(0, 8, b"0123456789", b"0123456789");
        let mut input = Input::new(8);
        put(&mut input, b"abcdefgh");
        input.came(3)[0] = b'F';
        input.drop_last(2);
        assert_eq!(input.unread(), b"abcdeF");
        input.drop_last(99);
        assert!(input.is_empty());
    }

    #[test]
    fn room_is_bounded() {
        let mut input = Input::new(0);
        assert!(input.make_room(HEAD_BYTES + 1));
        input.filled(HEAD_BYTES);
        assert!(input.make_room(HEAD_BYTES + 1));
        assert_eq!(input.space().len(), 1);
        input.filled(1);
        assert!(!input.make_room(HEAD_BYTES + 1));
    }

    #[test]
    fn the_store_lends_the_same_bench_again() {
        let store = Store::default();
        let mut bench = store.bench();
        put(&mut bench.input, b"GET");
        bench.bulk = store.bulk();
        let address = std::ptr::from_ref(&*bench);
        store.give_back(bench);
        let again = store.bench();
        assert_eq!(std::ptr::from_ref(&*again), address);
        assert!(again.input.is_empty() && again.bulk.capacity() == 0);
        assert_eq!(store.bulk().capacity(), BULK_BYTES);
    }
}
