"""One JSON route of Flask."""

from flask import Flask

app = Flask(__name__)


@app.get("/json")
def document():
    return {"message": "Hello, world!", "items": [{"id": n, "name": f"item {n}"} for n in range(10)]}
