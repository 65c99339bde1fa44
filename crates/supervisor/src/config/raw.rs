//! What was typed, key by key: the raw types that both readers fill. The comments on the keys are the text of the
//! generated reference.
//! Not here: what the keys become (`daemon`, `groups`, `program`, `endpoints`).

use super::values::{TextOrBlock, TextOrList, Word};
use schemars::JsonSchema;
use serde::Deserialize;
use std::collections::BTreeMap;
use trine_config::{ByteSize, Duration};

#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub(super) struct RawConfig {
    /// The Unix socket of the control API, mode 0600.
    pub(super) control: Option<String>,
    /// A file that holds the supervisor's process id while it runs.
    pub(super) pidfile: Option<String>,
    /// The supervisor's own log.
    pub(super) log: RawLog,
    /// The name in events and in the RPC interface (default supervisor).
    pub(super) identifier: Option<String>,
    /// Stay in the foreground (default true).
    pub(super) nodaemon: Option<bool>,
    /// In the foreground, print nothing but the log's own target (default false).
    pub(super) silent: Option<bool>,
    /// Octal, in quotes: "022".
    pub(super) umask: Option<Word>,
    /// Where to change to; wherever it was started if not given.
    pub(super) directory: Option<String>,
    /// Become this user once the sockets are bound. Only root can.
    pub(super) user: Option<Word>,
    /// Least number of descriptors to run with; refuses to start with fewer (default: whatever there is).
    pub(super) minfds: Option<u64>,
    /// Least number of processes to run with (default: whatever there is).
    pub(super) minprocs: Option<u64>,
    /// Variables for the supervisor and all programs.
    pub(super) environment: BTreeMap<String, Word>,
    /// Folder of logs that are called AUTO; the one for temporary files if not given.
    pub(super) childlogdir: Option<String>,
    /// Keep AUTO logs of earlier runs (default false).
    pub(super) nocleanup: Option<bool>,
    /// Leave escape sequences of terminals out of the logs of programs (default false).
    pub(super) strip_ansi: Option<bool>,
    /// What SIGHUP does: reload (default), which changes only what changed, or restart, supervisord's way.
    pub(super) hangup: Option<Word>,
    /// Whose ways count where the two differ: own (default) or supervisord. With supervisord's, the log calls processes
    /// by their bare names, and a pid file that is there already is overwritten.
    pub(super) habits: Option<Word>,
    /// HTTP servers with XML-RPC for supervisorctl and its like, and the web page; by name.
    pub(super) servers: BTreeMap<String, RawServer>,
    /// Namespaces of the RPC interface (default [supervisor]).
    pub(super) rpcinterfaces: Option<Vec<String>>,
    /// What supervisorctl uses when it is given this file.
    pub(super) supervisorctl: RawClient,
    /// Programs that belong together, by name.
    pub(super) groups: BTreeMap<String, RawGroup>,
    /// What to keep running, by name.
    pub(super) programs: BTreeMap<String, RawProgram>,
}

#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub(super) struct RawLog {
    /// `text` (default), `json`, or `supervisord` for its lines.
    pub(super) format: Option<String>,
    /// `critical`, `error`, `warn`, `info` (default), `debug`, `trace` or `blather`.
    pub(super) level: Option<String>,
    /// A file, or `syslog`; standard error if not given.
    pub(super) file: Option<String>,
    /// When to begin a new file (default 50MB; 0 for never).
    pub(super) maxbytes: Option<ByteSize>,
    /// How many old ones to keep (default 10).
    pub(super) backups: Option<u32>,
}

#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub(super) struct RawServer {
    /// `127.0.0.1:9001` or `unix:run/supervisor.sock`.
    pub(super) listen: Option<Word>,
    /// Permission bits of a Unix socket, octal, in quotes (default "0700").
    pub(super) mode: Option<Word>,
    /// Who gets a Unix socket: USER or USER:GROUP.
    pub(super) owner: Option<Word>,
    /// Clients have to give this name.
    pub(super) username: Option<Word>,
    /// Clients have to give this password; written plainly, or as {SHA} and its SHA-1 in hex.
    pub(super) password: Option<Word>,
    /// Whether supervisord's addresses that act, such as `/?action=stop&processname=web`, do so (default false). Every
    /// page that a browser shows can then stop programs.
    pub(super) get_actions: Option<bool>,
}

#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub(super) struct RawClient {
    /// Where to connect to (default http://localhost:9001).
    pub(super) serverurl: Option<String>,
    /// The name it gives, where one is asked for.
    pub(super) username: Option<Word>,
    /// The password it gives, where one is asked for.
    pub(super) password: Option<Word>,
    /// What the shell says before each line (default supervisor).
    pub(super) prompt: Option<String>,
    /// Where the shell remembers earlier lines.
    pub(super) history_file: Option<String>,
}

#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub(super) struct RawGroup {
    /// Names of programs.
    pub(super) programs: Vec<String>,
    /// Lower ones start earlier and stop later (default 999).
    pub(super) priority: Option<i32>,
}

#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub(super) struct RawSocket {
    /// `127.0.0.1:8000`, `unix:run/app.sock`, or `fd:NAME` for one that was handed to the supervisor.
    pub(super) listen: Option<Word>,
    /// Permission bits of a Unix socket, octal, in quotes (default "0660").
    pub(super) mode: Option<Word>,
    /// Who gets a Unix socket: USER or USER:GROUP. Only root can give it away.
    pub(super) owner: Option<Word>,
    /// Connections that may wait (default 2048).
    pub(super) backlog: Option<u32>,
}

#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub(super) struct RawReady {
    /// `http://HOST:PORT/PATH` or `unix:SOCKET:/PATH`: ready once a GET is answered with 2xx or 3xx.
    pub(super) http: Option<String>,
    /// `HOST:PORT`: ready once a connection is accepted.
    pub(super) tcp: Option<Word>,
    /// A command: ready once it ends with 0. It runs like the program: its user, folder and environment.
    pub(super) exec: Option<Word>,
    /// Text: ready once it is among what the program has written to its standard output.
    pub(super) log: Option<Word>,
    /// The number of a descriptor: ready once the program has written a newline to it (s6's way).
    pub(super) fd: Option<i32>,
}

#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub(super) struct RawProgram {
    /// What to run: a list, or one text that is split like a shell's words. No shell is involved.
    pub(super) command: Option<TextOrList<Word>>,
    /// What its processes are called: NAME if not given, or NAME_00 and so on; with several it holds `{process_num}`.
    pub(super) process_name: Option<String>,
    /// Where to run it; the configuration file's folder if not given. `inherit`: wherever the supervisor is.
    pub(super) directory: Option<String>,
    /// Variables on top of the supervisor's own.
    pub(super) environment: BTreeMap<String, Word>,
    /// How many processes; with more than one they are called NAME_00, NAME_01 and so on. In `command`, `environment`,
    /// `directory` and log files `{process}` stands for a process's name and `{process_num}` for its number
    /// (`{process_num:02}`: with two digits).
    pub(super) numprocs: Option<u32>,
    /// The number of the first of them (default 0).
    pub(super) numprocs_start: Option<u32>,
    /// Whether to start it with the supervisor (default true).
    pub(super) autostart: Option<bool>,
    /// Whether to start it again when it ends: true, false, or unexpected (default), which means after an exit code that
    /// is not among `exitcodes`, or a signal.
    pub(super) autorestart: Option<Word>,
    /// Exit codes that are expected (default 0).
    pub(super) exitcodes: Option<TextOrList<i32>>,
    /// How long it has to live to count as started (default 1s).
    pub(super) startsecs: Option<Duration>,
    /// Wait so long before it is started again, also after it had run (default 1s if any of the `restart_` keys is
    /// given; without them supervisord's waits: 1s more after each failed start, and none after it had run).
    pub(super) restart_delay: Option<Duration>,
    /// How many times the wait before the next one is (default 2).
    pub(super) restart_factor: Option<f64>,
    /// The longest wait (default 60s).
    pub(super) restart_delay_max: Option<Duration>,
    /// Wait for any time up to that instead, so that what failed together does not come back together (default true).
    pub(super) restart_jitter: Option<bool>,
    /// Begin with the first wait again once it has run for so long (default 60s).
    pub(super) restart_reset: Option<Duration>,
    /// How often to try again when it does not (default 3).
    pub(super) startretries: Option<u32>,
    /// The signal that asks it to stop (default TERM).
    pub(super) stopsignal: Option<Word>,
    /// How long it then has before it is killed (default 10s).
    pub(super) stopwaitsecs: Option<Duration>,
    /// Whether `stopsignal` goes to its whole process group (default false).
    pub(super) stopasgroup: Option<bool>,
    /// Whether SIGKILL goes to its whole process group (default true).
    pub(super) killasgroup: Option<bool>,
    /// Lower ones start earlier and stop later (default 999).
    pub(super) priority: Option<i32>,
    /// A file; `-` for the supervisor's own standard output; NONE for nowhere; AUTO for a file of a new name in
    /// `childlogdir`. `{process}` stands for the process's name. Default logs/{process}.log.
    pub(super) stdout_logfile: Option<String>,
    /// When to begin a new file (default 50MB; 0 for never).
    pub(super) stdout_logfile_maxbytes: Option<ByteSize>,
    /// How many old ones to keep (default 10).
    pub(super) stdout_logfile_backups: Option<u32>,
    /// Send each line to syslog too (default false).
    pub(super) stdout_syslog: Option<bool>,
    /// How much text between `<!--XSUPERVISOR:BEGIN-->` and `<!--XSUPERVISOR:END-->` becomes a
    /// PROCESS_COMMUNICATION event; such text is kept out of the log. 0 (default): none.
    pub(super) stdout_capture_maxbytes: Option<ByteSize>,
    /// Make PROCESS_LOG events of what it writes (default false).
    pub(super) stdout_events_enabled: Option<bool>,
    /// Like `stdout_logfile`. Default logs/{process}.err.log.
    pub(super) stderr_logfile: Option<String>,
    /// Like `stdout_logfile_maxbytes`.
    pub(super) stderr_logfile_maxbytes: Option<ByteSize>,
    /// Like `stdout_logfile_backups`.
    pub(super) stderr_logfile_backups: Option<u32>,
    /// Like `stdout_syslog`.
    pub(super) stderr_syslog: Option<bool>,
    /// Like `stdout_capture_maxbytes`.
    pub(super) stderr_capture_maxbytes: Option<ByteSize>,
    /// Like `stdout_events_enabled`.
    pub(super) stderr_events_enabled: Option<bool>,
    /// Send standard error where standard output goes (default false).
    pub(super) redirect_stderr: Option<bool>,
    /// Run as USER or USER:GROUP, by name or number. Only root can.
    pub(super) user: Option<Word>,
    /// Octal, in quotes: "022".
    pub(super) umask: Option<Word>,
    /// Listening sockets, held by the supervisor and handed down by LISTEN_FDS.
    pub(super) sockets: BTreeMap<String, TextOrBlock<RawSocket>>,
    /// A listening socket as standard input, as FastCGI programs expect it.
    pub(super) stdin_socket: Option<TextOrBlock<RawSocket>>,
    /// Makes it an event listener: the events it wants, such as [PROCESS_STATE, TICK_60].
    pub(super) events: Option<TextOrList<Word>>,
    /// How many events wait for an event listener (default 10).
    pub(super) buffer_size: Option<u32>,
    /// What SUPERVISOR_SERVER_URL says; the first of `servers` if not given, preferably a Unix socket.
    pub(super) serverurl: Option<String>,
    /// How it is known to be ready: startsecs (default), notify, {http: URL}, {tcp: HOST:PORT}, {exec: COMMAND},
    /// {log: TEXT} or {fd: NUMBER}. In one text: `http:URL`, `exec:COMMAND` and so on.
    pub(super) ready: Option<TextOrBlock<RawReady>>,
    /// How long it may take to get ready (default 60s).
    pub(super) ready_timeout: Option<Duration>,
    /// What has to be there before it is started: names with a condition: started, ready (default), healthy or
    /// completed. In one text: `db, migrate:completed`. What it depends on is started with it, and stopped after it.
    pub(super) depends_on: Option<TextOrBlock<BTreeMap<String, Word>>>,
    /// Asked again and again while it runs: {http: URL}, {tcp: HOST:PORT} or {exec: COMMAND}, or one text as in `ready`.
    pub(super) liveness: Option<TextOrBlock<RawReady>>,
    /// Between two checks (default 10s).
    pub(super) liveness_interval: Option<Duration>,
    /// How long one may take (default 5s).
    pub(super) liveness_timeout: Option<Duration>,
    /// So many failures in a row, and it is restarted (default 3).
    pub(super) liveness_failures: Option<u32>,
    /// It has to say WATCHDOG=1 on NOTIFY_SOCKET this often, or it is ended with SIGABRT. 0 (default): never.
    pub(super) watchdog: Option<Duration>,
    /// Files of NAME=value lines, read at each start, under what `environment` says. `-` in front: may be missing.
    pub(super) environment_file: Option<TextOrList<Word>>,
    /// Resource limits, such as {nofile: 4096, core: unlimited, nproc: '100:200'}; one text: `nofile=4096, core=0`.
    pub(super) rlimits: Option<TextOrBlock<BTreeMap<String, Word>>>,
    /// Niceness, -20 to 19.
    pub(super) nice: Option<i32>,
    /// How readily the kernel kills it when memory runs out, -1000 to 1000.
    pub(super) oom_score_adj: Option<i32>,
    /// Memory above which it is slowed down (control groups).
    pub(super) memory_high: Option<ByteSize>,
    /// Memory above which the kernel kills it (control groups).
    pub(super) memory_max: Option<ByteSize>,
    /// Share of processors: 50% is half of one, 200% are two (control groups).
    pub(super) cpu_max: Option<Word>,
    /// Share among competitors, 1 to 10000; 100 is usual (control groups).
    pub(super) cpu_weight: Option<u32>,
    /// Most processes and threads it may have (control groups).
    pub(super) pids_max: Option<u64>,
    /// Never gain privileges by executing something, such as sudo (default false).
    pub(super) no_new_privileges: Option<bool>,
    /// The capabilities that stay possible, such as [net_bind_service]; `none` for none. Only root has any to lose.
    pub(super) capabilities: Option<TextOrList<Word>>,
    /// When it has ended, end whatever it has started and left behind (default true; false in supervisord.conf).
    pub(super) kill_descendants: Option<bool>,
    /// When to run it, as in crontab(5): minute hour day month weekday, or @daily and the like. It is not started
    /// otherwise, unless `autostart` says so.
    pub(super) schedule: Option<Word>,
    /// The time zone of `schedule` (default: the system's).
    pub(super) timezone: Option<Word>,
    /// When it is time and the last run has not ended: skip (default), queue, or restart.
    pub(super) overlap: Option<Word>,
    /// End the whole supervisor, with this program's exit code: never (default), on its failure, or at its end.
    pub(super) shutdown_on: Option<Word>,
    /// How its lines are written: raw (default), prefixed with time and process, or json.
    pub(super) logfile_format: Option<Word>,
    /// Begin a new log file at least this often, such as 24h (default 0: only by size).
    pub(super) logfile_interval: Option<Duration>,
    /// Compress old log files with gzip (default false).
    pub(super) logfile_compress: Option<bool>,
}
