"""An application that accounts for its requests, for the tests under load.

Routes: GET /hello?id=N;  GET /slow?ms=M&id=N;  POST /echo  GET /pid
Each request with an id is noted in the file LOAD_JOURNAL, when it starts and when its answer is handed over.
"""

import os
import re
import time
from wsgiref.validate import validator

JOURNAL = os.environ.get("LOAD_JOURNAL")


def note(what, number):
    if JOURNAL and number:
        line = f"{what} {number} {os.getpid()}\n".encode()
        # One write to a file in append mode is not torn apart by another process.
        with open(JOURNAL, "ab", buffering=0) as journal:
            journal.write(line)


def number_in(text):
    found = re.search(r"id=(\d+);", text)
    return found.group(1) if found else None


class Noted:
    """The body; its close() is the moment when the server is done with the answer."""

    def __init__(self, pieces, number):
        self.pieces = iter(pieces)
        self.number = number

    def __iter__(self):
        return self

    def __next__(self):
        return next(self.pieces)

    def close(self):
        note("end", self.number)


def application(environ, start_response):
    path, query = environ["PATH_INFO"], environ["QUERY_STRING"]
    if path == "/echo":
        length = int(environ.get("CONTENT_LENGTH") or 0)
        body = environ["wsgi.input"].read(length)
        number = number_in(body[:40].decode("latin-1"))
        note("start", number)
    else:
        number = number_in(query)
        note("start", number)
        if path == "/slow":
            time.sleep(int(re.search(r"ms=(\d+)", query).group(1)) / 1000)
        body = str(os.getpid()).encode() if path == "/pid" else f"hello {query} from {os.getpid()}\n".encode()
    start_response("200 OK", [("Content-Type", "text/plain"), ("Content-Length", str(len(body)))])
    return Noted([body], number)


app = validator(application)
