"""One small application per path. Those that keep PEP 3333 are wrapped in wsgiref.validate; the others are wrong on purpose."""

import io
import os
import sys
import tempfile
import threading
from wsgiref.validate import validator

PLAIN = [("Content-Type", "text/plain")]
closed = []


class Body:
    """An iterable with close(), and no length, as frameworks return."""

    def __init__(self, blocks, name=None):
        self.blocks = iter(blocks)
        self.name = name
        self.thread = None

    def __iter__(self):
        return self

    def __next__(self):
        self.thread = threading.get_ident()
        return next(self.blocks)

    def close(self):
        if self.name:
            closed.append(self.name + ("" if self.thread in (None, threading.get_ident()) else " on another thread"))


class Single:
    """len() is 1, but it is no list."""

    def __len__(self):
        return 1

    def __iter__(self):
        return iter([b"single"])


class Items:
    """Iterable by __getitem__ only."""

    def __getitem__(self, index):
        return [b"a", b"b"][index]


def read_body(environ):
    """All of wsgi.input, as hostile as validate allows."""
    return environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))


def legal_list(environ, start_response):
    start_response("200 OK", PLAIN)
    return [b"one", b"two"]


def legal_generator(environ, start_response):
    start_response("200 OK", PLAIN)
    yield b"one"
    yield b""
    yield b"two"


def legal_late(environ, start_response):
    # The head may come as late as the first block.
    start_response("200 OK", PLAIN + [("X-Late", "yes")])
    yield b"late"


def legal_write(environ, start_response):
    write = start_response("200 OK", PLAIN)
    write(b"first ")
    write(b"second ")
    return [b"third"]


def legal_length(environ, start_response):
    start_response("200 OK", PLAIN + [("Content-Length", "5")])
    return Body([b"he", b"llo"], "length")


def legal_echo(environ, start_response):
    body = read_body(environ)
    start_response("200 OK", PLAIN + [("X-Method", environ["REQUEST_METHOD"])])
    return [body]


def legal_empty(environ, start_response):
    start_response("204 No Content", [])
    return []


def legal_not_modified(environ, start_response):
    start_response("304 Not Modified", [("ETag", '"x"')])
    return []


def legal_replaced(environ, start_response):
    start_response("200 OK", PLAIN + [("X-Old", "1")])
    try:
        raise ValueError("before output")
    except ValueError:
        start_response("500 Replaced", PLAIN + [("X-New", "1")], sys.exc_info())
    return [b"sorry"]


def legal_cookies(environ, start_response):
    start_response("200 Ok", PLAIN + [("Set-Cookie", "a=1"), ("Set-Cookie", "b=2"), ("X-Latin", "\xe9")])
    return [environ.get("HTTP_COOKIE", "-").encode("latin-1")]


def legal_file(environ, start_response):
    file = tempfile.TemporaryFile()
    file.write(b"0123456789")
    file.seek(4)
    start_response("200 OK", PLAIN)
    return environ["wsgi.file_wrapper"](file)


def legal_memory_file(environ, start_response):
    start_response("200 OK", PLAIN)
    return environ["wsgi.file_wrapper"](io.BytesIO(b"in memory"), 4)


def late(environ, start_response):
    def blocks():
        start_response("200 OK", PLAIN)
        yield b"late"

    return blocks()


def getitem(environ, start_response):
    start_response("200 OK", PLAIN)
    return Items()


def single(environ, start_response):
    start_response("200 OK", PLAIN)
    return Single()


def file_with_length(environ, start_response):
    file = tempfile.TemporaryFile()
    file.write(b"0123456789")
    file.seek(0)
    start_response("200 OK", PLAIN + [("Content-Length", "4")])
    return environ["wsgi.file_wrapper"](file)


def empty_file(environ, start_response):
    start_response("200 OK", PLAIN)
    return environ["wsgi.file_wrapper"](tempfile.TemporaryFile())


def large_file(environ, start_response):
    file = tempfile.TemporaryFile()
    file.write(b"x" * 3_000_000)
    file.seek(0)
    start_response("200 OK", PLAIN)
    return environ["wsgi.file_wrapper"](file)


def large_list(environ, start_response):
    start_response("200 OK", PLAIN)
    return [b"x" * 3_000_000]


def of_size(environ, start_response):
    start_response("200 OK", PLAIN)
    return [b"x" * int(environ["QUERY_STRING"])]


def large_blocks(environ, start_response):
    start_response("200 OK", PLAIN)
    return Body((b"x" * 300_000 for _ in range(10)), "large")


def twice(environ, start_response):
    start_response("200 OK", PLAIN)
    start_response("201 Created", PLAIN)
    return [b"never"]


def exc_info_after_output(environ, start_response):
    write = start_response("200 OK", PLAIN)
    write(b"begun")
    try:
        raise ValueError("after output")
    except ValueError:
        start_response("500 Oops", PLAIN, sys.exc_info())
    return [b"never"]


def never(environ, start_response):
    return [b"no head"]


def never_empty(environ, start_response):
    return []


def raises(environ, start_response):
    raise RuntimeError("on purpose")


def raises_first(environ, start_response):
    start_response("200 OK", PLAIN)
    raise RuntimeError("on purpose")
    yield b"never"


def raises_midway(environ, start_response):
    start_response("200 OK", PLAIN)

    def blocks():
        yield b"begun"
        raise RuntimeError("on purpose")

    return Body(blocks(), "midway")


def raises_in_close(environ, start_response):
    class Closing(Body):
        def close(self):
            raise RuntimeError("in close")

    start_response("200 OK", PLAIN + [("Content-Length", "2")])
    return Closing([b"ok"])


def exits(environ, start_response):
    kinds = {"exit": SystemExit(3), "interrupt": KeyboardInterrupt(), "generator": GeneratorExit()}
    raise kinds[environ["QUERY_STRING"]]


def text_block(environ, start_response):
    start_response("200 OK", PLAIN)
    return ["text"]


def text_midway(environ, start_response):
    start_response("200 OK", PLAIN)
    return iter([b"bytes", "text"])


def short(environ, start_response):
    start_response("200 OK", PLAIN + [("Content-Length", "10")])
    return [b"short"]


def over(environ, start_response):
    start_response("200 OK", PLAIN + [("Content-Length", "4")])
    return Body([b"over", b"flow"], "over")


def hop_by_hop(environ, start_response):
    start_response(
        "200 OK",
        PLAIN + [("Connection", "X-Y"), ("Transfer-Encoding", "gzip"), ("Keep-Alive", "1"), ("Server", "me"), ("Upgrade", "h2")],
    )
    return [b"ok"]


def asks_to_close(environ, start_response):
    start_response("200 OK", PLAIN + [("Connection", "close")])
    return [b"ok"]


def injects(environ, start_response):
    bad = {
        "value": [("X-A", "1\r\nX-B: 2")],
        "name": [("X-A: 1\r\nX-B", "2")],
        "unicode": [("X-A", "\u20ac")],
        "bytes": [(b"X-A", b"1")],
        "length": [("Content-Length", "+1")],
        "pair": ["X-A"],
    }
    query = environ["QUERY_STRING"]
    if query == "status":
        start_response("200 OK\r\nX-B: 2", PLAIN)
    else:
        start_response("200 OK", bad[query])
    return [b"never"]


def mutates(environ, start_response):
    headers = list(PLAIN)
    start_response("200 OK", headers)
    yield b"one"
    headers.append(("X-Too-Late", "1"))
    yield b"two"


def reads(environ, start_response):
    """What each way of reading brings, as a Python expression in the query."""
    body = environ["wsgi.input"]
    from urllib.parse import unquote

    result = eval(unquote(environ["QUERY_STRING"]), {"body": body})
    start_response("200 OK", PLAIN)
    return [repr(result).encode()]


def shows(environ, start_response):
    from urllib.parse import unquote

    keys = unquote(environ["QUERY_STRING"]).split(",")
    start_response("200 OK", PLAIN)
    return ["\n".join(repr(environ.get(key)) for key in keys).encode()]


def types(environ, start_response):
    assert type(environ) is dict
    for key, value in environ.items():
        assert type(key) is str, key
        if not key.startswith("wsgi.") and key != "gunicorn.socket":
            assert type(value) is str, key
    environ["leftover"] = "1"
    start_response("200 OK", PLAIN)
    return [b"fresh" if "HOME" not in environ else b"leaks"]


def errors(environ, start_response):
    out = environ["wsgi.errors"]
    out.write("to the log: \u20ac \ud800\n")
    out.writelines(["and", " more\n"])
    out.flush()
    start_response("200 OK", PLAIN)
    return [b"ok"]


def hints(environ, start_response):
    environ["wsgi.early_hints"]([("Link", "</x.css>; rel=preload")])
    start_response("200 OK", PLAIN)
    return [b"ok"]


def reads_late(environ, start_response):
    """Says before it reads that it is inside, and what reading brought or raised."""
    environ["wsgi.errors"].write("inside\n")
    body = environ["wsgi.input"]
    try:
        result = [body.read(3), body.readline(), body.read()]
    except Exception as error:
        result = [type(error).__name__, isinstance(error, OSError)]
    start_response("200 OK", PLAIN)
    return [repr(result).encode()]


def reads_blindly(environ, start_response):
    body = environ["wsgi.input"].read()
    start_response("200 OK", PLAIN)
    return [body]


def reads_after_start(environ, start_response):
    start_response("200 OK", PLAIN)(b"begun ")
    return [environ["wsgi.input"].read()]


def reads_not(environ, start_response):
    start_response("403 Forbidden", PLAIN)
    return [b"no"]


def takes_over(environ, start_response):
    """Speaks for itself, as an echo, until the client is done."""
    connection = environ["gunicorn.socket"]
    connection.sendall(b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: echo\r\nConnection: Upgrade\r\n\r\n")
    while data := connection.recv(100):
        connection.sendall(data.upper())
    connection.close()
    raise StopIteration


def takes_away(environ, start_response):
    """Goes on with the connection on a thread of its own after the request has ended."""
    connection = environ["gunicorn.socket"]
    connection.settimeout(20)

    def work():
        while data := connection.recv(100):
            connection.sendall(data.upper())
        connection.close()

    threading.Thread(target=work).start()
    connection.sendall(b"taken")
    raise StopIteration


def looks_at_socket(environ, start_response):
    connection = environ["gunicorn.socket"]
    assert connection.fileno() > 0
    connection.settimeout(3)
    start_response("200 OK", PLAIN)
    return [b"looked at " + type(connection.getsockname()).__name__.encode()]


def breaks_over(environ, start_response):
    environ["gunicorn.socket"].sendall(b"mine")
    raise RuntimeError("after the take-over")


def keeps_socket(environ, start_response):
    """Keeps the stand-in of one request and uses it in the next."""
    kept_sockets.append(environ["gunicorn.socket"])
    start_response("200 OK", PLAIN)
    try:
        if len(kept_sockets) > 1:
            kept_sockets[0].fileno()
    except RuntimeError as error:
        return [str(error).encode()]
    return [b"kept"]


kept_sockets = []
kept = []


def keeps(environ, start_response):
    """Keeps the callable of one request and calls it in the next."""
    kept.append(start_response)
    if len(kept) > 1:
        try:
            kept[-2]("200 OK", PLAIN)
        except RuntimeError as error:
            start_response("200 OK", PLAIN)
            return [str(error).encode()]
    start_response("200 OK", PLAIN)
    return [b"kept"]


def was_closed(environ, start_response):
    start_response("200 OK", PLAIN)
    names = ",".join(closed)
    closed.clear()
    return [names.encode()]


def pid(environ, start_response):
    start_response("200 OK", PLAIN)
    return [str(os.getpid()).encode()]


legal = {name: validator(function) for name, function in list(globals().items()) if name.startswith("legal_")}


def app(environ, start_response):
    name = environ["PATH_INFO"].strip("/").replace("/", "_")
    if name in legal:
        return legal[name](environ, start_response)
    return globals()[name](environ, start_response)
