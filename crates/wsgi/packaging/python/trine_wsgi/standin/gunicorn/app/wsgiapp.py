"""The application that a command line names."""

from trine_wsgi.app import WSGIApplication

__all__ = ["WSGIApplication", "run"]


def run(prog=None):
    """The command ``gunicorn``."""
    import sys

    from trine_wsgi import main

    if prog:
        sys.argv[0] = prog
    main()
