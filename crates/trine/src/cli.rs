//! The command line: what can be typed. Not here: what it means (see each command's module).

use std::path::PathBuf;
use std::str::FromStr;

use clap::{Args, Parser, Subcommand};
use trine_config::ListenAddr;
use trine_service::exit::Exit;

use crate::run_dir::RunDir;

/// Serves Python web applications: starts the proxy, the WSGI server and their supervisor,
/// and tells how they are.
#[derive(Debug, Parser)]
#[command(name = "trine", version, propagate_version = true, max_term_width = 100, after_help = EXIT_CODES)]
pub(crate) struct Cli {
    /// Where configurations, sockets and logs of one deployment lie
    #[arg(long, global = true, value_name = "DIR", default_value = ".trine")]
    run_dir: PathBuf,

    #[command(subcommand)]
    pub(crate) command: Command,
}

const EXIT_CODES: &str = "\
Exit codes: 0 done · 1 a program could not do what was asked · 3 status: not all programs run · \
4 nothing runs in the run directory · 64 usage · 70 a bug in Trine · 75 try again, for example \
when the address is in use · 78 the application or a setting needs an edit";

impl Cli {
    /// What was typed. Help and version are printed, and usage errors told, before the exit that they mean.
    pub(crate) fn typed() -> Result<Self, Exit> {
        Self::try_parse().map_err(|error| {
            let _ = error.print();
            if error.use_stderr() {
                Exit::Usage
            } else {
                Exit::Ok
            }
        })
    }

    /// The run directory as an absolute path.
    pub(crate) fn run_dir(&self) -> anyhow::Result<RunDir> {
        RunDir::at(&self.run_dir)
    }
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Serve an application through all three daemons
    Up(UpArgs),
    /// Show every program: its state, process and uptime
    Status(StatusArgs),
    /// Show what a program printed
    Logs(LogsArgs),
    /// Start programs that are stopped
    Start(Names),
    /// Stop programs; the others go on
    Stop(Names),
    /// Restart programs; their sockets stay open meanwhile
    Restart(Names),
    /// Take over edited configurations and new application code without dropping a request
    Reload(ReloadArgs),
    /// Control any supervisor, trine's or stock, with supervisorctl's options and commands
    #[command(disable_help_flag = true)]
    Ctl(CtlArgs),
    /// Stop everything that `trine up` started
    Down,
    /// Watch programs live: CPU, memory, restarts, logs; start, stop and restart them by keys
    Top(At),
    /// Change how many processes a program has, while it runs
    Scale(ScaleArgs),
    /// Restart the processes of a program in batches, each once the one before is ready
    RollingRestart(RollingRestartArgs),
    /// Take over the supervisor's edited configuration, or only tell what that would do
    Update(UpdateArgs),
    /// Show what the proxy's caches hold, and have it forgotten
    #[command(subcommand)]
    Cache(CacheCommand),
    /// The proxy's upstream servers: how they stand, and taking one out of work
    #[command(subcommand)]
    Proxy(ProxyCommand),
    /// The supervisor itself
    #[command(subcommand)]
    Supervisor(SupervisorCommand),
}

#[derive(Debug, Subcommand)]
pub(crate) enum ProxyCommand {
    /// Show every upstream server: its health, and whether it is asked
    Upstreams(AtProxy),
    /// Give a server no new requests; those it has it finishes
    Drain(ServerArgs),
    /// Give a server that was drained requests again
    Resume(ServerArgs),
}

/// Which proxy is meant.
#[derive(Debug, Args)]
pub(crate) struct AtProxy {
    /// The proxy's control socket; left out, the one of the run directory
    #[arg(long, value_name = "PATH")]
    pub(crate) control: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub(crate) struct ServerArgs {
    /// The upstream
    #[arg(value_name = "GROUP")]
    pub(crate) group: String,

    /// The server's address, as `trine proxy upstreams` shows it
    #[arg(value_name = "SERVER")]
    pub(crate) server: String,

    #[command(flatten)]
    pub(crate) at: AtProxy,
}

#[derive(Debug, Subcommand)]
pub(crate) enum SupervisorCommand {
    /// Execute a newer program in the supervisor's place; programs, sockets and logs go on
    Upgrade(UpgradeArgs),
}

#[derive(Debug, Subcommand)]
pub(crate) enum CacheCommand {
    /// Show every cache: how many answers it holds, and in how much memory
    Status(CacheStatusArgs),
    /// Show the keys of what is kept
    Keys(CacheKeysArgs),
    /// Forget what is kept: one key, all keys with a beginning, all answers with a tag, or everything
    Purge(CachePurgeArgs),
}

/// Which caches of which proxy are meant.
#[derive(Debug, Args)]
pub(crate) struct CacheAt {
    /// The cache's name in `keys_zone`; left out, all of them
    #[arg(long, value_name = "NAME")]
    pub(crate) zone: Option<String>,

    /// The proxy's control socket; left out, the one of the run directory
    #[arg(long, value_name = "PATH")]
    pub(crate) control: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub(crate) struct CacheStatusArgs {
    /// The proxy's control socket; left out, the one of the run directory
    #[arg(long, value_name = "PATH")]
    pub(crate) control: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub(crate) struct CacheKeysArgs {
    /// Only keys that begin so
    #[arg(value_name = "PREFIX", default_value = "")]
    pub(crate) prefix: String,

    /// How many keys
    #[arg(long, short = 'n', value_name = "N", default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    pub(crate) limit: u32,

    #[command(flatten)]
    pub(crate) at: CacheAt,
}

#[derive(Debug, Args)]
#[group(id = "what", required = true, multiple = false, args = ["key", "prefix", "tag", "all"])]
pub(crate) struct CachePurgeArgs {
    /// The key, as `trine cache keys` shows it
    #[arg(long, value_name = "KEY")]
    pub(crate) key: Option<String>,

    /// All keys that begin so
    #[arg(long, value_name = "PREFIX")]
    pub(crate) prefix: Option<String>,

    /// All answers with this word in Surrogate-Key or Cache-Tag
    #[arg(long, value_name = "TAG")]
    pub(crate) tag: Option<String>,

    /// Everything
    #[arg(long)]
    pub(crate) all: bool,

    #[command(flatten)]
    pub(crate) at: CacheAt,
}

/// Which supervisor is meant.
#[derive(Debug, Args)]
pub(crate) struct At {
    /// The supervisor's control socket; left out, the one of the run directory
    #[arg(long, value_name = "PATH")]
    pub(crate) control: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub(crate) struct ScaleArgs {
    /// The program
    #[arg(value_name = "NAME")]
    pub(crate) name: String,

    /// How many processes it is to have
    #[arg(value_name = "N", value_parser = clap::value_parser!(u32).range(1..=1000))]
    pub(crate) count: u32,

    #[command(flatten)]
    pub(crate) at: At,
}

#[derive(Debug, Args)]
pub(crate) struct RollingRestartArgs {
    /// The program or group
    #[arg(value_name = "NAME")]
    pub(crate) name: String,

    /// How many processes at a time
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) batch: u32,

    #[command(flatten)]
    pub(crate) at: At,
}

#[derive(Debug, Args)]
pub(crate) struct UpdateArgs {
    /// Only tell what would be done
    #[arg(long)]
    pub(crate) dry_run: bool,

    #[command(flatten)]
    pub(crate) at: At,
}

#[derive(Debug, Args)]
pub(crate) struct UpgradeArgs {
    /// The program; left out, what lies where the present one was started from
    #[arg(value_name = "PATH")]
    pub(crate) program: Option<PathBuf>,

    #[command(flatten)]
    pub(crate) at: At,
}

#[derive(Debug, Args)]
pub(crate) struct UpArgs {
    /// The application; left out, it is looked for in app.py, wsgi.py or main.py
    #[arg(value_name = "MODULE:APP")]
    pub(crate) app: Option<String>,

    /// Where visitors reach the site: HOST:PORT, PORT, or unix:PATH
    #[arg(long, short, value_name = "ADDRESS", default_value = "127.0.0.1:8000")]
    pub(crate) listen: ListenAddr,

    /// Files that the proxy serves itself, as /static=./static; may be given several times
    #[arg(long = "static", value_name = "URL=DIR")]
    pub(crate) statics: Vec<StaticArg>,

    /// Worker processes of the application
    #[arg(long, short, value_name = "N", default_value_t = 2, value_parser = clap::value_parser!(u32).range(1..=1024))]
    pub(crate) workers: u32,

    /// Threads in each worker
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=1024))]
    pub(crate) threads: u32,

    /// The virtual environment, or a Python executable; left out: the active one, .venv or venv
    #[arg(long, value_name = "VENV")]
    pub(crate) python: Option<PathBuf>,

    /// Return once the site is up; `trine down` stops it
    #[arg(long, short)]
    pub(crate) detach: bool,

    /// Print the three configurations and do nothing
    #[arg(long, conflicts_with = "detach")]
    pub(crate) print_config: bool,
}

#[derive(Debug, Args)]
pub(crate) struct StatusArgs {
    /// Print the supervisor's answer as JSON
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, Args)]
pub(crate) struct LogsArgs {
    /// wsgi, proxy, supervisor, access (the proxy's access log), or any program or group of the supervisor; several are
    /// merged
    #[arg(required = true, value_name = "NAME")]
    pub(crate) names: Vec<String>,

    /// Go on with what comes, until Ctrl-C
    #[arg(long, short)]
    pub(crate) follow: bool,

    /// How many of the last lines of each to begin with (100, or all with --since)
    #[arg(long, short = 'n', value_name = "N")]
    pub(crate) lines: Option<usize>,

    /// Begin with lines from then on: so long ago (10m), today's time (14:30), or a date and time
    #[arg(long, value_name = "WHEN")]
    pub(crate) since: Option<String>,

    #[command(flatten)]
    pub(crate) at: At,
}

#[derive(Debug, Args)]
pub(crate) struct Names {
    /// Programs as `trine status` names them
    #[arg(required = true, value_name = "NAME")]
    pub(crate) names: Vec<String>,
}

#[derive(Debug, Args)]
pub(crate) struct CtlArgs {
    /// What supervisorctl takes: [-c FILE] [-s URL] [-u NAME] [-p PASSWORD] [-i] [ACTION...]; -h explains
    #[arg(
        trailing_var_arg = true,
        allow_hyphen_values = true,
        value_name = "ARGS"
    )]
    pub(crate) args: Vec<std::ffi::OsString>,
}

#[derive(Debug, Args)]
pub(crate) struct ReloadArgs {
    /// proxy, wsgi or supervisor; left out, all three
    #[arg(value_name = "NAME")]
    pub(crate) names: Vec<String>,

    /// Only check the configurations
    #[arg(long)]
    pub(crate) dry_run: bool,
}

/// `/static=./static`: a URL path and the folder whose files are served below it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct StaticArg {
    /// Begins and ends with a slash.
    pub(crate) url: String,
    pub(crate) folder: PathBuf,
}

impl FromStr for StaticArg {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (url, folder) = text
            .split_once('=')
            .ok_or("write it as URL=DIR, for example /static=./static")?;
        if folder.is_empty() {
            return Err(format!(
                "there is no folder after the `=`; for example {url}=./static"
            ));
        }
        let inner = url.trim_matches('/');
        if !url.starts_with('/') {
            return Err(format!("a URL path begins with a slash: /{url}={folder}"));
        }
        if inner.is_empty() {
            return Err(
                "`/` belongs to the application; choose a path below it, as /static".to_owned(),
            );
        }
        if url.contains(['?', '#', '%', ' '])
            || inner.split('/').any(|part| matches!(part, "" | "." | ".."))
        {
            return Err(format!("`{url}` is not a plain URL path"));
        }
        Ok(Self {
            url: format!("/{inner}/"),
            folder: folder.into(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_sound() {
        use clap::CommandFactory as _;
        Cli::command().debug_assert();
    }

    #[track_caller]
    fn check(text: &str, want: Result<(&str, &str), &str>) {
        let got = text.parse::<StaticArg>();
        match (&got, want) {
            (Ok(got), Ok((url, folder))) => {
                assert_eq!((got.url.as_str(), got.folder.to_str()), (url, Some(folder)))
            }
            (Err(got), Err(part)) => assert!(got.contains(part), "{got:?} does not say {part:?}"),
            _ => panic!("{text:?} became {got:?}"),
        }
    }

    #[test]
    fn statics() {
        check("/static=./static", Ok(("/static/", "./static")));
        check("/a/b/=/srv/x=y", Ok(("/a/b/", "/srv/x=y")));
        check("/static", Err("URL=DIR"));
        check("/static=", Err("no folder"));
        check("static=x", Err("/static=x"));
        check("/=x", Err("belongs to the application"));
        check("/a/../b=x", Err("not a plain URL path"));
        check("/a b=x", Err("not a plain URL path"));
    }
}
