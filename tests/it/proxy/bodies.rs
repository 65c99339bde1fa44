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
use e2e::{port, tools, wait};

/// A configuration with these directives in its only server, and where that listens.
fn write(folder: &Folder, server: &str) -> SocketAddr {
    let addr = port::free();
    folder.write(
        "nginx.conf",
        format!(
            "worker_processes 1; error_log error.log; pid proxy.pid;\nevents {{}}\nhttp {{\n\
             access_log off;\nserver {{ listen {addr};\n{server}\n}} }}\n"
        ),
    );
    addr
}

/// A proxy with these directives in its only server.
fn start(folder: &Folder, server: &str) -> (Daemon, SocketAddr) {
    let addr = write(folder, server);
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

/// A proxy that has one processor for all it does, its threads included.
fn start_on_one_processor(folder: &Folder, server: &str) -> (Daemon, SocketAddr) {
    let addr = write(folder, server);
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let allowed = status
        .lines()
        .find_map(|line| line.strip_prefix("Cpus_allowed_list:"))
        .unwrap();
    let first = allowed.trim().split([',', '-']).next().unwrap();
    let launch = Launch::program("taskset")
        .args(["-c", first])
        .arg(tools::binary("trine-proxy"))
        .args(["-c", "nginx.conf"]);
    (launch.notify().start(folder).wait_ready(), addr)
}

/// While 50 MB are compressed or unpacked, others are answered all along, not after that.
#[test]
fn a_large_body_keeps_nobody_waiting() {
    const LENGTH: usize = 50_000_000;
    /// Thousands are, on a machine that has nothing else to do.
    const FEWEST: usize = 30;
    let folder = Folder::new();
    let mut text = String::new();
    let mut number = 1_u32;
    while text.len() < 1_000_000 {
        number = number.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        let _ = writeln!(text, "{{\"number\": {number}, \"name\": \"row\"}}");
    }
    let mut member = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    std::io::Write::write_all(&mut member, text.as_bytes()).unwrap();
    let members = LENGTH / text.len();
    folder.write("www/large.txt", text.repeat(members));
    folder.write(
        "www/packed.txt.gz",
        member.finish().unwrap().repeat(members),
    );
    let whole = text.repeat(members);
    let app = Upstream::start(move |_, conversation| {
        let length = whole.len();
        let head = format!(
            "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: {length}\r\n\r\n"
        );
        conversation.write(head.as_bytes())?;
        conversation.write(whole.as_bytes())
    });
    let (proxy, addr) = start_on_one_processor(
        &folder,
        &format!(
            "keepalive_requests 10000000; gzip on; gzip_types *; brotli on; brotli_types *; brotli_comp_level 1; zstd on; zstd_types *;\n\
             location / {{ root {}/www; }}\n\
             location /packed.txt {{ root {}/www; gunzip on; gzip_static always; }}\n\
             location /app {{ proxy_pass http://{}; }}\n\
             location /small {{ return 200 small; }}",
            folder.path().display(),
            folder.path().display(),
            app.addr(),
        ),
    );
    for (path, coding) in [
        ("/large.txt", "gzip"),
        ("/large.txt", "br"),
        ("/large.txt", "zstd"),
        ("/app", "zstd"),
        ("/packed.txt", "identity"),
    ] {
        let about = format!("{path} in {coding}");
        let mut large = Client::connect(addr);
        let request = Request::get(path)
            .header("Accept-Encoding", coding)
            .header("Connection", "close");
        large.write(&request.encode()).unwrap();
        // It has begun.
        let first = large.read_exact(50_000).unwrap();
        assert!(first.starts_with(b"HTTP/1.1 200 OK"), "{about}");
        let reader = std::thread::spawn(move || large.read_to_end().unwrap());
        let mut small = Client::connect(addr);
        let mut answered = 0;
        while !reader.is_finished() {
            assert_eq!(small.ask(&Request::get("/small")).body, b"small");
            answered += 1;
        }
        let rest = reader.join().unwrap();
        assert!(rest.ends_with(b"\r\n0\r\n\r\n"), "{about}: cut");
        assert!(answered >= FEWEST, "{about}: {answered} meanwhile");
    }
    proxy.stop();
}

/// A few kilobytes that unpack to gigabytes: the client gets a little, and the log says why it is no more.
#[test]
fn a_bomb_is_not_unpacked() {
    const MEMBER: usize = 1024 * 1024;
    let mut member = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
    std::io::Write::write_all(&mut member, &vec![0; MEMBER]).unwrap();
    // Two megabytes that are two gigabytes.
    let bomb = member.finish().unwrap().repeat(2048);
    assert!(bomb.len() < 4 * MEMBER);
    let folder = Folder::new();
    folder.write("www/bomb.txt.gz", &bomb);
    folder.write("www/short.txt.gz", &bomb[..bomb.len() / 2048 * 5]);
    let app = Upstream::start(move |_, conversation| {
        conversation.write(
            b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Encoding: gzip\r\nConnection: close\r\n\r\n",
        )?;
        // Nobody may read it to its end.
        _ = conversation.write(&bomb);
        Ok(())
    });
    let (proxy, addr) = start(
        &folder,
        &format!(
            "gunzip on; zstd_types *;\n\
             location / {{ proxy_pass http://{}; }}\n\
             location /zstd {{ zstd on; proxy_pass http://{}; }}\n\
             location /any {{ gunzip_max_ratio 0; gzip_static always; alias {}/www; }}\n\
             location /files {{ gzip_static always; alias {}/www; }}",
            app.addr(),
            app.addr(),
            folder.path().display(),
            folder.path().display(),
        ),
    );
    let log = folder.join("error.log");
    let told = || {
        let log = std::fs::read_to_string(&log).unwrap();
        log.matches(
            "it unpacks to more than 200 times its length, which `gunzip_max_ratio` forbids",
        )
        .count()
    };
    for (number, (path, accept)) in [("/", ""), ("/zstd", "zstd"), ("/files/bomb.txt", "")]
        .into_iter()
        .enumerate()
    {
        let mut client = Client::connect(addr);
        let request = Request::get(path).header("Accept-Encoding", accept);
        client.write(&request.encode()).unwrap();
        // It ends without the last chunk.
        let got = client.read_to_end().unwrap_or_default();
        assert!(!got.ends_with(b"\r\n0\r\n\r\n"), "{path}");
        assert!(got.len() < 16 * MEMBER, "{path}: {} bytes", got.len());
        wait::until("the log to tell of it", || (told() > number).then_some(()));
    }
    for path in ["/any/short.txt", "/files/short.txt"] {
        assert_eq!(
            ask(addr, &Request::get(path)).body.len(),
            5 * MEMBER,
            "{path}"
        );
    }
    // Nothing of it is held in memory, whoever is slow, and although all may come out.
    let mut client = Client::connect(addr);
    client
        .write(&Request::get("/any/bomb.txt").encode())
        .unwrap();
    let begun = client.read_exact(64 * MEMBER).unwrap();
    assert!(begun.starts_with(b"HTTP/1.1 200 OK"));
    let status = std::fs::read_to_string(format!("/proc/{}/status", proxy.pid())).unwrap();
    let most = status
        .lines()
        .find_map(|line| line.strip_prefix("VmHWM:"))
        .unwrap();
    let most: usize = most.trim().trim_end_matches(" kB").parse().unwrap();
    assert!(most < 100 * 1024, "{most} KiB");
    drop(client);
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
