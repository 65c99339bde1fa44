//! Fields and cookies of heads, by the names that variables have for them.
//!
//! Not here: which head a variable looks at (`variables`).

use trine_http1::Request;

/// All fields of the name, joined as nginx joins them. Underscores in their names count as dashes where they may be.
pub(super) fn request_field(
    out: &mut Vec<u8>,
    request: Option<Request<'_>>,
    name: &str,
    underscores: bool,
) -> bool {
    let Some(request) = request else {
        return false;
    };
    let separator: &[u8] = if name == "cookie" { b"; " } else { b", " };
    let mut found = false;
    let fits = |field: &[u8]| {
        field.len() == name.len()
            && field.iter().zip(name.bytes()).all(|(&have, want)| {
                have.eq_ignore_ascii_case(&want) || (underscores && have == b'_' && want == b'-')
            })
    };
    for (_, value) in request.headers().filter(|(field, _)| fits(field)) {
        if found {
            out.extend_from_slice(separator);
        }
        out.extend_from_slice(value);
        found = true;
    }
    found
}

/// A field of a head that was written.
pub(super) fn sent_field<'a>(head: &'a [u8], name: &str) -> Option<&'a [u8]> {
    head.split(|&byte| byte == b'\n').skip(1).find_map(|line| {
        let (field, value) = line.split_at_checked(memchr::memchr(b':', line)?)?;
        field
            .eq_ignore_ascii_case(name.as_bytes())
            .then(|| value[1..].trim_ascii())
    })
}

pub(super) fn cookie<'a>(request: &Request<'a>, name: &str) -> Option<&'a [u8]> {
    request.get_all("cookie").find_map(|line| {
        line.split(|&byte| byte == b';').find_map(|pair| {
            let pair = pair.trim_ascii();
            let equals = memchr::memchr(b'=', pair)?;
            pair[..equals]
                .eq_ignore_ascii_case(name.as_bytes())
                .then(|| &pair[equals + 1..])
        })
    })
}

/// The value of a cookie in a `Set-Cookie` field.
pub(super) fn set_cookie<'a>(line: &'a [u8], name: &str) -> Option<&'a [u8]> {
    let pair = line.split(|&byte| byte == b';').next()?.trim_ascii();
    let equals = memchr::memchr(b'=', pair)?;
    let (found, value) = (pair[..equals].trim_ascii_end(), &pair[equals + 1..]);
    (found.eq_ignore_ascii_case(name.as_bytes())).then(|| value.trim_ascii_start())
}

/// The same in the lines of a head.
pub(super) fn head_cookie<'a>(head: &'a [u8], name: &str) -> Option<&'a [u8]> {
    head.split(|&byte| byte == b'\n').skip(1).find_map(|line| {
        let (field, value) = line.split_at_checked(memchr::memchr(b':', line)?)?;
        let sets = field.eq_ignore_ascii_case(b"set-cookie");
        sets.then(|| set_cookie(&value[1..], name)).flatten()
    })
}

/// Whether a field has the name that a variable has with dashes.
pub(super) fn is_field(field: &[u8], name: &str) -> bool {
    let same = |(one, other): (&u8, u8)| {
        let one = if *one == b'_' { b'-' } else { *one };
        one.eq_ignore_ascii_case(&other)
    };
    field.len() == name.len() && field.iter().zip(name.bytes()).all(same)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_of_a_written_head() {
        let head = b"HTTP/1.1 200 OK\r\nServer: x\r\nContent-Type: text/css\r\n";
        assert_eq!(sent_field(head, "content-type"), Some(&b"text/css"[..]));
        assert_eq!(sent_field(head, "etag"), None);
        assert_eq!(sent_field(b"", "etag"), None);
    }
}
