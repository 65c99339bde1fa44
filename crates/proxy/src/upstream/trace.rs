//! The field that ties a request to what it leads to (W3C Trace Context): passed on, or begun here.
//!
//! Pure. Not here: whether a location wants it (`config`), or spans: the proxy tells nobody of its own part.

use trine_http1::{Request, write_header};

/// Bytes of `00-TRACE-PARENT-FLAGS`.
const LENGTH: usize = 55;

/// The client's own, if it is one.
pub(crate) fn given<'a>(request: &Request<'a>) -> Option<&'a [u8]> {
    let mut all = request.get_all("traceparent");
    let (only, more) = (all.next()?, all.next());
    (more.is_none() && is_good(only)).then_some(only)
}

/// A new one: the request's id is the trace's, and `parent` stands for the client.
pub(super) fn begun(id: &[u8; 32], parent: &[u8; 32]) -> Vec<u8> {
    [b"00-", &id[..], b"-", &parent[..16], b"-01"].concat()
}

/// The trace's id in it.
pub(crate) fn trace_id(field: &[u8]) -> &[u8] {
    field.get(3..35).unwrap_or_default()
}

/// Puts `field` in place of the one in a head, and of the state that goes with that.
pub(super) fn put(head: &mut Vec<u8>, field: &[u8]) {
    let mut new = Vec::with_capacity(head.len() + LENGTH + 16);
    for line in head.split_inclusive(|&byte| byte == b'\n') {
        let name = line.split(|&byte| byte == b':').next().unwrap_or_default();
        let old = |known: &[u8]| name.eq_ignore_ascii_case(known);
        if line == b"\r\n" {
            write_header(&mut new, b"traceparent", field);
        }
        if !old(b"traceparent") && !old(b"tracestate") {
            new.extend_from_slice(line);
        }
    }
    *head = new;
}

/// Whether a field follows the recommendation, in this or a later version of it.
fn is_good(field: &[u8]) -> bool {
    let Some((first, rest)) = field.split_at_checked(LENGTH) else {
        return false;
    };
    let parts: Vec<&[u8]> = first.split(|&byte| byte == b'-').collect();
    let [version, trace, parent, flags] = parts[..] else {
        return false;
    };
    let is_hex = |part: &[u8], length| {
        part.len() == length
            && part
                .iter()
                .all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
    };
    let is_some = |part: &[u8]| part.iter().any(|&byte| byte != b'0');
    let ends = rest.is_empty() || (version != b"00" && rest.starts_with(b"-"));
    is_hex(version, 2)
        && version != b"ff"
        && is_hex(trace, 32)
        && is_some(trace)
        && is_hex(parent, 16)
        && is_some(parent)
        && is_hex(flags, 2)
        && ends
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

    #[test]
    fn what_is_passed_on() {
        let check = |field: &str, want| assert_eq!(is_good(field.as_bytes()), want, "{field}");
        check(GOOD, true);
        check(&GOOD.replace("00-4", "cc-4"), true);
        check(&(GOOD.replace("00-4", "cc-4") + "-more"), true);
        check(&(GOOD.to_owned() + "-more"), false);
        check(&(GOOD.replace("00-4", "cc-4") + "more"), false);
        check(&GOOD.replace("00-4", "ff-4"), false);
        check(&GOOD.to_uppercase(), false);
        check(
            &GOOD.replace("4bf92f3577b34da6a3ce929d0e0e4736", &"0".repeat(32)),
            false,
        );
        check(&GOOD.replace("00f067aa0ba902b7", &"0".repeat(16)), false);
        check(&GOOD.replace("-01", "-0g"), false);
        check(&GOOD[..54], false);
        check("", false);
    }

    #[test]
    fn a_new_one() {
        let field = begun(&[b'a'; 32], &[b'1'; 32]);
        assert!(is_good(&field));
        assert_eq!(trace_id(&field), [b'a'; 32]);
        let mut head =
            b"GET / HTTP/1.1\r\nTraceParent: x\r\ntracestate: y\r\nA: b\r\n\r\n".to_vec();
        put(&mut head, b"new");
        assert_eq!(head, b"GET / HTTP/1.1\r\nA: b\r\ntraceparent: new\r\n\r\n");
    }
}
