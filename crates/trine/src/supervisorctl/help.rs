//! What each command is for, in our words. Not here: what commands print.

use super::session::Session;

/// Name, how it is used, what it does. In the order of the alphabet, as `help` lists them.
const COMMANDS: [(&str, &[(&str, &str)]); 21] = [
    (
        "add",
        &[(
            "add <group>...",
            "begin to keep groups that the configuration has and the daemon has not",
        )],
    ),
    (
        "avail",
        &[("avail", "list every process of the configuration")],
    ),
    (
        "clear",
        &[
            ("clear <name>...", "empty the log files of processes"),
            ("clear all", "of all processes"),
        ],
    ),
    ("exit", &[("exit", "leave the shell")]),
    (
        "fg",
        &[(
            "fg <name>",
            "show a process's output and send it what is typed; Ctrl-C leaves it",
        )],
    ),
    (
        "help",
        &[
            ("help", "list the commands"),
            ("help <command>", "say how one is used"),
        ],
    ),
    (
        "maintail",
        &[
            (
                "maintail",
                "show the last 1600 bytes of the daemon's own log",
            ),
            ("maintail -<bytes>", "that many"),
            ("maintail -f", "go on with what is added, until Ctrl-C"),
        ],
    ),
    (
        "open",
        &[(
            "open <url>",
            "talk to another daemon: http://HOST:PORT or unix:///SOCKET",
        )],
    ),
    (
        "pid",
        &[
            ("pid", "the daemon's process id"),
            ("pid <name>...", "those of processes"),
            ("pid all", "of all processes"),
        ],
    ),
    ("quit", &[("quit", "leave the shell")]),
    (
        "reload",
        &[("reload", "start the daemon afresh, with all its processes")],
    ),
    (
        "remove",
        &[(
            "remove <group>...",
            "forget groups whose processes are stopped",
        )],
    ),
    (
        "reread",
        &[(
            "reread",
            "read the configuration again and say what update would do",
        )],
    ),
    (
        "restart",
        &[
            (
                "restart <name>...",
                "stop processes, then start them; settings stay as they are (see update)",
            ),
            ("restart <group>:*", "all processes of a group"),
            ("restart all", "all processes"),
        ],
    ),
    (
        "shutdown",
        &[("shutdown", "end the daemon and its processes")],
    ),
    (
        "signal",
        &[
            ("signal <signal> <name>...", "send a signal to processes"),
            ("signal <signal> <group>:*", "to all processes of a group"),
            ("signal <signal> all", "to all processes"),
        ],
    ),
    (
        "start",
        &[
            ("start <name>...", "start processes"),
            ("start <group>:*", "all processes of a group"),
            ("start all", "all processes"),
        ],
    ),
    (
        "status",
        &[
            ("status", "show all processes"),
            ("status <name>...", "these processes"),
            ("status <group>:*", "all processes of a group"),
        ],
    ),
    (
        "stop",
        &[
            ("stop <name>...", "stop processes"),
            ("stop <group>:*", "all processes of a group"),
            ("stop all", "all processes"),
        ],
    ),
    (
        "tail",
        &[
            (
                "tail <name> [stdout|stderr]",
                "show the last 1600 bytes of a process's log",
            ),
            ("tail -<bytes> <name>", "that many"),
            ("tail -f <name>", "go on with what is added, until Ctrl-C"),
        ],
    ),
    (
        "update",
        &[
            (
                "update",
                "read the configuration again, add, restart and remove what has changed",
            ),
            ("update <group>...", "these groups only"),
        ],
    ),
];

const VERSION: (&str, &[(&str, &str)]) = ("version", &[("version", "the version of the daemon")]);

fn all() -> impl Iterator<Item = (&'static str, &'static [(&'static str, &'static str)])> {
    COMMANDS.into_iter().chain([VERSION])
}

/// For completion.
pub(super) fn names() -> impl Iterator<Item = &'static str> {
    all().map(|(name, _)| name)
}

/// How one command is used.
pub(super) fn of(session: &Session, command: &str) {
    let lines = all()
        .find(|(name, _)| *name == command)
        .map_or(&[][..], |(_, lines)| lines);
    for (usage, what) in lines {
        session.say(format!("{usage:<28} {what}"));
    }
}

/// `help [command]`
pub(super) fn command(session: &Session, topic: &str) {
    if !topic.is_empty() {
        if names().any(|name| name == topic) {
            of(session, topic);
        } else {
            session.say(format!("*** No help on {topic}"));
        }
        return;
    }
    session.say("\ndefault commands (type help <topic>):");
    session.say("=====================================");
    let names: Vec<&str> = names().filter(|name| *name != "help").collect();
    // Down the columns, as many as fit into 80.
    let rows = names.len().div_ceil(8);
    for row in 0..rows {
        let line: Vec<String> = names
            .iter()
            .skip(row)
            .step_by(rows)
            .map(|name| format!("{name:<9}"))
            .collect();
        session.say(line.join(" ").trim_end());
    }
    session.say("");
}

/// `-h`
pub(super) fn usage(program: &str) {
    println!(
        "Controls the programs of trine-supervisor or supervisord.

Usage: {program} [options] [action [arguments]]

  -c, --configuration FILE   supervisord.conf; left out, it is searched for where supervisord does
  -s, --serverurl URL        where the daemon listens: http://HOST:PORT or unix:///SOCKET
  -u, --username NAME        for a server that asks
  -p, --password TEXT        for a server that asks
  -r, --history-file FILE    where the shell keeps its history
  -i, --interactive          ask before the daemon is ended
  -h, --help                 this text

Without an action a shell begins. Actions:"
    );
    for (_, lines) in all() {
        for (usage, what) in lines {
            println!("  {usage:<28} {what}");
        }
    }
}
