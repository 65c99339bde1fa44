"""The class of the object that hooks get as ``server``."""

import sys


class Arbiter:
    """There for type hints: hooks get an object with the attributes of gunicorn's."""

    WORKER_BOOT_ERROR = 3
    APP_LOAD_ERROR = 4

    def __init__(self, app):
        self.app = app
        self.cfg = app.cfg

    def run(self):
        """Serves the application, then ends the process."""
        from trine_wsgi import _native

        sys.exit(_native.run_application(self.app))
