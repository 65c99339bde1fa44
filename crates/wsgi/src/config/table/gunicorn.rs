//! gunicorn 27's settings, in its order, which its help and its messages about ambiguous flags follow.
//!
//! Not here: what the values add up to (`settings`), how they are checked (`validate`).

use super::Action::{Each, Maybe, Number, Octal, Off, On, Text as Word};
use super::Check::{
    Addresses, Bool, Chdir, Class, Count, Dict, Files, Group, Hook, Http2Cleartext, HttpProtocols,
    OneOf, Path, PostRequest, ProxyProtocol, Range, Seconds, SslVersion, Statsd, Text, Texts, User,
    Words,
};
use super::Default::{self as Is, From, Int, Nothing, Pairs};
use super::Tier::{Identical, Mapped, Refused};
use super::{Section, Setting, Wrong, settings};
use crate::config::origin::Origin;

const ASGI: &str =
    "without effect, as it is with gunicorn's WSGI workers; the asgi worker itself is refused";
const DIRTY: &str =
    "there are no dirty workers here; use a task queue such as Celery, RQ or Dramatiq";
const HTTP2: &str = "HTTP/2 ends at the proxy; let trine-proxy or nginx speak it to the clients";
const GUNICORNC: &str = "our control API answers there, HTTP and JSON instead of gunicornc's protocol; nothing by default";

pub(super) static SETTINGS: &[Setting] = settings! {
    config ConfigFile ["-c" "--config"] "CONFIG" Word, Text, Is::Text("./gunicorn.conf.py"), None, Identical,
        "Where settings are read from: PATH, file:PATH or python:MODULE. A path that ends in .yaml or .yml is YAML.";
    wsgi_app ConfigFile [] "STRING" Word, Text, Nothing, None, Identical,
        "The application, MODULE:NAME or MODULE:FACTORY(literals), when the command line names none.";
    bind ServerSocket ["-b" "--bind"] "ADDRESS" Each, Texts, From(Origin::bind, "127.0.0.1:8000"), Some("PORT"), Identical,
        "Where to listen: HOST, HOST:PORT, [V6]:PORT, unix:PATH, fd://N, and ours fd:NAME. May come again.";
    backlog ServerSocket ["--backlog"] "INT" Number, Count, Int(2048), None, Identical,
        "Connections that may wait in the kernel.";
    workers WorkerProcesses ["-w" "--workers"] "INT" Number, Count, From(Origin::workers, "1"), Some("WEB_CONCURRENCY"), Identical,
        "Worker processes.";
    worker_class WorkerProcesses ["-k" "--worker-class"] "STRING" Word, Class, Is::Text("sync"), None,
        Mapped("sync and gthread; any other class is refused"),
        "sync calls the application on the main thread, gthread on `threads` threads.";
    threads WorkerProcesses ["--threads"] "INT" Number, Count, Int(1), None, Identical,
        "Threads per worker that call the application; more than one makes sync gthread.";
    worker_connections WorkerProcesses ["--worker-connections"] "INT" Number, Count, Int(1000), None, Identical,
        "Connections that a worker holds at the same time.";
    max_requests WorkerProcesses ["--max-requests"] "INT" Number, Count, Int(0), None, Identical,
        "A worker is replaced after so many requests; 0 is never.";
    max_requests_jitter WorkerProcesses ["--max-requests-jitter"] "INT" Number, Count, Int(0), None, Identical,
        "Up to so many more, at random for each worker.";
    timeout WorkerProcesses ["-t" "--timeout"] "INT" Number, Seconds, Int(30), None,
        Mapped("a request of sync that takes longer is ended and answered 504, and the worker lives; times may have a unit"),
        "A worker that does not react for so long is ended and replaced; 0 is never.";
    graceful_timeout WorkerProcesses ["--graceful-timeout"] "INT" Number, Seconds, Int(30), None, Identical,
        "How long workers may finish what they have when asked to stop.";
    keepalive WorkerProcesses ["--keep-alive"] "INT" Number, Seconds, Int(2), None,
        Mapped("connections are kept with sync, too"),
        "How long an idle connection is kept; 0 closes after each answer.";
    limit_request_line Security ["--limit-request-line"] "INT" Number, Count, Int(4094), None, Identical,
        "The longest request line in bytes; a longer one is answered 414. 0 is no limit.";
    limit_request_fields Security ["--limit-request-fields"] "INT" Number, Count, Int(100), None, Identical,
        "The most header fields; more are answered 431.";
    limit_request_field_size Security ["--limit-request-field_size"] "INT" Number, Count, Int(8190), None, Identical,
        "The longest header field in bytes; a longer one is answered 431. 0 is 8190.";
    reload Debugging ["--reload"] "" On, Bool, Is::Bool(false), None, Identical,
        "Start workers anew when a file of the application changes; for development.";
    reload_engine Debugging ["--reload-engine"] "STRING" Word,
        OneOf(&["auto", "poll", "inotify"], Wrong::Exactly("reload_engine")), Is::Text("auto"), None,
        Mapped("files are looked at each second, whichever is named"),
        "How changes are found: auto, poll, inotify.";
    reload_extra_files Debugging ["--reload-extra-file"] "FILES" Each, Files, Is::Texts(&[]), None, Identical,
        "More files and patterns to watch with reload. May come again.";
    spew Debugging ["--spew"] "" On, Bool, Is::Bool(false), None, Identical,
        "Print every line of Python that is run; for development.";
    check_config Debugging ["--check-config"] "" On, Bool, Is::Bool(false), None, Identical,
        "Check settings and application, serve nothing.";
    print_config Debugging ["--print-config"] "" On, Bool, Is::Bool(false), None, Identical,
        "Print the settings as they add up, check the application, serve nothing.";
    preload_app ServerMechanics ["--preload"] "" On, Bool, Is::Bool(false), None, Identical,
        "Import the application once, before workers are forked; HUP then does not import it again.";
    sendfile ServerMechanics ["--no-sendfile"] "" Off, Bool, Nothing, Some("SENDFILE"), Identical,
        "Whether files of wsgi.file_wrapper are sent by the kernel. Any value here turns that off.";
    reuse_port ServerMechanics ["--reuse-port"] "" On, Bool, Is::Bool(false), None, Identical,
        "Each worker listens on sockets of its own (SO_REUSEPORT).";
    chdir ServerMechanics ["--chdir"] "CHDIR" Word, Chdir, From(Origin::chdir, "the current folder"), None, Identical,
        "Change to this folder before the application is imported; it is first on sys.path.";
    daemon ServerMechanics ["-D" "--daemon"] "" On, Bool, Is::Bool(false), None, Identical,
        "Go into the background.";
    raw_env ServerMechanics ["-e" "--env"] "ENV" Each, Texts, Is::Texts(&[]), None, Identical,
        "NAME=value for the environment of the application. May come again.";
    pidfile ServerMechanics ["-p" "--pid"] "FILE" Word, Path, Nothing, None, Identical,
        "File for the process id.";
    worker_tmp_dir ServerMechanics ["--worker-tmp-dir"] "DIR" Word, Path, Nothing, None,
        Mapped("without effect: workers show that they live in shared memory, not in a file"),
        "Folder of gunicorn's heartbeat files.";
    user ServerMechanics ["-u" "--user"] "USER" Word, User, Nothing, None, Identical,
        "User of the workers, by name or number; unset: as started.";
    group ServerMechanics ["-g" "--group"] "GROUP" Word, Group, Nothing, None, Identical,
        "Group of the workers, by name or number; unset: as started.";
    umask ServerMechanics ["-m" "--umask"] "INT" Octal, Count, Int(0), None, Identical,
        "Mask for the modes of files and Unix sockets that are made.";
    initgroups ServerMechanics ["--initgroups"] "" On, Bool, Is::Bool(false), None, Identical,
        "Give workers all groups of their user.";
    tmp_upload_dir ServerMechanics [] "DIR" Word, Path, Nothing, None, Identical,
        "Without effect, as with gunicorn; large bodies lie in TMPDIR.";
    secure_scheme_headers ServerMechanics [] "" Word, Dict,
        Pairs(&[("X-FORWARDED-PROTOCOL", "ssl"), ("X-FORWARDED-PROTO", "https"), ("X-FORWARDED-SSL", "on")]), None, Identical,
        "Header fields and the value of each that mean https, from a peer in forwarded_allow_ips.";
    forwarded_allow_ips ServerMechanics ["--forwarded-allow-ips"] "STRING" Word, Addresses,
        From(Origin::forwarded_allow_ips, "127.0.0.1,::1"), Some("FORWARDED_ALLOW_IPS"), Identical,
        "Peers whose word on scheme and forwarder_headers counts: addresses, networks or *. Unix peers always.";
    accesslog Logging ["--access-logfile"] "FILE" Word, Path, Nothing, None, Identical,
        "The access log; - is standard output, unset is none.";
    disable_redirect_access_to_syslog Logging ["--disable-redirect-access-to-syslog"] "" On, Bool, Is::Bool(false), None, Identical,
        "Keep the access log out of syslog.";
    access_log_format Logging ["--access-logformat"] "STRING" Word, Text,
        Is::Text(r#"%(h)s %(l)s %(u)s %(t)s "%(r)s" %(s)s %(b)s "%(f)s" "%(a)s""#), None, Identical,
        "What a line of the access log says.";
    errorlog Logging ["--error-logfile" "--log-file"] "FILE" Word, Path, Is::Text("-"), None, Identical,
        "The error log; - is standard error.";
    loglevel Logging ["--log-level"] "LEVEL" Word, Text, Is::Text("info"), None, Identical,
        "What is worth a line of the error log: debug, info, warning, error, critical.";
    capture_output Logging ["--capture-output"] "" On, Bool, Is::Bool(false), None, Identical,
        "Send what the application prints to the error log.";
    logger_class Logging ["--logger-class"] "STRING" Word, Class, Is::Text("gunicorn.glogging.Logger"), None, Identical,
        "The class that writes both logs, in Python.";
    logconfig Logging ["--log-config"] "FILE" Word, Path, Nothing, None, Identical,
        "Set Python's logging up by this INI file.";
    logconfig_dict Logging [] "" Word, Dict, Pairs(&[]), None, Identical,
        "Set Python's logging up by this mapping (dictConfig).";
    logconfig_json Logging ["--log-config-json"] "FILE" Word, Path, Nothing, None, Identical,
        "Set Python's logging up by this JSON file (dictConfig).";
    syslog_addr Logging ["--log-syslog-to"] "SYSLOG_ADDR" Word, Text, Is::Text("udp://localhost:514"), None, Identical,
        "Where syslog is: udp://HOST:PORT, tcp://HOST:PORT, unix://PATH#stream or #dgram.";
    syslog Logging ["--log-syslog"] "" On, Bool, Is::Bool(false), None, Identical,
        "Send both logs to syslog.";
    syslog_prefix Logging ["--log-syslog-prefix"] "SYSLOG_PREFIX" Word, Text, Nothing, None, Identical,
        "Middle part of the program name in syslog.";
    syslog_facility Logging ["--log-syslog-facility"] "SYSLOG_FACILITY" Word, Text, Is::Text("user"), None, Identical,
        "Facility in syslog.";
    enable_stdio_inheritance Logging ["-R" "--enable-stdio-inheritance"] "" On, Bool, Is::Bool(false), None, Identical,
        "Keep standard output and error open in the background, unbuffered.";
    statsd_host Logging ["--statsd-host"] "STATSD_ADDR" Word, Statsd, Nothing, None, Identical,
        "Where statsd is: HOST:PORT or unix://PATH.";
    dogstatsd_tags Logging ["--dogstatsd-tags"] "DOGSTATSD_TAGS" Word, Text, Is::Text(""), None, Identical,
        "Tags for every statsd metric, separated by commas.";
    statsd_prefix Logging ["--statsd-prefix"] "STATSD_PREFIX" Word, Text, Is::Text(""), None, Identical,
        "What the names of statsd metrics begin with.";
    enable_backlog_metric Logging ["--enable-backlog-metric"] "" On, Bool, Is::Bool(false), None, Identical,
        "Tell statsd how many connections wait.";
    proc_name ProcessNaming ["-n" "--name"] "STRING" Word, Text, Nothing, None, Identical,
        "The name in the list of processes; unset: the application's.";
    default_proc_name ProcessNaming [] "" Word, Text, Is::Text("gunicorn"), None, Identical,
        "The name when there is no other.";
    pythonpath ServerMechanics ["--pythonpath"] "STRING" Word, Path, Nothing, None,
        Mapped("--check-config sees it, too"),
        "Folders for the front of sys.path, separated by commas.";
    paste ServerMechanics ["--paste" "--paster"] "STRING" Word, Text, Nothing, None, Identical,
        "Load the application from this PasteDeploy file, FILE or FILE#NAME.";
    on_starting ServerHooks [] "" Word, Hook(1), Is::Hook("OnStarting.on_starting"), None, Identical,
        "hook(server): the arbiter begins.";
    on_reload ServerHooks [] "" Word, Hook(1), Is::Hook("OnReload.on_reload"), None, Identical,
        "hook(server): HUP came, before new workers.";
    when_ready ServerHooks [] "" Word, Hook(1), Is::Hook("WhenReady.when_ready"), None, Identical,
        "hook(server): it listens, before the first worker.";
    pre_fork ServerHooks [] "" Word, Hook(2), Is::Hook("Prefork.pre_fork"), None, Identical,
        "hook(server, worker): in the arbiter, before each fork.";
    post_fork ServerHooks [] "" Word, Hook(2), Is::Hook("Postfork.post_fork"), None, Identical,
        "hook(server, worker): in the worker, after the fork.";
    post_worker_init ServerHooks [] "" Word, Hook(1), Is::Hook("PostWorkerInit.post_worker_init"), None, Identical,
        "hook(worker): the application is there.";
    worker_int ServerHooks [] "" Word, Hook(1), Is::Hook("WorkerInt.worker_int"), None, Identical,
        "hook(worker): in a worker, on INT or QUIT.";
    worker_abort ServerHooks [] "" Word, Hook(1), Is::Hook("WorkerAbort.worker_abort"), None, Identical,
        "hook(worker): in a worker, on ABRT.";
    pre_exec ServerHooks [] "" Word, Hook(1), Is::Hook("PreExec.pre_exec"), None, Identical,
        "hook(server): before USR2 starts the next arbiter.";
    pre_request ServerHooks [] "" Word, Hook(2), Is::Hook("PreRequest.pre_request"), None, Identical,
        "hook(worker, req): before the application is called.";
    post_request ServerHooks [] "" Word, PostRequest, Is::Hook("PostRequest.post_request"), None, Identical,
        "hook(worker, req[, environ[, resp]]): after a request.";
    child_exit ServerHooks [] "" Word, Hook(2), Is::Hook("ChildExit.child_exit"), None, Identical,
        "hook(server, worker): in the arbiter, a worker has ended.";
    worker_exit ServerHooks [] "" Word, Hook(2), Is::Hook("WorkerExit.worker_exit"), None, Identical,
        "hook(server, worker): in the worker, it ends.";
    nworkers_changed ServerHooks [] "" Word, Hook(3), Is::Hook("NumWorkersChanged.nworkers_changed"), None, Identical,
        "hook(server, new, old): the number of workers to have has changed.";
    on_exit ServerHooks [] "" Word, Hook(1), Is::Hook("OnExit.on_exit"), None, Identical,
        "hook(server): the arbiter ends.";
    ssl_context ServerHooks [] "" Word, Hook(2), Is::Hook("NewSSLContext.ssl_context"), None,
        Refused("TLS is not Python's here; use certfile, keyfile, ca_certs and cert_reqs, or TLS at the proxy"),
        "hook(config, default_ssl_context_factory): makes an ssl.SSLContext.";
    proxy_protocol ServerMechanics ["--proxy-protocol"] "MODE" Maybe("auto"), ProxyProtocol, Is::Text("off"), None, Identical,
        "Whether connections may begin with a PROXY preamble: off, v1, v2, auto.";
    proxy_allow_ips ServerMechanics ["--proxy-allow-from"] "PROXY_ALLOW_IPS" Word, Addresses, Is::Text("127.0.0.1,::1"), None, Identical,
        "Peers that may send it: addresses, networks or *.";
    protocol ServerMechanics ["--protocol"] "STRING" Word, Text, Is::Text("http"), None, Identical,
        "What is spoken on the sockets: http, uwsgi, and ours fastcgi.";
    uwsgi_allow_ips ServerMechanics ["--uwsgi-allow-from"] "UWSGI_ALLOW_IPS" Word, Addresses, Is::Text("127.0.0.1,::1"), None, Identical,
        "Peers that may speak uwsgi: addresses, networks or *.";
    keyfile Ssl ["--keyfile"] "FILE" Word, Path, Nothing, None, Identical,
        "The private key for TLS.";
    certfile Ssl ["--certfile"] "FILE" Word, Path, Nothing, None, Identical,
        "The certificates for TLS; may hold the key, too.";
    ssl_version Ssl ["--ssl-version"] "SSL_VERSION" Word, SslVersion, Int(2), None, Identical,
        "Without effect, as with gunicorn, which warns.";
    cert_reqs Ssl ["--cert-reqs"] "CERT_REQS" Word, Count, Int(0), None, Identical,
        "Whether clients need a certificate: 0 no, 1 if they have one, 2 yes.";
    ca_certs Ssl ["--ca-certs"] "FILE" Word, Path, Nothing, None, Identical,
        "Whose certificates of clients are believed.";
    suppress_ragged_eofs Ssl ["--suppress-ragged-eofs"] "" On, Bool, Is::Bool(true), None,
        Mapped("a connection that ends without TLS's closing message always counts as ended"),
        "Take such an end for a proper one.";
    do_handshake_on_connect Ssl ["--do-handshake-on-connect"] "" On, Bool, Is::Bool(false), None,
        Mapped("the handshake is always made by the loop before a request is read, and holds no thread"),
        "When the TLS handshake is made.";
    ciphers Ssl ["--ciphers"] "CIPHERS" Word, Text, Nothing, None,
        Mapped("names of rustls's suites are chosen from; a string that leaves none is refused"),
        "TLS cipher suites in OpenSSL's words.";
    http_protocols Http2 ["--http-protocols"] "STRING" Word, HttpProtocols, Is::Text("h1"), None, Refused(HTTP2),
        "HTTP versions to offer.";
    http2_cleartext Http2 ["--http2-cleartext"] "STRING" Word, Http2Cleartext, Is::Text("off"), None, Refused(HTTP2),
        "HTTP/2 without TLS.";
    http2_max_concurrent_streams Http2 ["--http2-max-concurrent-streams"] "INT" Number,
        Range(1, i64::MAX, "HTTP/2 max concurrent streams must be at least 1: {}"), Int(100), None, Refused(HTTP2),
        "Streams of a connection.";
    http2_initial_window_size Http2 ["--http2-initial-window-size"] "INT" Number,
        Range(0, 2_147_483_647, "HTTP/2 window size must be at most 2147483647: {}"), Int(65535), None, Refused(HTTP2),
        "Window of a stream.";
    http2_max_frame_size Http2 ["--http2-max-frame-size"] "INT" Number,
        Range(16384, 16_777_215, "http2_max_frame_size must be between 16384 and 16777215, got {}"), Int(16384), None, Refused(HTTP2),
        "Largest frame.";
    http2_max_header_list_size Http2 ["--http2-max-header-list-size"] "INT" Number, Count, Int(65536), None, Refused(HTTP2),
        "Largest head.";
    raw_paste_global_conf ServerMechanics ["--paste-global"] "CONF" Each, Texts, Is::Texts(&[]), None, Identical,
        "NAME=value for PasteDeploy. May come again.";
    permit_obsolete_folding ServerMechanics ["--permit-obsolete-folding"] "" On, Bool, Is::Bool(false), None, Identical,
        "Accept header fields that go on in the next line.";
    strip_header_spaces ServerMechanics ["--strip-header-spaces"] "" On, Bool, Is::Bool(false), None, Identical,
        "Accept spaces between a header's name and its colon; dangerous behind a proxy that does not.";
    permit_unconventional_http_method ServerMechanics ["--permit-unconventional-http-method"] "" On, Bool, Is::Bool(false), None, Identical,
        "Accept methods that are in lower case, very short or very long.";
    permit_unconventional_http_version ServerMechanics ["--permit-unconventional-http-version"] "" On, Bool, Is::Bool(false), None, Identical,
        "Accept versions other than 1.0 and 1.1.";
    casefold_http_method ServerMechanics ["--casefold-http-method"] "" On, Bool, Is::Bool(false), None, Identical,
        "Put methods into upper case.";
    forwarder_headers ServerMechanics ["--forwarder-headers"] "FORWARDER_HEADERS" Word, Words, Is::Text("SCRIPT_NAME,PATH_INFO"), None, Identical,
        "Header names with an underscore that a peer in forwarded_allow_ips may send; * is all.";
    header_map ServerMechanics ["--header-map"] "HEADER_MAP" Word,
        OneOf(&["drop", "refuse", "dangerous"], Wrong::Invalid("header map behaviour")), Is::Text("drop"), None, Identical,
        "What happens to other header names with an underscore: drop, refuse (400), dangerous (let through).";
    asgi_loop WorkerProcesses ["--asgi-loop"] "STRING" Word,
        OneOf(&["auto", "asyncio", "uvloop"], Wrong::Invalid("ASGI loop")), Is::Text("auto"), None, Mapped(ASGI),
        "Event loop of the asgi worker.";
    asgi_lifespan WorkerProcesses ["--asgi-lifespan"] "STRING" Word,
        OneOf(&["auto", "on", "off"], Wrong::Invalid("ASGI lifespan")), Is::Text("auto"), None, Mapped(ASGI),
        "Lifespan protocol of the asgi worker.";
    asgi_disconnect_grace_period WorkerProcesses ["--asgi-disconnect-grace-period"] "INT" Number, Count, Int(3), None, Mapped(ASGI),
        "What the asgi worker grants after a disconnect.";
    websocket_max_message_size WorkerProcesses ["--websocket-max-message-size"] "INT" Number, Count, Int(16_777_216), None, Mapped(ASGI),
        "Largest WebSocket message of the asgi worker.";
    http_parser WorkerProcesses ["--http-parser"] "STRING" Word,
        OneOf(&["auto", "fast", "python"], Wrong::Must("http_parser")), Is::Text("auto"), None,
        Mapped("without effect: there is one parser, and it is native"),
        "Which parser reads requests.";
    root_path ServerMechanics ["--root-path"] "STRING" Word, Text, Is::Text(""), None, Mapped(ASGI),
        "ASGI's root_path.";
    dirty_apps DirtyArbiters ["--dirty-app"] "STRING" Each, Texts, Is::Texts(&[]), None, Refused(DIRTY),
        "Applications of dirty workers.";
    dirty_workers DirtyArbiters ["--dirty-workers"] "INT" Number, Count, Int(0), None, Refused(DIRTY),
        "Dirty workers.";
    dirty_timeout DirtyArbiters ["--dirty-timeout"] "INT" Number, Count, Int(300), None, Refused(DIRTY),
        "Time limit of their tasks.";
    dirty_threads DirtyArbiters ["--dirty-threads"] "INT" Number, Count, Int(1), None, Refused(DIRTY),
        "Their threads.";
    dirty_graceful_timeout DirtyArbiters ["--dirty-graceful-timeout"] "INT" Number, Count, Int(30), None, Refused(DIRTY),
        "How long they may finish.";
    on_dirty_starting DirtyArbiterHooks [] "" Word, Hook(1), Is::Hook("OnDirtyStarting.on_dirty_starting"), None, Refused(DIRTY),
        "hook(arbiter): the dirty arbiter begins.";
    dirty_post_fork DirtyArbiterHooks [] "" Word, Hook(2), Is::Hook("DirtyPostFork.dirty_post_fork"), None, Refused(DIRTY),
        "hook(arbiter, worker): a dirty worker was forked.";
    dirty_worker_init DirtyArbiterHooks [] "" Word, Hook(1), Is::Hook("DirtyWorkerInit.dirty_worker_init"), None, Refused(DIRTY),
        "hook(worker): a dirty worker has its applications.";
    dirty_worker_exit DirtyArbiterHooks [] "" Word, Hook(2), Is::Hook("DirtyWorkerExit.dirty_worker_exit"), None, Refused(DIRTY),
        "hook(arbiter, worker): a dirty worker ended.";
    control_socket Control ["--control-socket"] "PATH" Word, Path, From(Origin::control_socket, "gunicorn.ctl in XDG_RUNTIME_DIR or ~/.gunicorn"), None, Mapped(GUNICORNC),
        "The control socket, when `control` names none.";
    control_socket_mode Control ["--control-socket-mode"] "INT" Octal, Count, Int(0o600), None, Identical,
        "Mode of the control socket.";
    control_socket_disable Control ["--no-control-socket"] "" On, Bool, Is::Bool(false), None, Identical,
        "No control socket.";
};
