"""A Flask application as a CGI script; the tests put the interpreter's line in front."""

from wsgiref.handlers import CGIHandler

from flask import Flask, request, session

app = Flask(__name__)
app.secret_key = "not secret"


@app.route("/hello/<name>", methods=["GET", "POST"])
def hello(name):
    session["seen"] = session.get("seen", 0) + 1
    return f"{request.method} {name} {request.args.get('q')} {request.form.get('f')} {session['seen']}"


@app.route("/plain", methods=["GET", "POST"])
def plain():
    return f"{request.method} {request.full_path} {request.get_data(as_text=True)}", 203, {"X-Root": request.script_root}


CGIHandler().run(app)
