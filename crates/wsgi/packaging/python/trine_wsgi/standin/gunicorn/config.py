"""Settings. Besides these names, each setting has a class here, as in gunicorn (``Workers``, ``Postfork``)."""

from trine_wsgi import config as _config
from trine_wsgi.config import KNOWN_SETTINGS, Config, Setting, get_default_config_file, make_settings

__all__ = ["KNOWN_SETTINGS", "Config", "Setting", "get_default_config_file", "make_settings"]


def __getattr__(name):
    return getattr(_config, name)
