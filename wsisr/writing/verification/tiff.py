"""A TIFF as tifffile and OpenSlide see it, and whether all that it points at is in the file."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from wsisr.errors import SlideError
from wsisr.progress import counted
from wsisr.slides.readers.openslide import OpenSlideSlide, openslide_info
from wsisr.slides.readers.tiff import TiffSlide, opened_tiff, read_picture
from wsisr.writing.verification.expectation import Finding, Intended
from wsisr.writing.verification.readers_agree import Witnesses


def tiff_seen(path: Path, meant: Intended) -> Iterator[Finding]:
    """Raises `SlideError` where it is too damaged to look further."""
    yield _inside(path)
    picture = read_picture(path, series=0)
    if meant.is_limited and picture.undecodable:
        yield Finding("pixels", True, f"not looked at: {picture.undecodable}, as was accepted")
        return
    # Whichever of the two wsisr itself would read it with.
    native = openslide_info(path)
    if native is None or picture.undecodable:
        raise SlideError(f"{path}: {picture.undecodable or 'OpenSlide does not know it'}")
    with TiffSlide(picture.info, picture.planes) as one, OpenSlideSlide(native) as other:
        yield from Witnesses(one, other, tuple(plane.segment for plane in picture.planes)).findings(meant)


def _inside(path: Path) -> Finding:
    """Every directory is walked, and every byte that one points at is in the file."""
    size = path.stat().st_size
    with opened_tiff(path) as tiff:
        pages = [page.aspage() for page in tiff.pages]
        ends = [at + count for page in pages for at, count in _segments(page)]
        empty = sum(count == 0 for page in pages for _, count in _segments(page))
    beyond = sum(end > size for end in ends)
    seen = f"{counted(len(ends), 'tile')} of {counted(len(pages), 'image')}"
    words = f"{seen}; {beyond} beyond the end of the file, {empty} empty"
    return Finding("tiles", not beyond and not empty, words)


def _segments(page: Any) -> Iterable[tuple[int, int]]:
    return zip(page.dataoffsets, page.databytecounts, strict=True)
