"""The smallest application that needs the virtual environment."""

import sys

import flask

app = flask.Flask(__name__)


@app.get("/hello")
def hello():
    return "hello from flask\n"


@app.post("/echo")
def echo():
    return flask.request.get_data()


@app.get("/python")
def python():
    return {
        "prefix": sys.prefix,
        "version": "%d.%d" % sys.version_info[:2],
        "executable": sys.executable,
        "argv": sys.argv,
    }
