//! Values to XML, laid out as Python's `xmlrpc.client.dumps` lays it out. Not here: reading.

use std::fmt::Write as _;

use base64::Engine as _;

use super::{Fault, Value, Written};

const HEAD: &str = "<?xml version='1.0'?>\n";
const ANSWER: &str = "<?xml version='1.0'?>\n<methodResponse>\n<params>\n<param>\n";
const ANSWER_END: &str = "\n</param>\n</params>\n</methodResponse>\n";

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
pub fn write_response(value: Value) -> String {
    let mut out = match value {
        Value::Written(Written { text, .. }) => text, // which begins as an answer
        other => {
            let mut out = ANSWER.to_owned();
            push_bare(&mut out, &other);
            out
        }
    };
    out.push_str(ANSWER_END);
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
    push_bare(out, value);
    out.push('\n');
}

fn push_bare(out: &mut String, value: &Value) {
    match value {
        Value::Int(number) => push_int(out, *number),
        Value::Bool(is) => {
            let _ = write!(out, "<value><boolean>{}</boolean></value>", u8::from(*is));
        }
        Value::Double(number) => {
            let _ = write!(out, "<value><double>{number:?}</double></value>");
        }
        Value::Str(text) => push_string(out, text),
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
            out.push_str(ARRAY);
            for value in values {
                push_value(out, value);
            }
            out.push_str(ARRAY_END);
        }
        Value::Struct(members) => {
            out.push_str(STRUCT);
            for (name, value) in members {
                push_member(out, name, |out| push_value(out, value));
            }
            out.push_str(STRUCT_END);
        }
        Value::Written(Written { text, from }) => out.push_str(&text[*from..]),
    }
}

const ARRAY: &str = "<value><array><data>\n";
const ARRAY_END: &str = "</data></array></value>";
const STRUCT: &str = "<value><struct>\n";
const STRUCT_END: &str = "</struct></value>";

const INT: &str = "<value><int>";
const INT_END: &str = "</int></value>";
const STRING: &str = "<value><string>";
const STRING_END: &str = "</string></value>";

fn push_int(out: &mut String, number: i32) {
    out.push_str(INT);
    out.push_str(itoa::Buffer::new().format(number));
    out.push_str(INT_END);
}

fn push_string(out: &mut String, text: &str) {
    out.push_str(STRING);
    push_text(out, text);
    out.push_str(STRING_END);
}

fn push_member(out: &mut String, name: &str, push: impl FnOnce(&mut String)) {
    push_name(out, name);
    push(out);
    out.push_str("</member>\n");
}

fn push_name(out: &mut String, name: &str) {
    out.push_str("<member>\n<name>");
    push_text(out, name);
    out.push_str("</name>\n");
}

/// Writes an array of structs at once, for answers too large to be built as [`Value`]s first: in the place where the answer
/// will be sent from, and what is the same in all structs is put together once.
#[derive(Debug)]
pub struct ArrayWriter {
    out: String,
    /// How the members begin, in the order of the structs so far.
    openings: Vec<Opening>,
}

#[derive(Debug)]
struct Opening {
    name: &'static str,
    value: &'static str,
    text: String,
}

/// One struct of an [`ArrayWriter`].
#[derive(Debug)]
pub struct StructWriter<'a> {
    out: &'a mut String,
    openings: &'a mut Vec<Opening>,
    /// The number of the next member.
    next: usize,
}

impl ArrayWriter {
    /// `bytes`: about how long it will get.
    #[must_use]
    pub fn with_capacity(bytes: usize) -> Self {
        let around = ANSWER.len() + ARRAY.len() + ARRAY_END.len() + ANSWER_END.len();
        let mut out = String::with_capacity(bytes + around);
        out.push_str(ANSWER);
        out.push_str(ARRAY);
        Self {
            out,
            openings: Vec::new(),
        }
    }

    /// Adds a struct.
    pub fn add_struct(&mut self, put: impl FnOnce(&mut StructWriter<'_>)) {
        self.out.push_str(STRUCT);
        put(&mut StructWriter {
            out: &mut self.out,
            openings: &mut self.openings,
            next: 0,
        });
        self.out.push_str(STRUCT_END);
        self.out.push('\n');
    }

    /// The whole array.
    #[must_use]
    pub fn finish(mut self) -> Value {
        self.out.push_str(ARRAY_END);
        Value::Written(Written {
            text: self.out,
            from: ANSWER.len(),
        })
    }
}

impl StructWriter<'_> {
    /// Adds a string.
    pub fn text(&mut self, name: &'static str, text: &str) {
        self.open(name, STRING);
        push_text(self.out, text);
        self.out.push_str("</string></value>\n</member>\n");
    }

    /// Adds a number.
    pub fn int(&mut self, name: &'static str, number: i32) {
        self.open(name, INT);
        self.out.push_str(itoa::Buffer::new().format(number));
        self.out.push_str("</int></value>\n</member>\n");
    }

    fn open(&mut self, name: &'static str, value: &'static str) {
        let known = self.openings.get(self.next);
        let known = known.filter(|opening| opening.name == name && opening.value == value);
        match known {
            Some(opening) => self.out.push_str(&opening.text),
            None => {
                let mut text = String::new();
                push_name(&mut text, name);
                text.push_str(value);
                self.out.push_str(&text);
                self.openings.truncate(self.next); // no struct before looked like this
                self.openings.push(Opening { name, value, text });
            }
        }
        self.next += 1;
    }
}

/// XML 1.0 has no place for most control characters, and a carriage return would become a newline on the way; both
/// make clients stumble over a log, so the first are replaced and the second is written as a reference.
fn push_text(out: &mut String, text: &str) {
    // 0xef: where U+FFFE and U+FFFF begin. All bytes are looked at in any case, which is done many at a time.
    let is_special = |byte: u8| (byte < 0x20) | matches!(byte, b'&' | b'<' | b'>' | 0xef);
    let special = text.bytes().fold(false, |any, byte| any | is_special(byte));
    if !special {
        out.push_str(text);
        return;
    }
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
