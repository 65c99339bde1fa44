"""The smallest application that needs the virtual environment."""

import flask

app = flask.Flask(__name__)


@app.get("/hello")
def hello():
    return "hello from flask\n"
