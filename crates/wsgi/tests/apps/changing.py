"""What it is depends on the file `version` in the folder STORY: a version number, or a way to fail."""

import os
import time

HERE = os.environ["STORY"]


def read():
    try:
        with open(os.path.join(HERE, "version")) as file:
            return file.read().strip()
    except FileNotFoundError:
        return "1"


VERSION = read()
if VERSION == "broken":
    raise RuntimeError("broken on purpose")
if VERSION == "dies":
    os._exit(7)
while VERSION == "hangs":
    time.sleep(0.01)


def app(environ, start_response):
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [VERSION.encode()]


if VERSION == "none":
    app = None
