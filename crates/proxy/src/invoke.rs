//! What the command line asks for beside serving: checks, versions, signals to a daemon that runs.
//!
//! Messages are nginx's, because scripts read them. Not here: serving (`daemon`).

use std::io::Write as _;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use trine_config::{Problem, Problems};

use crate::cli::{Cli, Command};
use crate::config::nginx::table::{self, Standing};
use crate::config::nginx::tree::open_failed;
use crate::config::nginx::{ERROR_LOG, PID_FILE};
use crate::config::{self, Config, Loaded};
use crate::conn::explain::{self, Question};
use crate::error::Error;
use crate::headers::forwarded::Peer;
use crate::{NGINX_VERSION, cgi_helper, generate, tls};
use trine_service::logging::{self, LogSettings};

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

/// The same for directives in `stream`.
const STREAM_MODULES: &[(&str, &str)] = &[
    ("stream_realip_module", "set_real_ip_from"),
    ("stream_ssl_module", "ssl_certificate"),
    ("stream_ssl_preread_module", "ssl_preread"),
];

/// What `-V` prints.
fn build_text() -> String {
    let works = |directive: &str, contexts: u16| {
        table::find_in(directive, contexts).is_some_and(|known| known.standing == Standing::Works)
    };
    let http = MODULES.iter().filter(|(_, directive)| works(directive, 0));
    let stream = STREAM_MODULES
        .iter()
        .filter(|(_, directive)| works(directive, table::context::OF_STREAM));
    let modules: String = http
        .chain(stream)
        .map(|(name, _)| format!(" --with-{name}"))
        .collect();
    format!(
        "built as trine-proxy {}\nbuilt with rustls, which reads settings as running with OpenSSL 3.5.0 would\nTLS SNI support enabled\n\
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
        let text = generate::document(document);
        print!("{text}");
        return Some(Ok(()));
    }
    let command = cli.command.as_ref()?;
    Some(match command {
        Command::Convert { file } => convert(cli, file.as_ref()),
        Command::Explain {
            url,
            method,
            headers,
            from,
        } => explain(cli, url, method, headers, *from),
        Command::Lint { skip } => lint(cli, skip),
        Command::CgiHelper(options) => {
            let mut settings = LogSettings::new("cgi-helper");
            settings.format = cli.log_format.unwrap_or(settings.format);
            settings.level = cli.log_level.unwrap_or(settings.level);
            logging::init(&settings)
                .map_err(Error::Service)
                .and_then(|_log| cgi_helper::run(options))
        }
    })
}

/// Prints the traps.
fn lint(cli: &Cli, skip: &[String]) -> Result<(), Error> {
    let reading = cli.reading();
    // What is not valid is told first.
    load(cli)?;
    let mut problems = Problems::new();
    let (tree, house) = config::tree(&reading, &mut problems);
    let mut found = crate::lint::lint(&tree, house);
    found.retain(|one| !skip.iter().any(|rule| rule == one.rule));
    for one in &found {
        let (file, line) = (one.at.file().display(), one.at.line());
        println!(
            "{file}:{line}: [{}] {}; {}",
            one.rule, one.message, one.help
        );
    }
    if found.is_empty() {
        Ok(())
    } else {
        Err(Error::Told)
    }
}

/// Prints what would happen to a request.
fn explain(
    cli: &Cli,
    url: &str,
    method: &str,
    headers: &[String],
    from: IpAddr,
) -> Result<(), Error> {
    let config = Arc::new(load(cli)?);
    let told = |text: &dyn std::fmt::Display| {
        eprintln!("explain: {text}");
        Error::Told
    };
    let question = question(&config, url, method, headers, from).map_err(|text| told(&text))?;
    let mut doors: Vec<tls::Door> = vec![None; config.listens.len()];
    if config.listens[question.listen].tls {
        doors = tls::doors(&config, &tls::Keyring::default()).map_err(Error::Tls)?;
    }
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build_local(tokio::runtime::LocalOptions::default())
        .map_err(Error::Runtime)?;
    let text = runtime.block_on(async { explain::explain(config, doors.into(), &question) });
    print!("{}", text.map_err(|text| told(&text))?);
    Ok(())
}

/// The request that a browser would make of a URL, and the listener that would get it.
fn question(
    config: &Config,
    url: &str,
    method: &str,
    headers: &[String],
    from: IpAddr,
) -> Result<Question, String> {
    let (scheme, rest) = url
        .split_once("://")
        .ok_or("write a URL such as http://example.org/path")?;
    let tls = match scheme {
        "http" => false,
        "https" => true,
        _ => return Err(format!("{scheme} is not served; write http or https")),
    };
    let end = rest.find(['/', '?']).unwrap_or(rest.len());
    let (authority, target) = rest.split_at(end);
    let target = target.split('#').next().unwrap_or_default();
    let slash = if target.starts_with('/') { "" } else { "/" };
    let port = authority
        .rsplit_once(':')
        .and_then(|(_, port)| port.parse::<u16>().ok());
    let wanted = port.unwrap_or(if tls { 443 } else { 80 });
    let fits = |listen: &&crate::config::Listen| listen.tls == tls && listen.streams.is_empty();
    let on_port = |listen: &&crate::config::Listen| match &listen.addr {
        trine_config::ListenAddr::Tcp(addr) => addr.port() == wanted,
        _ => false,
    };
    let listens = || config.listens.iter().filter(fits);
    let found = listens().find(on_port).or_else(|| {
        // Behind another proxy, or on a socket that was handed down: the port is not in the URL.
        let mut all = listens();
        all.next().filter(|_| port.is_none())
    });
    let listen = found.ok_or_else(|| {
        let all: Vec<_> = config
            .listens
            .iter()
            .map(|one| one.addr.to_string())
            .collect();
        format!(
            "nothing listens on port {wanted} for {scheme}; there are {}",
            all.join(", ")
        )
    })?;
    let mut head = format!("{method} {slash}{target} HTTP/1.1\r\nHost: {authority}\r\n");
    for field in headers {
        head += &format!("{field}\r\n");
    }
    head += "\r\n";
    let index = config
        .listens
        .iter()
        .position(|one| std::ptr::eq(one, listen));
    Ok(Question {
        head: head.into_bytes(),
        peer: Peer::Ip(from),
        listen: index.unwrap_or(0),
        port: wanted,
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
        let why = match name.as_str() {
            "stream" => "YAML files have none; keep its servers in an nginx.conf",
            _ => "trine-proxy does not know it here",
        };
        eprintln!("nginx: [warn] \"{name}\" is left out: {why}");
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
            if checking && let Err(error) = tls::check(&config) {
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
