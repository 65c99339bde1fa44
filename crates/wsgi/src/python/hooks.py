"""The live objects that server hooks and applications' configurations get: `server`, `worker`, and a request and its
answer as hooks see them. Their attributes are gunicorn's; what the arbiter knows better is kept up to date by it.
Not here: when hooks are called."""

import os
import signal
import time

# Put in by Rust: has the worker's loop end.
_mark_aborted = None
# The worker that this process is; None in the arbiter.
_worker = None
# Its hooks by name.
_hooks = {}


class Listener:
    """A listening socket. `sock` is a socket object of its own each time, on the same socket."""

    def __init__(self, fd, cfg_addr, text):
        self._fd = fd
        self.cfg_addr = cfg_addr
        self._text = text

    @property
    def sock(self):
        import socket  # late: most configurations have no use for it

        return socket.socket(fileno=os.dup(self._fd))

    def fileno(self):
        return self._fd

    def getsockname(self):
        with self.sock as sock:
            return sock.getsockname()

    def __str__(self):
        return self._text

    def __getattr__(self, name):
        return getattr(self.sock, name)


class Server:
    """The arbiter, as hooks see it."""

    WORKER_BOOT_ERROR = 3
    APP_LOAD_ERROR = 4

    def __init__(self, facts):
        self.WORKERS = {}
        self.LISTENERS = []
        self.master_name = "Master"
        self.master_pid = 0
        self.reexec_pid = 0
        self.worker_age = 0
        self.app = None
        self.pidfile = None
        self.__dict__.update(facts)

    def kill_worker(self, pid, sig):
        os.kill(pid, sig)

    def kill_workers(self, sig):
        for pid in list(self.WORKERS):
            self.kill_worker(pid, sig)


class WorkerTmp:
    """There is no heartbeat file: workers are watched by shared memory."""

    def notify(self):
        pass

    def last_update(self):
        return time.monotonic()

    def fileno(self):
        return -1

    def close(self):
        pass


class Worker:
    """A worker process, as hooks see it."""

    def __init__(self, facts):
        self.pid = "[booting]"
        self.booted = False
        self.aborted = False
        self.alive = True
        self.reloader = None
        self.wsgi = None
        self.tmp = WorkerTmp()
        self._count = None
        self.__dict__.update(facts)

    @property
    def nr(self):
        """Requests so far."""
        return self._count() if self._count is not None else 0

    def notify(self):
        pass

    def __str__(self):
        return "<Worker %s>" % self.pid


class Request:
    """A request as `pre_request` and `post_request` see it."""

    trailers = ()
    proxy_protocol_info = None

    def __init__(self, method, uri, version, headers, environ, peer):
        self.method = method
        self.uri = uri
        self.version = version
        self.headers = headers
        self.scheme = environ["wsgi.url_scheme"]
        self.body = environ["wsgi.input"]
        self.peer_addr = peer
        self.remote_addr = peer
        rest, _, self.fragment = uri.partition("#")
        if not rest.startswith("/"):
            import urllib.parse

            rest = urllib.parse.urlsplit(rest)._replace(scheme="", netloc="").geturl()
        self.path, _, self.query = rest.partition("?")
        self._before = list(headers)

    def should_close(self):
        for name, value in self.headers:
            if name == "CONNECTION":
                option = value.lower().strip(" \t")
                if option in ("close", "keep-alive"):
                    return option == "close"
                break
        return self.version <= (1, 0)

    def _changed(self, environ):
        """A hook that changes the headers means the application to see it."""
        if self.headers == self._before:
            return
        for name in [key for key in environ if key.startswith("HTTP_")]:
            del environ[name]
        for name, value in self.headers:
            key = name.upper().replace("-", "_")
            if key not in ("CONTENT_TYPE", "CONTENT_LENGTH"):
                key = "HTTP_" + key
                if key in environ:
                    value = environ[key] + ("; " if key == "HTTP_COOKIE" else ",") + value
            environ[key] = value


class Response:
    """An answer as `post_request` sees it."""

    def __init__(self, status, headers, sent, req):
        self.req = req
        self.status = status
        self.status_code = int(status.split(" ", 1)[0]) if status else None
        self.headers = headers
        self.headers_sent = bool(status)
        self.sent = sent
        names = {name.lower(): value for name, value in headers}
        length = names.get("content-length")
        self.response_length = int(length) if length is not None and length.isdigit() else None
        self.chunked = "chunked" in names.get("transfer-encoding", "")
        self.must_close = False
        self.upgrade = False


def become(worker, hooks):
    """This process is `worker` from now on."""
    global _worker, _hooks
    _worker, _hooks = worker, hooks


def catch_signals():
    """INT and QUIT end a worker in the middle of a request, ABRT in the middle of a stuck one, as far as Python code
    is running. The hooks are called first. To be called once, in the arbiter, before it sets up its own handlers,
    which call these too."""

    def quit(signum, frame):
        worker = _worker
        if worker is None or os.getpid() != worker.pid:
            return
        worker.alive = False
        hook = _hooks.get("worker_abort" if signum == signal.SIGABRT else "worker_int")
        try:
            if hook is not None:
                hook(worker)
        except Exception:
            worker.log.exception("Exception in a hook")
        if signum == signal.SIGABRT:
            worker.aborted = True
            _mark_aborted()
            raise SystemExit(1)
        time.sleep(0.1)
        raise SystemExit(0)

    for signum in (signal.SIGINT, signal.SIGQUIT, signal.SIGABRT):
        signal.signal(signum, quit)
