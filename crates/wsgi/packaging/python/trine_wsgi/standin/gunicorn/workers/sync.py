"""The worker with one thread."""

from gunicorn.workers.base import Worker


class SyncWorker(Worker):
    """There for type hints."""
