//! From settings to a spawn order: looking up the command and the user, the environment a program is promised.
//! Not here: giving the order, or log pipes.

use super::check::Manner;
use super::env_file;
use crate::config::{self, Config, Destination, Habits, Level, Process, Ready};
use crate::holder::wire::{Channel, Confinement, Identity, Input, Output, SpawnOrder};
use crate::program::state::Scope;
use std::collections::BTreeMap;
use std::ffi::{CString, OsStr, OsString};
use std::os::unix::ffi::OsStringExt as _;
use std::path::{Path, PathBuf};
use trine_sys::privileges;
use trine_sys::spawn::find_program;

/// What a program is told about us.
#[derive(Clone, Debug)]
pub struct House {
    /// What a command with a slash counts from: the folder of the configuration file, or, with supervisord's habits,
    /// where the supervisor is.
    pub folder: PathBuf,
    /// Where programs run that do not say it themselves.
    pub directory: Option<PathBuf>,
    /// What SUPERVISOR_SERVER_URL says unless a program has its own.
    pub server_url: Option<String>,
    /// For all programs.
    pub environment: BTreeMap<String, String>,
    pub notify_socket: String,
    /// At level debug the supervisor's own log has what programs say, as supervisord's.
    pub hears_all: bool,
}

impl House {
    #[must_use]
    pub fn new(config: &Config, notify_socket: String) -> Self {
        let control = config.control.as_ref();
        Self {
            folder: match config.habits {
                Habits::Own => config.file.parent().map(Path::to_owned),
                Habits::Supervisord => config.daemon.directory.clone(),
            }
            .or_else(|| std::env::current_dir().ok())
            .unwrap_or_default(),
            directory: config.daemon.directory.clone(),
            server_url: config
                .server_url()
                .or_else(|| control.map(|path| format!("unix://{}", path.display()))),
            environment: config.daemon.environment.clone(),
            notify_socket,
            hears_all: config.log.level >= Level::Debug,
        }
    }
}

/// Makes the order; `Err` is the reason why this cannot be started, for people.
pub fn order(
    id: &str,
    generation: u64,
    settings: &Process,
    house: &House,
) -> Result<SpawnOrder, String> {
    let name = settings.command.first().ok_or("the command is empty")?;
    let program =
        find(name, settings, house).ok_or_else(|| format!("can't find command '{name}'"))?;
    let program = program
        .to_str()
        .ok_or_else(|| format!("{} is not UTF-8", program.display()))?
        .to_owned();
    let output = |wanted: &config::Output, channel| {
        let nobody_reads = wanted.to == Destination::Nowhere && !wanted.is_heard();
        if nobody_reads && !house.hears_all {
            Output::Null
        } else {
            Output::Pipe(channel)
        }
    };
    let stdout = output(&settings.stdout, Channel::Stdout);
    Ok(SpawnOrder {
        id: id.to_owned(),
        generation,
        program,
        argv: settings.command.clone(),
        set_env: environment(settings, house)?,
        unset_env: Vec::new(),
        directory: settings
            .directory
            .as_deref()
            .or(house.directory.as_deref())
            .and_then(Path::to_str)
            .map(str::to_owned),
        user: settings
            .user
            .as_deref()
            .map(switch_to)
            .transpose()?
            .flatten(),
        umask: settings.umask,
        end_group: settings.policy.kill_scope == Scope::Group,
        sockets: settings
            .sockets
            .iter()
            .map(|socket| (socket.name.clone(), socket.key(&settings.group)))
            .collect(),
        stdin: settings
            .stdin_socket
            .as_ref()
            .map_or(Input::Pipe, |socket| {
                Input::Socket(socket.key(&settings.group))
            }),
        ready_fd: match settings.ready {
            Ready::Descriptor { number } => Some(number),
            _ => None,
        },
        confinement: Confinement::default(),
        stdout,
        stderr: if settings.redirect_stderr {
            stdout
        } else {
            output(&settings.stderr, Channel::Stderr)
        },
    })
}

/// Why a command cannot be run, in supervisord's words.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NotRunnable {
    /// There is no such file.
    Missing(String),
    /// There is one that cannot be executed.
    Refused(String),
}

/// Whether there is something to execute, as far as can be seen before trying.
pub fn check_command(settings: &Process, house: &House) -> Result<(), NotRunnable> {
    let name = settings.command.first().map_or("", String::as_str);
    let missing = || NotRunnable::Missing(format!("can't find command '{name}'"));
    let path = find(name, settings, house).ok_or_else(missing)?;
    let found = std::fs::metadata(&path).map_err(|_| missing())?;
    if found.is_dir() {
        return Err(NotRunnable::Refused(format!(
            "command at '{name}' is a directory"
        )));
    }
    if nix::unistd::access(&path, nix::unistd::AccessFlags::X_OK).is_err() {
        return Err(NotRunnable::Refused(format!(
            "command at '{name}' is not executable"
        )));
    }
    Ok(())
}

/// As a shell finds it; a path with a slash is relative to the configuration file. Last of all beside ourselves, where
/// the other daemons of the house lie.
fn find(name: &str, settings: &Process, house: &House) -> Option<PathBuf> {
    if name.contains('/') {
        return Some(house.folder.join(name));
    }
    let path = settings
        .environment
        .get("PATH")
        .map(OsString::from)
        .or_else(|| std::env::var_os("PATH"));
    find_program(OsStr::new(name), &path.unwrap_or_default()).or_else(|| {
        let beside = std::env::current_exe().ok()?;
        find_program(
            OsStr::new(name),
            beside.parent().unwrap_or(Path::new("/")).as_os_str(),
        )
    })
}

/// How to run another command in its place: with its environment, folder and user.
pub(super) fn manner(settings: &Process, house: &House) -> Result<Manner, String> {
    let mut env: BTreeMap<OsString, OsString> = std::env::vars_os().collect();
    for (name, value) in environment(settings, house)? {
        env.insert(name.into(), value.into());
    }
    let text = |bytes: Vec<u8>| CString::new(bytes).map_err(|err| err.to_string());
    let env = env
        .into_iter()
        .map(|(name, value)| text([name.into_vec(), b"=".to_vec(), value.into_vec()].concat()));
    let user = settings.user.as_deref().map(switch_to).transpose()?;
    let directory = settings
        .directory
        .clone()
        .or_else(|| house.directory.clone());
    Ok(Manner {
        env: env.collect::<Result<_, _>>()?,
        cwd: directory
            .map(|path| text(path.into_os_string().into_vec()))
            .transpose()?,
        user: user.flatten().map(|who| (who.uid, who.gid, who.groups)),
    })
}

fn environment(settings: &Process, house: &House) -> Result<BTreeMap<String, String>, String> {
    let mut env = BTreeMap::new();
    let mut set = |name: &str, value: String| env.insert(name.to_owned(), value);
    set("SUPERVISOR_ENABLED", "1".to_owned());
    set("SUPERVISOR_PROCESS_NAME", settings.name.clone());
    set("SUPERVISOR_GROUP_NAME", settings.group.clone());
    if let Some(url) = settings.server_url.as_ref().or(house.server_url.as_ref()) {
        set("SUPERVISOR_SERVER_URL", url.clone());
    }
    if settings.ready == Ready::Notify || settings.extras.watchdog.is_some() {
        set("NOTIFY_SOCKET", house.notify_socket.clone());
    }
    if let Some(interval) = settings.extras.watchdog {
        set("WATCHDOG_USEC", interval.as_micros().to_string());
    }
    if !settings.sockets.is_empty() {
        let names: Vec<&str> = settings
            .sockets
            .iter()
            .map(|socket| socket.name.as_str())
            .collect();
        set("LISTEN_FDS", names.len().to_string());
        set("LISTEN_FDNAMES", names.join(":"));
    }
    env.extend(house.environment.clone());
    env.extend(env_file::read(&settings.extras.environment_files)?);
    env.extend(settings.environment.clone());
    Ok(env)
}

/// Whom to become; nobody new if that is who we are, as then nobody has to be root for it.
fn switch_to(user: &str) -> Result<Option<Identity>, String> {
    let identity = identity(user)?;
    let ours = (privileges::effective_uid(), privileges::effective_gid());
    match ours {
        ours if ours == (identity.uid, identity.gid) => Ok(None),
        (0, _) => Ok(Some(identity)),
        _ => Err(format!(
            "only root can run it as '{user}'; start the supervisor as root, or leave user out"
        )),
    }
}

/// `user` or `user:group`, by name or number.
pub fn identity(text: &str) -> Result<Identity, String> {
    let (user, group) = text
        .split_once(':')
        .map_or((text, None), |(user, group)| (user, Some(group)));
    let looked_up = |what: &str, err: std::io::Error| format!("can't look up {what}: {err}");
    let found = privileges::find_user(user).map_err(|err| looked_up(user, err))?;
    let found = found.ok_or_else(|| format!("there is no user '{user}'"))?;
    let gid = match group {
        None => found.gid,
        Some(group) => privileges::find_group(group)
            .map_err(|err| looked_up(group, err))?
            .ok_or_else(|| format!("there is no group '{group}'"))?,
    };
    let groups = privileges::groups_of(&found, gid).map_err(|err| looked_up(user, err))?;
    Ok(Identity {
        uid: found.uid,
        gid,
        groups,
    })
}
