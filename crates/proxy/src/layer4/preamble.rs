//! The PROXY protocol's preamble, version 1, as it is written to servers.
//!
//! Not here: reading one (`crate::preamble`).

use std::net::SocketAddr;

/// The line for a client and the address that it connected to. Without both, or for a pair of two families, the server
/// is told that nothing is known.
pub(super) fn line(client: Option<SocketAddr>, local: Option<SocketAddr>) -> String {
    let pair = client.zip(local);
    let pair = pair.map(|(client, local)| {
        let plain = |addr: SocketAddr| SocketAddr::new(addr.ip().to_canonical(), addr.port());
        (plain(client), plain(local))
    });
    let (family, (client, local)) = match pair {
        Some(pair @ (SocketAddr::V4(_), SocketAddr::V4(_))) => ("TCP4", pair),
        Some(pair @ (SocketAddr::V6(_), SocketAddr::V6(_))) => ("TCP6", pair),
        _ => return "PROXY UNKNOWN\r\n".to_owned(),
    };
    format!(
        "PROXY {family} {} {} {} {}\r\n",
        client.ip(),
        local.ip(),
        client.port(),
        local.port()
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines() {
        let check = |client: Option<&str>, local: Option<&str>, want: &str| {
            let parse = |text: Option<&str>| text.map(|text| text.parse().unwrap());
            assert_eq!(line(parse(client), parse(local)), want);
        };
        let v4 = Some("192.0.2.1:4711");
        check(
            v4,
            Some("192.0.2.2:80"),
            "PROXY TCP4 192.0.2.1 192.0.2.2 4711 80\r\n",
        );
        check(
            Some("[2001:db8::1]:1"),
            Some("[2001:db8::2]:2"),
            "PROXY TCP6 2001:db8::1 2001:db8::2 1 2\r\n",
        );
        check(
            Some("[::ffff:192.0.2.1]:4711"),
            Some("192.0.2.2:80"),
            "PROXY TCP4 192.0.2.1 192.0.2.2 4711 80\r\n",
        );
        check(v4, Some("[::1]:80"), "PROXY UNKNOWN\r\n");
        check(v4, None, "PROXY UNKNOWN\r\n");
        check(None, None, "PROXY UNKNOWN\r\n");
    }
}
