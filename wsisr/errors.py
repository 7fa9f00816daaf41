"""Errors whose cause lies outside wsisr, as one tree.

Contract: every `WsisrError` carries one line that a person can act on: what happened, where, and what to do now.
Foreign errors are translated where the foreign library is called, with `raise ... from error`.
Any other exception is a bug and keeps its traceback.
"""

from collections.abc import Collection


class WsisrError(Exception):
    """Root of every error that the command line shows as one line."""


class OptionError(WsisrError):
    """An option has an impossible value, or excludes another one, whatever the slide."""

    def __init__(self, reason: str, *, option: str | None = None) -> None:
        """Take what is wrong, and the option's name on the command line, if it is about one."""
        super().__init__(f"{option}: {reason}" if option else reason)
        self.reason = reason
        self.option = option


class SlideError(WsisrError):
    """A slide cannot be opened, read, or used as requested."""


class ModelError(WsisrError):
    """A model cannot be found, read, or used as requested."""


class DeviceError(WsisrError):
    """The requested device is not available."""


class OutOfMemoryError(DeviceError):
    """A device has too little memory for a batch; a smaller one may fit."""


class OutputError(WsisrError):
    """A result cannot be written to the requested place."""


class DatasetError(WsisrError):
    """Training data cannot be built or read."""


class ConfigError(WsisrError):
    """A configuration holds an unknown key or an impossible value."""


class NotFoundError(WsisrError):
    """A name that the user gave does not exist. The command line exits as for any other usage error."""


class SlideNotFoundError(SlideError, NotFoundError):
    """There is no slide at a path."""


class ModelNotFoundError(ModelError, NotFoundError):
    """There is no model of a name, or no weights file at a path."""


class DatasetNotFoundError(DatasetError, NotFoundError):
    """There is no dataset folder, or no table of cases, at a path."""


class ConfigNotFoundError(ConfigError, NotFoundError):
    """There is no TOML file, mask or GeoJSON file at a path."""


def describe_error(error: BaseException) -> str:
    """Return the message of a foreign error on one line of at most 200 characters."""
    words = " ".join(str(error).split()) or type(error).__name__
    return words if len(words) <= 200 else words[:199] + "…"


def check_choice(option: str, value: str, choices: Collection[str]) -> None:
    """Raise `OptionError`, with what to choose from, unless the value is one of the choices."""
    if value not in choices:
        *others, last = choices
        raise OptionError(f"choose {', '.join(others)} or {last}", option=option)
