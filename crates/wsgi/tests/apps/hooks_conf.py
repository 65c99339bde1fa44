"""A gunicorn.conf.py that writes down every hook that is called, with what it sees."""

import json
import os
import resource
import sys

STORY = os.environ["STORY"]
workers = 1


def note(hook, **seen):
    with open(os.path.join(STORY, "calls"), "a") as file:
        file.write(json.dumps({"hook": hook, "in": os.getpid(), **seen}) + "\n")


def trouble(hook):
    """The file `trouble` names the hook that is to fail."""
    try:
        with open(os.path.join(STORY, "trouble")) as file:
            text = file.read().split()
    except FileNotFoundError:
        return
    if text and text[0] == hook:
        raise SystemExit(int(text[1])) if len(text) > 1 else ValueError("boom in " + hook)


def about(server):
    return {
        "server": server.pid,
        "workers": sorted(server.WORKERS),
        "num_workers": server.num_workers,
        "listeners": [str(listener) for listener in server.LISTENERS],
        "cfg": server.cfg.workers,
        "address": server.address,
    }


def on_starting(server):
    server.log.info("hello from %s, %d", "on_starting", 1)
    server.kept = "by the configuration"
    note("on_starting", **about(server))
    trouble("on_starting")


def when_ready(server):
    note("when_ready", kept=server.kept, **about(server))
    trouble("when_ready")


def on_reload(server):
    note("on_reload", **about(server))
    trouble("on_reload")


def pre_fork(server, worker):
    note("pre_fork", pid=worker.pid, age=worker.age, ppid=worker.ppid)
    trouble("pre_fork")


def post_fork(server, worker):
    worker.log.warning("hello from the worker")
    note(
        "post_fork",
        pid=worker.pid,
        age=worker.age,
        booted=worker.booted,
        sockets=[sock.getsockname() for sock in worker.sockets],
        timeout=worker.timeout,
    )
    trouble("post_fork")


def post_worker_init(worker):
    note("post_worker_init", booted=worker.booted, alive=worker.alive, app="slow" in sys.modules)
    trouble("post_worker_init")


def worker_int(worker):
    note("worker_int", alive=worker.alive)


def worker_abort(worker):
    note("worker_abort", frames=len(sys._current_frames()))


def pre_request(worker, req):
    worker.log.debug("%s %s", req.method, req.path)
    if req.path.startswith("/header/"):
        req.headers.append(("X-MARK", "by a hook"))
    if req.path == "/refused":
        raise ValueError("boom in pre_request")
    note(
        "pre_request",
        nr=worker.nr,
        method=req.method,
        uri=req.uri,
        path=req.path,
        query=req.query,
        version=req.version,
        headers=req.headers,
        scheme=req.scheme,
        close=req.should_close(),
    )


def post_request(worker, req, environ, resp):
    note(
        "post_request",
        path=environ["PATH_INFO"],
        status=resp.status,
        code=resp.status_code,
        headers=resp.headers,
        sent=resp.sent,
        booted=worker.booted,
    )
    if req.path == "/enough":
        worker.alive = False
    if req.path == "/boom":
        raise ValueError("boom in post_request")


def child_exit(server, worker):
    note("child_exit", pid=worker.pid, workers=sorted(server.WORKERS))
    trouble("child_exit")


def worker_exit(server, worker):
    note("worker_exit", pid=worker.pid, server=server.pid, peak=resource.getrusage(resource.RUSAGE_SELF).ru_maxrss > 0)
    trouble("worker_exit")


def nworkers_changed(server, new_value, old_value):
    note("nworkers_changed", new=new_value, old=old_value)
    trouble("nworkers_changed")


def on_exit(server):
    note("on_exit", server=server.pid)
    trouble("on_exit")


def pre_exec(server):
    note("pre_exec", server=server.pid, reexec=server.reexec_pid)
    trouble("pre_exec")
