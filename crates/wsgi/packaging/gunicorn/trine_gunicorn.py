"""The command ``gunicorn``, and ``import gunicorn``, for environments without the real one.

Python runs ``install`` at every start (by ``trine_gunicorn.pth``), so it does next to nothing until somebody imports
``gunicorn``.
"""

import sys


class Finder:
    """Finds the package ``gunicorn`` in trine-wsgi, unless there is a real one."""

    @staticmethod
    def find_spec(name, path=None, target=None):
        if name != "gunicorn":
            return None
        from importlib.machinery import PathFinder

        found = PathFinder.find_spec(name)
        # A folder or a file of this name in the application (gunicorn/, gunicorn.py) is not the package.
        if found is not None and found.origin and found.submodule_search_locations:
            return None
        home = PathFinder.find_spec("trine_wsgi")
        if home is None or not home.submodule_search_locations:
            return None
        return PathFinder.find_spec(name, [f"{place}/standin" for place in home.submodule_search_locations])


def install():
    """Has ``import gunicorn`` find trine-wsgi's names."""
    if Finder not in sys.meta_path:
        sys.meta_path.insert(0, Finder)


def main():
    """The command ``gunicorn``."""
    from importlib import metadata

    try:
        real = metadata.version("gunicorn")
    except metadata.PackageNotFoundError:
        from trine_wsgi import main as serve

        serve()
    sys.exit(
        f"Error: gunicorn {real} is installed in this environment, and trine-gunicorn does not take its place beside it.\n"
        "To serve with trine-wsgi:    pip uninstall gunicorn\n"
        "To serve with gunicorn:      pip uninstall trine-gunicorn && "
        f"pip install --force-reinstall --no-deps gunicorn=={real}\n"
        "To have both:                call trine-wsgi by its own name"
    )
