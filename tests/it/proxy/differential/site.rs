//! What the differential's servers serve: files, users, and an application that answers with what it was asked.
//!
//! Not here: comparing anything.

use std::fmt::Write as _;
use std::io::{Read as _, Write as _};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::thread;

use e2e::folder::Folder;

const LONG_NAME: &str =
    "list/a-name-that-is-longer-than-the-fifty-characters-that-nginx-shows-of-it.txt";
const LONG_WIDE_NAME: &str = "list/\u{e4}-name-that-is-longer-than-the-fifty-ch\u{e4}r\u{e4}cters-th\u{e4}t-nginx-shows-of-it.txt";

/// `secret` in every form that a user file may have.
const USERS: &str = "# not:users\n\
plain:{PLAIN}secret\n\
sha:{SHA}5en6G6MezRroT3XKqkdPOmY/BfQ=\n\
ssha:{SSHA}gVK8WC9YyFT1gMsQHTGCgT3sSv5zYWx0\n\
apr1:$apr1$saltsalt$LrttParrLPdxvgutaSXWJ0\n\
des:rlcg0.fZequS.\n\
md5:$1$saltsalt$9xy1btjgzLYfb7hivXtC//\n\
sha256:$5$saltsalt$0IyaXrmV7.sGNS6tirgqHLqX/G.FBvgkYA.lpPdS5sA\n\
sha512:$6$saltsalt$TVLlQcbpFVof5W3Yz4DTP6gRstiNuHwwTt6GLc1E5n0U0aDehy0S5knV8wiOQSpT0Y77vwPZN.Pq.H91p5hVO1\n\
bcrypt:$2b$04$abcdefghijklmnopqrstuu2r9OfJnfCsdneAXAGHnS4UpFFP8WIrW\n\
yescrypt:$y$j9T$saltsaltsaltsalt$.Zt5W26jjocuW0wIHGgB6AJelofw6GEpOypHGyow2y5\n\
unknown:$nosuch$kind\n\
comment:{PLAIN}secret:a comment\n\
empty:{PLAIN}\n\
plain:{PLAIN}second\n";

/// Everything.
pub(super) fn make(folder: &Folder) {
    files(folder);
    odd_files(folder);
    application(folder);
}

fn files(folder: &Folder) {
    for (name, content) in [
        ("www/index.html", "home\n"),
        ("www/404.html", "custom 404\n"),
        ("www/50x.html", "custom 50x\n"),
        ("www/a.txt", "0123456789abcdefghijklmnopqrstuvwxyz\n"),
        ("www/style.css", "body{}\n"),
        ("www/app.js", "let x;\n"),
        ("www/noending", "plain\n"),
        ("www/sp ace.txt", "space\n"),
        ("www/empty.txt", ""),
        ("www/sub/index.html", "sub home\n"),
        ("www/sub/x.html", "sub x\n"),
        ("www/noindex/file.txt", "file\n"),
        ("www/img/logo.png", "png\n"),
        ("www/.hidden", "hidden\n"),
        ("other/index.html", "other home\n"),
        ("other/a.txt", "other a\n"),
        ("other/deep/b.txt", "deep b\n"),
        ("list/file.txt", "text\n"),
        ("list/.hidden", "hidden\n"),
        ("list/Zeta.html", "z\n"),
        ("list/sub/inner.txt", "inner\n"),
        ("list/sub/one more.txt", ""),
        ("list/<b>&\"/x", "x\n"),
        ("list/a<b>\"&'.txt", "odd\n"),
        ("list/per%cent;semi:colon?.txt", "odd\n"),
        ("list/\u{e4}\u{f6}\u{fc}.txt", "umlauts\n"),
        ("list/back\\slash\ttab.txt", "odd\n"),
        (LONG_NAME, "long\n"),
        (LONG_WIDE_NAME, "long\n"),
        (
            "list/exactly-fifty-characters-long-name-of-a-file-1.txt",
            "fifty\n",
        ),
        (
            "list/forty-nine-characters-long-name-of-a-folder-12345/x",
            "x\n",
        ),
        (
            "list/fifty-characters-long-name-of-a-folder-1234567890/x",
            "x\n",
        ),
        ("pre/a.txt", "plain a\n"),
        ("pre/a.txt.gz", "not really gzip at all"),
        ("pre/b.css", "plain b\n"),
        ("pre/only.js.gz", "only gzip"),
        ("pre/dir/index.html", "index\n"),
        ("pre/dir/index.html.gz", "gzip index"),
        (
            "zip/short.txt",
            "a short text, but longer than twenty bytes\n",
        ),
        ("zip/tiny.txt", "tiny\n"),
        (
            "zip/page.html",
            "<html><body><p>one</p><p>two</p><p>three</p></body></html>\n",
        ),
        ("zip/data.bin", "0123456789012345678901234567890123456789"),
        ("links/plain.txt", "plain\n"),
        ("links/real/file.txt", "real\n"),
        ("one/only.txt", "only\n"),
        ("one/.not", "not\n"),
        ("geo.conf", "198.51.100.0/24 net;\n198.51.100.77 host;\n"),
        ("users", USERS),
        ("users2", "first:{PLAIN}secret\nlast:{PLAIN}secret"),
    ] {
        let path = folder.write(name, content);
        let time = filetime(&path);
        drop(time);
    }
}

/// What is no file with some text in it.
fn odd_files(folder: &Folder) {
    use std::os::unix::fs::symlink;
    let line = "the same line over and over, so that it packs\n";
    for (name, content) in [
        ("zip/long.txt", line.repeat(20).into_bytes()),
        ("zip/big.txt", line.repeat(5000).into_bytes()),
        ("zip/packed.txt.gz", packed(line.repeat(20).as_bytes())),
    ] {
        let path = folder.write(name, content);
        drop(filetime(&path));
    }
    for name in ["list/empty", "list/short", "one/empty"] {
        std::fs::create_dir(folder.join(name)).unwrap();
    }
    for (name, size) in [
        ("list/short/k", 9999),
        ("list/short/l", 10_000),
        ("list/short/m", 1_048_575),
        ("list/short/n", 5_767_168),
        ("list/short/o", 3_500_000_000),
    ] {
        let path = folder.join(name);
        std::fs::File::create(&path).unwrap().set_len(size).unwrap();
    }
    for (target, name) in [
        ("plain.txt", "links/in.txt"),
        ("real", "links/dir"),
        ("nothing", "links/lost.txt"),
        ("loop", "links/loop"),
        ("../links/plain.txt", "list/link.txt"),
        ("sub", "list/linked"),
    ] {
        symlink(target, folder.join(name)).unwrap();
    }
    for name in ["list", "list/short", "list/empty", "list/sub"] {
        touch_all(&folder.join(name));
    }
}

/// Gives all that is in a folder the same time.
fn touch_all(folder: &Path) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if let Ok(file) = std::fs::File::open(&path) {
            let when = std::time::UNIX_EPOCH + std::time::Duration::from_secs(1_700_000_000);
            file.set_modified(when).unwrap();
        }
    }
}

/// All files were changed at the same moment, so that validators can be compared.
fn filetime(path: &Path) -> std::io::Result<()> {
    let when = std::time::UNIX_EPOCH + std::time::Duration::from_secs(1_700_000_000);
    std::fs::File::options()
        .append(true)
        .open(path)?
        .set_modified(when)
}

/// Answers every request with what it was asked, so that the comparison sees what went on to the upstream.
fn application(folder: &Folder) {
    for (name, who) in [
        ("app.sock", ""),
        ("pool-1.sock", "one"),
        ("pool-2.sock", "two"),
        ("pool-3.sock", "three"),
        // It breaks off whatever it is asked.
        ("broken.sock", "broken"),
    ] {
        let listener = UnixListener::bind(folder.join(name)).unwrap();
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                thread::spawn(move || drop(converse(stream, who)));
            }
        });
    }
}

fn packed(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

/// `who` is told, and `broken` tells nothing; `fails=NAME` in the target makes that one answer 503.
fn converse(mut stream: UnixStream, who: &str) -> std::io::Result<()> {
    let mut unread = Vec::new();
    loop {
        let end = loop {
            if let Some(at) = unread.windows(4).position(|four| four == b"\r\n\r\n") {
                break at + 4;
            }
            let mut buffer = [0; 4096];
            match stream.read(&mut buffer)? {
                0 => return Ok(()),
                count => unread.extend_from_slice(&buffer[..count]),
            }
        };
        let head = String::from_utf8_lossy(&unread[..end]).into_owned();
        unread.drain(..end);
        let mut lines: Vec<&str> = head.trim_end().split("\r\n").collect();
        let request = lines.remove(0).to_owned();
        let length: usize = lines
            .iter()
            .find_map(|line| {
                line.to_ascii_lowercase()
                    .strip_prefix("content-length: ")?
                    .parse()
                    .ok()
            })
            .unwrap_or(0);
        while unread.len() < length {
            let mut buffer = [0; 4096];
            match stream.read(&mut buffer)? {
                0 => return Ok(()),
                count => unread.extend_from_slice(&buffer[..count]),
            }
        }
        let body: Vec<u8> = unread.drain(..length).collect();
        if who == "broken" {
            return Ok(());
        }
        let mut words = request.split(' ');
        let (method, target) = (words.next().unwrap_or(""), words.next().unwrap_or(""));
        // The version and the connection's future are each proxy's own affair.
        lines.retain(|line| !line.to_ascii_lowercase().starts_with("connection:"));
        lines.sort_unstable_by_key(|line| line.to_ascii_lowercase());
        let mut text = format!("{method} {target}\n{}\n", lines.join("\n"));
        text += &String::from_utf8_lossy(&body);
        let asked = |key: &str| {
            let start = target.find(key)? + key.len();
            let rest = &target[start..];
            Some(rest[..rest.find('&').unwrap_or(rest.len())].to_owned())
        };
        if !who.is_empty() {
            text = format!("{who} was asked\n{text}");
        }
        let status = if !who.is_empty() && asked("fails=").is_some_and(|fails| fails == who) {
            "503 Broken".to_owned()
        } else {
            asked("status=").unwrap_or_else(|| "200 OK".to_owned())
        };
        let mut text = text.into_bytes();
        let is_packed = asked("packed=").is_some();
        if is_packed {
            text = packed(&text);
        }
        let mut reply = format!(
            "HTTP/1.1 {}\r\nContent-Length: {}\r\n",
            status.replace('+', " "),
            text.len()
        );
        if let Some(location) = asked("location=") {
            let _ = write!(reply, "Location: {location}\r\n");
        }
        let fields = [asked("field="), asked("more=")];
        for field in fields.iter().flatten().filter(|field| !field.is_empty()) {
            let (name, value) = field.split_once(':').unwrap_or((field, ""));
            let value = value.replace('+', " ");
            let _ = write!(reply, "{name}: {value}\r\n");
        }
        if is_packed {
            reply += "Content-Encoding: gzip\r\n";
        }
        reply += "Content-Type: text/plain\r\nX-App: yes\r\n\r\n";
        let mut reply = reply.into_bytes();
        if method != "HEAD" {
            reply.append(&mut text);
        }
        stream.write_all(&reply)?;
    }
}
