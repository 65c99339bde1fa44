"""/wait says that it is inside by a file of its pid, and answers once the file `go` is there; both lie in the folder STORY."""

import ctypes
import os
import time
from wsgiref.validate import validator

HERE = os.environ["STORY"]
PLAIN = [("Content-Type", "text/plain")]


def application(environ, start_response):
    path = environ["PATH_INFO"]
    if path == "/wait":
        open(os.path.join(HERE, "inside"), "w").close()
        while not os.path.exists(os.path.join(HERE, "go")):
            time.sleep(0.005)
    if path == "/spin":
        open(os.path.join(HERE, "inside"), "w").close()
        while True:
            pass
    if path == "/crash":
        ctypes.string_at(0)
    if path.startswith("/env/"):
        start_response("200 OK", PLAIN)
        return [os.environ.get(path[len("/env/"):], "").encode()]
    if path.startswith("/header/"):
        start_response("200 OK", PLAIN)
        return [environ.get(path[len("/header/"):], "").encode()]
    start_response("200 OK", PLAIN)
    return [str(os.getpid()).encode()]


app = validator(application)
