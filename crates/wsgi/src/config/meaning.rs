//! What the values of all settings mean together, and what is refused.
//!
//! Not here: single values (`validate`).

use std::path::PathBuf;
use std::time::Duration;

use trine_http1::Limits;
use trine_service::logging::{self, LogFormat};

use crate::access_log::Format;
use crate::python::{Hook, Hooks};
use crate::worker::trust::{SchemeHeaders, TrustedPeers};

use super::address;
use super::origin::Origin;
use super::refuse;
use super::settings::{
    ClientCertificates, HeaderMap, HeaderPolicy, LoggerClass, Logging, Paste, Protocol,
    ProxyProtocol, Settings, Statsd, StatsdAddress, Syslog, Tls, WorkerClass,
};
use super::validate::network;
use super::value::{Value, quoted};
use super::values::Values;

/// More workers or threads than this are a typing error.
const MOST: i64 = 1024;
/// gunicorn's name for its own logger, and its older word for it.
const LOGGER: [&str; 2] = ["gunicorn.glogging.Logger", "simple"];

/// Makes settings of values.
///
/// # Errors
/// One sentence that names the setting.
pub(super) fn settings(
    values: &Values,
    app: Option<&str>,
    origin: &Origin,
) -> Result<Settings, String> {
    refuse::unsupported(values)?;
    let mut warnings = vec![];
    let paste = paste(values)?;
    let app = app.or(values.text("paste")).or(values.text("wsgi_app"));
    let app = app.ok_or("No application module specified.")?;
    let timeout = time(values, "timeout");
    let worker_class = worker_class(values)?;
    let threads = number(values, "threads", MOST)?.max(1);
    let log = logging(values, &mut warnings)?;
    if values.differs_from_default("ssl_version") {
        warnings.push("ssl_version has no effect; TLS 1.2 and 1.3 are spoken".to_owned());
    }
    Ok(Settings {
        app: app.to_owned(),
        paste,
        bind: bind(values, origin)?,
        backlog: u32::try_from(values.int("backlog")).unwrap_or(u32::MAX),
        workers: number(values, "workers", MOST)?.max(1),
        worker_class: if threads > 1 {
            WorkerClass::Gthread
        } else {
            worker_class
        },
        threads,
        worker_connections: number(values, "worker_connections", i64::MAX)?.max(1),
        max_requests: positive(values, "max_requests"),
        max_requests_jitter: positive(values, "max_requests_jitter").unwrap_or(0),
        max_worker_lifetime: time(values, "max_worker_lifetime"),
        max_worker_memory: positive(values, "max_worker_memory"),
        timeout,
        request_timeout: if values.get("request_timeout").is_nothing() {
            timeout
        } else {
            time(values, "request_timeout")
        },
        request_timeout_given: !values.get("request_timeout").is_nothing(),
        graceful_timeout: time(values, "graceful_timeout").unwrap_or_default(),
        keepalive: time(values, "keepalive").unwrap_or_default(),
        head_timeout: client_time(values, "head_timeout"),
        body_timeout: client_time(values, "body_timeout"),
        send_timeout: client_time(values, "send_timeout"),
        preload_app: values.bool("preload_app"),
        reload: values.bool("reload"),
        reload_extra_files: values
            .texts("reload_extra_files")
            .into_iter()
            .map(str::to_owned)
            .collect(),
        spew: values.bool("spew"),
        sendfile: sendfile(values, origin),
        reuse_port: values.bool("reuse_port"),
        daemon: values.bool("daemon"),
        chdir: path(values, "chdir").unwrap_or_else(|| PathBuf::from(".")),
        pythonpath: values
            .text("pythonpath")
            .map(|list| list.split(',').map(PathBuf::from).collect())
            .unwrap_or_default(),
        python: path(values, "python"),
        raw_env: pairs(values, "raw_env")?,
        pidfile: path(values, "pidfile"),
        worker_tmp_dir: path(values, "worker_tmp_dir"),
        user: id(values, "user"),
        group: id(values, "group"),
        umask: u32::try_from(values.int("umask")).unwrap_or_default() & 0o777,
        initgroups: values.bool("initgroups"),
        protocol: protocol(values)?,
        proxy_protocol: match values.text("proxy_protocol") {
            Some("v1") => ProxyProtocol::V1,
            Some("v2") => ProxyProtocol::V2,
            Some("auto") => ProxyProtocol::Auto,
            _ => ProxyProtocol::Off,
        },
        proxy_allow_ips: peers(values, "proxy_allow_ips")?,
        uwsgi_allow_ips: peers(values, "uwsgi_allow_ips")?,
        fastcgi_allow_ips: peers(values, "fastcgi_allow_ips")?,
        forwarded_allow_ips: peers(values, "forwarded_allow_ips")?,
        secure_scheme_headers: scheme_headers(values)?,
        headers: header_policy(values),
        limits: limits(values),
        tls: tls(values)?,
        log,
        statsd: statsd(values)?,
        proc_name: proc_name(values, app),
        control: control(values),
        control_mode: u32::try_from(values.int("control_socket_mode")).unwrap_or(0o600),
        hooks: hooks(values),
        shown: None,
        warnings,
    })
}

fn worker_class(values: &Values) -> Result<WorkerClass, String> {
    match values.get("worker_class") {
        Value::Text(name) => refuse::worker_class(name),
        Value::Object(class) => refuse::worker_class(class.class().unwrap_or(class.text())),
        _ => Ok(WorkerClass::Sync),
    }
}

fn bind(values: &Values, origin: &Origin) -> Result<Vec<trine_config::ListenAddr>, String> {
    if !values.is_given("bind") && origin.env("PORT").is_none() {
        return Ok(vec![]);
    }
    values
        .texts("bind")
        .into_iter()
        .map(address::listen)
        .collect()
}

fn number(values: &Values, name: &str, most: i64) -> Result<usize, String> {
    let number = values.int(name);
    match usize::try_from(number) {
        Ok(found) if number <= most => Ok(found),
        _ => Err(format!(
            "{name} = {number} cannot be meant; at most {most} are possible"
        )),
    }
}

fn positive(values: &Values, name: &str) -> Option<u64> {
    u64::try_from(values.int(name))
        .ok()
        .filter(|number| *number > 0)
}

/// A time; 0 is none.
fn time(values: &Values, name: &str) -> Option<Duration> {
    let time = match values.get(name) {
        Value::Int(seconds) => Duration::from_secs(u64::try_from(*seconds).unwrap_or(0)),
        Value::Time(time) => *time,
        _ => Duration::ZERO,
    };
    Some(time).filter(|time| !time.is_zero())
}

/// What a client is granted; 0 is the longest time that there is.
fn client_time(values: &Values, name: &str) -> Duration {
    time(values, name).unwrap_or(Duration::from_secs(u32::MAX.into()))
}

fn path(values: &Values, name: &str) -> Option<PathBuf> {
    values.text(name).map(PathBuf::from)
}

fn id(values: &Values, name: &str) -> u32 {
    u32::try_from(values.int(name)).unwrap_or_default()
}

fn pairs(values: &Values, name: &str) -> Result<Vec<(String, String)>, String> {
    let pair = |text: &str| match text.split_once('=') {
        Some((key, value)) if !key.is_empty() && !text.contains('\0') => {
            Ok((key.to_owned(), value.to_owned()))
        }
        _ => Err(format!("environment setting {} invalid", quoted(text))),
    };
    values.texts(name).into_iter().map(pair).collect()
}

fn paste(values: &Values) -> Result<Option<Paste>, String> {
    let global_conf = pairs(values, "raw_paste_global_conf")?;
    Ok(values.text("paste").map(|_| Paste { global_conf }))
}

fn sendfile(values: &Values, origin: &Origin) -> bool {
    let words = ["y", "1", "yes", "true"];
    let wanted = |text: &str| words.contains(&text.to_lowercase().as_str());
    values.get("sendfile").is_nothing() && origin.env("SENDFILE").is_none_or(wanted)
}

fn protocol(values: &Values) -> Result<Protocol, String> {
    match values.text("protocol").map(str::to_lowercase).as_deref() {
        None | Some("http") => Ok(Protocol::Http),
        Some("uwsgi") => Ok(Protocol::Uwsgi),
        Some("fastcgi") => Ok(Protocol::Fastcgi),
        Some(other) => Err(format!(
            "protocol = {} is not known; there are http, uwsgi and fastcgi",
            quoted(other)
        )),
    }
}

fn peers(values: &Values, name: &str) -> Result<TrustedPeers, String> {
    let networks = values.texts(name).into_iter().map(|word| match word {
        "*" => Ok("*".to_owned()),
        word => network(word),
    });
    let networks: Result<Vec<String>, String> = networks.collect();
    networks?
        .join(",")
        .parse()
        .map_err(|why| format!("{name}: {why}"))
}

fn scheme_headers(values: &Values) -> Result<SchemeHeaders, String> {
    let Value::Dict(dict) = values.get("secure_scheme_headers") else {
        return Ok(SchemeHeaders::default());
    };
    let pair = |(key, value): &(Value, Value)| match (key, value) {
        (Value::Text(key), Value::Text(value)) => Ok((key.clone(), value.clone())),
        (key, value) => Err(format!(
            "secure_scheme_headers: {key}: {value} is not a name and a text"
        )),
    };
    Ok(SchemeHeaders::new(
        dict.pairs.iter().map(pair).collect::<Result<_, _>>()?,
    ))
}

fn header_policy(values: &Values) -> HeaderPolicy {
    let names = values.texts("forwarder_headers").into_iter();
    HeaderPolicy {
        permit_obsolete_folding: values.bool("permit_obsolete_folding"),
        strip_header_spaces: values.bool("strip_header_spaces"),
        permit_unconventional_http_method: values.bool("permit_unconventional_http_method"),
        permit_unconventional_http_version: values.bool("permit_unconventional_http_version"),
        casefold_http_method: values.bool("casefold_http_method"),
        forwarder_headers: names.map(str::to_owned).collect(),
        header_map: match values.text("header_map") {
            Some("refuse") => HeaderMap::Refuse,
            Some("dangerous") => HeaderMap::Dangerous,
            _ => HeaderMap::Drop,
        },
    }
}

/// gunicorn: 0 is no limit for the line, and the largest that is allowed for a field.
fn limits(values: &Values) -> Limits {
    let size = |name| usize::try_from(values.int(name)).unwrap_or(usize::MAX);
    let line = size("limit_request_line");
    let field = Some(size("limit_request_field_size"))
        .filter(|size| *size > 0)
        .unwrap_or(8190);
    let fields = size("limit_request_fields").clamp(1, 32768);
    let head = fields
        .saturating_mul(field.saturating_add(2))
        .saturating_add(4);
    Limits {
        request_line: if line == 0 {
            usize::MAX
        } else {
            line.min(8190)
        },
        header_line: field,
        header_count: fields,
        head: Limits::default().head.max(head),
    }
}

fn tls(values: &Values) -> Result<Option<Tls>, String> {
    let (certfile, keyfile) = (path(values, "certfile"), path(values, "keyfile"));
    for (name, file) in [("certfile", &certfile), ("keyfile", &keyfile)] {
        if let Some(file) = file.as_ref().filter(|file| !file.exists()) {
            return Err(format!("{name} \"{}\" does not exist", file.display()));
        }
    }
    let Some(certfile) = certfile else {
        return match keyfile {
            Some(_) => Err("keyfile needs a certfile beside it".to_owned()),
            None => Ok(None),
        };
    };
    let client_certificates = match values.int("cert_reqs") {
        0 => ClientCertificates::No,
        1 => ClientCertificates::Optional,
        2 => ClientCertificates::Required,
        other => {
            return Err(format!(
                "cert_reqs = {other} is not known; there are 0 no, 1 optional, 2 required"
            ));
        }
    };
    Ok(Some(Tls {
        certfile,
        keyfile,
        ca_certs: path(values, "ca_certs"),
        client_certificates,
        ciphers: values.text("ciphers").map(str::to_owned),
    }))
}

fn logging(values: &Values, warnings: &mut Vec<String>) -> Result<Logging, String> {
    let loglevel = values.text("loglevel").unwrap_or("info").to_lowercase();
    let level = logging::parse_level(&loglevel).unwrap_or_else(|why| {
        warnings.push(format!("loglevel: {why}; it is info now"));
        tracing::Level::INFO
    });
    let logger_class = match values.get("logger_class") {
        Value::Text(name) if LOGGER.contains(&name.as_str()) => None,
        Value::Text(name) => Some(LoggerClass::Named(name.clone())),
        Value::Object(class) if class.class() == Some(LOGGER[0]) => None,
        Value::Object(class) => Some(LoggerClass::Class(class.clone())),
        _ => None,
    };
    Ok(Logging {
        accesslog: path(values, "accesslog"),
        access_log_format: Format::parse(
            values.text("access_log_format").unwrap_or(Format::DEFAULT),
        )
        .map_err(|why| format!("access_log_format: {why}"))?,
        access_log_json: values.bool("access_log_json"),
        disable_redirect_access_to_syslog: values.bool("disable_redirect_access_to_syslog"),
        errorlog: path(values, "errorlog").filter(|path| path.as_os_str() != "-"),
        level,
        loglevel,
        format: match values.text("log_format") {
            Some("json") => LogFormat::Json,
            _ => LogFormat::Gunicorn,
        },
        capture_output: values.bool("capture_output"),
        enable_stdio_inheritance: values.bool("enable_stdio_inheritance"),
        logger_class,
        logconfig: path(values, "logconfig"),
        logconfig_dict: match values.get("logconfig_dict") {
            Value::Dict(dict) if !dict.pairs.is_empty() => dict.object.clone(),
            _ => None,
        },
        logconfig_json: path(values, "logconfig_json"),
        syslog: values.bool("syslog").then(|| Syslog {
            address: values.text("syslog_addr").unwrap_or_default().to_owned(),
            prefix: values.text("syslog_prefix").map(str::to_owned),
            facility: values.text("syslog_facility").unwrap_or("user").to_owned(),
        }),
        slow_request_time: time(values, "slow_request_time"),
        slow_request_log: path(values, "slow_request_log"),
    })
}

fn statsd(values: &Values) -> Result<Option<Statsd>, String> {
    let address = match values.get("statsd_host") {
        Value::Nothing => return Ok(None),
        Value::Text(path) => StatsdAddress::Unix(path.into()),
        Value::Tuple(parts) => match parts.as_slice() {
            [Value::Text(host), Value::Int(port)] => StatsdAddress::Udp(
                host.clone(),
                u16::try_from(*port).map_err(|_| format!("statsd_host: {port} is no port"))?,
            ),
            _ => return Err("Value must be one of ('host:port', 'unix://PATH')".to_owned()),
        },
        other => return Err(format!("Not a string: {other}")),
    };
    let text = |name| values.text(name).unwrap_or_default().to_owned();
    Ok(Some(Statsd {
        address,
        prefix: text("statsd_prefix"),
        dogstatsd_tags: text("dogstatsd_tags"),
        backlog_metric: values.bool("enable_backlog_metric"),
    }))
}

/// gunicorn's order: proc_name, what the command line called the application, default_proc_name.
fn proc_name(values: &Values, app: &str) -> String {
    let default = values
        .text("default_proc_name")
        .filter(|name| *name != "gunicorn");
    values
        .text("proc_name")
        .or(default)
        .unwrap_or(app)
        .to_owned()
}

/// Only where somebody asked for it.
fn control(values: &Values) -> Option<PathBuf> {
    if values.bool("control_socket_disable") {
        return None;
    }
    let named = path(values, "control");
    named.or_else(|| path(values, "control_socket").filter(|_| values.is_given("control_socket")))
}

fn hooks(values: &Values) -> Hooks {
    let given = |hook: Hook| Some((hook, values.object(hook.name())?.clone()));
    Hooks::new(Hook::ALL.into_iter().filter_map(given).collect())
}
