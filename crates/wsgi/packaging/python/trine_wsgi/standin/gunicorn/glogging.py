"""The loggers, and the class that configurations inherit from."""

from trine_wsgi.glogging import (
    CONFIG_DEFAULTS,
    SYSLOG_FACILITIES,
    Logger,
    SafeAtoms,
    loggers,
    parse_syslog_address,
)

__all__ = ["CONFIG_DEFAULTS", "SYSLOG_FACILITIES", "Logger", "SafeAtoms", "loggers", "parse_syslog_address"]
