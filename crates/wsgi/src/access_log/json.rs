//! The access log as one JSON object a line.
//!
//! Not here: gunicorn's format (`format`).

use serde_json::{Value, json};

use super::record::{Record, basic_user};

pub(super) fn write(record: &Record<'_>, out: &mut Vec<u8>) {
    let request = &record.request;
    let mut line = json!({
        "time": jiff::Timestamp::now().to_string(),
        "remote_addr": latin1(record.remote_addr()),
        "method": request.method(),
        "target": latin1(request.target()),
        "path": latin1(&record.path()),
        "query": latin1(record.query()),
        "protocol": latin1(record.protocol()),
        "status": record.status,
        "bytes": record.body_bytes,
        "duration_us": record.took.as_micros() as u64,
        "queued_us": record.queued.as_micros() as u64,
        "pid": std::process::id(),
    });
    let said = [
        ("host", request.get("host").map(latin1)),
        ("referer", request.get("referer").map(latin1)),
        ("user_agent", request.get("user-agent").map(latin1)),
        ("request_id", request.get("x-request-id").map(latin1)),
        (
            "user",
            request
                .get("authorization")
                .and_then(basic_user)
                .map(|user| latin1(&user)),
        ),
    ];
    for (key, value) in said {
        if let Some(value) = value {
            line[key] = value;
        }
    }
    // Writing into memory does not fail.
    let _ = serde_json::to_writer(&mut *out, &line);
}

fn latin1(bytes: &[u8]) -> Value {
    bytes
        .iter()
        .map(|&byte| char::from(byte))
        .collect::<String>()
        .into()
}
