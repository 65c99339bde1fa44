//! The table of all methods: names, parameters, results, and what they are for in our words.
//! Not here: doing them.

/// One method as clients see it.
#[derive(Debug)]
pub struct Method {
    /// `namespace.method`
    pub name: &'static str,
    /// Name and XML-RPC type of each parameter.
    pub params: &'static [(&'static str, &'static str)],
    /// So many of them must be given.
    pub required: usize,
    /// The type of the result.
    pub returns: &'static str,
    about: &'static str,
    /// The method that it is another name of.
    pub alias_of: Option<&'static str>,
}

impl Method {
    /// What `system.methodHelp` says.
    #[must_use]
    pub fn help(&self) -> String {
        let params: Vec<String> = self
            .params
            .iter()
            .map(|(name, kind)| format!("{kind} {name}"))
            .collect();
        let (about, returns) = (self.about, self.returns);
        format!(
            "{about}\n\n{}({}) -> {returns}",
            self.name,
            params.join(", ")
        )
    }
}

type Kinds = &'static [(&'static str, &'static str)];

const NONE: Kinds = &[];
const NAME: Kinds = &[("name", "string")];
const NAME_WAIT: Kinds = &[("name", "string"), ("wait", "boolean")];
const WAIT: Kinds = &[("wait", "boolean")];
const PIECE: Kinds = &[("offset", "int"), ("length", "int")];
const NAME_PIECE: Kinds = &[("name", "string"), ("offset", "int"), ("length", "int")];
const NAME_SIGNAL: Kinds = &[("name", "string"), ("signal", "string")];

const fn method(
    name: &'static str,
    params: Kinds,
    required: usize,
    returns: &'static str,
    about: &'static str,
) -> Method {
    Method {
        name,
        params,
        required,
        returns,
        about,
        alias_of: None,
    }
}

const fn alias(name: &'static str, of: &Method) -> Method {
    Method {
        name,
        params: of.params,
        required: of.required,
        returns: of.returns,
        about: of.about,
        alias_of: Some(of.name),
    }
}

const API_VERSION: Method = method(
    "supervisor.getAPIVersion",
    NONE,
    0,
    "string",
    "The version of this interface.",
);
const READ_LOG: Method = method(
    "supervisor.readLog",
    PIECE,
    2,
    "string",
    "A piece of the main log. A negative offset, with length 0, counts from the end; length 0 is up to the end.",
);
const READ_STDOUT: Method = method(
    "supervisor.readProcessStdoutLog",
    NAME_PIECE,
    3,
    "string",
    "A piece of a process's standard output. A negative offset, with length 0, counts from the end; length 0 is up to the end.",
);
const TAIL_STDOUT: Method = method(
    "supervisor.tailProcessStdoutLog",
    NAME_PIECE,
    3,
    "array",
    "The end of a process's standard output: text, size of the log, and whether more than length came since offset.",
);
const CLEAR_LOGS: Method = method(
    "supervisor.clearProcessLogs",
    NAME,
    1,
    "boolean",
    "Empties the logs of a process.",
);

/// All of them; 37 of `supervisor`, 4 of `system`.
pub const METHODS: [Method; 41] = [
    API_VERSION,
    alias("supervisor.getVersion", &API_VERSION),
    method(
        "supervisor.getSupervisorVersion",
        NONE,
        0,
        "string",
        "The version of the program.",
    ),
    method(
        "supervisor.getIdentification",
        NONE,
        0,
        "string",
        "What the configuration calls this supervisor.",
    ),
    method(
        "supervisor.getState",
        NONE,
        0,
        "struct",
        "The supervisor's state, as statecode and statename.",
    ),
    method(
        "supervisor.getPID",
        NONE,
        0,
        "int",
        "The supervisor's process id.",
    ),
    READ_LOG,
    alias("supervisor.readMainLog", &READ_LOG),
    method(
        "supervisor.clearLog",
        NONE,
        0,
        "boolean",
        "Begins the main log anew.",
    ),
    method(
        "supervisor.shutdown",
        NONE,
        0,
        "boolean",
        "Stops all processes and ends.",
    ),
    method(
        "supervisor.restart",
        NONE,
        0,
        "boolean",
        "Stops all processes, reads the configuration, starts them again.",
    ),
    method(
        "supervisor.reloadConfig",
        NONE,
        0,
        "array",
        "Reads the configuration and says which groups are new, changed and gone; changes nothing.",
    ),
    method(
        "supervisor.addProcessGroup",
        NAME,
        1,
        "boolean",
        "Begins to keep a group of the configuration that was read last.",
    ),
    method(
        "supervisor.removeProcessGroup",
        NAME,
        1,
        "boolean",
        "Forgets a group whose processes are stopped.",
    ),
    method(
        "supervisor.startProcess",
        NAME_WAIT,
        1,
        "boolean",
        "Starts a process, or the whole of group:*.",
    ),
    method(
        "supervisor.startProcessGroup",
        NAME_WAIT,
        1,
        "array",
        "Starts the processes of a group; a struct for each.",
    ),
    method(
        "supervisor.startAllProcesses",
        WAIT,
        0,
        "array",
        "Starts all processes; a struct for each.",
    ),
    method(
        "supervisor.stopProcess",
        NAME_WAIT,
        1,
        "boolean",
        "Stops a process, or the whole of group:*.",
    ),
    method(
        "supervisor.stopProcessGroup",
        NAME_WAIT,
        1,
        "array",
        "Stops the processes of a group; a struct for each.",
    ),
    method(
        "supervisor.stopAllProcesses",
        WAIT,
        0,
        "array",
        "Stops all processes; a struct for each.",
    ),
    method(
        "supervisor.signalProcess",
        NAME_SIGNAL,
        2,
        "boolean",
        "Sends a signal, by name or number, to a process or to group:*.",
    ),
    method(
        "supervisor.signalProcessGroup",
        NAME_SIGNAL,
        2,
        "array",
        "Sends a signal to the processes of a group; a struct for each.",
    ),
    method(
        "supervisor.signalAllProcesses",
        &[("signal", "string")],
        1,
        "array",
        "Sends a signal to all processes; a struct for each.",
    ),
    method(
        "supervisor.getAllConfigInfo",
        NONE,
        0,
        "array",
        "Every process of the configuration that was read last.",
    ),
    method(
        "supervisor.getProcessInfo",
        NAME,
        1,
        "struct",
        "What is known of a process.",
    ),
    method(
        "supervisor.getAllProcessInfo",
        NONE,
        0,
        "array",
        "What is known of every process.",
    ),
    READ_STDOUT,
    alias("supervisor.readProcessLog", &READ_STDOUT),
    method(
        "supervisor.readProcessStderrLog",
        NAME_PIECE,
        3,
        "string",
        "As readProcessStdoutLog, of standard error.",
    ),
    TAIL_STDOUT,
    alias("supervisor.tailProcessLog", &TAIL_STDOUT),
    method(
        "supervisor.tailProcessStderrLog",
        NAME_PIECE,
        3,
        "array",
        "As tailProcessStdoutLog, of standard error.",
    ),
    CLEAR_LOGS,
    alias("supervisor.clearProcessLog", &CLEAR_LOGS),
    method(
        "supervisor.clearAllProcessLogs",
        NONE,
        0,
        "array",
        "Empties the logs of all processes; a struct for each.",
    ),
    method(
        "supervisor.sendProcessStdin",
        &[("name", "string"), ("chars", "string")],
        2,
        "boolean",
        "Writes to a process's standard input.",
    ),
    method(
        "supervisor.sendRemoteCommEvent",
        &[("type", "string"), ("data", "string")],
        2,
        "boolean",
        "Sends a REMOTE_COMMUNICATION event to listeners.",
    ),
    method(
        "system.listMethods",
        NONE,
        0,
        "array",
        "The names of all methods.",
    ),
    method(
        "system.methodHelp",
        NAME,
        1,
        "string",
        "What a method is for.",
    ),
    method(
        "system.methodSignature",
        NAME,
        1,
        "array",
        "The type of a method's result, then those of its parameters.",
    ),
    method(
        "system.multicall",
        &[("calls", "array")],
        1,
        "array",
        "Several calls, one after the other: structs of methodName and params.",
    ),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_method_once() {
        let mut names: Vec<&str> = METHODS.iter().map(|method| method.name).collect();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), 41);
        assert!(
            METHODS
                .iter()
                .all(|method| method.required <= method.params.len())
        );
    }
}
