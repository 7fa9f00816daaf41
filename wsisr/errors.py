"""Errors whose cause lies outside wsisr, as one tree.

Contract: every `WsisrError` carries one line that a person can act on: what happened, where, and what to do now.
Foreign errors are translated where the foreign library is called, with `raise ... from error`.
Any other exception is a bug and keeps its traceback.
"""

import errno
import os
from collections.abc import Collection, Iterator


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
    """A configuration, a list or a table holds an unknown key or an impossible value: the user wrote what cannot be."""


class AnnotationError(WsisrError):
    """A mask or GeoJSON file cannot be read, or does not belong to its slide."""


class ClusterError(WsisrError):
    """A cluster cannot be reached, has no worker that will do, or was lost."""


class ClusterLostError(ClusterError):
    """The scheduler of a cluster does not answer any more: no slide of the run can go on."""


class ShortageError(WsisrError):
    """This process or machine has run short of threads or open files; nothing is said of the input."""


class NotFoundError(WsisrError):
    """A name that the user gave does not exist. The command line exits as for any other usage error."""


class SlideNotFoundError(SlideError, NotFoundError):
    """There is no slide at a path."""


class ModelNotFoundError(ModelError, NotFoundError):
    """There is no model of a name, or no weights file at a path."""


class DeviceNotFoundError(DeviceError, NotFoundError):
    """There is no device of a name on this machine, or it cannot compute the model or the precision."""


class OutputNameError(OutputError, NotFoundError):
    """The name of a result ends in a suffix that stands for no format, or lies in a folder that does not exist."""


class DatasetNotFoundError(DatasetError, NotFoundError):
    """There is no dataset folder, or no table of cases, at a path."""


class ConfigNotFoundError(ConfigError, NotFoundError):
    """There is no TOML file or table at a path."""


class AnnotationNotFoundError(AnnotationError, NotFoundError):
    """There is no mask or GeoJSON file at a path."""


def describe_error(error: BaseException) -> str:
    """Return the message of a foreign error on one line of at most 200 characters."""
    words = " ".join(str(error).split()) or type(error).__name__
    return words if len(words) <= 200 else words[:199] + "…"


_SHORTAGES = {
    errno.EMFILE: "too many files are open in this process; raise the limit (ulimit -n) or give a smaller --jobs",
    errno.ENFILE: "too many files are open on this machine; end other programs, then repeat",
    errno.EAGAIN: "no more threads can be started; raise the limit (ulimit -u), or end other programs, then repeat",
    errno.ENOMEM: "this machine has no memory left; end other programs, then repeat",
}
_NO_THREAD = "can't start new thread"
"""Words of the `RuntimeError` that Python raises where the system starts no thread."""


def describe_shortage(error: BaseException) -> str | None:
    """Return in words what this process or machine has run short of, if that caused an error; else None.

    Libraries take it for a fault of the file that they read.
    """
    for cause in _iterate_causes(error):
        if isinstance(cause, RuntimeError) and _NO_THREAD in str(cause):
            return _SHORTAGES[errno.EAGAIN]
        for number, words in _SHORTAGES.items():
            is_named = not isinstance(cause, WsisrError) and str(cause).endswith(os.strerror(number))
            if is_named or (isinstance(cause, OSError) and cause.errno == number):
                return words
    return None


def _iterate_causes(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__


def check_choice(option: str, value: str, choices: Collection[str]) -> None:
    """Raise `OptionError`, with what to choose from, unless the value is one of the choices."""
    if value not in choices:
        *others, last = choices
        raise OptionError(f"choose {', '.join(others)} or {last}", option=option)
