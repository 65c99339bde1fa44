"""The applications of `cargo xtask bench wsgi-…`."""

import time

PLAIN = ("Content-Type", "text/plain")


def answer(body):
    """An application that always gives this body."""
    headers = [PLAIN, ("Content-Length", str(len(body)))]

    def app(environ, start_response):
        start_response("200 OK", headers)
        return [body]

    return app


hello = answer(b"Hello, world!")
kib16 = answer(b"x" * 16384)
kib64 = answer(b"x" * 65536)


def length(environ, start_response):
    """Reads the body, says how long it was."""
    body = b"%d" % len(environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0)))
    start_response("200 OK", [PLAIN, ("Content-Length", str(len(body)))])
    return [body]


def sleepy(environ, start_response):
    """Waits as long as a short database query."""
    time.sleep(0.01)
    return hello(environ, start_response)
