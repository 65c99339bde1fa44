"""What a request can be refused for. trine-wsgi refuses before Python is asked, and raises none of these."""


class ParseException(Exception):
    """A request that is not understood."""


class NoMoreData(OSError):
    """The client went away in the middle of a request."""

    def __init__(self, buf=None):
        super().__init__(buf)
        self.buf = buf

    def __str__(self):
        return f"No more data after: {self.buf!r}"


def _kinds(base, names):
    for name in names.split():
        globals()[name] = type(name, (base,), {"__module__": __name__})


_kinds(
    ParseException,
    """
    ChunkMissingTerminator ConfigurationProblem ExpectationFailed ForbiddenProxyRequest InvalidChunkExtension
    InvalidChunkSize InvalidH2CPreface InvalidHTTPVersion InvalidHeader InvalidHeaderName InvalidProxyHeader
    InvalidProxyLine InvalidRequestLine InvalidRequestMethod InvalidSchemeHeaders LimitRequestHeaders
    LimitRequestLine ObsoleteFolding UnsupportedTransferCoding
    """,
)
_kinds(InvalidHeader, "InvalidResponseHeader")  # noqa: F821
_kinds(InvalidHeaderName, "InvalidResponseHeaderName")  # noqa: F821
