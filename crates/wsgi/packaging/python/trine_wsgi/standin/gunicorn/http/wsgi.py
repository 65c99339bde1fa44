"""The class of the object that hooks and ``Logger.access`` get as ``resp``."""


class Response:
    """There for type hints: has ``status``, ``status_code``, ``headers``, ``sent``."""
