"""A result that a run has not finished: what its work folder tells of it, and the finished tiles for the page.

The run is not disturbed: nothing is locked, written or waited for. A coarser tile is there as soon as all that it shows
is finished; until then it is put together from finer ones, and what is not finished stays transparent.
"""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path
from typing import Any

import imagecodecs
import numpy as np
import numpy.typing as npt

from wsisr.errors import SlideError
from wsisr.imaging.geometry import Size
from wsisr.imaging.pixels import Rgb, halve_image
from wsisr.slides import SlideInfo
from wsisr.slides.listing import WORK_FOLDER_SUFFIX
from wsisr.slides.slide import Level, compute_downsamples
from wsisr.upscaling.run_identity import IdentifiedOutput, parse_run_identity
from wsisr.viewer.pyramid import JPEG, PNG, EncodedTile, ViewLevel, encode_png
from wsisr.writing.encoding.grid import LevelGrid, build_level_grids
from wsisr.writing.encoding.level_link import LevelLink
from wsisr.writing.workdir.folder import run_record_path
from wsisr.writing.workdir.run_record import read_run_record
from wsisr.writing.workdir.run_tiles import RunTiles

MAX_DEPTH = 4
"""A tile is put together from levels at most so much finer: from 256 of their tiles, or what is finished of them."""

Rgba = npt.NDArray[np.uint8]
"""(h, w, 4): colours, and 255 where they are finished, 0 elsewhere."""


def find_work_folder(path: Path) -> Path | None:
    """Return the work folder that a path is, or that of the unfinished output of that name; None if there is none."""
    if path.name.endswith(WORK_FOLDER_SUFFIX):
        return path if path.is_dir() else None
    folder = path.with_name(path.name + WORK_FOLDER_SUFFIX)
    return folder if not path.exists() and folder.is_dir() else None


class UnfinishedResult:
    """The output of a run at work, or of one that was stopped. Reading is thread-safe."""

    def __init__(self, path: Path) -> None:
        """Raises `SlideError` where the work folder of a path is none of `wsisr upscale`, or holds no tiles yet."""
        folder = find_work_folder(path)
        record = read_run_record(run_record_path(folder)) if folder else None
        output = parse_run_identity(record.identity) if record else None
        if folder is None or output is None:
            raise SlideError(f"{folder or path}: is no work folder of wsisr upscale; give a slide or a result")
        self.info, self.metadata = _describe_output(path, output), output.metadata
        self._tiles = RunTiles(folder, build_level_grids(output.size, output.tile_px))
        self.pyramid = RunPyramid(self._tiles, output, self.info)

    def close(self) -> None:
        self._tiles.close()

    def describe_progress(self) -> dict[str, Any]:
        """Look for new tiles, and return how far the run is: a version that changes with its pixels, and words."""
        self._tiles.find_new_tiles()
        counts = self._tiles.counts
        share = counts[0] / self._tiles.grids[0].tile_count
        has_ended = not self._tiles.is_current
        words = f"unfinished, {int(100 * share)} % of its tiles"
        if has_ended:
            words = "the run has ended; start wsisr view again for its result"
        return {"version": sum(counts), "words": words, "ended": has_ended}


class RunPyramid:
    """The tiles of an unfinished result. Memory: a few of them at a time."""

    def __init__(self, tiles: RunTiles, output: IdentifiedOutput, info: SlideInfo) -> None:
        self._tiles, self._codec, self._tile_px = tiles, output.codec, output.tile_px
        self._links = [LevelLink(finer, coarser) for finer, coarser in zip(tiles.grids, tiles.grids[1:], strict=False)]
        self.levels = tuple(
            ViewLevel(grid.size, level.downsample, _tile_size(grid), number, is_jpeg=output.codec.method == "jpeg")
            for number, (grid, level) in enumerate(zip(tiles.grids, info.levels, strict=True))
        )

    def read_tile(self, number: int, column: int, row: int) -> EncodedTile | None:
        """Return a tile of a level, with what of it is finished; None where the level has no such tile.

        Raises `SlideError`.
        """
        if not 0 <= number < len(self.levels):
            return None
        grid = self._tiles.grids[number]
        if not (0 <= column < grid.columns and 0 <= row < grid.rows):
            return None
        tile = row * grid.columns + column
        if self._codec.method == "jpeg" and (encoded := self._tiles.read_encoded(number, tile)):
            return EncodedTile(encoded, JPEG)
        pixels = self._compose_tile(number, tile, MAX_DEPTH)
        return EncodedTile(_encode_empty_tile(self._tile_px) if pixels is None else encode_png(pixels), PNG)

    def read_thumbnail(self) -> EncodedTile:
        """Return the coarsest level, which is one tile."""
        pixels = self._compose_tile(len(self.levels) - 1, 0, MAX_DEPTH)
        size = self.levels[-1].size
        if pixels is None:
            return EncodedTile(_encode_empty_tile(self._tile_px), PNG)
        return EncodedTile(encode_png(np.ascontiguousarray(pixels[: size.height, : size.width])), PNG)

    def _compose_tile(self, level: int, tile: int, depth: int) -> Rgba | None:
        """Return a tile put together from levels up to `depth` finer; None where nothing of it is finished."""
        encoded = self._tiles.read_encoded(level, tile)
        if encoded is not None:
            return _make_opaque(self._codec.decode(encoded, self._tile_px))
        if level == 0 or depth == 0:
            return None
        half, columns = self._tile_px // 2, self._tiles.grids[level - 1].columns
        composed = np.zeros((self._tile_px, self._tile_px, 4), np.uint8)
        for finer in self._links[level - 1].find_finer(tile):
            part = self._compose_tile(level - 1, finer, depth - 1)
            if part is not None:
                top, left = finer // columns % 2 * half, finer % columns % 2 * half
                composed[top : top + half, left : left + half] = _halve_finished(part)
        return composed if composed[..., 3].any() else None


def _describe_output(path: Path, output: IdentifiedOutput) -> SlideInfo:
    grids = build_level_grids(output.size, output.tile_px)
    downsamples = compute_downsamples([grid.size for grid in grids])
    return SlideInfo(
        path=path,
        reader="wsisr",
        vendor="unfinished result",
        levels=tuple(Level(grid.size, downsample) for grid, downsample in zip(grids, downsamples, strict=True)),
        mpp=output.mpp,
        objective=None,
        icc=None,
        associated={},
        properties={},
    )


def _tile_size(grid: LevelGrid) -> Size:
    return Size(grid.tile_px, grid.tile_px)


def _make_opaque(pixels: Rgb) -> Rgba:
    return np.dstack([pixels, np.full(pixels.shape[:2], 255, np.uint8)])


def _halve_finished(pixels: Rgba) -> Rgba:
    """Halve a tile; a pixel is finished where all four are that it is the mean of."""
    alpha = pixels[..., 3]
    finished = alpha[::2, ::2] & alpha[1::2, ::2] & alpha[::2, 1::2] & alpha[1::2, 1::2]
    return np.dstack([halve_image(np.ascontiguousarray(pixels[..., :3])), finished])


@lru_cache(maxsize=4)
def _encode_empty_tile(tile_px: int) -> bytes:
    return bytes(imagecodecs.png_encode(np.zeros((tile_px, tile_px, 4), np.uint8), level=9))
