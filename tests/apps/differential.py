"""Small applications for the differential runner, one per path: what they do must look the same from every server.

Those in the second half break PEP 3333 on purpose.
"""

import io
import sys
import tempfile
from urllib.parse import unquote

PLAIN = [("Content-Type", "text/plain")]
apps = {}


def app_here(function):
    apps["/" + function.__name__.strip("_")] = function
    return function


def answers(name, status="200 OK", headers=PLAIN, body=(b"hello",)):
    """An application that says just this."""

    def application(environ, start_response):
        start_response(status, list(headers))
        return body() if callable(body) else body

    apps["/" + name] = application


class Iterator:
    def __init__(self, *blocks):
        self.blocks = iter(blocks)

    def __iter__(self):
        return self

    def __next__(self):
        return next(self.blocks)


class Sized(Iterator):
    """len() is told, as some frameworks do."""

    def __len__(self):
        return 1


class Items:
    def __getitem__(self, index):
        return [b"by ", b"index"][index]


class Closing(Iterator):
    def close(self):
        sys.stderr.write("closed\n")


def file(content, at=0):
    handle = tempfile.TemporaryFile()
    handle.write(content)
    handle.seek(at)
    return handle


# What comes out: bodies.
answers("one", body=[b"hello"])
answers("two", body=[b"hel", b"lo"])
answers("tuple", body=(b"hel", b"lo"))
answers("none_at_all", body=[])
answers("empty_block", body=[b""])
answers("empty_blocks", body=lambda: iter([b"", b"a", b"", b"b", b""]))
answers("generator", body=lambda: (part for part in (b"hel", b"lo")))
answers("generator_of_one", body=lambda: (part for part in (b"hello",)))
answers("generator_of_none", body=lambda: (part for part in ()))
answers("iterator", body=lambda: Iterator(b"hel", b"lo"))
answers("sized", body=lambda: Sized(b"hello"))
answers("items", body=Items)
answers("closing", body=lambda: Closing(b"hel", b"lo"))
answers("large_list", body=[b"x" * 200_000])
answers("large_generator", body=lambda: (b"y" * 30_000 for _ in range(7)))
answers("many_small", body=lambda: (b"%d\n" % number for number in range(500)))
answers("length", headers=PLAIN + [("Content-Length", "5")])
answers("length_in_parts", headers=PLAIN + [("Content-Length", "5")], body=lambda: Iterator(b"he", b"llo"))
answers("length_zero", headers=PLAIN + [("Content-Length", "0")], body=[])
answers("length_lower_case", headers=[("content-type", "text/plain"), ("content-length", "5")])

# What comes out: status and headers.
answers("created", "201 Created")
answers("own_reason", "200 Very Well")
answers("lower_reason", "200 ok")
answers("no_content", "204 No Content", [], [])
answers("reset_content", "205 Reset Content", [("Content-Length", "0")], [])
answers("not_modified", "304 Not Modified", [("ETag", '"x"')], [])
answers("not_modified_with_length", "304 Not Modified", [("ETag", '"x"'), ("Content-Length", "5")], [])
answers("found", "302 FOUND", [("Location", "/elsewhere"), ("Content-Length", "0")], [])
answers("own_error", "500 My Own Error", PLAIN, [b"mine"])
answers("unusual_status", "299 Odd", PLAIN)
answers("cookies", headers=PLAIN + [("Set-Cookie", "a=1"), ("Set-Cookie", "b=2")])
answers("latin", headers=PLAIN + [("X-Latin", "caf\xe9")])
answers("empty_value", headers=PLAIN + [("X-Empty", "")])
answers("outer_space", headers=PLAIN + [("X-Space", " value ")])
answers("tab_inside", headers=PLAIN + [("X-Tab", "a\tb")])
answers("odd_name", headers=PLAIN + [("X-!#$%&'*+.^`|~", "odd")])
answers("no_content_type", headers=[])
answers("headers_tuple", headers=tuple(PLAIN))
answers("closes", headers=PLAIN + [("Connection", "close")])
answers("keeps", headers=PLAIN + [("Connection", "keep-alive")])
answers("keep_alive_field", headers=PLAIN + [("Keep-Alive", "timeout=5")])
answers("te_field", headers=PLAIN + [("TE", "trailers")])
answers("trailer_field", headers=PLAIN + [("Trailer", "X-Sum")])
answers("transfer_encoding", headers=PLAIN + [("Transfer-Encoding", "chunked")])
answers("upgrade_field", headers=PLAIN + [("Upgrade", "h2")])
answers("proxy_authenticate", headers=PLAIN + [("Proxy-Authenticate", "Basic")])
answers("own_server", headers=PLAIN + [("Server", "mine")])
answers("own_date", headers=PLAIN + [("Date", "Thu, 01 Jan 1970 00:00:00 GMT")])
answers("etag", headers=PLAIN + [("ETag", '"v1"'), ("Cache-Control", "no-cache"), ("Vary", "Accept")])


@app_here
def write_only(environ, start_response):
    write = start_response("200 OK", PLAIN)
    write(b"written ")
    write(b"twice")
    return []


@app_here
def write_and_return(environ, start_response):
    write = start_response("200 OK", PLAIN)
    write(b"written ")
    return [b"returned"]


@app_here
def write_nothing(environ, start_response):
    start_response("200 OK", PLAIN)(b"")
    return [b"returned"]


@app_here
def write_with_length(environ, start_response):
    start_response("200 OK", PLAIN + [("Content-Length", "5")])(b"he")
    return [b"llo"]


@app_here
def late(environ, start_response):
    def blocks():
        start_response("200 OK", PLAIN)
        yield b"late"

    return blocks()


@app_here
def by_name(environ, start_response):
    start_response(status="200 OK", headers=PLAIN)
    return [b"by name"]


@app_here
def replaced(environ, start_response):
    start_response("200 OK", PLAIN + [("X-Old", "1")])
    try:
        raise ValueError
    except ValueError:
        start_response("503 Replaced", PLAIN + [("X-New", "1")], sys.exc_info())
    return [b"sorry"]


@app_here
def mutates(environ, start_response):
    headers = list(PLAIN)
    start_response("200 OK", headers)
    yield b"one"
    headers.append(("X-Too-Late", "1"))
    yield b"two"


@app_here
def hints(environ, start_response):
    environ["wsgi.early_hints"]([("Link", "</x.css>; rel=preload")])
    start_response("200 OK", PLAIN)
    return [b"hinted"]


@app_here
def file_whole(environ, start_response):
    start_response("200 OK", PLAIN)
    return environ["wsgi.file_wrapper"](file(b"0123456789"))


@app_here
def file_from_the_middle(environ, start_response):
    start_response("200 OK", PLAIN)
    return environ["wsgi.file_wrapper"](file(b"0123456789", 4))


@app_here
def file_with_length(environ, start_response):
    start_response("200 OK", PLAIN + [("Content-Length", "4")])
    return environ["wsgi.file_wrapper"](file(b"0123456789"))


@app_here
def file_empty(environ, start_response):
    start_response("200 OK", PLAIN)
    return environ["wsgi.file_wrapper"](file(b""))


@app_here
def file_in_memory(environ, start_response):
    start_response("200 OK", PLAIN)
    return environ["wsgi.file_wrapper"](io.BytesIO(b"in memory"), 4)


@app_here
def file_large(environ, start_response):
    start_response("200 OK", PLAIN)
    return environ["wsgi.file_wrapper"](file(b"z" * 300_000))


# What comes in.


@app_here
def environ_of(environ, start_response):
    """The environ, without what is each server's own or changes from run to run."""
    own = ("SERVER_SOFTWARE", "SERVER_PORT", "REMOTE_PORT", "wsgi.errors", "wsgi.input", "wsgi.file_wrapper", "gunicorn.socket", "wsgi.early_hints")
    lines = [f"{key}={environ[key]!r}" for key in sorted(environ) if key not in own]
    start_response("200 OK", PLAIN)
    return ["\n".join(lines).encode("utf-8", "backslashreplace")]


@app_here
def has(environ, start_response):
    """What each server's own values are like."""
    lines = [
        type(environ).__name__,
        environ["SERVER_PORT"].isdigit(),
        environ["REMOTE_PORT"].isdigit(),
        hasattr(environ["wsgi.errors"], "writelines"),
        hasattr(environ["wsgi.errors"], "flush"),
        callable(environ["wsgi.file_wrapper"]),
        callable(environ["wsgi.early_hints"]),
        hasattr(environ["gunicorn.socket"], "fileno"),
    ]
    start_response("200 OK", PLAIN)
    return [repr(lines).encode()]


@app_here
def input(environ, start_response):
    """What reading brings, as a Python expression in the query."""
    result = eval(unquote(environ["QUERY_STRING"]), {"body": environ["wsgi.input"]})
    start_response("200 OK", PLAIN)
    return [repr(result).encode()]


@app_here
def echo(environ, start_response):
    body = environ["wsgi.input"].read()
    start_response("200 OK", PLAIN + [("Content-Length", str(len(body)))])
    return [body]


@app_here
def unread(environ, start_response):
    start_response("200 OK", PLAIN)
    return [b"not read"]


@app_here
def writes_errors(environ, start_response):
    environ["wsgi.errors"].write("an error line\n")
    environ["wsgi.errors"].flush()
    start_response("200 OK", PLAIN)
    return [b"written"]


# What is wrong.
answers("short", headers=PLAIN + [("Content-Length", "10")])
answers("over", headers=PLAIN + [("Content-Length", "4")])
answers("over_in_parts", headers=PLAIN + [("Content-Length", "4")], body=lambda: Iterator(b"over", b"flow"))
answers("body_for_no_content", "204 No Content", PLAIN)
answers("body_for_not_modified", "304 Not Modified", PLAIN)
answers("status_without_reason", "200")
answers("status_of_letters", "OK")
answers("status_with_line_end", "200 OK\r\nX-Injected: 1")
answers("status_too_large", "1000 Large")
answers("status_not_latin", "200 \u20ac")
answers("status_of_bytes", b"200 OK")
answers("value_with_line_end", headers=PLAIN + [("X-A", "1\r\nX-Injected: 2")])
answers("value_with_nul", headers=PLAIN + [("X-A", "a\0b")])
answers("value_not_latin", headers=PLAIN + [("X-A", "\u20ac")])
answers("value_of_bytes", headers=PLAIN + [("X-A", b"1")])
answers("value_of_number", headers=PLAIN + [("X-A", 1)])
answers("name_with_space", headers=PLAIN + [("X A", "1")])
answers("name_with_line_end", headers=PLAIN + [("X-A: 1\r\nX-B", "2")])
answers("name_empty", headers=PLAIN + [("", "1")])
answers("name_of_bytes", headers=PLAIN + [(b"X-A", "1")])
answers("pair_of_three", headers=PLAIN + [("X-A", "1", "2")])
answers("pair_as_list", headers=PLAIN + [["X-A", "1"]])
answers("length_not_a_number", headers=PLAIN + [("Content-Length", "five")])
answers("length_negative", headers=PLAIN + [("Content-Length", "-5")])
answers("length_twice", headers=PLAIN + [("Content-Length", "5"), ("Content-Length", "5")])
answers("text_block", body=["text"])
answers("text_second", body=lambda: iter([b"bytes", "text"]))
answers("number_block", body=[1])
answers("none_block", body=[None])
answers("bytearray_block", body=[bytearray(b"hello")])
answers("bytes_alone", body=b"hello")
answers("text_alone", body="hello")
answers("nothing_returned", body=lambda: None)
answers("not_iterable", body=lambda: 5)


@app_here
def twice(environ, start_response):
    start_response("200 OK", PLAIN)
    start_response("201 Created", PLAIN)
    return [b"never"]


@app_here
def never(environ, start_response):
    return [b"no head"]


@app_here
def never_and_nothing(environ, start_response):
    return []


@app_here
def raises(environ, start_response):
    raise RuntimeError("on purpose")


@app_here
def raises_after_start(environ, start_response):
    start_response("200 OK", PLAIN)
    raise RuntimeError("on purpose")


@app_here
def raises_first(environ, start_response):
    start_response("200 OK", PLAIN)
    raise RuntimeError("on purpose")
    yield b"never"


@app_here
def raises_midway(environ, start_response):
    start_response("200 OK", PLAIN)
    yield b"begun"
    raise RuntimeError("on purpose")


@app_here
def raises_midway_with_length(environ, start_response):
    start_response("200 OK", PLAIN + [("Content-Length", "10")])
    yield b"begun"
    raise RuntimeError("on purpose")


@app_here
def raises_in_close(environ, start_response):
    class Bad(Iterator):
        def close(self):
            raise RuntimeError("in close")

    start_response("200 OK", PLAIN + [("Content-Length", "2")])
    return Bad(b"ok")


@app_here
def exc_info_after_output(environ, start_response):
    start_response("200 OK", PLAIN)(b"begun")
    try:
        raise ValueError("after output")
    except ValueError:
        start_response("500 Oops", PLAIN, sys.exc_info())
    return [b"never"]


@app_here
def write_before_start(environ, start_response):
    start_response("bad", PLAIN)(b"never")
    return []


def ends_with(error):
    def application(environ, start_response):
        raise error

    return application


apps["/exits"] = ends_with(SystemExit(1))
apps["/is_interrupted"] = ends_with(KeyboardInterrupt())
apps["/ends_its_generator"] = ends_with(GeneratorExit())


def app(environ, start_response):
    name = "/" + environ["PATH_INFO"].lstrip("/*").split("/")[0]
    return apps.get(name, environ_of)(environ, start_response)
