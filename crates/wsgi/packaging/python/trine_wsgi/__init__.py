"""trine-wsgi: the server is the extension module; this is how the interpreter comes in.

``python -m trine_wsgi`` and the command ``trine-wsgi`` are the same.
"""

import sys

from trine_wsgi._native import __version__, run

__all__ = ["__version__", "main", "run"]


def main():
    """The console script: serves as the command line says, and ends the process with the server's exit code."""
    sys.exit(run(sys.argv))
