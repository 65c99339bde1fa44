"""Embedding: applications that bring their own settings and start the server themselves."""

import importlib
import os
import sys
import traceback
import types

from trine_wsgi import _native
from trine_wsgi.config import Config


class BaseApplication:
    """Override ``load_config`` (call ``self.cfg.set``) and ``load`` (return the WSGI application), then ``run()``."""

    def __init__(self, usage=None, prog=None):
        self.usage = usage
        self.cfg = None
        self.callable = None
        self.prog = prog
        self.logger = None
        self.do_load_config()

    def do_load_config(self):
        try:
            self.load_default_config()
            self.load_config()
            self.cfg.validate()
        except Exception as problem:
            _fail(problem)

    def load_default_config(self):
        self.cfg = Config(self.usage, prog=self.prog)

    def init(self, parser, opts, args):
        raise NotImplementedError

    def load(self):
        raise NotImplementedError

    def load_config(self):
        raise NotImplementedError

    def reload(self):
        self.do_load_config()

    def wsgi(self):
        """The WSGI application, loaded once in each process."""
        if self.callable is None:
            self.callable = self.load()
        return self.callable

    def run(self):
        """Serves until the server is told to stop, then ends the process."""
        sys.exit(_native.run_application(self))


class Application(BaseApplication):
    """An application whose settings are read from the command line and configuration files, as the command does."""

    def chdir(self):
        os.chdir(self.cfg.chdir)
        if self.cfg.chdir not in sys.path:
            sys.path.insert(0, self.cfg.chdir)

    def load_config(self):
        own = self._ask_init()
        read, args = _native.read_command_line(sys.argv)
        for name, value in own.items():
            if name not in read:
                self.cfg.set(name.lower(), value)
        for name, value in read.items():
            self.cfg.set(name, value)
        self.chdir()

    def _ask_init(self):
        read, args = _native.read_command_line(sys.argv)
        values = {name: setting.get() for name, setting in self.cfg.settings.items()} | read
        return self.init(None, types.SimpleNamespace(**values, args=args), args) or {}

    def load_config_from_file(self, filename):
        return self.load_config_from_module_name_or_filename(filename)

    def load_config_from_module_name_or_filename(self, location):
        """Sets what a configuration says: a path, ``file:PATH`` or ``python:MODULE``."""
        if location.startswith("python:"):
            names = vars(importlib.import_module(location.removeprefix("python:")))
        else:
            names = self.get_config_from_filename(location.removeprefix("file:"))
        for name, value in names.items():
            if name in self.cfg.settings:
                self.cfg.set(name.lower(), value)
        return names

    def get_config_from_filename(self, filename):
        import runpy

        if not os.path.exists(filename):
            raise RuntimeError(f"{filename!r} doesn't exist")
        try:
            return runpy.run_path(filename, run_name="__config__")
        except Exception:
            print(f"Failed to read config file: {filename}", file=sys.stderr)
            traceback.print_exc()
            sys.exit(1)

    def run(self):
        if self.cfg.print_config:
            print(self.cfg)
        if self.cfg.print_config or self.cfg.check_config:
            try:
                self.load()
            except Exception:
                print("\nError while loading the application:\n", file=sys.stderr)
                traceback.print_exc()
                sys.exit(1)
            sys.exit(0)
        for path in filter(None, (self.cfg.pythonpath or "").split(",")):
            path = os.path.abspath(path)
            if path not in sys.path:
                sys.path.insert(0, path)
        super().run()


class WSGIApplication(Application):
    """The application that the command line or ``wsgi_app`` names."""

    def init(self, parser, opts, args):
        self.app_uri = args[0] if args else None
        return {}

    def load_config(self):
        super().load_config()
        if self.app_uri is None:
            self.app_uri = self.cfg.wsgi_app
        if self.app_uri is None:
            raise RuntimeError("No application module specified.")

    def load_wsgiapp(self):
        return _native.import_app(self.app_uri)

    def load(self):
        return self.load_wsgiapp()


def _fail(problem):
    print(f"\nError: {problem}", file=sys.stderr, flush=True)
    sys.exit(1)
