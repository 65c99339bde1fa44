"""Kinds of worker that can be chosen by name, and the classes that type hints name."""

#: Both are trine-wsgi's own: one thread, or ``threads`` of them.
SUPPORTED_WORKERS = {
    "sync": "gunicorn.workers.sync.SyncWorker",
    "gthread": "gunicorn.workers.gthread.ThreadWorker",
}
