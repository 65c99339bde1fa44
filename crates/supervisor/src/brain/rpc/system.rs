//! The `system` namespace: what methods there are, and several calls in one.
//! Not here: the table of methods (see `methods`).

use super::fault::{incorrect_parameters, signature_unsupported, unknown_method};
use super::params::Params;
use super::{Outcome, Rpc};
use trine_control::xmlrpc::{Fault, Value};

impl Rpc {
    pub(super) async fn system(&self, method: &str, mut params: Params) -> Outcome {
        match method {
            "listMethods" => {
                let mut names: Vec<&str> = self.known().map(|method| method.name).collect();
                names.sort_unstable();
                Ok(Value::Array(names.into_iter().map(Value::from).collect()))
            }
            "methodHelp" => {
                let name = params.text()?;
                let method = self.known().find(|method| method.name == name);
                method
                    .map(|method| method.help().into())
                    .ok_or_else(signature_unsupported)
            }
            "methodSignature" => {
                let name = params.text()?;
                let method = self.known().find(|method| method.name == name);
                let method = method.ok_or_else(signature_unsupported)?;
                let kinds = method.params.iter().map(|(_, kind)| *kind);
                let kinds = std::iter::once(method.returns).chain(kinds);
                Ok(Value::Array(kinds.map(Value::from).collect()))
            }
            "multicall" => match params.next() {
                Some(Value::Array(calls)) => Ok(self.multicall(calls).await),
                _ => Err(incorrect_parameters(None)),
            },
            _ => Err(unknown_method()),
        }
    }

    /// One after the other. What fails is told in its place.
    async fn multicall(&self, calls: Vec<Value>) -> Value {
        let mut results = Vec::with_capacity(calls.len());
        for call in calls {
            let name = call.member("methodName").and_then(Value::as_str);
            let params = match call.member("params") {
                None => Ok(Vec::new()),
                Some(Value::Array(params)) => Ok(params.clone()),
                Some(_) => Err(incorrect_parameters(None)),
            };
            let outcome = match (name, params) {
                (None, _) => Err(incorrect_parameters(Some("No methodName"))),
                (Some("system.multicall"), _) => Err(incorrect_parameters(Some(
                    "Recursive system.multicall forbidden",
                ))),
                // Boxed: `call` leads here again, though never twice.
                (Some(name), Ok(params)) => Box::pin(self.call(name, params)).await,
                (Some(_), Err(fault)) => Err(fault),
            };
            results.push(outcome.unwrap_or_else(|fault| as_struct(&fault)));
        }
        Value::Array(results)
    }
}

fn as_struct(fault: &Fault) -> Value {
    Value::members([
        ("faultCode", fault.code.into()),
        ("faultString", fault.text.as_str().into()),
    ])
}
