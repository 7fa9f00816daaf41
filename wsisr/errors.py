"""What can go wrong for reasons outside wsisr, as one tree.

Contract: every `WsisrError` carries one line a person can act on: what happened, where, what to do now.
Foreign errors are translated where the foreign library is called, with `raise ... from error`.
Anything else that is raised is a bug and keeps its traceback.
"""


class WsisrError(Exception):
    """Root of every error that the command line shows as one line."""


class SlideError(WsisrError):
    """A slide cannot be opened, read, or used as asked."""


class ModelError(WsisrError):
    """Weights cannot be found, read, or used as asked."""


class DeviceError(WsisrError):
    """The device that was asked for is not there."""


class OutOfMemoryError(DeviceError):
    """A device has no room for what it was given; on fewer pixels it may."""


class OutputError(WsisrError):
    """A result cannot be written where it was asked for."""


class DatasetError(WsisrError):
    """Training data cannot be built or read."""


class ConfigError(WsisrError):
    """A configuration holds an unknown key or an impossible value."""


def in_words(error: BaseException) -> str:
    """A foreign error on one line of bounded length."""
    words = " ".join(str(error).split()) or type(error).__name__
    return words if len(words) <= 200 else words[:199] + "…"
