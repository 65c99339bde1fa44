"""trine-wsgi: the server is the extension module; this is how the interpreter comes in.

``python -m trine_wsgi`` and the command ``trine-wsgi`` are the same.
"""

import sys


def main():
    """The console script: serves as the command line says, and ends the process with the server's exit code."""
    from trine_wsgi._native import run

    sys.exit(run(sys.argv))


def __getattr__(name):
    # Importing the package alone, for its names, does not load the server.
    if name == "__version__":
        from trine_wsgi._native import __version__

        return __version__
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
