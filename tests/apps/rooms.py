"""A WSGI application for the tests of one server: what it was given, pieces, uploads, errors."""

import hashlib
import json
import os
import time
import urllib.parse
from wsgiref.validate import validator


def environ_of(environ, start_response):
    shown = {key: value for key, value in environ.items() if isinstance(value, (str, int, bool))}
    body = json.dumps(shown).encode()
    start_response("200 OK", [("Content-Type", "application/json"), ("Content-Length", str(len(body)))])
    return [body]


def digest(environ, start_response):
    hashed, size = hashlib.sha256(), 0
    while piece := environ["wsgi.input"].read(65536):
        hashed.update(piece)
        size += len(piece)
    body = f"{size} {hashed.hexdigest()}".encode()
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [body]


def pieces(_environ, start_response):
    start_response("200 OK", [("Content-Type", "text/plain")])
    for number in range(3):
        if number:
            time.sleep(0.2)
        yield f"piece {number}\n".encode()


def pid(_environ, start_response):
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [str(os.getpid()).encode()]


def broken(_environ, _start_response):
    raise RuntimeError("broken on purpose")


def not_found(_environ, start_response):
    start_response("404 Not Found", [("Content-Type", "text/plain")])
    return [b"no such room\n"]


def fixed(_environ, start_response):
    start_response("200 Fine", [("Content-Type", "text/plain"), ("Content-Length", "6"), ("X-Two", "1"), ("X-Two", "2")])
    return [b"fixed\n"]


def say(environ, start_response):
    """What the query orders: a status, fields, a body of so many bytes; then the request's X-Tag."""
    asked = urllib.parse.parse_qs(environ["QUERY_STRING"], keep_blank_values=True)
    fields = [tuple(field.split(":", 1)) for field in asked.get("field", [])]
    if not any(name.lower() == "content-type" for name, _ in fields):
        fields.append(("Content-Type", "text/plain"))
    body = asked.get("body", ["said"])[0]
    if "size" in asked:
        body = "x" * int(asked["size"][0])
    start_response(asked.get("status", ["200 OK"])[0], fields)
    return [(body + environ.get("HTTP_X_TAG", "")).encode()]


ROOMS = {"/say": say, "/fixed": fixed, "/environ": environ_of, "/digest": digest, "/pieces": pieces, "/pid": pid, "/broken": broken}


def application(environ, start_response):
    return ROOMS.get(environ["PATH_INFO"], not_found)(environ, start_response)


app = validator(application)


def logged(environ, start_response):
    """As `application`, with something of its own in the environ for the access log."""
    environ["story"] = 'told "so"'
    return application(environ, start_response)
