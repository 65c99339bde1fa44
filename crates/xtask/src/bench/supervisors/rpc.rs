//! As much of XML-RPC as driving a supervisor takes: calls without parameters or with plain ones, answers as text.
//! Not here: what is called.

use std::fmt::Write as _;
use std::io::{Read as _, Write as _};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, bail};

/// Longer than any answer takes, even on a slow machine.
const PATIENCE: Duration = Duration::from_secs(120);

/// A value of a call.
#[derive(Debug, Clone, Copy)]
pub(super) enum Param<'a> {
    Text(&'a str),
    Bool(bool),
}

/// Calls and gives the answer's XML. A fault is an error.
pub(super) fn call(socket: &Path, method: &str, params: &[Param<'_>]) -> anyhow::Result<String> {
    let mut body =
        format!("<?xml version='1.0'?><methodCall><methodName>{method}</methodName><params>");
    for param in params {
        // Writing to a string never fails.
        let _infallible = match param {
            Param::Text(text) => {
                write!(
                    body,
                    "<param><value><string>{text}</string></value></param>"
                )
            }
            Param::Bool(value) => write!(
                body,
                "<param><value><boolean>{}</boolean></value></param>",
                u8::from(*value)
            ),
        };
    }
    body.push_str("</params></methodCall>");
    let mut stream = UnixStream::connect(socket)
        .with_context(|| format!("cannot connect to {}", socket.display()))?;
    stream.set_read_timeout(Some(PATIENCE))?;
    write!(
        stream,
        "POST /RPC2 HTTP/1.1\r\nHost: localhost\r\nContent-Type: text/xml\r\nConnection: close\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    )?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    if !answer.starts_with("HTTP/1.1 200") || answer.contains("<fault>") {
        let short: String = answer.chars().take(600).collect();
        bail!("{method}: {short}");
    }
    Ok(answer)
}
