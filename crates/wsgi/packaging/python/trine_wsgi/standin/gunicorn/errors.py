"""Errors of starting up."""


class HaltServer(BaseException):
    """Ends the server with ``exit_status`` for ``reason``."""

    def __init__(self, reason, exit_status=1):
        super().__init__(reason, exit_status)
        self.reason = reason
        self.exit_status = exit_status

    def __str__(self):
        return f"<HaltServer {self.reason!r} {self.exit_status}>"


class ConfigError(Exception):
    """A setting that cannot be."""


class AppImportError(Exception):
    """There is no application where the setting says."""
