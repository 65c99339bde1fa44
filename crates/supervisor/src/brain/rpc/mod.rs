//! supervisord's RPC interface: all methods of the `supervisor` and `system` namespaces, as values in and values out.
//! Not here: XML (`trine_control::xmlrpc`), HTTP (see `http`), or doing what is asked.

mod act;
mod fault;
mod groups;
pub(super) mod info;
pub mod log_paths;
mod logs;
mod methods;
mod names;
mod params;
mod system;

pub use methods::METHODS;

use super::ask::{Ending, Handle};
use super::shutdown::Closing;
use super::supervisor::Supervisor;
use crate::error::Error;
use fault::shutdown_state;
use params::Params;
use trine_control::xmlrpc::{Fault, Value};

/// What a method gives.
pub type Outcome = Result<Value, Fault>;

/// The version of the interface, not of the program.
const API_VERSION: &str = "3.0";
/// The supervisord whose behaviour this is, and our own version behind it.
const VERSION: &str = concat!("4.3.0+trine.", env!("CARGO_PKG_VERSION"));

/// Answers calls. Clones answer for the same supervisor.
#[derive(Clone, Debug)]
pub struct Rpc {
    handle: Handle,
    /// The configuration names the namespace `supervisor`.
    has_supervisor: bool,
}

impl Rpc {
    #[must_use]
    pub fn new(handle: Handle, has_supervisor: bool) -> Self {
        Self {
            handle,
            has_supervisor,
        }
    }

    /// The methods that there are, with their namespaces.
    fn known(&self) -> impl Iterator<Item = &'static methods::Method> {
        let has_supervisor = self.has_supervisor;
        METHODS
            .iter()
            .filter(move |method| has_supervisor || method.name.starts_with("system."))
    }

    /// Calls a method by its full name. Names are looked up in a table and nowhere else (CVE-2017-11610).
    pub async fn call(&self, method: &str, params: Vec<Value>) -> Outcome {
        let Some(known) = self.known().find(|known| known.name == method) else {
            return Err(fault::unknown_method());
        };
        if params.len() < known.required || params.len() > known.params.len() {
            return Err(fault::incorrect_parameters(None));
        }
        let mut params = Params::new(params);
        if let Some(name) = method.strip_prefix("system.") {
            return self.system(name, params).await;
        }
        let name = known.alias_of.unwrap_or(method);
        match name.trim_start_matches("supervisor.") {
            "getAPIVersion" => self.look(|_| API_VERSION.into()).await,
            "getSupervisorVersion" => self.look(|_| VERSION.into()).await,
            "getIdentification" => self.look(|s| s.config.identifier.clone().into()).await,
            "getState" => self.look(|_| info::daemon_state()).await,
            "getPID" => self.look(|s| s.holder_pid.into()).await,
            "shutdown" => {
                self.deed(|s| {
                    s.close(Closing::End)?;
                    Ok(Ok(true.into()))
                })
                .await
            }
            "restart" => {
                self.deed(|s| {
                    s.restart_all()?;
                    Ok(Ok(true.into()))
                })
                .await
            }
            "reloadConfig" => self.deed(Supervisor::reread).await,
            "addProcessGroup" => {
                let name = params.text()?;
                self.deed(move |s| s.add_group(&name)).await
            }
            "removeProcessGroup" => {
                let name = params.text()?;
                self.deed(move |s| s.remove_group(&name)).await
            }
            "getProcessInfo" => {
                let name = params.text()?;
                self.read(move |s| names::process(s, &name).map(info::of))
                    .await
            }
            "getAllProcessInfo" => self.look(info::of_all).await,
            "getAllConfigInfo" => self.look(info::configured).await,
            "startProcess" => {
                let (name, wait) = (params.text()?, params.flag_or(true)?);
                self.start(name, wait).await
            }
            "startProcessGroup" => {
                let (name, wait) = (params.text()?, params.flag_or(true)?);
                self.start_group(name, wait).await
            }
            "startAllProcesses" => {
                let wait = params.flag_or(true)?;
                self.start_all(wait).await
            }
            "stopProcess" => {
                let (name, wait) = (params.text()?, params.flag_or(true)?);
                self.stop(name, wait).await
            }
            "stopProcessGroup" => {
                let (name, wait) = (params.text()?, params.flag_or(true)?);
                self.stop_group(name, wait).await
            }
            "stopAllProcesses" => {
                let wait = params.flag_or(true)?;
                self.stop_all(wait).await
            }
            "signalProcess" => {
                let (name, signal) = (params.text()?, params.text_or_number()?);
                self.signal(name, signal).await
            }
            "signalProcessGroup" => {
                let (name, signal) = (params.text()?, params.text_or_number()?);
                self.signal_group(name, signal).await
            }
            "signalAllProcesses" => {
                let signal = params.text_or_number()?;
                self.signal_all(signal).await
            }
            "sendProcessStdin" => {
                let name = params.text()?;
                let chars = match params.next() {
                    Some(Value::Str(chars)) => chars,
                    Some(Value::Int(number)) => {
                        return Err(fault::incorrect_parameters(Some(&number.to_string())));
                    }
                    _ => return Err(fault::incorrect_parameters(None)),
                };
                self.deed(move |s| act::send_stdin(s, &name, chars)).await
            }
            "sendRemoteCommEvent" => {
                let (kind, data) = (params.text()?, params.text()?);
                self.deed(move |s| {
                    s.remote_event(&kind, &data)?;
                    Ok(Ok(true.into()))
                })
                .await
            }
            other => self.log_call(other, params).await,
        }
    }

    /// Something out of the owner's state that cannot fail.
    async fn look(&self, look: impl FnOnce(&Supervisor) -> Value + Send + 'static) -> Outcome {
        self.read(move |supervisor| Ok(look(supervisor))).await
    }

    async fn read<T: Send + 'static>(
        &self,
        read: impl FnOnce(&Supervisor) -> Result<T, Fault> + Send + 'static,
    ) -> Result<T, Fault> {
        let read = move |supervisor: &Supervisor| {
            if supervisor.daemon.closing.is_some() {
                return Err(shutdown_state());
            }
            read(supervisor)
        };
        self.handle
            .look(read)
            .await
            .unwrap_or_else(|Ending| Err(shutdown_state()))
    }

    /// Something that changes the owner's state and is done at once.
    async fn deed(
        &self,
        deed: impl FnOnce(&mut Supervisor) -> Result<Outcome, Error> + Send + 'static,
    ) -> Outcome {
        let deed = move |supervisor: &mut Supervisor,
                         reply: tokio::sync::oneshot::Sender<Outcome>| {
            let outcome = if supervisor.daemon.closing.is_some() {
                Err(shutdown_state())
            } else {
                deed(supervisor)?
            };
            let _ = reply.send(outcome);
            Ok(())
        };
        let done = self.handle.carry_out(deed).await;
        done.unwrap_or_else(|Ending| Err(shutdown_state()))
    }
}
