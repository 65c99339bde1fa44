"""Embedding: the classes to inherit from."""

from trine_wsgi.app import Application, BaseApplication

__all__ = ["Application", "BaseApplication"]
