"""Checks a TIFF with tifffile and OpenSlide, and that everything its directories point at lies in the file."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from wsisr.errors import SlideError
from wsisr.progress import format_count
from wsisr.slides.readers.openslide import OpenSlideSlide, read_openslide_info
from wsisr.slides.readers.tiff import TiffSlide, open_tiff, read_tiff_image
from wsisr.slides.slide import SlideInfo
from wsisr.writing.verification.expectation import Expectation, Finding
from wsisr.writing.verification.readers_agree import ReaderComparison


def check_tiff(path: Path, expected: Expectation, *, every_tile: bool = False) -> Iterator[Finding]:
    """Yield the findings of all checks. Raises `SlideError` if the file is too damaged to check it further."""
    yield _check_segments(path)
    image = read_tiff_image(path, series=0)
    if image.obstacle:
        raise SlideError(f"{path}: {image.obstacle}")
    tile_sizes = tuple(level.segment_size for level in image.levels)
    # Whichever of the two readers wsisr would choose for this file, both are compared.
    with TiffSlide(image.info, image.levels) as by_tifffile:
        openslide_info = _read_openslide_info(path, expected)
        if openslide_info is None:
            words = "OpenSlide does not decode it, which was accepted when it was written; tifffile alone reads it"
            yield Finding("readers", True, words)
            yield from ReaderComparison(by_tifffile, by_tifffile, tile_sizes, every_tile).iterate_findings(expected)
            return
        with OpenSlideSlide(openslide_info) as by_openslide:
            yield from ReaderComparison(by_tifffile, by_openslide, tile_sizes, every_tile).iterate_findings(expected)


def _read_openslide_info(path: Path, expected: Expectation) -> SlideInfo | None:
    """Read the facts through OpenSlide; None where it need not decode the file's codec, and does not.

    Raises `SlideError` where it should, and does not.
    """
    try:
        info = read_openslide_info(path)
    except SlideError:
        if expected.has_limited_viewers:
            return None
        raise
    if info is None:
        raise SlideError(f"{path}: OpenSlide does not know it")
    return info


def _check_segments(path: Path) -> Finding:
    """Check, through all directories, that every tile they point at lies in the file and is not empty."""
    file_size = path.stat().st_size
    with open_tiff(path) as tiff:
        pages = [page.aspage() for page in tiff.pages]
        ends = [offset + size for page in pages for offset, size in _list_segments(page)]
        empty = sum(size == 0 for page in pages for _, size in _list_segments(page))
    beyond = sum(end > file_size for end in ends)
    counts = f"{format_count(len(ends), 'tile')} of {format_count(len(pages), 'image')}"
    words = f"{counts}; {beyond} beyond the end of the file, {empty} empty"
    return Finding("tiles", not beyond and not empty, words)


def _list_segments(page: Any) -> Iterable[tuple[int, int]]:
    return zip(page.dataoffsets, page.databytecounts, strict=True)
