//! What must hold for any bytes: the entries of the fuzzers in `tests/fuzz`, which `cargo test` runs on the corpus and on
//! small changes of it. Each panics where an invariant is broken.
//!
//! Not here: what particular bytes mean; tables beside the code tell that.

use std::path::Path;

use trine_config::Problems;

use crate::layer4::hello::{self, Preread};
use crate::range::{Ranges, ranges};
use crate::route::path::{encode, normalise};

/// A text is a configuration or has problems, and says the same each time.
pub fn nginx_conf(input: &[u8]) {
    let Ok(text) = std::str::from_utf8(input) else {
        return;
    };
    let read = || {
        let (mut problems, mut warnings) = (Problems::new(), Problems::new());
        let path = Path::new("/nowhere/nginx.conf");
        let config = crate::config::nginx::parse(text, path, &mut problems, &mut warnings);
        let said: Vec<_> = problems.iter().map(ToString::to_string).collect();
        assert!(
            config.is_some() || !said.is_empty(),
            "refused without a word"
        );
        said
    };
    assert_eq!(read(), read());
}

/// A normalised path stays within the root, and means the same once it was written and read again.
pub fn path(input: &[u8]) {
    for merge in [true, false] {
        let Ok(normal) = normalise(input, merge) else {
            continue;
        };
        let path = &normal.path[..];
        assert_eq!(path.first(), Some(&b'/'));
        assert!(!path.contains(&0));
        let names = || path[1..].split(|&byte| byte == b'/');
        assert!(names().all(|name| name != b"." && name != b".."));
        let count = names().count();
        let empty = |(index, name): (usize, &[u8])| name.is_empty() && index + 1 < count;
        assert!(!merge || !names().enumerate().any(empty));
        let mut written = Vec::new();
        encode(path, &mut written);
        assert!(written.iter().all(u8::is_ascii_graphic));
        assert!(!written.contains(&b'?') && !written.contains(&b'#'));
        match normalise(&written, merge) {
            Ok(again) => assert_eq!(again.path, normal.path),
            Err(error) => panic!("what was written cannot be read: {error}"),
        }
    }
}

/// Parts lie within the body, and are no more bytes than it has. The first bytes are its size.
pub fn range(input: &[u8]) {
    const MOST: usize = 5;
    let Some((size, field)) = input.split_first_chunk::<8>() else {
        return;
    };
    let size = u64::from_be_bytes(*size);
    let inside = |part: &std::ops::Range<u64>| part.start < part.end && part.end <= size;
    match ranges(field, size, MOST) {
        Ranges::Whole | Ranges::Unsatisfiable => {}
        Ranges::One(part) => assert!(inside(&part)),
        Ranges::Many(parts) => {
            assert!((2..=MOST).contains(&parts.len()) && parts.iter().all(inside));
            let total: u128 = parts
                .iter()
                .map(|part| u128::from(part.end - part.start))
                .sum();
            assert!(total <= u128::from(size));
        }
    }
}

/// What the first bytes of a TLS client tell does not change with those behind them, and is lower-case text of theirs.
pub fn hello(input: &[u8]) {
    let whole = hello::read(input);
    for cut in 0..input.len() {
        let early = hello::read(&input[..cut]);
        assert!(early == Preread::Partial || early == whole, "at {cut}");
    }
    if let Preread::Hello(hello) = whole {
        assert!(!hello.server_name.iter().any(u8::is_ascii_uppercase));
        let said = hello.protocols.iter().map(Vec::len).sum::<usize>();
        assert!(hello.server_name.len() + said < input.len());
    }
}
