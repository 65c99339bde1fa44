//! Taking a call's parameters one by one. Not here: how many a method takes (see `methods`).

use super::fault::incorrect_parameters;
use trine_control::xmlrpc::{Fault, Value};

#[derive(Debug)]
pub(super) struct Params(std::vec::IntoIter<Value>);

impl Params {
    pub(super) fn new(values: Vec<Value>) -> Self {
        Self(values.into_iter())
    }

    pub(super) fn next(&mut self) -> Option<Value> {
        self.0.next()
    }

    pub(super) fn text(&mut self) -> Result<String, Fault> {
        match self.next() {
            Some(Value::Str(text)) => Ok(text),
            _ => Err(incorrect_parameters(None)),
        }
    }

    /// A signal may come as a number too.
    pub(super) fn text_or_number(&mut self) -> Result<String, Fault> {
        match self.next() {
            Some(Value::Str(text)) => Ok(text),
            Some(Value::Int(number)) => Ok(number.to_string()),
            _ => Err(incorrect_parameters(None)),
        }
    }

    /// Python clients send numbers as texts now and then.
    pub(super) fn number(&mut self) -> Result<i64, Fault> {
        match self.next() {
            Some(Value::Int(number)) => Ok(i64::from(number)),
            Some(Value::Str(text)) => text.trim().parse().map_err(|_| incorrect_parameters(None)),
            _ => Err(incorrect_parameters(None)),
        }
    }

    pub(super) fn flag_or(&mut self, default: bool) -> Result<bool, Fault> {
        match self.next() {
            None => Ok(default),
            Some(Value::Bool(is)) => Ok(is),
            Some(Value::Int(number)) => Ok(number != 0),
            Some(_) => Err(incorrect_parameters(None)),
        }
    }
}
