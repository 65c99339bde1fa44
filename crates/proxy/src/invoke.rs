//! What the command line asks for beside serving: checks, versions, signals to a daemon that runs.
//!
//! Messages are nginx's, because scripts read them. Not here: serving (`daemon`).

use std::io::Write as _;
use std::path::{Path, PathBuf};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use trine_config::{Problem, Problems};

use crate::cli::{Cli, Command};
use crate::config::nginx::table::{self, Standing};
use crate::config::nginx::tree::open_failed;
use crate::config::nginx::{ERROR_LOG, PID_FILE};
use crate::config::{self, Config, Loaded};
use crate::error::Error;
use crate::{NGINX_VERSION, parity, tls};

/// nginx's modules as its `configure` names them, each with a directive of theirs: certbot and scripts look for them.
const MODULES: &[(&str, &str)] = &[
    ("http_addition_module", "addition_types"),
    ("http_auth_request_module", "auth_request"),
    ("http_dav_module", "dav_methods"),
    ("http_gunzip_module", "gunzip"),
    ("http_gzip_static_module", "gzip_static"),
    ("http_random_index_module", "random_index"),
    ("http_realip_module", "set_real_ip_from"),
    ("http_secure_link_module", "secure_link"),
    ("http_slice_module", "slice"),
    ("http_ssl_module", "ssl_certificate"),
    ("http_stub_status_module", "stub_status"),
    ("http_sub_module", "sub_filter"),
    ("http_v2_module", "http2"),
    ("http_v3_module", "http3"),
    ("stream", "stream"),
    ("threads", "worker_processes"),
];

/// What `-V` prints.
fn build_text() -> String {
    let works = |directive: &str| {
        table::find(directive).is_some_and(|known| known.standing == Standing::Works)
    };
    let modules = MODULES.iter().filter(|(_, directive)| works(directive));
    let modules: String = modules.map(|(name, _)| format!(" --with-{name}")).collect();
    format!(
        "built as trine-proxy {}\nbuilt with rustls\nTLS SNI support enabled\n\
         configure arguments: --prefix=/etc/nginx --conf-path={} --error-log-path={ERROR_LOG} \
         --pid-path={PID_FILE}{modules}",
        env!("CARGO_PKG_VERSION"),
        crate::cli::NGINX_CONF,
    )
}

/// Does what needs no serving. `Some` is the whole outcome.
pub(crate) fn without_serving(cli: &Cli) -> Option<Result<(), Error>> {
    if cli.nginx_version || cli.nginx_build {
        eprintln!("nginx version: nginx/{NGINX_VERSION}");
        if cli.nginx_build {
            eprintln!("{}", build_text());
        }
        return Some(Ok(()));
    }
    if let Some(document) = &cli.generate {
        let text = match document.as_str() {
            "schema" => config::schema(),
            _ => parity::document(),
        };
        print!("{text}");
        return Some(Ok(()));
    }
    let command = cli.command.as_ref()?;
    Some(match command {
        Command::Convert { file } => convert(cli, file.as_ref()),
    })
}

/// Prints a file of nginx as YAML. What nginx has and we have not is left out, and told.
fn convert(cli: &Cli, file: Option<&PathBuf>) -> Result<(), Error> {
    let mut reading = cli.reading();
    if let Some(file) = file {
        reading.path.clone_from(file);
    }
    if reading.is_yaml() {
        eprintln!("{}: is YAML already", reading.path.display());
        return Err(Error::Told);
    }
    let mut problems = Problems::new();
    let converted = config::convert(&reading, &mut problems);
    for problem in problems.iter() {
        say("emerg", problem);
    }
    if !problems.is_empty() {
        return Err(Error::Told);
    }
    for name in &converted.lost {
        eprintln!("nginx: [warn] \"{name}\" is left out: trine-proxy does not know it here");
    }
    println!(
        "# {} as YAML. Relative paths start at the folder of this file.",
        reading.path.display()
    );
    print!("{}", converted.text);
    Ok(())
}

/// Reads the configuration; says what is wrong as nginx does, when it is nginx's file.
pub(crate) fn load(cli: &Cli) -> Result<Config, Error> {
    let reading = cli.reading();
    let Loaded { config, warnings } = config::load(&reading);
    let checking = cli.test || cli.dump;
    if reading.is_yaml() {
        return config.map_err(Error::Config);
    }
    for warning in warnings.iter() {
        say("warn", warning);
    }
    let path = reading.path.display();
    match config {
        Ok(config) => {
            if checking && let Err(error) = tls::doors(&config) {
                let cause = trine_service::exit::chain(&error);
                eprintln!("nginx: [emerg] {cause}");
                eprintln!("nginx: configuration file {path} test failed");
                return Err(Error::Told);
            }
            if checking && !cli.quiet {
                eprintln!("nginx: the configuration file {path} syntax is ok");
                eprintln!("nginx: configuration file {path} test is successful");
            }
            Ok(config)
        }
        Err(problems) => {
            for problem in problems.iter() {
                say("emerg", problem);
            }
            if checking {
                eprintln!("nginx: configuration file {path} test failed");
            }
            Err(Error::Told)
        }
    }
}

/// `nginx: [emerg] what is wrong in FILE:LINE`, and the way out behind it.
fn say(level: &str, problem: &Problem) {
    let mut err = std::io::stderr().lock();
    // Nothing can be done about a closed standard error.
    let _ = writeln!(err, "nginx: [{level}] {}", line(problem));
}

/// One problem in nginx's shape.
pub(crate) fn line(problem: &Problem) -> String {
    let mut text = problem.message.clone();
    let place = &problem.place;
    let file = place.file().display();
    match place.line() {
        0 => text += &format!(" in {file}"),
        line => text += &format!(" in {file}:{line}"),
    }
    if !problem.help.is_empty() {
        text += &format!(" ({})", problem.help);
    }
    text
}

/// Prints what `-T` prints: every file under its name.
pub(crate) fn dump(cli: &Cli) {
    for file in config::sources(&cli.reading()) {
        println!(
            "# configuration file {}:\n{}",
            file.path.display(),
            file.text
        );
    }
}

/// Sends the signal that `-s` names to the daemon whose pid is in the configured file. What goes wrong is told in
/// nginx's words.
pub(crate) fn send_signal(name: &str, config: &Config) -> Result<(), Error> {
    let told = |text: String| {
        eprintln!("nginx: {text}");
        Error::Told
    };
    let path = config.pidfile.as_deref().unwrap_or(Path::new(PID_FILE));
    let text = std::fs::read_to_string(path)
        .map_err(|error| told(format!("[error] {}", open_failed(path, &error))))?;
    let pid: i32 = text.trim().parse().map_err(|_| {
        let (text, path) = (text.trim(), path.display());
        told(format!(
            "[error] invalid PID number \"{text}\" in \"{path}\""
        ))
    })?;
    let signal = match name {
        "stop" => Signal::SIGTERM,
        "quit" => Signal::SIGQUIT,
        "reopen" => Signal::SIGUSR1,
        _ => Signal::SIGHUP,
    };
    kill(Pid::from_raw(pid), signal).map_err(|errno| {
        let (signal, number, reason) = (signal as i32, errno as i32, errno.desc());
        told(format!(
            "[alert] kill({pid}, {signal}) failed ({number}: {reason})"
        ))
    })
}

/// Problems as lines for the log of a daemon that goes on with its old configuration.
pub(crate) fn lines(problems: &Problems, is_yaml: bool) -> Vec<String> {
    problems
        .iter()
        .map(|problem| {
            if is_yaml {
                problem.to_string()
            } else {
                line(problem)
            }
        })
        .collect()
}
