"""Checks a written pyramid with two independent readers; yields findings of one line each."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from wsisr.errors import SlideError, describe_error
from wsisr.files import is_dicom, is_zarr
from wsisr.slides.readers.signatures import PNG, detect_picture
from wsisr.writing import PyramidSpec, read_metadata
from wsisr.writing.verification.expectation import Expectation, Finding
from wsisr.writing.verification.tiff import check_tiff

__all__ = ["Expectation", "Finding", "describe_faults", "verify_pyramid"]


def verify_pyramid(path: Path, expected: Expectation | None = None, *, every_tile: bool = False) -> Iterator[Finding]:
    """Yield the findings of all checks, as each is done; without `expected`, against the file's own metadata.

    Without `expected` the file may be old, so every chunk of an OME-Zarr is read, for each has a checksum. Tiles are
    sampled, for reading all of them may take as long as the network did; with `every_tile`, both readers read each, so
    that a tile that belongs elsewhere is found, too.
    Damage is a finding; a file without our metadata was written by another program, and is not checked further.
    Raises `SlideError` if the path is neither TIFF, PNG, Zarr nor DICOM. Memory: a few tiles.
    """
    metadata = read_metadata(path)
    if not (metadata or expected):
        yield Finding("note", False, "not written by wsisr, or lost; there is nothing to check the file against")
        return
    yield (expected or Expectation()).check_metadata(metadata)
    expectation = expected or Expectation.from_metadata(metadata)
    try:
        if is_zarr(path):
            from wsisr.writing.verification.zarr import check_zarr  # noqa: PLC0415 - zarr takes 0.4 s to import

            yield from check_zarr(path, expectation, every_chunk=expected is None, every_tile=every_tile)
        elif path.is_dir() or is_dicom(path):
            from wsisr.writing.verification.dicom import check_dicom  # noqa: PLC0415 - pydicom takes 0.2 s to import

            yield from check_dicom(path, expectation, every_tile=every_tile)
        elif detect_picture(path) == PNG:
            from wsisr.writing.verification.png import check_png  # noqa: PLC0415 - few runs write one

            yield from check_png(path, expectation, every_tile=every_tile)
        else:
            yield from check_tiff(path, expectation, every_tile=every_tile)
    except SlideError as error:
        yield Finding("readable", False, describe_error(error))


def describe_faults(path: Path, spec: PyramidSpec) -> str | None:
    """Return, as text, how a file just written differs from its specification; None if it does not."""
    try:
        findings = list(verify_pyramid(path, Expectation.from_spec(spec)))
    except SlideError as error:
        return describe_error(error)
    return "; ".join(f"{finding.check}: {finding.words}" for finding in findings if not finding.good) or None
