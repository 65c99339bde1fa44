"""Settings as Python code sees them: what hooks get as ``server.cfg``, loggers as ``cfg``, and scripts build.

The table of settings and the checks are the server's own (``_native``); here they get gunicorn's classes and attributes.
"""

import os
import sys

from trine_wsgi import _native

#: The class of each setting, in the order of the table.
KNOWN_SETTINGS = []

#: gunicorn's classes whose names are not those of their settings in capitals.
_CLASS_NAMES = {
    "accesslog": "AccessLog",
    "ca_certs": "CACerts",
    "certfile": "CertFile",
    "check_config": "ConfigCheck",
    "config": "ConfigFile",
    "control_socket_disable": "ControlSocketDisable",
    "enable_backlog_metric": "BacklogMetric",
    "errorlog": "ErrorLog",
    "forwarded_allow_ips": "ForwardedAllowIPS",
    "keyfile": "KeyFile",
    "logconfig": "LogConfig",
    "logconfig_dict": "LogConfigDict",
    "logconfig_json": "LogConfigJson",
    "nworkers_changed": "NumWorkersChanged",
    "post_fork": "Postfork",
    "pre_fork": "Prefork",
    "proc_name": "Procname",
    "proxy_allow_ips": "ProxyAllowFrom",
    "pythonpath": "PythonPath",
    "raw_env": "Env",
    "raw_paste_global_conf": "PasteGlobalConf",
    "secure_scheme_headers": "SecureSchemeHeader",
    "ssl_context": "NewSSLContext",
    "ssl_version": "SSLVersion",
    "syslog_addr": "SyslogTo",
    "suppress_ragged_eofs": "SuppressRaggedEOFs",
    "threads": "WorkerThreads",
    "uwsgi_allow_ips": "UWSGIAllowFrom",
    "wsgi_app": "WSGIApp",
}


class Setting:
    """One setting. A subclass with a ``name`` is a setting more."""

    name = None
    section = None
    cli = None
    default = None
    desc = ""
    validator = None

    def __init_subclass__(cls, **kwargs):
        super().__init_subclass__(**kwargs)
        if cls.name is not None:
            cls.short = (cls.desc or "").strip().partition("\n")[0]
            cls.order = len(KNOWN_SETTINGS)
            KNOWN_SETTINGS.append(cls)

    def __init__(self):
        self.value = self.default
        #: Whether somebody said so, rather than the default.
        self.given = False

    def get(self):
        return self.value

    def set(self, value):
        """Checks and keeps a value. Raises ValueError or TypeError with the reason."""
        validator = type(self).__dict__.get("validator")
        if validator is not None:
            self.value = getattr(validator, "__func__", validator)(value)
        elif self.name in _NATIVE:
            self.value = _native.check_setting(self.name, value)
        else:
            self.value = value
        self.given = True

    def __lt__(self, other):
        return (self.section, self.order) < (other.section, other.order)

    def __repr__(self):
        return f"<{type(self).__module__}.{type(self).__name__} object with value {self.value!r}>"


def _make_classes():
    for name, section, flags, default, meaning in _native.settings():
        class_name = _CLASS_NAMES.get(name, "".join(word.capitalize() for word in name.split("_")))
        attributes = {
            "__module__": __name__,
            "__doc__": meaning,
            "name": name,
            "section": section,
            "cli": flags or None,
            "default": default,
            "desc": meaning,
        }
        globals()[class_name] = type(class_name, (Setting,), attributes)
        yield name


_NATIVE = frozenset(_make_classes())


def make_settings(ignore=None):
    """Every setting at its default, by name."""
    ignored = ignore or ()
    return {cls.name: cls() for cls in KNOWN_SETTINGS if cls.name not in ignored}


class Config:
    """The settings: each is an attribute; ``set`` changes one."""

    def __init__(self, usage=None, prog=None):
        self.settings = make_settings()
        self.usage = usage
        self.prog = prog or os.path.basename(sys.argv[0])
        self.env_orig = os.environ.copy()

    def __getattr__(self, name):
        if name == "settings":
            raise AttributeError(name)
        if name not in self.settings:
            raise AttributeError(f"No configuration setting for: {name}")
        return self.settings[name].get()

    def __setattr__(self, name, value):
        if name != "settings" and name in self.settings:
            raise AttributeError("Invalid access!")
        super().__setattr__(name, value)

    def __str__(self):
        width = max(map(len, self.settings))
        return "\n".join(f"{name:{width}} = {_shown(self.settings[name].value)}" for name in sorted(self.settings))

    def set(self, name, value):
        if name not in self.settings:
            raise AttributeError(f"No configuration setting for: {name}")
        self.settings[name].set(value)

    def validate(self):
        """The server checks settings against each other when it starts."""

    def get_cmd_args_from_env(self):
        import shlex

        return shlex.split(self.env_orig.get("GUNICORN_CMD_ARGS", ""))

    @property
    def worker_class_str(self):
        uri = self.settings["worker_class"].get()
        if not isinstance(uri, str):
            return uri.__name__
        is_sync = uri == "sync" or uri.endswith("SyncWorker")
        return "gthread" if is_sync and self.threads > 1 else uri

    @property
    def address(self):
        """Where to listen: pairs of host and port, paths, descriptors."""
        return [_parse_address(bind) for bind in self.settings["bind"].get()]

    @property
    def uid(self):
        return self.settings["user"].get()

    @property
    def gid(self):
        return self.settings["group"].get()

    @property
    def proc_name(self):
        name = self.settings["proc_name"].get()
        return self.settings["default_proc_name"].get() if name is None else name

    @property
    def logger_class(self):
        from trine_wsgi import logger

        return logger.find_class(self)

    @property
    def is_ssl(self):
        return self.certfile or self.keyfile

    @property
    def ssl_options(self):
        return {name: setting.get() for name, setting in self.settings.items() if setting.section == "SSL"}

    @property
    def env(self):
        pairs = (pair.partition("=") for pair in self.settings["raw_env"].get() or ())
        return {name: value for name, _, value in pairs}

    @property
    def sendfile(self):
        if self.settings["sendfile"].get() is not None:
            return False
        return os.environ.get("SENDFILE", "y").lower() in ("y", "1", "yes", "true")

    @property
    def reuse_port(self):
        return self.settings["reuse_port"].get()

    @property
    def paste_global_conf(self):
        given = self.settings["raw_paste_global_conf"].get()
        if given is None:
            return None
        pairs = (pair.replace("\\=", "\0").partition("=") for pair in given)
        return {name.replace("\0", "="): value.replace("\0", "=") for name, _, value in pairs}


def _parse_address(bind):
    """A pair of host and port, the path of a Unix socket, or a descriptor's number."""
    for scheme in ("unix://", "unix:"):
        if bind.startswith(scheme):
            return bind.removeprefix(scheme)
    if bind.startswith("fd://"):
        return int(bind.removeprefix("fd://"))
    bind = bind.removeprefix("tcp://")
    host, bracket, rest = bind.removeprefix("[").partition("]") if bind.startswith("[") else (bind, "", "")
    if bracket:
        port = rest.removeprefix(":")
    else:
        host, _, port = bind.partition(":")
    return (host or "0.0.0.0").lower(), int(port or 8000)


def _shown(value):
    return f"<{value.__qualname__}()>" if callable(value) else value


def _of_server(values, given):
    """The settings that a server runs with: checked values by name, and the names that somebody gave."""
    config = Config(prog="trine-wsgi")
    for name, value in values.items():
        setting = config.settings[name]
        setting.value = value
        setting.given = name in given
    return config


def get_default_config_file():
    """``gunicorn.conf.py`` of the current folder, if there is one."""
    path = os.path.join(os.path.abspath(os.getcwd()), "gunicorn.conf.py")
    return path if os.path.exists(path) else None
