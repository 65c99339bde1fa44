"""The classes of the object that hooks and ``Logger.access`` get as ``req``."""


class Message:
    """There for type hints."""


class Request(Message):
    """There for type hints: has ``method``, ``uri``, ``path``, ``query``, ``version``, ``headers``."""
