"""Reading Zeiss CZI: facts and pixels of one scene, its blocks decoded by imagecodecs.

Slide scanners store JPEG XR, which OpenSlide 4.0.1 lacks. No library that installs on every Python of ours reads such
files right: slideio 2.10 gives BGR or RGB by the codec and no zstd, fastslide 0.8 paints what it cannot decode white
and shows the lower of two overlapping tiles, czifile before 2026 leaves random bytes in holes, and later ones need
Python 3.12; pylibCZIrw is under the LGPL. `python -m tests.bench czi_readers` shows it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import imagecodecs
import numpy as np

from wsisr.bounds import MAX_CACHED_ROW_BYTES, MAX_CZI_BLOCK_PX
from wsisr.errors import SlideError
from wsisr.imaging.geometry import Box, Size
from wsisr.imaging.pixels import WHITE, Rgb
from wsisr.parallel.threads import ThreadTeam
from wsisr.slides.pixel_size import PixelSize, derive_pixel_size, parse_number
from wsisr.slides.readers.czi_container import CziError, CziFile, read_czi_contents
from wsisr.slides.readers.czi_pyramid import PIXEL_TYPES, RGB_TYPE, CziLevel, CziScene, find_scenes
from wsisr.slides.readers.image_codecs import DamagedSegmentError, require_complete_jpeg
from wsisr.slides.readers.ome_xml import is_safe_xml
from wsisr.slides.readers.openslide import read_openslide_info
from wsisr.slides.readers.tiled_level import DECODING_BYTES, MAX_THREADS
from wsisr.slides.series import ImageSeries, choose_series, describe_default_choice
from wsisr.slides.slide import Level, Slide, SlideInfo, make_read_error, read_on_white

CACHE_BYTES = 64 * 2**20
"""Decoded blocks cached per slide, as neighbouring boxes touch the same ones; more where a row of boxes does."""

_ROW_PX = 1024
"""Height of a row of boxes whose blocks are cached for the next row: of cameras' large images each would otherwise be
decoded several times. They stay within `MAX_CACHED_ROW_BYTES`."""

_MAX_JPEG_XR_TAGS = 64
"""Tags in the header of a JPEG XR; cameras write a dozen."""

_UM_PER_M = 1e6

DECODING_ERRORS = (CziError, DamagedSegmentError, RuntimeError, ValueError, OSError)
"""Errors that reading and decoding a block of a damaged file raise; imagecodecs derives its own from RuntimeError."""


class CziSlide(Slide):
    """A slide read from the blocks of a CZI, decoded in several threads; white where no block lies."""

    def __init__(self, info: SlideInfo, levels: tuple[CziLevel, ...]) -> None:
        self._info, self._levels = info, levels
        largest = max(block.stored.pixel_count for level in levels for block in level.blocks) * 3
        self._threads = max(1, min(MAX_THREADS, DECODING_BYTES // largest))
        row_blocks = max(level.count_blocks_in_row(_ROW_PX) for level in levels)
        cached = max(self._threads, CACHE_BYTES // largest, min(row_blocks, MAX_CACHED_ROW_BYTES // largest))
        self._decode_cached = lru_cache(maxsize=cached)(self._decode)
        self._team = ThreadTeam(self._threads, "wsisr-decode")
        self._file = CziFile(info.path)

    @property
    def info(self) -> SlideInfo:
        return self._info

    def read(self, box: Box, level: int) -> Rgb:
        if self._file.closed:
            raise ValueError(f"{self.info.path}: read after close")
        size = self.info.get_level(level).size
        try:
            return read_on_white(box, size, lambda inside: self._read_blocks(inside, level))
        except DECODING_ERRORS as error:
            raise make_read_error(self.info.path, level, box, error) from error

    def close(self) -> None:
        self._team.close()
        self._decode_cached.cache_clear()
        self._file.close()

    def _read_blocks(self, box: Box, level: int) -> Rgb:
        """Paste the blocks of a box one over the other, a few at a time, so that few are in memory."""
        czi_level, pixels = self._levels[level], np.full((box.height, box.width, 3), WHITE, np.uint8)
        indices = czi_level.find_blocks(box)
        for start in range(0, len(indices), self._threads):
            decoded: dict[int, Rgb] = {}
            batch = indices[start : start + self._threads]

            def decode(index: int, decoded: dict[int, Rgb] = decoded) -> None:
                decoded[index] = self._decode_cached(level, index)

            self._team.for_each(decode, batch)
            for index in batch:
                place = czi_level.get_place(index)
                common = place.intersection(box)
                target, part = common.relative_to(box), common.relative_to(place)
                pixels[target.rows, target.columns] = decoded[index][part.rows, part.columns]
        return pixels

    def _decode(self, level: int, index: int) -> Rgb:
        block = self._levels[level].blocks[index]
        return CODECS[block.codec](self._file.read_block(block, _limit_bytes(block.stored)), block.stored)


def open_czi(path: Path, series: int | None = None) -> tuple[SlideInfo, tuple[CziLevel, ...]]:
    """Read the facts and the levels of one scene of a CZI; of several that number `series`, by default the largest.

    Raises `SlideError` where the file is damaged, or the scene is not 8-bit RGB in a known codec.
    """
    try:
        contents = read_czi_contents(path)
        scenes = find_scenes(contents.blocks)
    except CziError as error:
        raise SlideError(f"{path}: {error}; copy the file again, or export the slide as OME-TIFF") from error
    all_series = tuple(ImageSeries(scene.name, scene.levels[0].size, _explain_refusal(scene)) for scene in scenes)
    chosen = choose_series(path, all_series, series)
    scene, facts = scenes[chosen], _parse_metadata(contents.xml)
    pixel_size = _parse_pixel_size(facts)
    warnings = describe_default_choice(all_series, chosen) if series is None else ()
    info = SlideInfo(
        path=path,
        reader="imagecodecs",
        vendor="zeiss",
        levels=tuple(Level(level.size, level.downsample) for level in scene.levels),
        mpp=pixel_size.mpp,
        pixel_aspect=pixel_size.pixel_aspect,
        objective=_parse_objective(facts),
        icc=None,
        associated=_find_associated_images(path),
        properties=_list_properties(facts),
        warnings=(*warnings, *scene.warnings),
        all_series=all_series if len(all_series) > 1 else (),
        series_number=chosen if len(all_series) > 1 else None,
    )
    return info, scene.levels


def _find_associated_images(path: Path) -> Mapping[str, Size]:
    """Return the sizes of label, preview and thumbnail, where OpenSlide opens the file; it reads them, too."""
    try:
        info = read_openslide_info(path)
    except SlideError:
        return {}
    return {} if info is None else info.associated


def _explain_refusal(scene: CziScene) -> str:
    """Return why a scene cannot be read, in words; empty where it can."""
    other = next((kind for kind in sorted(scene.pixel_types) if kind != RGB_TYPE), None)
    if other is not None:
        return f"holds {PIXEL_TYPES.get(other, f'pixels of type {other}')}; give a brightfield slide of 8-bit RGB"
    blocks = [block for level in scene.levels for block in level.blocks]
    unknown = next((block.codec for block in blocks if block.codec not in CODECS), None)
    if unknown is not None:
        return f"stores pixels in CZI codec {unknown}, which is not read; export the slide as OME-TIFF"
    if max(block.stored.pixel_count for block in blocks) > MAX_CZI_BLOCK_PX:
        return "has blocks larger than any camera's; the file is damaged, copy it again"
    return ""


def _limit_bytes(size: Size) -> int:
    """Return how many bytes a block may be stored in. Lossless JPEG XR of noise takes more than the pixels."""
    return size.pixel_count * 6 + 2**16


def _decode_raw(data: bytes, size: Size) -> Rgb:
    if len(data) < size.pixel_count * 3:
        raise CziError(f"a block of {len(data)} bytes where {size.pixel_count * 3} are expected")
    bgr = np.frombuffer(data, np.uint8, size.pixel_count * 3).reshape(size.height, size.width, 3)
    return np.ascontiguousarray(bgr[..., ::-1])


def _decode_zstd(data: bytes, size: Size) -> Rgb:
    return _decode_raw(bytes(imagecodecs.zstd_decode(data, out=size.pixel_count * 3)), size)


def _decode_zstd_with_header(data: bytes, size: Size) -> Rgb:
    """Decode zstd behind a header: its length, and, where it is 3, whether bytes of 16-bit samples were sorted."""
    header_bytes = data[0] if data else 0
    if header_bytes not in (1, 3) or (header_bytes == 3 and data[1:3] != b"\1\0"):
        raise CziError("a block with an unknown zstd header")
    return _decode_zstd(data[header_bytes:], size)


def _decode_complete_jpeg(data: bytes, size: Size) -> Rgb:
    return _decode_jpeg(require_complete_jpeg(data, size, size), size)


def _decode_jpeg_xr(data: bytes, out: Rgb) -> Any:
    """Decode JPEG XR. jxrlib prints a line for each tag of a header that it does not know: so there may be few."""
    start = int.from_bytes(data[4:8], "little")
    if not 0 < int.from_bytes(data[start : start + 2], "little") <= _MAX_JPEG_XR_TAGS:
        raise CziError("a block with a damaged JPEG XR header")
    return imagecodecs.jpegxr_decode(data, out=out)


def _decode_image(decode: Callable[..., Any]) -> Callable[[bytes, Size], Rgb]:
    """Make a decoder of images with a size of their own, which is compared before any pixel is decoded."""

    def decode_to_size(data: bytes, size: Size) -> Rgb:
        pixels: Rgb = decode(data, out=np.empty((size.height, size.width, 3), np.uint8))
        return pixels

    return decode_to_size


_decode_jpeg = _decode_image(imagecodecs.jpeg8_decode)

CODECS: Mapping[int, Callable[[bytes, Size], Rgb]] = {
    0: _decode_raw,
    1: _decode_complete_jpeg,
    4: _decode_image(_decode_jpeg_xr),
    5: _decode_zstd,
    6: _decode_zstd_with_header,
}
"""Decoders by the codes of the format; libCZI lists them as uncompressed, JPEG, JPEG XR and two kinds of zstd."""


def _parse_metadata(xml: str) -> ElementTree.Element:
    """Parse the metadata; an empty element where they cannot be parsed."""
    try:
        return ElementTree.fromstring(xml) if is_safe_xml(xml) else ElementTree.Element("ImageDocument")
    except (ElementTree.ParseError, ValueError):
        return ElementTree.Element("ImageDocument")


def _parse_pixel_size(facts: ElementTree.Element) -> PixelSize:
    """Parse the pixel size, which is in metres whatever unit the file names for people."""
    metres = (parse_number(facts.findtext(f".//Scaling/Items/Distance[@Id='{axis}']/Value")) for axis in "XY")
    return derive_pixel_size(*(None if value is None else value * _UM_PER_M for value in metres))


def _parse_objective(facts: ElementTree.Element) -> float | None:
    """Parse the magnification of the objective that the image refers to, of the only one where it refers to none."""
    objectives = facts.findall(".//Instrument/Objectives/Objective")
    reference = facts.find(".//Image/ObjectiveSettings/ObjectiveRef")
    if reference is not None:
        objectives = [each for each in objectives if each.get("Id") == reference.get("Id")]
    return parse_number(objectives[0].findtext("NominalMagnification")) if len(objectives) == 1 else None


def _list_properties(facts: ElementTree.Element) -> dict[str, str]:
    microscope = facts.find(".//Instrument/Microscopes/Microscope")
    found = {
        "zeiss.Microscope": None if microscope is None else microscope.get("Name"),
        "zeiss.AcquisitionDateAndTime": facts.findtext(".//Image/AcquisitionDateAndTime"),
    }
    return {name: text for name, text in found.items() if text}
