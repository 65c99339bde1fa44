//! Values to XML, laid out as Python's `xmlrpc.client.dumps` lays it out. Not here: reading.

use std::fmt::Write as _;

use base64::Engine as _;

use super::{Fault, Value};

const HEAD: &str = "<?xml version='1.0'?>\n";

/// A call of `method`.
#[must_use]
pub fn write_call(method: &str, params: &[Value]) -> String {
    let mut out = format!("{HEAD}<methodCall>\n<methodName>");
    push_text(&mut out, method);
    out.push_str("</methodName>\n");
    push_params(&mut out, params);
    out.push_str("</methodCall>\n");
    out
}

/// The answer to a call that was done.
#[must_use]
pub fn write_response(value: &Value) -> String {
    let mut out = format!("{HEAD}<methodResponse>\n");
    push_params(&mut out, std::slice::from_ref(value));
    out.push_str("</methodResponse>\n");
    out
}

/// The answer to a call that was not done.
#[must_use]
pub fn write_fault(fault: &Fault) -> String {
    let mut out = format!("{HEAD}<methodResponse>\n<fault>\n");
    push_value(
        &mut out,
        &Value::members([
            ("faultCode", Value::Int(fault.code)),
            ("faultString", Value::from(fault.text.as_str())),
        ]),
    );
    out.push_str("</fault>\n</methodResponse>\n");
    out
}

fn push_params(out: &mut String, params: &[Value]) {
    out.push_str("<params>\n");
    for param in params {
        out.push_str("<param>\n");
        push_value(out, param);
        out.push_str("</param>\n");
    }
    out.push_str("</params>\n");
}

fn push_value(out: &mut String, value: &Value) {
    match value {
        Value::Int(number) => {
            let _ = write!(out, "<value><int>{number}</int></value>");
        }
        Value::Bool(is) => {
            let _ = write!(out, "<value><boolean>{}</boolean></value>", u8::from(*is));
        }
        Value::Double(number) => {
            let _ = write!(out, "<value><double>{number:?}</double></value>");
        }
        Value::Str(text) => {
            out.push_str("<value><string>");
            push_text(out, text);
            out.push_str("</string></value>");
        }
        Value::DateTime(text) => {
            out.push_str("<value><dateTime.iso8601>");
            push_text(out, text);
            out.push_str("</dateTime.iso8601></value>");
        }
        Value::Base64(bytes) => {
            let text = base64::engine::general_purpose::STANDARD.encode(bytes);
            let _ = write!(out, "<value><base64>\n{text}\n</base64></value>");
        }
        Value::Array(values) => {
            out.push_str("<value><array><data>\n");
            for value in values {
                push_value(out, value);
            }
            out.push_str("</data></array></value>");
        }
        Value::Struct(members) => {
            out.push_str("<value><struct>\n");
            for (name, value) in members {
                out.push_str("<member>\n<name>");
                push_text(out, name);
                out.push_str("</name>\n");
                push_value(out, value);
                out.push_str("</member>\n");
            }
            out.push_str("</struct></value>");
        }
    }
    out.push('\n');
}

/// XML 1.0 has no place for most control characters, and a carriage return would become a newline on the way; both
/// make clients stumble over a log, so the first are replaced and the second is written as a reference.
fn push_text(out: &mut String, text: &str) {
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '\r' => out.push_str("&#13;"),
            '\t' | '\n' => out.push(c),
            c if (c as u32) < 0x20 || matches!(c, '\u{fffe}' | '\u{ffff}') => {
                out.push(char::REPLACEMENT_CHARACTER);
            }
            c => out.push(c),
        }
    }
}
