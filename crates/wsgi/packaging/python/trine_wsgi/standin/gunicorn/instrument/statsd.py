"""The logger that tells statsd."""

from trine_wsgi.statsd import (
    COUNTER_TYPE,
    GAUGE_TYPE,
    HISTOGRAM_TYPE,
    METRIC_VAR,
    MTYPE_VAR,
    TIMER_TYPE,
    VALUE_VAR,
    Statsd,
)

__all__ = [
    "COUNTER_TYPE",
    "GAUGE_TYPE",
    "HISTOGRAM_TYPE",
    "METRIC_VAR",
    "MTYPE_VAR",
    "TIMER_TYPE",
    "VALUE_VAR",
    "Statsd",
]
