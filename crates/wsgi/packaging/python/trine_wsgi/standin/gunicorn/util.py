"""The few functions of gunicorn's that others call."""

import os
import sys


def import_app(module):
    """The application that ``MODULE:NAME`` or ``MODULE:FACTORY(literals)`` means."""
    from trine_wsgi import _native

    return _native.import_app(module)


def close_on_exec(fd):
    """Keeps a descriptor from programs that are started."""
    os.set_inheritable(fd, False)


def getcwd():
    """The current folder, by the name it was gone to."""
    try:
        named, here = os.stat(os.environ["PWD"]), os.stat(os.getcwd())
    except (KeyError, OSError):
        return os.getcwd()
    same = (named.st_dev, named.st_ino) == (here.st_dev, here.st_ino)
    return os.environ["PWD"] if same else os.getcwd()


def warn(msg):
    """Tells of something at start."""
    print(f"!!!\n!!! WARNING: {msg}\n!!!\n", file=sys.stderr)
