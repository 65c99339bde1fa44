"""Names of requests and responses."""

from gunicorn.http.message import Message, Request

__all__ = ["Message", "Request"]
