//! XML to values. Strict: no document types, no entities but XML's five, no elements that XML-RPC does not know, and
//! bounded in size, depth and number. Not here: writing.

use base64::Engine as _;
use quick_xml::Reader;
use quick_xml::events::{BytesRef, BytesStart, Event};

use super::{Fault, MAX_BYTES, MAX_DEPTH, MAX_VALUES, MethodCall, Value};

/// Why bytes are no XML-RPC.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ReadError {
    /// More than [`MAX_BYTES`].
    #[error("a message of {0} bytes, limit {MAX_BYTES}")]
    TooLarge(usize),
    /// Deeper than [`MAX_DEPTH`].
    #[error("values are nested deeper than {MAX_DEPTH}")]
    TooDeep,
    /// More than [`MAX_VALUES`].
    #[error("more than {MAX_VALUES} values")]
    TooMany,
    /// Not UTF-8, not well-formed, or with a document type.
    #[error("not usable as XML: {0}")]
    Xml(String),
    /// Well-formed, but not what the protocol has at this place.
    #[error("expected {expected}, found {found}")]
    Unexpected {
        /// What may stand here.
        expected: &'static str,
        /// What does.
        found: String,
    },
    /// The content of a scalar makes no sense.
    #[error("{text:?} is no {kind}")]
    Scalar {
        /// The element.
        kind: &'static str,
        /// Its content.
        text: String,
    },
    /// A call without a method's name.
    #[error("a call without a method name")]
    NoMethod,
}

/// Reads a call. Absent parameters are none.
///
/// # Errors
/// [`ReadError`]; a server answers 400.
pub fn read_call(bytes: &[u8]) -> Result<MethodCall, ReadError> {
    let mut xml = Xml::new(bytes)?;
    xml.open("methodCall")?;
    xml.open("methodName")?;
    let method = xml.text_until("methodName")?.trim().to_owned();
    if method.is_empty() {
        return Err(ReadError::NoMethod);
    }
    let mut params = Vec::new();
    match xml.next()? {
        Token::Close(name) if name == "methodCall" => {}
        Token::Empty(name) if name == "params" => xml.close("methodCall")?,
        Token::Open(name) if name == "params" => {
            params = xml.params()?;
            xml.close("methodCall")?;
        }
        other => return Err(other.instead_of("<params>")),
    }
    xml.end()?;
    Ok(MethodCall { method, params })
}

/// Reads the answer to a call.
///
/// # Errors
/// [`ReadError`] when it is none.
pub fn read_answer(bytes: &[u8]) -> Result<Result<Value, Fault>, ReadError> {
    let mut xml = Xml::new(bytes)?;
    xml.open("methodResponse")?;
    let answer = match xml.next()? {
        Token::Open(name) if name == "params" => {
            let mut params = xml.params()?;
            match (params.pop(), params.is_empty()) {
                (Some(value), true) => Ok(value),
                _ => {
                    return Err(ReadError::Unexpected {
                        expected: "one value",
                        found: "another number of them".to_owned(),
                    });
                }
            }
        }
        Token::Open(name) if name == "fault" => {
            xml.open("value")?;
            let value = xml.value(0)?;
            xml.close("fault")?;
            let code = value.member("faultCode").and_then(Value::as_int);
            let text = value.member("faultString").and_then(Value::as_str);
            match (code, text) {
                (Some(code), Some(text)) => Err(Fault {
                    code,
                    text: text.to_owned(),
                }),
                _ => {
                    return Err(ReadError::Unexpected {
                        expected: "faultCode and faultString",
                        found: format!("{value:?}"),
                    });
                }
            }
        }
        other => return Err(other.instead_of("<params> or <fault>")),
    };
    xml.close("methodResponse")?;
    xml.end()?;
    Ok(answer)
}

#[derive(Debug)]
enum Token {
    Open(String),
    Empty(String),
    Close(String),
    /// Not only white space.
    Text(String),
    End,
}

impl Token {
    fn instead_of(self, expected: &'static str) -> ReadError {
        let found = match self {
            Self::Open(name) | Self::Empty(name) => format!("<{name}>"),
            Self::Close(name) => format!("</{name}>"),
            Self::Text(text) => format!("{:?}", text.chars().take(40).collect::<String>()),
            Self::End => "the end".to_owned(),
        };
        ReadError::Unexpected { expected, found }
    }
}

struct Xml<'a> {
    reader: Reader<&'a [u8]>,
    values: usize,
}

impl<'a> Xml<'a> {
    fn new(bytes: &'a [u8]) -> Result<Self, ReadError> {
        if bytes.len() > MAX_BYTES {
            return Err(ReadError::TooLarge(bytes.len()));
        }
        let text = std::str::from_utf8(bytes).map_err(|err| ReadError::Xml(err.to_string()))?;
        let mut reader = Reader::from_str(text);
        reader.config_mut().enable_all_checks(true);
        Ok(Self { reader, values: 0 })
    }

    fn event(&mut self) -> Result<Event<'a>, ReadError> {
        loop {
            let event = self.reader.read_event();
            match event.map_err(|err| ReadError::Xml(err.to_string()))? {
                Event::Decl(_) | Event::Comment(_) => {}
                Event::DocType(_) | Event::PI(_) => {
                    return Err(ReadError::Xml(
                        "document types and processing instructions are not allowed".to_owned(),
                    ));
                }
                event => return Ok(event),
            }
        }
    }

    /// The next token, white space between elements left out.
    fn next(&mut self) -> Result<Token, ReadError> {
        loop {
            return Ok(match self.event()? {
                Event::Start(tag) => Token::Open(name(&tag)),
                Event::Empty(tag) => Token::Empty(name(&tag)),
                Event::End(tag) => Token::Close(tag.name().as_ref().to_owned()),
                Event::Text(text) if text.chars().all(|c| c.is_ascii_whitespace()) => continue,
                Event::Text(text) => Token::Text(text.to_string()),
                Event::CData(text) => Token::Text(text.to_string()),
                Event::GeneralRef(reference) => Token::Text(resolve(&reference)?.to_string()),
                _ => Token::End,
            });
        }
    }

    fn open(&mut self, wanted: &'static str) -> Result<(), ReadError> {
        match self.next()? {
            Token::Open(name) if name == wanted => Ok(()),
            other => Err(other.instead_of(wanted)),
        }
    }

    fn close(&mut self, wanted: &'static str) -> Result<(), ReadError> {
        match self.next()? {
            Token::Close(name) if name == wanted => Ok(()),
            other => Err(other.instead_of(wanted)),
        }
    }

    fn end(&mut self) -> Result<(), ReadError> {
        match self.next()? {
            Token::End => Ok(()),
            other => Err(other.instead_of("the end")),
        }
    }

    /// The text up to the end of an element that holds nothing else.
    fn text_until(&mut self, element: &'static str) -> Result<String, ReadError> {
        let mut text = String::new();
        loop {
            match self.event()? {
                Event::Text(more) => push_normalized(&mut text, &more),
                Event::CData(more) => push_normalized(&mut text, &more),
                Event::GeneralRef(reference) => text.push(resolve(&reference)?),
                Event::End(tag) if tag.name().as_ref() == element => return Ok(text),
                Event::Start(tag) | Event::Empty(tag) => {
                    return Err(Token::Open(name(&tag)).instead_of("text"));
                }
                _ => return Err(Token::End.instead_of("text")),
            }
        }
    }

    fn params(&mut self) -> Result<Vec<Value>, ReadError> {
        let mut params = Vec::new();
        loop {
            match self.next()? {
                Token::Open(name) if name == "param" => {
                    params.push(self.whole_value(0)?);
                    self.close("param")?;
                }
                Token::Close(name) if name == "params" => return Ok(params),
                other => return Err(other.instead_of("<param>")),
            }
        }
    }

    fn whole_value(&mut self, depth: usize) -> Result<Value, ReadError> {
        match self.next()? {
            Token::Open(name) if name == "value" => self.value(depth),
            Token::Empty(name) if name == "value" => Ok(Value::from("")),
            other => Err(other.instead_of("<value>")),
        }
    }

    /// What follows `<value>`, its end included.
    fn value(&mut self, depth: usize) -> Result<Value, ReadError> {
        self.values += 1;
        if self.values > MAX_VALUES {
            return Err(ReadError::TooMany);
        }
        if depth >= MAX_DEPTH {
            return Err(ReadError::TooDeep);
        }
        let mut text = String::new();
        let value = loop {
            match self.event()? {
                Event::Text(more) => push_normalized(&mut text, &more),
                Event::CData(more) => push_normalized(&mut text, &more),
                Event::GeneralRef(reference) => text.push(resolve(&reference)?),
                // A value without an element is a string.
                Event::End(_) => return Ok(Value::Str(text)),
                Event::Start(tag) if text.trim().is_empty() => {
                    break self.typed(&name(&tag), depth)?;
                }
                Event::Empty(tag) if text.trim().is_empty() => break empty(&name(&tag))?,
                Event::Start(tag) | Event::Empty(tag) => {
                    return Err(Token::Open(name(&tag)).instead_of("</value>"));
                }
                _ => return Err(Token::End.instead_of("a value")),
            }
        };
        self.close("value")?;
        Ok(value)
    }

    fn typed(&mut self, kind: &str, depth: usize) -> Result<Value, ReadError> {
        Ok(match kind {
            "string" => Value::Str(self.text_until("string")?),
            "int" => Value::Int(scalar("int", &self.text_until("int")?)?),
            "i4" => Value::Int(scalar("i4", &self.text_until("i4")?)?),
            "double" => Value::Double(scalar("double", &self.text_until("double")?)?),
            "boolean" => {
                let text = self.text_until("boolean")?;
                Value::Bool(match text.trim() {
                    "1" => true,
                    "0" => false,
                    _ => {
                        return Err(ReadError::Scalar {
                            kind: "boolean",
                            text,
                        });
                    }
                })
            }
            "dateTime.iso8601" => Value::DateTime(self.text_until("dateTime.iso8601")?),
            "base64" => {
                let mut text = self.text_until("base64")?;
                text.retain(|c| !c.is_ascii_whitespace());
                let bytes = base64::engine::general_purpose::STANDARD.decode(&text);
                Value::Base64(bytes.map_err(|_| ReadError::Scalar {
                    kind: "base64",
                    text,
                })?)
            }
            "array" => self.array(depth)?,
            "struct" => self.members(depth)?,
            other => return Err(Token::Open(other.to_owned()).instead_of("a type")),
        })
    }

    fn array(&mut self, depth: usize) -> Result<Value, ReadError> {
        let mut values = Vec::new();
        match self.next()? {
            Token::Empty(name) if name == "data" => {}
            Token::Open(name) if name == "data" => loop {
                match self.next()? {
                    Token::Open(name) if name == "value" => values.push(self.value(depth + 1)?),
                    Token::Empty(name) if name == "value" => values.push(Value::from("")),
                    Token::Close(name) if name == "data" => break,
                    other => return Err(other.instead_of("<value>")),
                }
            },
            other => return Err(other.instead_of("<data>")),
        }
        self.close("array")?;
        Ok(Value::Array(values))
    }

    fn members(&mut self, depth: usize) -> Result<Value, ReadError> {
        let mut members = Vec::new();
        loop {
            match self.next()? {
                Token::Open(name) if name == "member" => {
                    self.open("name")?;
                    let name = self.text_until("name")?;
                    members.push((name, self.whole_value(depth + 1)?));
                    self.close("member")?;
                }
                Token::Close(name) if name == "struct" => return Ok(Value::Struct(members)),
                other => return Err(other.instead_of("<member>")),
            }
        }
    }
}

fn name(tag: &BytesStart<'_>) -> String {
    tag.name().as_ref().to_owned()
}

fn empty(kind: &str) -> Result<Value, ReadError> {
    match kind {
        "string" => Ok(Value::from("")),
        "struct" => Ok(Value::Struct(Vec::new())),
        "base64" => Ok(Value::Base64(Vec::new())),
        other => Err(Token::Empty(other.to_owned()).instead_of("a type with content")),
    }
}

fn resolve(reference: &BytesRef<'_>) -> Result<char, ReadError> {
    let bad = || ReadError::Xml(format!("the reference &{};", &**reference));
    match reference.resolve_char_ref() {
        Ok(Some(c)) => return Ok(c),
        Ok(None) => {}
        Err(_) => return Err(bad()),
    }
    match &**reference {
        "lt" => Ok('<'),
        "gt" => Ok('>'),
        "amp" => Ok('&'),
        "apos" => Ok('\''),
        "quot" => Ok('"'),
        _ => Err(bad()),
    }
}

/// Line ends become newlines, as XML wants (1.0, section 2.11).
fn push_normalized(text: &mut String, more: &str) {
    if more.contains('\r') {
        text.push_str(&more.replace("\r\n", "\n").replace('\r', "\n"));
    } else {
        text.push_str(more);
    }
}

fn scalar<T: std::str::FromStr>(kind: &'static str, text: &str) -> Result<T, ReadError> {
    text.trim().parse().map_err(|_| ReadError::Scalar {
        kind,
        text: text.to_owned(),
    })
}
