//! How large a request's head may be: `client_header_buffer_size`, `large_client_header_buffers`, `max_headers`.
//!
//! Buffers are not made ahead here: what counts is what fits into nginx's. Not here: how long a head may take
//! (`patience`).

use trine_http1::Limits;

use super::super::tree::Directive;
use super::super::units;
use super::{Builder, arg};

/// nginx's `connection_pool_size`, under which it takes no large buffer.
const SMALLEST: usize = 512;

/// The buffers that nginx would have for a head, with its defaults.
#[derive(Debug, Clone, Copy)]
pub(super) struct HeadLevel {
    /// Bytes of the buffer that each head begins in.
    first: usize,
    /// How many more there may be, and their bytes.
    count: usize,
    large: usize,
    fields: usize,
}

impl HeadLevel {
    pub(super) fn new() -> Self {
        Self {
            first: 1024,
            count: 4,
            large: 8 * 1024,
            fields: 1000,
        }
    }

    /// Our own defaults, for files that are not nginx's.
    pub(super) fn house() -> Self {
        Self {
            fields: 100,
            ..Self::new()
        }
    }

    /// A line has to lie in one buffer, with its end.
    pub(super) fn limits(self) -> Limits {
        let line = self.first.max(self.large).saturating_sub(2);
        Limits {
            request_line: line,
            header_line: line,
            header_count: self.fields,
            head: self.first.max(self.count.saturating_mul(self.large)),
        }
    }
}

impl Builder<'_> {
    pub(super) fn apply_heads(&mut self, level: &mut HeadLevel, block: &[Directive]) {
        for directive in block {
            let size = |place| units::size(arg(directive, place)).and_then(|n| n.try_into().ok());
            match directive.name.text.as_str() {
                "client_header_buffer_size" => match size(0) {
                    Some(bytes @ 1..) => level.first = bytes,
                    _ => self.invalid(directive),
                },
                "large_client_header_buffers" => match (arg(directive, 0).parse(), size(1)) {
                    (Ok(count @ 1..), Some(bytes @ SMALLEST..)) => {
                        (level.count, level.large) = (count, bytes);
                    }
                    (Ok(1..), Some(bytes)) => {
                        let message = format!("{bytes} bytes are too few for a large buffer");
                        self.wrong(directive, message, "write 512 or more; 8k is the default");
                    }
                    _ => self.invalid(directive),
                },
                "max_headers" => match arg(directive, 0).parse() {
                    Ok(count @ 1..) => level.fields = count,
                    _ => self.invalid(directive),
                },
                _ => {}
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_defaults_are_nginxs() {
        let limits = HeadLevel::new().limits();
        assert_eq!((limits.request_line, limits.header_line), (8190, 8190));
        assert_eq!((limits.header_count, limits.head), (1000, 32 * 1024));
    }

    #[test]
    fn a_large_first_buffer_counts_too() {
        let level = HeadLevel {
            first: 64 * 1024,
            ..HeadLevel::new()
        };
        let limits = level.limits();
        assert_eq!((limits.request_line, limits.head), (65534, 65536));
    }
}
