"""Reading Olympus VSI: facts from the volumes of the `.vsi`, pixels from the tiles of the `.ets` files beside it.

No library that installs here shows such a slide right: slideio 2.10.0 halves odd sizes down, so that it resamples most
levels, and shows uncompressed tiles white; fastslide 0.8.1 decodes JPEG some grey levels too dark, and drops the planes
of focus that it does not show. `python -m tests.bench vsi_readers` shows it. So the tiles are found here, and
imagecodecs decodes them.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from wsisr.bounds import MAX_ETS_TILE_PX, MAX_SERIES
from wsisr.errors import SlideError
from wsisr.files import find_scan_folder
from wsisr.imaging.geometry import Box, Size
from wsisr.imaging.pixels import Rgb
from wsisr.remote.ranges import open_ranges
from wsisr.slides.readers.ets_container import EtsContents, EtsError, EtsGrid, read_ets_contents
from wsisr.slides.readers.image_codecs import (
    DamagedSegmentError,
    ExpectedImage,
    ImageDecoder,
    ImageSizeError,
    decode_jpeg,
    decode_jpeg2k,
)
from wsisr.slides.readers.tiled_level import TiledLevel
from wsisr.slides.readers.tiled_slide import TiledSlide
from wsisr.slides.readers.vsi_volumes import VsiError, VsiScan, read_vsi_scans
from wsisr.slides.series import ImageSeries, choose_series, describe_default_choice
from wsisr.slides.slide import Level, SlideInfo
from wsisr.slides.unrecognised import advise_bio_formats

DECODING_ERRORS = (DamagedSegmentError, EtsError, ImageSizeError, RuntimeError, ValueError, OSError)
"""Errors that reading and decoding a tile of a damaged file raise; imagecodecs derives its own from RuntimeError."""

_BYTES, _BGR = 2, 4
_SAMPLE_TYPES = {1: "signed 8-bit", 2: "8-bit", 3: "signed 16-bit", 4: "16-bit", 5: "32-bit", 6: "32-bit"}
_JPEG, _JPEG_2000 = 2, 3
CODECS: Mapping[int, ImageDecoder] = {_JPEG: decode_jpeg, _JPEG_2000: decode_jpeg2k}
"""Decoders by the codes of the format."""


@dataclass(frozen=True, slots=True)
class EtsLevel(TiledLevel):
    """One level of a scan."""

    grid: EtsGrid
    decoder: ImageDecoder

    def find_stored(self, index: int) -> tuple[int, int] | None:
        """Return where a tile begins, and its bytes; None where it is not stored."""
        row, column = divmod(index, self.segments_per_row)
        return self.grid.tiles.get((column, row))

    def count_missing_tiles(self) -> int:
        columns, rows = count_tiles(self.size, self.segment_size)
        return columns * rows - sum(column < columns and row < rows for column, row in self.grid.tiles)

    def decode(self, data: bytes, index: int) -> Rgb:
        """Decode a tile, (h, w, 3); one at the border may end there."""
        return self.decoder(data, ExpectedImage(self.segment_size, self.find_visible_size(index), 3, is_ycbcr=False))


def count_tiles(size: Size, tile: Size) -> tuple[int, int]:
    """Return how many columns and rows of tiles an image has."""
    return -(-size.width // tile.width), -(-size.height // tile.height)


@dataclass(frozen=True, slots=True)
class EtsScan:
    """An image of a slide: a file of tiles, with what the VSI says of it."""

    file: Path
    contents: EtsContents | None
    """None where the file cannot be read."""
    facts: VsiScan | None
    """None where the VSI says nothing of it, or may mean another file."""
    problem: str = ""
    """Why the file cannot be read, in words; empty where it can."""

    @property
    def size(self) -> Size | None:
        return self.facts.size if self.facts else None

    def explain_refusal(self) -> str:
        """Return why the image cannot be read, in words; empty where it can."""
        if self.contents is None:
            return f"has a damaged file {self.file.parent.name}/{self.file.name} ({self.problem}); copy it again"
        refusal = _explain_refused_pixels(self.contents)
        if not refusal and self.facts is None:
            return "holds a scan that fits none of the images that it describes, or several; convert it"
        return refusal


def _explain_refused_pixels(contents: EtsContents) -> str:
    """Return why tiles of that kind cannot be read, in words; empty where they can."""
    if (contents.sample_type, contents.samples) != (_BYTES, 3):
        kind = _SAMPLE_TYPES.get(contents.sample_type, "other")
        colours = "an RGB image" if contents.samples == 3 else "a grayscale image, as in fluorescence"
        return f"holds {kind} samples of {colours}; give a brightfield slide of 8-bit RGB"
    if contents.codec not in CODECS:
        return f"stores pixels in ETS codec {contents.codec}, which is not read; convert it"
    if contents.codec == _JPEG_2000 and contents.colour_space == _BGR:
        return "stores JPEG 2000 of an uncertain order of colours; convert it"
    if not 0 < contents.tile.pixel_count <= MAX_ETS_TILE_PX:
        return f"has tiles of {contents.tile} px, larger than any camera's; the file is damaged, copy it again"
    return ""


class VsiSlide(TiledSlide[EtsLevel]):
    """A slide read from the tiles of an ETS file."""

    decoding_errors = DECODING_ERRORS

    def __init__(self, info: SlideInfo, levels: tuple[EtsLevel, ...], scan: EtsScan) -> None:
        self._background = _choose_background(scan.contents)
        self._ranges = open_ranges(scan.file)
        super().__init__(info, levels)

    def close(self) -> None:
        super().close()
        self._ranges.close()

    def _read_segment_part(self, level: int, index: int, box: Box) -> Rgb | None:
        if self._levels[level].find_stored(index) is None:
            shape = (box.height, box.width, 3)
            return None if self._background is None else np.full(shape, self._background, np.uint8)
        return super()._read_segment_part(level, index, box)

    def _decode(self, level: int, index: int) -> Rgb:
        ets_level = self._levels[level]
        offset, count = ets_level.find_stored(index) or (0, 0)
        if offset + count > self._ranges.file_bytes or count > 2 * ets_level.segment_bytes + 2**16:
            raise EtsError(f"a tile of {count} bytes at byte {offset}, in a file of {self._ranges.file_bytes}")
        return ets_level.decode(self._ranges.read_range(offset, count), index)


def open_vsi(path: Path, series: int | None = None) -> tuple[SlideInfo, tuple[EtsLevel, ...], EtsScan]:
    """Read the facts and the levels of one image of a VSI; of several that number `series`, by default the largest.

    Raises `SlideError` where the slide is damaged, or the image is not 8-bit RGB in a known codec.
    """
    scans = _find_scans(path)
    refusals = (scan.explain_refusal() for scan in scans)
    all_series = tuple(
        ImageSeries((scan.facts and scan.facts.name) or scan.file.parent.name, scan.size, _complete_advice(words, path))
        for scan, words in zip(scans, refusals, strict=True)
    )
    chosen = choose_series(path, all_series, series)
    scan = scans[chosen]
    assert scan.contents is not None
    assert scan.facts is not None
    levels = _make_levels(scan.contents, scan.facts.size)
    info = SlideInfo(
        path=path,
        reader="imagecodecs",
        vendor="olympus",
        levels=tuple(Level(level.size, 2.0**number) for number, level in enumerate(levels)),
        mpp=scan.facts.pixel_size.mpp,
        pixel_aspect=scan.facts.pixel_size.pixel_aspect,
        objective=scan.facts.objective,
        icc=None,
        associated={},
        properties={},
        warnings=(
            *(describe_default_choice(all_series, chosen) if series is None else ()),
            *_list_warnings(scan.contents, levels),
        ),
        all_series=all_series if len(all_series) > 1 else (),
        series_number=chosen if len(all_series) > 1 else None,
    )
    return info, levels, scan


def _find_scans(path: Path) -> list[EtsScan]:
    folder = find_scan_folder(path)
    # Files of other names in the folders hold outlines and masks.
    files = sorted(folder.glob("*/frame*.ets"), key=_list_numbers)[:MAX_SERIES] if folder else []
    if not files:
        raise SlideError(f"{path}: is an Olympus VSI without its scan, the folder _{path.stem}_; copy that beside it")
    try:
        facts = read_vsi_scans(path)
    except VsiError as error:
        raise SlideError(f"{path}: a damaged VSI, {error}; copy it again") from error
    contents: list[EtsContents | str] = []
    for file in files:
        try:
            contents.append(read_ets_contents(file))
        except EtsError as error:
            contents.append(str(error))
    matched = _match_facts([None if isinstance(each, str) else each for each in contents], facts)
    return [
        EtsScan(file, None, None, problem=each) if isinstance(each, str) else EtsScan(file, each, of_file)
        for file, each, of_file in zip(files, contents, matched, strict=True)
    ]


def _list_numbers(file: Path) -> list[int]:
    """Return the numbers in a name, by which `stack2` comes before `stack10000`, as in the VSI."""
    return [int(digits) for digits in re.findall(r"\d+", f"{file.parent.name}/{file.name}") if len(digits) < 10]


def _match_facts(contents: Sequence[EtsContents | None], facts: Sequence[VsiScan]) -> list[VsiScan | None]:
    """Return what the VSI says of each file, which it does not name: by their order, where all sizes fit the tiles.

    Else what fits the tiles of that file alone; None where nothing does, or several that differ.
    """
    fitting = [[file is not None and _fits(each, file) for each in facts] for file in contents]
    if len(contents) == len(facts) and all(each[number] for number, each in enumerate(fitting)):
        return list(facts)
    chosen = [{each for each, fits in zip(facts, of_file, strict=True) if fits} for of_file in fitting]
    return [each.pop() if len(each) == 1 else None for each in chosen]


def _fits(facts: VsiScan, contents: EtsContents) -> bool:
    """Return whether an image of that size has as many columns and rows of tiles as are stored."""
    if not contents.tile.pixel_count:
        return False
    return count_tiles(facts.size, contents.tile) == (contents.grids[0].columns, contents.grids[0].rows)


def _make_levels(contents: EtsContents, size: Size) -> tuple[EtsLevel, ...]:
    """Return the levels from the finest on, each half the size of the one before, rounded up."""
    levels: list[EtsLevel] = []
    for number, grid in enumerate(contents.grids):
        # A level shows nothing in place of a tile that it lacks.
        if not {(column >> number, row >> number) for column, row in contents.grids[0].tiles} <= grid.tiles.keys():
            break
        levels.append(EtsLevel(size, contents.tile, grid, CODECS[contents.codec]))
        size = Size(-(-size.width // 2), -(-size.height // 2))
    return tuple(levels)


def _list_warnings(contents: EtsContents, levels: Sequence[EtsLevel]) -> tuple[str, ...]:
    warnings = []
    if contents.plane_count > 1:
        warnings.append(f"the slide holds {contents.plane_count} planes (focus or time); the middle one is read")
    if len(levels) < len(contents.grids):
        warnings.append(f"level {len(levels)} and coarser ones do not cover the slide; they are not used")
    missing, whole = levels[0].count_missing_tiles(), levels[0].segment_count
    if missing:
        warnings.append(f"{missing} of {whole} tiles of this VSI are not stored; its background colour is shown there")
    return tuple(warnings)


def _choose_background(contents: EtsContents | None) -> tuple[int, ...] | None:
    """Return the colour of places without a tile; None, which is shown white, for black, as glass is never black."""
    return contents.background if contents and any(contents.background) else None


def _complete_advice(refusal: str, path: Path) -> str:
    """Complete a refusal whose advice is to convert the slide."""
    start, separator, advice = refusal.rpartition("; ")
    return f"{start}; {advise_bio_formats(path)}" if separator and advice == "convert it" else refusal
