"""GET /wait says that it is inside by a file, and answers once the file `go` is there. Both lie in the folder STORY."""

import os
import time
from wsgiref.validate import validator

HERE = os.environ["STORY"]


def application(environ, start_response):
    if environ["PATH_INFO"] == "/wait":
        open(os.path.join(HERE, "inside"), "w").close()
        while not os.path.exists(os.path.join(HERE, "go")):
            time.sleep(0.01)
        body = b"went\n"
    else:
        body = b"quick\n"
    start_response("200 OK", [("Content-Type", "text/plain"), ("Content-Length", str(len(body)))])
    return [body]


app = validator(application)
