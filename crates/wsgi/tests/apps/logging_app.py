"""Logs as Flask and Django applications do: with a copy of gunicorn's handlers."""

import logging
import sys

log = logging.getLogger("application")
log.handlers = logging.getLogger("gunicorn.error").handlers
log.setLevel(logging.getLogger("gunicorn.error").level)


def app(environ, start_response):
    path = environ["PATH_INFO"]
    if path == "/raise":
        raise ValueError("100% on purpose")
    if path == "/print":
        print("printed", flush=True)
        print("printed to stderr", file=sys.stderr, flush=True)
    log.warning("the application at %s", path)
    start_response("200 OK", [("Content-Type", "text/plain"), ("X-Token", "secret")])
    return [b"hello"]
