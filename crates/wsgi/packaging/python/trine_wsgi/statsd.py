"""The logger that tells statsd of requests, and of whatever a log call carries as ``metric``."""

import logging
import re
import socket

from trine_wsgi.glogging import Logger

METRIC_VAR = "metric"
VALUE_VAR = "value"
MTYPE_VAR = "mtype"
GAUGE_TYPE = "gauge"
COUNTER_TYPE = "counter"
HISTOGRAM_TYPE = "histogram"
TIMER_TYPE = "timer"


class Statsd(Logger):
    """Sends one datagram a metric to ``cfg.statsd_host``: a pair of host and port, or a path."""

    def __init__(self, cfg):
        super().__init__(cfg)
        self.prefix = re.sub(r"^(.+[^.]+)\.*$", r"\g<1>.", cfg.statsd_prefix)
        self.dogstatsd_tags = cfg.dogstatsd_tags
        self.sock = _connect(cfg.statsd_host)

    def critical(self, msg, *args, **kwargs):
        super().critical(msg, *args, **kwargs)
        self.increment("gunicorn.log.critical", 1)

    def error(self, msg, *args, **kwargs):
        super().error(msg, *args, **kwargs)
        self.increment("gunicorn.log.error", 1)

    def warning(self, msg, *args, **kwargs):
        super().warning(msg, *args, **kwargs)
        self.increment("gunicorn.log.warning", 1)

    def exception(self, msg, *args, **kwargs):
        super().exception(msg, *args, **kwargs)
        self.increment("gunicorn.log.exception", 1)

    def info(self, msg, *args, **kwargs):
        self.log(logging.INFO, msg, *args, **kwargs)

    def debug(self, msg, *args, **kwargs):
        self.log(logging.DEBUG, msg, *args, **kwargs)

    def log(self, lvl, msg, *args, **kwargs):
        """Sends the metric in ``extra``, if there is one, and logs the message, if there is one."""
        try:
            self._send_extra(kwargs.get("extra") or {})
            if msg:
                super().log(lvl, msg, *args, **kwargs)
        except Exception:
            Logger.warning(self, "Failed to log to statsd", exc_info=True)

    def access(self, resp, req, environ, request_time):
        super().access(resp, req, environ, request_time)
        status = resp.status
        if isinstance(status, bytes):
            status = status.decode()
        if isinstance(status, str):
            status = int(status.split(None, 1)[0])
        self.timer("gunicorn.request.duration", request_time.seconds * 1000 + request_time.microseconds / 1000)
        self.increment("gunicorn.requests", 1)
        self.increment(f"gunicorn.request.status.{status}", 1)

    def gauge(self, name, value):
        self._sock_send(f"{self.prefix}{name}:{value}|g")

    def increment(self, name, value, sampling_rate=1.0):
        self._sock_send(f"{self.prefix}{name}:{value}|c|@{sampling_rate}")

    def decrement(self, name, value, sampling_rate=1.0):
        self._sock_send(f"{self.prefix}{name}:-{value}|c|@{sampling_rate}")

    def timer(self, name, value):
        self._sock_send(f"{self.prefix}{name}:{value}|ms")

    def histogram(self, name, value):
        self._sock_send(f"{self.prefix}{name}:{value}|h")

    def _send_extra(self, extra):
        metric, value, kind = extra.get(METRIC_VAR), extra.get(VALUE_VAR), extra.get(MTYPE_VAR)
        if not metric or value is None:
            return
        send = {
            GAUGE_TYPE: self.gauge,
            COUNTER_TYPE: self.increment,
            HISTOGRAM_TYPE: self.histogram,
            TIMER_TYPE: self.timer,
        }.get(kind)
        if send is not None:
            send(metric, value)

    def _sock_send(self, msg):
        try:
            if isinstance(msg, str):
                msg = msg.encode("ascii")
            if self.dogstatsd_tags:
                msg = msg + b"|#" + self.dogstatsd_tags.encode("ascii")
            if self.sock:
                self.sock.send(msg)
        except Exception:
            Logger.warning(self, "Error sending message to statsd", exc_info=True)


def _connect(host):
    if isinstance(host, str):
        family = socket.AF_UNIX
    else:
        family = socket.AF_INET6 if host and ":" in host[0] else socket.AF_INET
    try:
        sock = socket.socket(family, socket.SOCK_DGRAM)
        sock.connect(host)
    except Exception:
        return None  # metrics are lost, service is not
    return sock
