"""Echoes what the load asks for; leaks on request; cannot be imported while the file `broken` lies in the folder STORY."""

import os

STORY = os.environ["STORY"]
LEAK = []

if os.path.exists(os.path.join(STORY, "broken")):
    raise RuntimeError("broken on purpose")


def app(environ, start_response):
    if environ["REQUEST_METHOD"] == "POST":
        body = environ["wsgi.input"].read()
    else:
        body = environ["RAW_URI"].encode()
        if environ["PATH_INFO"] == "/leak":
            LEAK.append(bytearray(os.urandom(512 * 1024)))
        elif environ["PATH_INFO"] == "/large":
            body *= 20_000
    start_response("200 OK", [("Content-Type", "text/plain"), ("Content-Length", str(len(body)))])
    return [body]
