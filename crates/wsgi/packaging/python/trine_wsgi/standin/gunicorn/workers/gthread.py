"""The worker with several threads."""

from gunicorn.workers.base import Worker


class ThreadWorker(Worker):
    """There for type hints."""
