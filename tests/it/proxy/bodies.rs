//! Bodies that the proxy changes on their way: codings that nginx does not have, and answers that come bit by bit.
//!
//! Not here: what nginx does too (`differential`).

use std::fmt::Write as _;
use std::io::Read as _;
use std::net::SocketAddr;

use e2e::client::{Client, Request, ask};
use e2e::daemon::{Daemon, Launch};
use e2e::folder::Folder;
use e2e::reply::Reply;
use e2e::upstream::Upstream;
use e2e::{port, wait};

/// A proxy with these directives in its only server.
fn start(folder: &Folder, server: &str) -> (Daemon, SocketAddr) {
    let addr = port::free();
    folder.write(
        "nginx.conf",
        format!(
            "worker_processes 1; error_log error.log; pid proxy.pid;\nevents {{}}\nhttp {{\n\
             access_log off;\nserver {{ listen {addr};\n{server}\n}} }}\n"
        ),
    );
    let launch = Launch::trine("trine-proxy").args(["-c", "nginx.conf"]);
    (launch.notify().start(folder).wait_ready(), addr)
}

/// Its content, by its `Content-Encoding`.
fn content(reply: &Reply) -> Vec<u8> {
    decoded(reply.header("content-encoding").unwrap_or(""), &reply.body).unwrap()
}

fn decoded(coding: &str, bytes: &[u8]) -> std::io::Result<Vec<u8>> {
    let mut out = Vec::new();
    match coding {
        "br" => brotli::Decompressor::new(bytes, 4096).read_to_end(&mut out)?,
        "zstd" => zstd::stream::read::Decoder::new(bytes)?.read_to_end(&mut out)?,
        "gzip" => flate2::read::GzDecoder::new(bytes).read_to_end(&mut out)?,
        _ => return Ok(bytes.to_vec()),
    };
    Ok(out)
}

#[test]
fn every_coding_comes_whole() {
    let folder = Folder::new();
    let mut text = String::new();
    for number in 0..40_000 {
        let _ = writeln!(
            text,
            "{{\"number\": {number}, \"square\": {}}}",
            number * number
        );
    }
    folder.write("www/large.json", &text);
    folder.write("www/small.json", &text[..5000]);
    let whole = text.clone();
    let app = Upstream::start(move |_, conversation| {
        let head = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nContent-Type: application/json\r\n\r\n";
        conversation.write(head.as_bytes())?;
        for piece in whole.as_bytes().chunks(50_000) {
            conversation.write(format!("{:x}\r\n", piece.len()).as_bytes())?;
            conversation.write(piece)?;
            conversation.write(b"\r\n")?;
        }
        conversation.write(b"0\r\n\r\n")
    });
    let (proxy, addr) = start(
        &folder,
        &format!(
            "types {{ application/json json; }}\n\
             brotli on; brotli_types *; brotli_comp_level 1; zstd on; zstd_types *; gzip on; gzip_types *; gzip_vary on;\n\
             location / {{ root {}/www; }}\n\
             location /app {{ proxy_pass http://{}; }}\n\
             location /one {{ brotli_min_length 100k; brotli_window 1m; alias {}/www; }}",
            folder.path().display(),
            app.addr(),
            folder.path().display(),
        ),
    );
    for (accept, want) in [
        ("br, zstd, gzip", "br"),
        ("zstd, gzip", "zstd"),
        ("gzip, deflate", "gzip"),
        ("gzip;q=0.9, zstd;q=0.8, br;q=0.7", "gzip"),
        ("deflate", ""),
    ] {
        for (path, text) in [
            ("/large.json", &text[..]),
            ("/small.json", &text[..5000]),
            ("/app", &text[..]),
        ] {
            let request = Request::get(path).header("Accept-Encoding", accept);
            let reply = ask(addr, &request);
            let about = format!("{path} for {accept}");
            assert_eq!(
                reply.header("content-encoding").unwrap_or(""),
                want,
                "{about}"
            );
            assert_eq!(reply.header("vary"), Some("Accept-Encoding"), "{about}");
            assert!(content(&reply) == text.as_bytes(), "{about}");
            if !want.is_empty() {
                assert!(reply.body.len() < text.len() / 3, "{about}");
            }
        }
    }
    for (path, want) in [("/one/small.json", "zstd"), ("/one/large.json", "br")] {
        let request = Request::get(path).header("Accept-Encoding", "br, zstd");
        assert_eq!(
            ask(addr, &request).header("content-encoding"),
            Some(want),
            "{path}"
        );
    }
    proxy.stop();
}

/// An event reaches its client before the next one is made, whatever it is packed in.
#[test]
fn events_arrive_at_once() {
    for coding in ["gzip", "br", "zstd", "gunzip"] {
        let packed = coding == "gunzip";
        let app = Upstream::start(move |_, conversation| {
            let encoding = if packed {
                "Content-Encoding: gzip\r\n"
            } else {
                ""
            };
            let head = format!(
                "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n{encoding}Connection: close\r\n\r\n"
            );
            let mut encoder =
                flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
            let mut shape = |event: &str| {
                use std::io::Write as _;
                if !packed {
                    return event.as_bytes().to_vec();
                }
                encoder.write_all(event.as_bytes()).unwrap();
                encoder.flush().unwrap();
                std::mem::take(encoder.get_mut())
            };
            let first = shape("data: first\n\n");
            conversation.write(&[head.as_bytes(), &first].concat())?;
            conversation.hold();
            conversation.write(&shape("data: second\n\n"))
        });
        let folder = Folder::new();
        let (proxy, addr) = start(
            &folder,
            &format!(
                "gzip on; gzip_types *; brotli on; brotli_types *; zstd on; zstd_types *; gunzip on;\n\
                 location / {{ proxy_pass http://{}; }}",
                app.addr()
            ),
        );
        let mut client = Client::connect(addr);
        let accept = if packed { "identity" } else { coding };
        let request = Request::get("/").header("Accept-Encoding", accept);
        client.write(&request.encode()).unwrap();
        let mut bytes = Vec::new();
        wait::until(&format!("the first event in {coding}"), || {
            bytes.extend(client.read_exact(1).unwrap());
            shown(&bytes).contains("data: first\n\n").then_some(())
        });
        app.wait_until_holding(1);
        assert!(!shown(&bytes).contains("second"));
        app.release_all();
        wait::until(&format!("the second event in {coding}"), || {
            bytes.extend(client.read_exact(1).unwrap());
            shown(&bytes).contains("data: second\n\n").then_some(())
        });
        proxy.stop();
    }
}

/// What can be read so far of an answer in chunks.
fn shown(bytes: &[u8]) -> String {
    let Some(at) = bytes.windows(4).position(|four| four == b"\r\n\r\n") else {
        return String::new();
    };
    let head = String::from_utf8_lossy(&bytes[..at]).to_ascii_lowercase();
    let mut rest = &bytes[at + 4..];
    let mut body = Vec::new();
    while let Some(end) = rest.windows(2).position(|two| two == b"\r\n") {
        let size = std::str::from_utf8(&rest[..end]).unwrap();
        let size = usize::from_str_radix(size, 16).unwrap();
        let Some(piece) = rest.get(end + 2..end + 4 + size) else {
            break;
        };
        body.extend_from_slice(&piece[..size]);
        rest = &rest[end + 4 + size..];
    }
    let mut out = Vec::new();
    let mut buffer = [0; 1024];
    let mut reader: Box<dyn std::io::Read> = if head.contains("content-encoding: gzip") {
        Box::new(flate2::read::GzDecoder::new(&body[..]))
    } else if head.contains("content-encoding: br") {
        Box::new(brotli::Decompressor::new(&body[..], 4096))
    } else if head.contains("content-encoding: zstd") {
        Box::new(zstd::stream::read::Decoder::new(&body[..]).unwrap())
    } else {
        Box::new(&body[..])
    };
    // It ends in the middle, which is an error to the decoder.
    while let Ok(count @ 1..) = reader.read(&mut buffer) {
        out.extend_from_slice(&buffer[..count]);
    }
    String::from_utf8_lossy(&out).into_owned()
}
