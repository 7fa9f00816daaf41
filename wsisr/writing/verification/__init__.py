"""The check of a written pyramid: findings, one line each, from two independent readers of it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from wsisr.errors import SlideError, describe_error
from wsisr.writing import PyramidSpec, read_metadata
from wsisr.writing.verification.expectation import Expectation, Finding
from wsisr.writing.verification.tiff import check_tiff
from wsisr.writing.verification.zarr import check_zarr

__all__ = ["Finding", "Expectation", "verify_pyramid", "describe_faults"]


def verify_pyramid(path: Path, meant: Expectation | None = None) -> Iterator[Finding]:
    """Checks of a pyramid, each as it is done; without `meant`, against what its own note says.

    A pyramid that is known from its note only is an older one: then every chunk of a zarr is read, for each has a
    checksum. Of one that has just been written a sample will do, and all of it may take as long as a network did.
    What is damaged is a finding; a file without any note is another program's, and not looked at further.
    Raises `SlideError` where it is neither TIFF nor zarr. Memory: a few tiles.
    """
    note = read_metadata(path)
    if not (note or meant):
        yield Finding("note", False, "not written by wsisr, or lost; there is nothing to check the file against")
        return
    yield (meant or Expectation()).check_metadata(note)
    known = meant or Expectation.from_metadata(note)
    try:
        yield from check_zarr(path, known, chunks=meant is None) if path.is_dir() else check_tiff(path, known)
    except SlideError as error:
        yield Finding("readable", False, describe_error(error))


def describe_faults(path: Path, spec: PyramidSpec) -> str | None:
    """What of a file just written is not as it was meant, in words; None where all is."""
    try:
        found = [
            f"{each.check}: {each.words}" for each in verify_pyramid(path, Expectation.from_spec(spec)) if not each.good
        ]
    except SlideError as error:
        return describe_error(error)
    return "; ".join(found) or None
