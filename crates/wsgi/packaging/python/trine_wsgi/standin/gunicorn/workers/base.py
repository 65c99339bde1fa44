"""The class of the object that hooks get as ``worker``."""

_ASYNC_HINT = (
    "it is for ASGI applications, and trine-wsgi serves WSGI; run the ASGI server itself "
    "(for instance `uvicorn module:app`) behind trine-proxy"
)
_OTHER_HINT = "choose sync, or gthread with --threads, and do per-worker work in the hooks post_fork and worker_exit"


class Worker:
    """What hooks get as ``worker``; there for type hints. Workers of one's own cannot be had."""

    def __init_subclass__(cls, **kwargs):
        super().__init_subclass__(**kwargs)
        if cls.__module__.startswith("gunicorn.workers."):
            return
        name = f"{cls.__module__}.{cls.__qualname__}"
        is_async = any(word in name.lower() for word in ("uvicorn", "asgi", "hypercorn", "aiohttp"))
        raise RuntimeError(
            f"class {name} is a worker class for gunicorn, and trine-wsgi has its own workers only: "
            + (_ASYNC_HINT if is_async else _OTHER_HINT)
        )

    def __init__(self, *_args, **_kwargs):
        raise RuntimeError("trine-wsgi makes its workers itself; gunicorn.workers.base.Worker is there for type hints")
