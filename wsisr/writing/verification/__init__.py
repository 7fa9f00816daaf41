"""The check of a written pyramid: findings, one line each, from two independent readers of it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from wsisr.errors import SlideError, in_words
from wsisr.writing import PyramidSpec, read_note
from wsisr.writing.verification.expectation import Finding, Intended
from wsisr.writing.verification.tiff import tiff_seen
from wsisr.writing.verification.zarr import zarr_seen

__all__ = ["Finding", "Intended", "verify", "wrong"]


def verify(path: Path, meant: Intended | None = None) -> Iterator[Finding]:
    """Checks of a pyramid, each as it is done; without `meant`, against what its own note says.

    A pyramid that is known from its note only is an older one: then every chunk of a zarr is read, for each has a
    checksum. Of one that has just been written a sample will do, and all of it may take as long as a network did.
    What is damaged is a finding; a file without any note is another program's, and not looked at further.
    Raises `SlideError` where it is neither TIFF nor zarr. Memory: a few tiles.
    """
    note = read_note(path)
    if not (note or meant):
        yield Finding("note", False, "not written by wsisr, or lost; there is nothing to check the file against")
        return
    yield (meant or Intended()).noted(note)
    known = meant or Intended.told(note)
    try:
        yield from zarr_seen(path, known, chunks=meant is None) if path.is_dir() else tiff_seen(path, known)
    except SlideError as error:
        yield Finding("readable", False, in_words(error))


def wrong(path: Path, spec: PyramidSpec) -> str | None:
    """What of a file just written is not as it was meant, in words; None where all is."""
    try:
        found = [f"{each.check}: {each.words}" for each in verify(path, Intended.by(spec)) if not each.good]
    except SlideError as error:
        return in_words(error)
    return "; ".join(found) or None
