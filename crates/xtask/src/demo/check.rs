//! Every route of examples/flask, asked through the proxy and compared.

use std::fs;
use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, bail};

use crate::http::{Answer, ask, get};

/// What a person opens.
pub(super) const ROUTES: [(&str, &str); 8] = [
    ("/", "a page with its style sheet and a picture"),
    ("/log", "a form"),
    ("/upload", "an upload"),
    ("/api/boats", "JSON"),
    ("/stream?pieces=10&delay=0.5", "lines that come one by one"),
    ("/slow?seconds=3", "an answer that takes its time"),
    (
        "/connection",
        "what the application knows of the connection",
    ),
    ("/static/harbour.svg", "a file that the proxy serves itself"),
];

/// Asks for everything; the error lists all that was not as it should be.
pub(super) fn every_route(site: SocketAddr, example: &Path) -> anyhow::Result<()> {
    let mut failed = vec![];
    let mut note = |what: &str, outcome: anyhow::Result<()>| match outcome {
        Ok(()) => println!("  ok      {what}"),
        Err(problem) => {
            println!("  FAILED  {what}: {problem:#}");
            failed.push(what.to_owned());
        }
    };
    for (path, status, text) in [
        ("/", 200, "A quiet harbour"),
        ("/log", 200, "<form"),
        ("/upload", 200, "<form"),
        ("/api/boats?kind=ketch", 200, "Große Freiheit"),
        ("/api/boats/1", 200, "Marta"),
        ("/api/boats/9", 404, "no boat has the number 9"),
        ("/slow?seconds=0.2", 200, "\"asked\""),
        ("/connection", 200, "HTTP/1.1"),
        ("/healthz", 200, "ok\n"),
        ("/nowhere", 404, "Not Found"),
    ] {
        note(
            &format!("GET {path}"),
            get(site, path).and_then(|answer| expect(&answer, status, text)),
        );
    }
    for file in ["site.css", "icon.png", "harbour.svg"] {
        note(
            &format!("GET /static/{file}"),
            static_file(site, example, file),
        );
    }
    note("POST /log", form(site));
    note("POST /upload, 1 MiB", upload(site));
    note("GET /stream", stream(site));
    if failed.is_empty() {
        Ok(())
    } else {
        bail!(
            "{} of the checks failed: {}",
            failed.len(),
            failed.join(", ")
        )
    }
}

fn expect(answer: &Answer, status: u16, text: &str) -> anyhow::Result<()> {
    if answer.status != status {
        bail!(
            "status {} instead of {status}: {}",
            answer.status,
            answer.text()
        );
    }
    if !answer.text().contains(text) {
        bail!("{text:?} is not in the answer: {}", answer.text());
    }
    Ok(())
}

fn static_file(site: SocketAddr, example: &Path, name: &str) -> anyhow::Result<()> {
    let answer = get(site, &format!("/static/{name}"))?;
    expect(&answer, 200, "")?;
    let file = example.join("static").join(name);
    if answer.body != fs::read(&file).with_context(|| format!("cannot read {}", file.display()))? {
        bail!("differs from {}", file.display());
    }
    answer.header("etag").context("no ETag").map(drop)
}

fn form(site: SocketAddr) -> anyhow::Result<()> {
    let kind = [("Content-Type", "application/x-www-form-urlencoded")];
    let posted = ask(
        site,
        "POST",
        "/log",
        &kind,
        b"author=The+demo&text=All+is+well",
    )?;
    expect(&posted, 303, "")?;
    let cookie = posted
        .header("set-cookie")
        .context("no cookie")?
        .split(';')
        .next()
        .unwrap_or_default()
        .to_owned();
    expect(
        &ask(site, "GET", "/log", &[("Cookie", &cookie)], b"")?,
        200,
        "Thank you, The demo",
    )
}

fn upload(site: SocketAddr) -> anyhow::Result<()> {
    const SHA256_OF_A_MEGABYTE_OF_A: &str =
        "9bc1b2a288b26af7257a36277ae3816a7d4f16e89c1e7e77d0a5c48bad62b360";
    let mut body =
        b"--edge\r\nContent-Disposition: form-data; name=\"file\"; filename=\"a.txt\"\r\n\r\n"
            .to_vec();
    body.resize(body.len() + (1 << 20), b'a');
    body.extend_from_slice(b"\r\n--edge--\r\n");
    let headers = [
        ("Content-Type", "multipart/form-data; boundary=edge"),
        ("Accept", "application/json"),
    ];
    let answer = ask(site, "POST", "/upload", &headers, &body)?;
    expect(&answer, 200, "1048576")?;
    expect(&answer, 200, SHA256_OF_A_MEGABYTE_OF_A)
}

fn stream(site: SocketAddr) -> anyhow::Result<()> {
    let answer = get(site, "/stream?pieces=3&delay=0.3")?;
    expect(&answer, 200, "wave 1 of 3\nwave 2 of 3\nwave 3 of 3\n")?;
    if answer.took < Duration::from_millis(400) {
        bail!(
            "it came at once instead of piece by piece ({:?})",
            answer.took
        );
    }
    Ok(())
}
