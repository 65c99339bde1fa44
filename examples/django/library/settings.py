"""Settings for a small site behind a proxy that ends TLS and serves the static files.

Environment:
    LIBRARY_DATA     folder for the database, the secret key and the collected static files
                     (default: var/ beside manage.py)
    LIBRARY_HOSTS    host names to answer for, separated by commas (default: this machine's)
    LIBRARY_ORIGINS  origins whose forms are accepted beside the site's own, as https://example.org
    LIBRARY_HTTPS    1 when visitors come by HTTPS: cookies are then sent over HTTPS only
    LIBRARY_DEBUG    1 for Django's debug pages; never on the internet
"""

import contextlib
import os
from pathlib import Path

from django.core.management.utils import get_random_secret_key

BASE_DIR = Path(__file__).resolve().parent.parent
DATA = Path(os.environ.get("LIBRARY_DATA", BASE_DIR / "var")).absolute()
DATA.mkdir(parents=True, exist_ok=True)


def _words(name: str, default: str = "") -> list[str]:
    return [word for word in os.environ.get(name, default).split(",") if word]


def _shared_key() -> str:
    """The key that signs sessions: made once, and the same for every worker."""
    path = DATA / "secret.key"
    if not path.exists():
        fresh = path.with_name(f"secret.key.{os.getpid()}")
        fresh.touch(mode=0o600)
        fresh.write_text(get_random_secret_key())
        with contextlib.suppress(FileExistsError):
            os.link(fresh, path)  # the first worker wins, the others read what it wrote
        fresh.unlink()
    return path.read_text()


SECRET_KEY = _shared_key()
DEBUG = os.environ.get("LIBRARY_DEBUG") == "1"
ALLOWED_HOSTS = _words("LIBRARY_HOSTS", "localhost,127.0.0.1,[::1]")
CSRF_TRUSTED_ORIGINS = _words("LIBRARY_ORIGINS")

# Behind the proxy. It replaces X-Forwarded-* from clients with the truth, so both can be believed;
# do not run this project without such a proxy in front.
SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https")
USE_X_FORWARDED_HOST = True
SECURE_CONTENT_TYPE_NOSNIFF = True
SECURE_REFERRER_POLICY = "same-origin"
SESSION_COOKIE_SECURE = CSRF_COOKIE_SECURE = os.environ.get("LIBRARY_HTTPS") == "1"
X_FRAME_OPTIONS = "DENY"

INSTALLED_APPS = [
    "django.contrib.admin",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "django.contrib.staticfiles",
    "shelf",
]

MIDDLEWARE = [
    "django.middleware.security.SecurityMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
]

ROOT_URLCONF = "library.urls"
WSGI_APPLICATION = "library.wsgi.application"

TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
                "shelf.views.every_page",
            ],
        },
    },
]

DATABASES = {
    "default": {
        "ENGINE": "django.db.backends.sqlite3",
        "NAME": DATA / "db.sqlite3",
        "OPTIONS": {
            # Several workers share the file: readers do not wait, writers queue up.
            "init_command": "PRAGMA journal_mode=WAL; PRAGMA synchronous=NORMAL",
            "transaction_mode": "IMMEDIATE",
            "timeout": 20,
        },
    }
}
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"

AUTH_PASSWORD_VALIDATORS = [
    {"NAME": "django.contrib.auth.password_validation.UserAttributeSimilarityValidator"},
    {"NAME": "django.contrib.auth.password_validation.MinimumLengthValidator"},
    {"NAME": "django.contrib.auth.password_validation.CommonPasswordValidator"},
]

LANGUAGE_CODE = "en"
TIME_ZONE = "UTC"
USE_TZ = True

# `manage.py collectstatic` fills the folder, the proxy serves it.
STATIC_URL = "/static/"
STATIC_ROOT = DATA / "static"

# Failures go to the error log of the WSGI server, with their traceback.
LOGGING = {
    "version": 1,
    "disable_existing_loggers": False,
    "handlers": {"console": {"class": "logging.StreamHandler"}},
    "root": {"handlers": ["console"], "level": "INFO"},
    "loggers": {"django": {"handlers": ["console"], "level": "INFO", "propagate": False}},
}
