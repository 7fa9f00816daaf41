"""The images of a TIFF, and which of its pages are their levels.

tifffile lists them, and is corrected where programs write otherwise than it expects: levels in any order, red, green
and blue in three pages, and pyramids whose pages are not marked as such, with a thumbnail between them.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

from wsisr.bounds import MAX_SERIES
from wsisr.errors import SlideError
from wsisr.imaging.geometry import Size
from wsisr.slides.readers.ome_companion import load_ome_xml
from wsisr.slides.readers.ome_xml import (
    ImagePlace,
    OmeFacts,
    find_companion_name,
    parse_ome_facts,
    parse_rgb_channels,
    parse_uuid,
)
from wsisr.slides.readers.tiff_segments import PageGroup

_HAMAMATSU_FILTER = 65434
"""NDPI's tag for the fluorescence filter: the pixels are 8-bit RGB, and nothing else tells them from brightfield."""

_PALETTE = 3
_RGB_PHOTOMETRICS = (2, 6)
"""Values of PhotometricInterpretation: RGB and YCbCr."""

_UNTOLD_KINDS = ("generic", "uniform", "shaped")
"""Kinds of tifffile's series of which no program says what is a level."""

_LEAST_DOWNSAMPLE = 1.5
"""Downsample between an image and a level of it; a smaller one is another picture of the same subject."""

_RESOLUTION_TOLERANCE = 0.1
"""Relative difference up to which two recorded resolutions are the same."""


@dataclass(frozen=True, slots=True)
class TiffSeries:
    """One image of a TIFF."""

    name: str
    kind: str
    """tifffile's word for how it was found."""
    levels: tuple[PageGroup, ...]
    """From fine to coarse."""
    refusal: str
    """Why it is no brightfield image, in words; empty where it is one."""

    @property
    def page(self) -> Any:
        """The first page of its finest level."""
        return self.levels[0][0]

    @property
    def size(self) -> Size:
        return _page_size(self.page)


def list_tiff_series(path: Path, tiff: Any) -> list[TiffSeries]:
    """List the images of an open `tifffile.TiffFile`."""
    if len(tiff.series) > MAX_SERIES:
        raise SlideError(f"{path}: holds {len(tiff.series)} images, more than {MAX_SERIES}; give the file of a slide")
    images = [_make_series(path, tiff, series) for series in tiff.series]
    unmarked = [image for image in images if image.kind in _UNTOLD_KINDS and not image.refusal]
    others = [image for image in images if image not in unmarked]
    # The numbers of images stay those of the file, for `--series`.
    order = {id(pages): number for number, pages in enumerate(pages for image in images for pages in image.levels)}
    return sorted([*others, *_regroup_pages(unmarked)], key=lambda image: order[id(image.levels[0])])


def read_ome_facts(path: Path, tiff: Any, page: Any) -> OmeFacts:
    """Read the facts of the image that begins at a page, from OME-XML in the file or in its companion."""
    return parse_ome_facts(load_ome_xml(path, tiff.pages.first.description), _page_size(page), _place(path, tiff, page))


def _place(path: Path, tiff: Any, page: Any) -> ImagePlace:
    number = page.index if isinstance(page.index, int) else None
    description = tiff.pages.first.description
    uuid = None if find_companion_name(description) is None else parse_uuid(description)
    return ImagePlace(number, path.name, uuid)


def _make_series(path: Path, tiff: Any, series: Any) -> TiffSeries:
    order = _find_rgb_pages(path, tiff, series)
    groups = [_list_pages(level, order) for level in series.levels]
    levels = sorted(_drop_other_images(groups), key=lambda pages: -_page_size(pages[0]).pixel_count)
    return TiffSeries(series.name, series.kind, tuple(levels), "" if order else _explain_refusal(series))


def _list_pages(level: Any, order: Sequence[int] | None) -> PageGroup:
    return [level.keyframe] if order is None else [level.pages[number].aspage() for number in order]


def _find_rgb_pages(path: Path, tiff: Any, series: Any) -> tuple[int, ...] | None:
    """Return which of three pages are red, green and blue, as OME-XML names them; None where they are something else.

    The same three pages are what fluorescence of three stains looks like.
    """
    page = series.keyframe
    is_possible = tiff.is_ome and page.samplesperpixel == 1 and page.dtype == np.uint8 and page.bitspersample == 8
    if not is_possible or any(len(level.pages) != 3 for level in series.levels):
        return None
    xml = load_ome_xml(path, tiff.pages.first.description)
    return parse_rgb_channels(xml, _page_size(page), _place(path, tiff, page))


def _drop_other_images(groups: Sequence[PageGroup]) -> Iterator[PageGroup]:
    """Yield the first level, and those that have its samples and a size of their own."""
    seen: set[Size] = set()
    for pages in groups:
        page, first = pages[0], groups[0][0]
        is_alike = (page.samplesperpixel, page.dtype) == (first.samplesperpixel, first.dtype)
        if is_alike and _page_size(page) not in seen:
            seen.add(_page_size(page))
            yield pages


def _regroup_pages(images: Sequence[TiffSeries]) -> Iterator[TiffSeries]:
    """Yield images whose unmarked pages are levels if they are tiled and shrunk alike, else images of their own.

    tifffile pairs an image with any page of a fitting size, such as a thumbnail in strips.
    """
    remaining = sorted(
        ((image, pages) for image in images for pages in image.levels),
        key=lambda pair: -_page_size(pair[1][0]).pixel_count,
    )
    bases = [pages[0] for _, pages in remaining if not _is_marked(pages[0])]
    while remaining:
        image, base = remaining[0]
        candidates = [
            pair
            for pair in remaining
            if _is_level(base[0], pair[1][0], is_listed=pair[0] is image, owner=_find_owner(pair[1][0], bases))
        ]
        by_size = {_page_size(pair[1][0]): pair for pair in candidates if pair[1] is not base}
        chosen = [remaining[0], *by_size.values()]
        remaining = [pair for pair in remaining if not any(pair is other for other in chosen)]
        yield replace(image, levels=tuple(pages for _, pages in chosen))


def _is_level(base: Any, page: Any, *, is_listed: bool, owner: Any) -> bool:
    """Whether a page is a level of another one, or that page itself.

    `is_listed`: tifffile takes it for one. `owner`: the page that a marked one belongs to by its place in the file, for
    tifffile takes a level that is larger than the one before it for an image of its own.
    """
    if page is base or (is_listed and (_is_marked(page) or not base.is_tiled)):
        return True
    if not base.is_tiled or (_is_marked(page) and owner is not base):
        return False
    return bool(page.is_tiled) and _is_shrunk_alike(base, page) and not _contradicts_in_resolution(base, page)


def _is_marked(page: Any) -> bool:
    """Whether a page is said to show another one at a lower resolution."""
    return bool(page.is_reduced or page.is_subifd)


def _find_owner(page: Any, bases: Sequence[Any]) -> Any:
    """Return the page whose SubIFD a marked page is, or the last unmarked one before it; None where there is none."""
    if not _is_marked(page):
        return None
    before = [base for base in bases if base.treeindex[0] <= page.treeindex[0]]
    return max(before, key=lambda base: base.treeindex[0], default=None)


def _is_shrunk_alike(base: Any, page: Any) -> bool:
    """Whether a page has the aspect ratio of a larger one, to the pixel by which sizes are rounded."""
    large, small = _page_size(base), _page_size(page)
    factor = large.width / small.width
    is_alike = abs(large.height / factor - small.height) <= 1 + small.height / small.width
    return factor >= _LEAST_DOWNSAMPLE and is_alike


def _contradicts_in_resolution(base: Any, page: Any) -> bool:
    """Whether the recorded resolutions differ by anything else than the sizes; many programs repeat the first one."""
    first, second = (_read_resolution(each) for each in (base, page))
    if first is None or second is None or base.tags.valueof("ResolutionUnit") != page.tags.valueof("ResolutionUnit"):
        return False
    factor = base.imagewidth / page.imagewidth
    return all(abs(first / second / usual - 1) > _RESOLUTION_TOLERANCE for usual in (1, factor))


def _read_resolution(page: Any) -> float | None:
    """Read the pixels per unit along x; None where they mean nothing."""
    value = page.tags.valueof("XResolution")
    is_ratio = isinstance(value, tuple) and len(value) == 2 and bool(value[0] and value[1])
    return value[0] / value[1] if is_ratio else None


def _page_size(page: Any) -> Size:
    return Size(page.imagewidth, page.imagelength)


def _explain_refusal(series: Any) -> str:
    """Return in words why a series is no brightfield image; empty where it is one."""
    page = series.keyframe
    kinds = {
        "a fluorescence image": page.parent.is_ndpi and bool(page.tags.valueof(_HAMAMATSU_FILTER)),
        "a palette image": page.photometric == _PALETTE,
        f"{page.bitspersample}-bit pixels": page.dtype != np.uint8 or page.bitspersample != 8,
        "a grayscale image (one sample per pixel, as in fluorescence)": page.samplesperpixel == 1,
        f"{page.samplesperpixel} samples per pixel": page.samplesperpixel not in (3, 4),
        "a colour space that is not RGB": page.photometric not in _RGB_PHOTOMETRICS,
        f"a stack of {series.size // page.size} images": series.size != page.size,
    }
    reasons = (kind for kind, holds in kinds.items() if holds)
    return "".join(f"holds {kind}; give a brightfield slide of 8-bit RGB" for kind in islice(reasons, 1))
