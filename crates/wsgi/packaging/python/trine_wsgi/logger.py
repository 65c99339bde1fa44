"""Which logger the server writes with, and what it is asked to do from Rust.

Not here: the loggers themselves (``glogging``, ``statsd``).
"""

import importlib
import logging
import os

_DEFAULTS = ("gunicorn.glogging.Logger", "simple")


def find_class(cfg):
    """The class of ``logger_class``: by default the plain one, with ``statsd_host`` the one that tells statsd."""
    uri = cfg.settings["logger_class"].get()
    if uri in _DEFAULTS:
        if cfg.statsd_host is not None:
            from trine_wsgi.statsd import Statsd

            return Statsd
        from trine_wsgi.glogging import Logger

        return Logger
    found = _load(uri) if isinstance(uri, str) else uri
    if hasattr(found, "install"):
        found.install()
    return found


def _load(uri):
    if uri.startswith("egg:"):
        from importlib import metadata

        distribution, _, name = uri.removeprefix("egg:").partition("#")
        for entry in metadata.distribution(distribution).entry_points:
            if entry.group == "gunicorn.loggers" and entry.name == name:
                return entry.load()
        raise RuntimeError(f"class uri {uri!r} invalid or not found: there is no such entry point")
    module, _, name = uri.rpartition(".")
    if not module:
        from importlib import metadata

        for entry in metadata.entry_points(group="gunicorn.loggers", name=uri):
            return entry.load()
        raise RuntimeError(f"class uri {uri!r} invalid or not found: it is neither a dotted name nor an entry point")
    try:
        return getattr(importlib.import_module(module), name)
    except (ImportError, AttributeError) as problem:
        raise RuntimeError(f"class uri {uri!r} invalid or not found: {problem}") from problem


def is_native(cfg):
    """Whether the server may write both logs itself, because nothing asks for Python's loggers."""
    asked = cfg.logconfig or cfg.logconfig_dict or cfg.logconfig_json or cfg.syslog or cfg.statsd_host is not None
    return not asked and cfg.settings["logger_class"].get() in _DEFAULTS


def level(log):
    """The lowest level that ``gunicorn.error`` takes."""
    return log.error_log.getEffectiveLevel() if hasattr(log, "error_log") else logging.INFO


def relay(log, level, text):
    """Hands one line of the server to the logger, by the method that a gunicorn would call."""
    if level >= logging.CRITICAL:
        log.critical(text)
    elif level >= logging.ERROR:
        log.error(text)
    elif level >= logging.WARNING:
        log.warning(text)
    elif level >= logging.INFO:
        log.info(text)
    else:
        log.debug(text)


def workers(log, count):
    """The number of workers, for loggers that make a metric of it."""
    log.debug(f"{count} workers", extra={"metric": "gunicorn.workers", "value": count, "mtype": "gauge"})


def backlog(log, descriptors):
    """How many connections wait in the kernel for these TCP listeners, as a metric."""
    import socket
    import struct

    waiting = 0
    for descriptor in descriptors:
        with socket.socket(fileno=os.dup(descriptor)) as listener:
            # struct tcp_info of linux/tcp.h: eight bytes, four numbers, then tcpi_unacked, which counts them.
            info = listener.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 28)
            waiting += struct.unpack_from("=I", info, 24)[0]
    log.debug(
        f"socket backlog: {waiting}", extra={"metric": "gunicorn.backlog", "value": waiting, "mtype": "histogram"}
    )
