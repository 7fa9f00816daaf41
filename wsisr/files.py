"""Files that appear under their name whole or not at all, and what a disk refuses, as one line."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from wsisr.errors import OutputError

_ADVICE = {
    errno.ENOSPC: "free some space or choose another folder",
    errno.EDQUOT: "free some space or choose another folder",
    errno.EFBIG: "this disk or this account does not take files that large; choose another folder",
    errno.EACCES: "choose a folder that you may write to",
    errno.EPERM: "choose a folder that you may write to",
    errno.EROFS: "choose a folder that you may write to",
    errno.ENAMETOOLONG: "choose a shorter name",
}


@contextmanager
def disk_errors(output: Path) -> Iterator[None]:
    """Turn the `OSError`s of writing an output into one line that names it and says what to do."""
    try:
        yield
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        advice = _ADVICE.get(error.errno or 0, "choose another folder")
        raise OutputError(f"{output}: cannot be written: {reason}; {advice}") from error


def write_whole(path: Path, pieces: Iterable[bytes]) -> None:
    """Writes a file from its pieces, on the disk to the last byte before it gets its name; an older one is replaced.

    Memory is that of one piece. Raises `OutputError` where the disk refuses; the older file, if any, then stays.
    """
    partial = path.with_name(f"{path.name}.partial")
    with disk_errors(path):
        try:
            with partial.open("wb") as file:
                for piece in pieces:
                    file.write(piece)
                file.flush()
                os.fsync(file.fileno())
            partial.replace(path)
        except BaseException:
            with suppress(OSError):
                partial.unlink()
            raise
