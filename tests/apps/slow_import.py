"""Imports only once the file GATE is there; says by GATE.waiting that it waits."""

import os
import time

GATE = os.environ["GATE"]
open(GATE + ".waiting", "w").close()
while not os.path.exists(GATE):
    time.sleep(0.01)


def app(environ, start_response):
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [b"imported\n"]
