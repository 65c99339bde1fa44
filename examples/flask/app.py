"""The harbour log: a small site that uses what a web application needs from its servers.

Pages, static files, JSON, a form with a redirect, an upload, a streamed answer, a slow answer.
It keeps its entries in SQLite, so that any number of worker processes share them.

Environment:
    HARBOUR_DATA     folder for the database and the session key (default: var/ beside this file)
    HARBOUR_PROXIES  how many proxies stand in front and may be believed (default: 1)
"""

import contextlib
import hashlib
import os
import platform
import secrets
import sqlite3
import time
from datetime import datetime, timezone
from pathlib import Path

import flask
from flask import Flask, Response, flash, jsonify, redirect, render_template, request, url_for
from werkzeug.exceptions import HTTPException
from werkzeug.middleware.proxy_fix import ProxyFix

HERE = Path(__file__).resolve().parent
DATA = Path(os.environ.get("HARBOUR_DATA", HERE / "var"))
PROXIES = int(os.environ.get("HARBOUR_PROXIES", "1"))
MAX_SLOW_SECONDS = 60.0
MAX_PIECES = 1000

BOATS = [
    {"id": 1, "name": "Marta", "kind": "cutter", "built": 1931, "berth": "A1"},
    {"id": 2, "name": "Ilo", "kind": "dinghy", "built": 2004, "berth": "A2"},
    {"id": 3, "name": "Große Freiheit", "kind": "ketch", "built": 1968, "berth": "B1"},
    {"id": 4, "name": "Søstjernen", "kind": "pilot boat", "built": 1954, "berth": "C4"},
]


def shared_key() -> bytes:
    """The key that signs session cookies: made once, and the same for every worker."""
    path = DATA / "session.key"
    DATA.mkdir(parents=True, exist_ok=True)
    if not path.exists():
        fresh = path.with_name(f"session.key.{os.getpid()}")
        fresh.touch(mode=0o600)
        fresh.write_bytes(secrets.token_bytes(32))
        with contextlib.suppress(FileExistsError):
            os.link(fresh, path)  # the first worker wins, the others read what it wrote
        fresh.unlink()
    return path.read_bytes()


@contextlib.contextmanager
def database():
    """One short transaction; the table is made on first use."""
    connection = sqlite3.connect(DATA / "log.sqlite3", timeout=10)
    try:
        with connection:
            connection.execute(
                "CREATE TABLE IF NOT EXISTS entry ("
                "id INTEGER PRIMARY KEY, author TEXT NOT NULL, text TEXT NOT NULL, at TEXT NOT NULL)"
            )
            yield connection
    finally:
        connection.close()


app = Flask(__name__)
app.secret_key = shared_key()
app.config.update(
    MAX_CONTENT_LENGTH=64 * 1024 * 1024,
    SESSION_COOKIE_SAMESITE="Lax",
)
app.json.ensure_ascii = False
# The proxy replaces X-Forwarded-* from clients with the truth, so one step of them is believed.
app.wsgi_app = ProxyFix(app.wsgi_app, x_for=PROXIES, x_proto=PROXIES, x_host=PROXIES)


@app.context_processor
def every_page() -> dict:
    return {"pid": os.getpid}


def wants_json() -> bool:
    best = request.accept_mimetypes.best_match(["text/html", "application/json"], "text/html")
    return best == "application/json"


@app.after_request
def harden(response: Response) -> Response:
    response.headers.setdefault("X-Content-Type-Options", "nosniff")
    response.headers.setdefault("Content-Security-Policy", "default-src 'self'")
    return response


@app.get("/")
def home():
    return render_template("home.html", boats=BOATS)


@app.get("/api/boats")
def boats():
    kind = request.args.get("kind")
    found = [boat for boat in BOATS if kind in (None, boat["kind"])]
    return jsonify(boats=found, count=len(found))


@app.get("/api/boats/<int:number>")
def boat(number: int):
    for one in BOATS:
        if one["id"] == number:
            return jsonify(one)
    flask.abort(404, f"no boat has the number {number}")


@app.get("/log")
def log():
    with database() as db:
        rows = db.execute("SELECT author, text, at FROM entry ORDER BY id DESC LIMIT 50").fetchall()
    return render_template("log.html", entries=rows)


@app.post("/log")
def add_entry():
    author = request.form.get("author", "").strip()
    text = request.form.get("text", "").strip()
    if not author or not text or len(author) > 80 or len(text) > 2000:
        flash("An entry needs a name (up to 80 characters) and a text (up to 2000).", "error")
        return render_template("log.html", entries=[], author=author, text=text), 422
    with database() as db:
        db.execute(
            "INSERT INTO entry (author, text, at) VALUES (?, ?, ?)",
            (author, text, datetime.now(timezone.utc).strftime("%Y-%m-%d %H:%M UTC")),
        )
    flash(f"Thank you, {author}: your entry is in the log.", "success")
    return redirect(url_for("log"), code=303)


@app.route("/upload", methods=["GET", "POST"])
def upload():
    if request.method == "GET":
        return render_template("upload.html", result=None)
    file = request.files.get("file")
    if file is None or not file.filename:
        flask.abort(400, "the form has no file: choose one and send it as the field 'file'")
    digest, size = hashlib.sha256(), 0
    while piece := file.stream.read(64 * 1024):
        digest.update(piece)
        size += len(piece)
    result = {"name": file.filename, "size": size, "sha256": digest.hexdigest()}
    if wants_json():
        return jsonify(result)
    return render_template("upload.html", result=result)


@app.get("/stream")
def stream():
    """Sends a line every `delay` seconds; each is on the wire before the next is made."""
    pieces = min(max(request.args.get("pieces", 5, int), 1), MAX_PIECES)
    delay = min(max(request.args.get("delay", 0.5, float), 0.0), MAX_SLOW_SECONDS)

    def lines():
        for number in range(1, pieces + 1):
            if number > 1:
                time.sleep(delay)
            yield f"wave {number} of {pieces}\n"

    return Response(lines(), mimetype="text/plain", headers={"Cache-Control": "no-store"})


@app.get("/slow")
def slow():
    seconds = min(max(request.args.get("seconds", 1.0, float), 0.0), MAX_SLOW_SECONDS)
    started = time.monotonic()
    time.sleep(seconds)
    return jsonify(asked=seconds, took=round(time.monotonic() - started, 3), pid=os.getpid())


@app.get("/connection")
def connection():
    seen = {
        "scheme": request.scheme,
        "host": request.host,
        "client": request.remote_addr or "",
        "url": request.url,
        "protocol": request.environ.get("SERVER_PROTOCOL", ""),
        "server": request.environ.get("SERVER_SOFTWARE", ""),
        "python": platform.python_version(),
        "pid": os.getpid(),
        "multithread": bool(request.environ.get("wsgi.multithread")),
        "multiprocess": bool(request.environ.get("wsgi.multiprocess")),
    }
    return jsonify(seen) if wants_json() else render_template("connection.html", seen=seen)


@app.get("/healthz")
def healthz():
    return Response("ok\n", mimetype="text/plain", headers={"Cache-Control": "no-store"})


@app.errorhandler(HTTPException)
def told(error: HTTPException):
    if wants_json() or request.path.startswith("/api/"):
        return jsonify(status=error.code, title=error.name, detail=error.description), error.code
    return render_template("error.html", error=error), error.code
