"""A logger of one's own, as configurations have it: it hides health checks and redacts."""

from gunicorn.glogging import Logger


class Redacting(Logger):
    def setup(self, cfg):
        super().setup(cfg)
        self.error("%s is set up with %d workers", type(self).__name__, cfg.workers)

    def now(self):
        return "[now]"

    def atoms(self, resp, req, environ, request_time):
        assert req.method == environ["REQUEST_METHOD"] and resp.status.startswith(str(resp.status_code))
        assert request_time.total_seconds() < 60
        return {**super().atoms(resp, req, environ, request_time), "{x-token}o": "redacted"}

    def access(self, resp, req, environ, request_time):
        if req.path != "/health":
            super().access(resp, req, environ, request_time)

    def info(self, msg, *args, **kwargs):
        super().info("info: " + msg, *args, **kwargs)


logger_class = Redacting
accesslog = "-"
access_log_format = '%(h)s %(t)s "%(r)s" %(s)s %(B)s %({x-token}o)s %({user-agent}i)s %({request_method}e)s %(u)s'
