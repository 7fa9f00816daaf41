"""A TIFF as tifffile and OpenSlide see it, and whether all that it points at is in the file."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from wsisr.errors import SlideError
from wsisr.progress import format_count
from wsisr.slides.readers.openslide import OpenSlideSlide, read_openslide_info
from wsisr.slides.readers.tiff import TiffSlide, open_tiff, read_tiff_image
from wsisr.writing.verification.expectation import Expectation, Finding
from wsisr.writing.verification.readers_agree import ReaderComparison


def check_tiff(path: Path, meant: Expectation) -> Iterator[Finding]:
    """Raises `SlideError` where it is too damaged to look further."""
    yield _check_segments(path)
    picture = read_tiff_image(path, series=0)
    if meant.has_limited_viewers and picture.obstacle:
        yield Finding("pixels", True, f"not looked at: {picture.obstacle}, as was accepted")
        return
    # Whichever of the two wsisr itself would read it with.
    native = read_openslide_info(path)
    if native is None or picture.obstacle:
        raise SlideError(f"{path}: {picture.obstacle or 'OpenSlide does not know it'}")
    with TiffSlide(picture.info, picture.levels) as one, OpenSlideSlide(native) as other:
        yield from ReaderComparison(one, other, tuple(plane.segment_size for plane in picture.levels)).iterate_findings(
            meant
        )


def _check_segments(path: Path) -> Finding:
    """Every directory is walked, and every byte that one points at is in the file."""
    size = path.stat().st_size
    with open_tiff(path) as tiff:
        pages = [page.aspage() for page in tiff.pages]
        ends = [at + count for page in pages for at, count in _list_segments(page)]
        empty = sum(count == 0 for page in pages for _, count in _list_segments(page))
    beyond = sum(end > size for end in ends)
    seen = f"{format_count(len(ends), 'tile')} of {format_count(len(pages), 'image')}"
    words = f"{seen}; {beyond} beyond the end of the file, {empty} empty"
    return Finding("tiles", not beyond and not empty, words)


def _list_segments(page: Any) -> Iterable[tuple[int, int]]:
    return zip(page.dataoffsets, page.databytecounts, strict=True)
