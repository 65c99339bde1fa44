"""The names of gunicorn that applications and configurations import, when gunicorn itself is not installed.

Supplied by trine-wsgi. What is here behaves as in gunicorn 27; the server behind it is trine-wsgi.
"""

#: The version of gunicorn whose interface this is.
version_info = (27, 0, 1)
__version__ = ".".join(map(str, version_info))

#: What the ``Server`` header and ``environ["SERVER_SOFTWARE"]`` say; a configuration may set other values.
SERVER = "gunicorn"
SERVER_SOFTWARE = f"{SERVER}/{__version__}"
