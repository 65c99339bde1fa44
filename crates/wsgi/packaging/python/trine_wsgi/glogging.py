"""The loggers ``gunicorn.error`` and ``gunicorn.access``, and the class that configurations inherit from.

Every server imports this at start, so what few settings need is imported where they need it.
"""

import logging
import os
import sys
import threading
import time

#: The number of each syslog facility (RFC 5424, section 6.2.1).
SYSLOG_FACILITIES = {
    name: number
    for number, name in enumerate(
        ["kern", "user", "mail", "daemon", "auth", "syslog", "lpr", "news", "uucp", "cron", "authpriv", "ftp"]
    )
}
SYSLOG_FACILITIES["security"] = SYSLOG_FACILITIES["auth"]
SYSLOG_FACILITIES.update((f"local{number}", 16 + number) for number in range(8))

_ERROR_FORMAT = "%(asctime)s [%(process)d] [%(levelname)s] %(message)s"
_DATE_FORMAT = "[%Y-%m-%d %H:%M:%S %z]"


def _stream_handler(stream):
    return {"class": "logging.StreamHandler", "formatter": "generic", "stream": f"ext://sys.{stream}"}


def _logger(name, handler):
    return {"level": "INFO", "handlers": [handler], "propagate": True, "qualname": name}


#: What ``logconfig_dict`` and ``logconfig_json`` change: a key of theirs replaces the key here as a whole.
CONFIG_DEFAULTS = {
    "version": 1,
    "disable_existing_loggers": False,
    "root": {"level": "INFO", "handlers": ["console"]},
    "loggers": {
        "gunicorn.error": _logger("gunicorn.error", "error_console"),
        "gunicorn.access": _logger("gunicorn.access", "console"),
    },
    "handlers": {"console": _stream_handler("stdout"), "error_console": _stream_handler("stderr")},
    "formatters": {
        "generic": {"format": _ERROR_FORMAT, "datefmt": _DATE_FORMAT, "class": "logging.Formatter"},
    },
}


def loggers():
    """All loggers there are, but for the root."""
    return [logging.getLogger(name) for name in list(logging.root.manager.loggerDict)]


def _file_handlers():
    seen = set()
    for log in [logging.root, *loggers()]:
        for handler in log.handlers:
            if isinstance(handler, logging.FileHandler) and id(handler) not in seen:
                seen.add(id(handler))
                yield handler


class SafeAtoms(dict):
    """The atoms as ``%``-formatting asks for them: quotes are escaped, and what is not there is a dash."""

    def __init__(self, atoms):
        super().__init__(
            (name, value.replace('"', '\\"') if isinstance(value, str) else value) for name, value in atoms.items()
        )

    def __getitem__(self, name):
        # Header and variable names are the same in any case.
        return self.get(name.lower() if name.startswith("{") else name, "-")


def parse_syslog_address(addr):
    """``udp://host:port``, ``tcp://…``, ``unix://path[#dgram|#stream]`` as the socket's kind and its address."""
    scheme, found, rest = addr.partition("://")
    if not found or scheme not in ("udp", "tcp", "unix"):
        raise RuntimeError("invalid syslog address")
    import socket

    if scheme == "unix":
        path, _, kind = rest.partition("#")
        # Without a word about it, SysLogHandler tries both.
        return {"dgram": socket.SOCK_DGRAM, "stream": socket.SOCK_STREAM}.get(kind), path
    host, port = rest, ""
    if rest.startswith("["):
        host, _, port = rest[1:].partition("]")
        port = port.removeprefix(":")
    elif ":" in rest:
        host, _, port = rest.partition(":")
    if port and not port.isdigit():
        raise RuntimeError(f"{port!r} is not a valid port number.")
    kind = socket.SOCK_DGRAM if scheme == "udp" else socket.SOCK_STREAM
    return kind, ((host or "localhost").lower(), int(port or 514))


class Logger:
    """Writes the error log and the access log through Python's ``logging``.

    Subclasses override ``setup``, ``access``, ``atoms`` or ``now``. ``cfg`` has the settings under gunicorn's names.
    """

    LOG_LEVELS = {
        "critical": logging.CRITICAL,
        "error": logging.ERROR,
        "warning": logging.WARNING,
        "info": logging.INFO,
        "debug": logging.DEBUG,
    }
    loglevel = logging.INFO

    error_fmt = _ERROR_FORMAT
    datefmt = _DATE_FORMAT
    access_fmt = "%(message)s"
    syslog_fmt = "[%(process)d] %(message)s"

    atoms_wrapper_class = SafeAtoms

    def __init__(self, cfg):
        self.error_log = logging.getLogger("gunicorn.error")
        self.access_log = logging.getLogger("gunicorn.access")
        for log in (self.error_log, self.access_log):
            log.propagate = False
        self.error_handlers = []
        self.access_handlers = []
        self.logfile = None
        self.lock = threading.Lock()
        self.cfg = cfg
        self.setup(cfg)

    def setup(self, cfg):
        """Makes the handlers that ``cfg`` asks for; again with the settings of every reload."""
        self.cfg = cfg
        self._access_wanted = None
        self.loglevel = self.LOG_LEVELS.get(cfg.loglevel.lower(), logging.INFO)
        self.error_log.setLevel(self.loglevel)
        self.access_log.setLevel(logging.INFO)
        for log in (self.error_log, self.access_log):
            _drop_own_handlers(log)

        if cfg.capture_output and cfg.errorlog != "-":
            self._capture()
        self._set_handler(self.error_log, cfg.errorlog, logging.Formatter(self.error_fmt, self.datefmt))
        if cfg.accesslog is not None:
            self._set_handler(self.access_log, cfg.accesslog, logging.Formatter(self.access_fmt), sys.stdout)
        if cfg.syslog:
            self._set_syslog_handler(self.error_log, cfg, self.syslog_fmt, "error")
            if not cfg.disable_redirect_access_to_syslog:
                self._set_syslog_handler(self.access_log, cfg, self.syslog_fmt, "access")
        self._configure_logging(cfg)

    def _configure_logging(self, cfg):
        if not (cfg.logconfig_dict or cfg.logconfig_json or cfg.logconfig):
            return
        import logging.config

        if cfg.logconfig_dict:
            given = cfg.logconfig_dict
        elif cfg.logconfig_json:
            if not os.path.exists(cfg.logconfig_json):
                raise RuntimeError(f"Error: log config '{cfg.logconfig_json}' not found")
            import json

            try:
                with open(cfg.logconfig_json, encoding="utf-8") as file:
                    given = json.load(file)
            except ValueError as problem:
                raise RuntimeError(f"{cfg.logconfig_json}: {problem}") from problem
        else:
            if not os.path.exists(cfg.logconfig):
                raise RuntimeError(f"Error: log config '{cfg.logconfig}' not found")
            place = {"__file__": cfg.logconfig, "here": os.path.dirname(cfg.logconfig)}
            logging.config.fileConfig(
                cfg.logconfig, defaults={**CONFIG_DEFAULTS, **place}, disable_existing_loggers=False
            )
            return
        try:
            logging.config.dictConfig({**CONFIG_DEFAULTS, **given})
        except (AttributeError, ImportError, TypeError, ValueError) as problem:
            raise RuntimeError(str(problem)) from problem

    def critical(self, msg, *args, **kwargs):
        self.error_log.critical(msg, *args, **kwargs)

    def error(self, msg, *args, **kwargs):
        self.error_log.error(msg, *args, **kwargs)

    def warning(self, msg, *args, **kwargs):
        self.error_log.warning(msg, *args, **kwargs)

    def info(self, msg, *args, **kwargs):
        self.error_log.info(msg, *args, **kwargs)

    def debug(self, msg, *args, **kwargs):
        self.error_log.debug(msg, *args, **kwargs)

    def exception(self, msg, *args, **kwargs):
        self.error_log.exception(msg, *args, **kwargs)

    def log(self, lvl, msg, *args, **kwargs):
        """Logs at a level given by number or by name."""
        if isinstance(lvl, str):
            lvl = self.LOG_LEVELS.get(lvl.lower(), logging.INFO)
        self.error_log.log(lvl, msg, *args, **kwargs)

    def atoms(self, resp, req, environ, request_time):
        """The values that ``access_log_format`` may name; headers and variables as ``{name}i``, ``{name}o``,
        ``{name}e``, in small letters."""
        status = resp.status
        if isinstance(status, str):
            status = status.split(None, 1)[0]
        sent = getattr(resp, "sent", None)
        whole_seconds, micros = request_time.seconds, request_time.microseconds
        atoms = {
            "h": environ.get("REMOTE_ADDR", "-"),
            "l": "-",
            "u": self._get_user(environ) or "-",
            "t": self.now(),
            "r": "{REQUEST_METHOD} {RAW_URI} {SERVER_PROTOCOL}".format_map(environ),
            "s": status,
            "m": environ.get("REQUEST_METHOD"),
            "U": environ.get("PATH_INFO"),
            "q": environ.get("QUERY_STRING"),
            "H": environ.get("SERVER_PROTOCOL"),
            "b": "-" if sent is None else str(sent),
            "B": sent,
            "f": environ.get("HTTP_REFERER", "-"),
            "a": environ.get("HTTP_USER_AGENT", "-"),
            "T": whole_seconds,
            "D": whole_seconds * 1_000_000 + micros,
            "M": whole_seconds * 1000 + micros // 1000,
            "L": f"{whole_seconds}.{micros:06}",
            "p": f"<{os.getpid()}>",
        }
        for letter, source in (("i", getattr(req, "headers", req)), ("o", resp.headers), ("e", environ)):
            pairs = source.items() if hasattr(source, "items") else source
            atoms.update((f"{{{name.lower()}}}{letter}", value) for name, value in pairs)
        return atoms

    @property
    def access_log_enabled(self):
        """Whether anybody wants access lines."""
        if getattr(self, "_access_wanted", None) is None:
            cfg = self.cfg
            to_syslog = cfg.syslog and not cfg.disable_redirect_access_to_syslog
            wanted = cfg.accesslog or cfg.logconfig or cfg.logconfig_dict or cfg.logconfig_json or to_syslog
            self._access_wanted = bool(wanted)
        return self._access_wanted

    def access(self, resp, req, environ, request_time):
        """Writes the access line of one request; ``request_time`` is a ``timedelta``."""
        if not self.access_log_enabled:
            return
        atoms = self.atoms_wrapper_class(self.atoms(resp, req, environ, request_time))
        try:
            self.access_log.info(self.cfg.access_log_format, atoms)
        except Exception:
            import traceback

            self.error(traceback.format_exc())

    def now(self):
        """The time as access logs write it."""
        return time.strftime("[%d/%b/%Y:%H:%M:%S %z]")

    def reopen_files(self):
        """Opens all log files again by their names, after logrotate moved them away."""
        if self.cfg.capture_output and self.cfg.errorlog != "-":
            with self.lock:
                self._capture()
        for handler in _file_handlers():
            handler.acquire()
            try:
                if handler.stream:
                    handler.close()
                    handler.stream = handler._open()
            finally:
                handler.release()

    def close_on_exec(self):
        """Keeps the log files from programs that are started."""
        for handler in _file_handlers():
            if handler.stream:
                os.set_inheritable(handler.stream.fileno(), False)

    def _capture(self):
        """Has everything that is printed go to the error log."""
        for stream in (sys.stdout, sys.stderr):
            stream.flush()
        if self.logfile is not None:
            self.logfile.close()
        self.logfile = open(self.cfg.errorlog, "a+")
        for stream in (sys.stdout, sys.stderr):
            os.dup2(self.logfile.fileno(), stream.fileno())

    def _get_gunicorn_handler(self, log):
        return next((handler for handler in log.handlers if getattr(handler, "_gunicorn", False)), None)

    def _set_handler(self, log, output, fmt, stream=None):
        old = self._get_gunicorn_handler(log)
        if old is not None:
            log.removeHandler(old)
        if output is None:
            return
        if output == "-":
            handler = logging.StreamHandler(stream)
        else:
            try:
                handler = logging.FileHandler(output)
            except OSError as problem:
                raise RuntimeError(f"Error: '{output}' isn't writable [{problem!r}]") from problem
            try:
                # So that a worker without privileges can open it again.
                os.chown(handler.baseFilename, self.cfg.user, self.cfg.group)
            except OSError:
                pass  # /dev/null, or a file that belongs to somebody else already
        _add_own_handler(log, handler, fmt)

    def _set_syslog_handler(self, log, cfg, fmt, name):
        import logging.handlers

        prefix = cfg.syslog_prefix or cfg.proc_name.replace(":", ".")
        try:
            facility = SYSLOG_FACILITIES[cfg.syslog_facility.lower()]
        except KeyError:
            raise RuntimeError("unknown facility name") from None
        kind, address = parse_syslog_address(cfg.syslog_addr)
        handler = logging.handlers.SysLogHandler(address=address, facility=facility, socktype=kind)
        _add_own_handler(log, handler, logging.Formatter(f"gunicorn.{prefix}.{name}: {fmt}"))

    def _get_user(self, environ):
        """The user of Basic authentication."""
        scheme, _, value = environ.get("HTTP_AUTHORIZATION", "").partition(" ")
        if scheme.lower() != "basic" or not value:
            return None
        import base64
        import binascii

        try:
            user, _, _ = base64.b64decode(value.strip()).partition(b":")
            return user.decode()
        except (binascii.Error, ValueError) as problem:
            self.debug("Couldn't get username: %s", problem)
            return None


def _add_own_handler(log, handler, fmt):
    handler.setFormatter(fmt)
    handler._gunicorn = True
    log.addHandler(handler)


def _drop_own_handlers(log):
    for handler in list(log.handlers):
        if getattr(handler, "_gunicorn", False):
            log.removeHandler(handler)
            handler.close()
