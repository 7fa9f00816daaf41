"""The main job: a level of a slide, through an `Upscaler`, into a pyramid on disk.

read -> network -> finish -> encode and store, each in threads of its own and a few batches ahead of the next, so that
the network waits for none of them; `Load` says what they hold in memory.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from itertools import groupby
from pathlib import Path

import numpy as np

from wsisr.errors import ModelError
from wsisr.files import refuse_source
from wsisr.imaging.blending import Blender
from wsisr.imaging.geometry import Box
from wsisr.imaging.pixels import WHITE, Rgb, Tiles
from wsisr.imaging.tiling import Tile
from wsisr.models.upscaler import Upscaler
from wsisr.parallel.pipeline import ahead, mapped
from wsisr.progress import Progress
from wsisr.slides.files import digesting
from wsisr.slides.region import Source
from wsisr.slides.unreadable import Hole
from wsisr.tissue.map import Flags
from wsisr.upscaling.memory import STORING
from wsisr.upscaling.plan import Options, Plan, plan, work_folder
from wsisr.upscaling.provenance import digest_note, findings_note
from wsisr.upscaling.quality import Measures
from wsisr.upscaling.residual import apart
from wsisr.upscaling.seams import Sides
from wsisr.writing import Diary, PyramidWriter, Said, WorkFolder
from wsisr.writing.layouts.catalog import layout_name
from wsisr.writing.verification import wrong


@dataclass(frozen=True, eq=False, slots=True)
class Piece:
    """A tile of the source, read."""

    tile: Tile
    window: Rgb
    """(h, w, 3): the pixels of its window."""
    kept: Flags
    """Which cells of its reach a network is needed for."""


def upscale(
    source: Source,
    upscaler: Upscaler,
    output: Path | str,
    *,
    options: Options | None = None,
    overwrite: bool = False,
    folder: WorkFolder | None = None,
) -> Generator[Progress, None, None]:
    """Writes a pyramid of a source enlarged; nothing happens until the iterator is consumed, to its end.

    Yields `upscale` in output pixels, first what an earlier run finished, if there was one, then `pyramid` and
    `assemble` in stored tiles. Leaving early, by an error too, keeps the finished tiles in `folder`, by default beside
    the output, and the same call goes on from them; `WorkFolder()` keeps nothing. Raises `SlideError`, `ModelError` or
    `OutputError`, each in one line.
    """
    output, options = Path(output), options or Options()
    work = plan(source, upscaler, replace(options, layout=layout_name(output, options.layout)))
    yield from carried_out(work, upscaler, output, overwrite=overwrite, folder=folder)


def carried_out(
    work: Plan, upscaler: Upscaler, output: Path, *, overwrite: bool = False, folder: WorkFolder | None = None
) -> Generator[Progress, None, None]:
    """What `upscale` does, as planned already; once, for the plan's audit and times are those of one run."""
    refuse_source(output, work.source.slide.info.path)
    folder = folder or work_folder(work, upscaler)
    with (
        PyramidWriter(output, work.output, folder, overwrite=overwrite) as writer,
        digesting(work.source.slide.info) as digest,
    ):
        yield from _stored(work, upscaler, writer)
        writer.annotate(digest_note(digest.result()))
        steps = writer.finish(check=wrong if work.verify else None)
        while step := work.times.step(steps):
            yield step


def _stored(work: Plan, upscaler: Upscaler, writer: PyramidWriter) -> Iterator[Progress]:
    """Level 0, block by block, without those that an earlier run finished."""
    total = work.output.size.pixels
    missing = (tile for run in pending(work, upscaler.scale, writer.holds) for tile in run)
    done = before = total - sum((tile.block * upscaler.scale).size.pixels for tile in missing)
    remarks, holes = Said(writer.diary, "remark"), Said(writer.diary, "hole")
    runs = pending(work, upscaler.scale, writer.holds)

    def heard() -> Iterator[tuple[Box, Rgb]]:
        """Blocks of which everything is said that must be: a stored one is not made again."""
        with closing(ahead(blocks(work, upscaler, runs, writer.diary), work.load.depth)) as enlarged:
            for block in enlarged:
                remarks.hear(upscaler.remarks)
                holes.hear(hole.packed for hole in work.source.slide.holes)
                yield block

    def store(block: tuple[Box, Rgb]) -> int:
        box, pixels = block
        with work.times.of("encode"):
            writer.write(box, pixels)
        return box.size.pixels

    if before:
        yield Progress("upscale", done, total, before)
    with closing(mapped(store, heard(), STORING, STORING)) as stored:
        for pixels in stored:
            done += pixels
            yield Progress("upscale", done, total, before)
    writer.annotate(findings_note(remarks.texts, [Hole.parsed(text) for text in holes.texts]))


def blocks(
    work: Plan, upscaler: Upscaler, runs: Iterable[list[Tile]] | None = None, diary: Diary | None = None
) -> Iterator[tuple[Box, Rgb]]:
    """The enlarged source in blocks, row by row: boxes in output px, (h, w, 3) sRGB. Of all runs, or of some.

    What is measured of them goes into the diary, and what is there of other runs counts.
    """
    if work.audit:
        work.audit.begin(work.grid, work.cells.side * upscaler.scale, diary)
    load, runs = work.load, all_runs(work) if runs is None else runs
    read = mapped(lambda batch: _read(work, batch), runs, load.depth)
    enlarged = mapped(lambda pieces: _where_kept(work, pieces, upscaler), read, load.beside, load.beside)
    joined = _joined(work, enlarged, Blender(work.grid, upscaler.scale))
    finished = mapped(lambda block: _finished(work, *block), joined, load.finishers, load.finishers)
    with closing(finished):
        for tile, box, block, measures in finished:
            if work.audit and measures:
                work.audit.add(tile, measures)
            yield box, block
    if work.audit:
        work.audit.end()


def _read(work: Plan, batch: Sequence[Tile]) -> list[Piece]:
    with work.times.of("read"):
        windows = [work.source.read(tile.window) for tile in batch]
        return [Piece(tile, window, work.cells.kept(tile, window)) for tile, window in zip(batch, windows, strict=True)]


def _where_kept(work: Plan, pieces: Sequence[Piece], upscaler: Upscaler) -> list[tuple[Piece, Rgb]]:
    """Pieces with their windows enlarged; where nothing of one is kept, with white of that size, which costs nothing
    and will be painted over."""
    busy = [piece for piece in pieces if piece.kept.any()]
    with work.times.of("network"):
        enlarged = iter(_busy_enlarged(work, busy, upscaler))
    return [(piece, next(enlarged) if piece.kept.any() else _white(piece.window, upscaler.scale)) for piece in pieces]


def _white(window: Rgb, scale: int) -> Rgb:
    height, width = window.shape[:2]
    return np.broadcast_to(np.uint8(WHITE), (height * scale, width * scale, 3))


def _busy_enlarged(work: Plan, busy: Sequence[Piece], upscaler: Upscaler) -> Iterable[Rgb]:
    """Windows enlarged. Of a single one, only what its kept cells need, unless the rest fades into a neighbour."""
    if len(busy) == 1 and not work.grid.tiling.feather:
        return [_partly_enlarged(work, busy[0], upscaler)]
    tiles, windows = [piece.tile for piece in busy], [piece.window for piece in busy]
    return _enlarged(tiles, np.stack(windows), upscaler) if busy else ()


def _partly_enlarged(work: Plan, piece: Piece, upscaler: Upscaler) -> Rgb:
    """A window enlarged where cells are kept, and white elsewhere, which will be painted over."""
    tile, window = piece.tile, piece.window
    needed = work.cells.needed(tile, piece.kept).widened(work.grid.tiling.unit, tile.window)
    part = needed.seen_from(tile.window)
    pixels: Rgb = _enlarged([tile], window[None, part.rows, part.columns], upscaler)[0]
    if needed == tile.window:
        return pixels
    whole, place = _white(window, upscaler.scale).copy(), part * upscaler.scale
    whole[place.rows, place.columns] = pixels
    return whole


def _enlarged(batch: Sequence[Tile], windows: Tiles, upscaler: Upscaler) -> Tiles:
    """Windows through the upscaler. Raises its `ModelError` with the place of the very tile that it was about."""
    try:
        return upscaler(windows)
    except ModelError as error:
        if len(batch) > 1:
            return np.concatenate([_enlarged([tile], windows[i : i + 1], upscaler) for i, tile in enumerate(batch)])
        block = batch[0].block
        raise ModelError(f"{error} (tile of {block.size} px at {block.left}, {block.top} of the input)") from error


def _joined(
    work: Plan, batches: Generator[list[tuple[Piece, Rgb]]], blender: Blender
) -> Iterator[tuple[Piece, Box, Rgb]]:
    """Pieces with the boxes in output px that they complete, and the blocks there, joined with those before them."""
    with closing(batches):
        for batch in batches:
            for piece, enlarged in batch:
                with work.times.of("finish"):
                    box, block = blender.add(piece.tile, enlarged)
                yield piece, box, block


def _finished(work: Plan, piece: Piece, box: Box, block: Rgb) -> tuple[Tile, Box, Rgb, Measures | None]:
    """A block as it is stored, and what is measured of it."""
    with work.times.of("finish"):
        painted = work.cells.painted(piece.tile, piece.window, piece.kept, block)
        measures = _measured(work, piece, painted) if work.audit else None
    return piece.tile, box, painted, measures


def _measured(work: Plan, piece: Piece, block: Rgb) -> Measures:
    """Of a finished block."""
    tile, cells = piece.tile, work.cells
    part = tile.block.seen_from(tile.window)
    low = piece.window[part.rows, part.columns]
    scale = block.shape[0] // low.shape[0]
    sides = Sides.of(block, cells.shown(tile, piece.kept), cells.side * scale, scale)
    return Measures(sides, apart(low, block, cells.measurable(tile, low)))


def pending(work: Plan, scale: int, stored: Callable[[Box], bool]) -> Iterator[list[Tile]]:
    """The runs that must be computed where some blocks are stored, boxes in output px.

    A run is computed whole, for a batch of another size may be rounded otherwise; where tiles feather, so are those
    that fade into a missing block.
    """
    ahead_by = range(2 if work.grid.tiling.feather else 1)

    def wanted(tile: Tile) -> bool:
        columns = (tile.column + step for step in ahead_by if tile.column + step < work.grid.columns)
        rows = [tile.row + step for step in ahead_by if tile.row + step < work.grid.rows]
        return not all(stored(work.grid.tile(column, row).block * scale) for column in columns for row in rows)

    return (run for run in all_runs(work) if any(map(wanted, run)))


def all_runs(work: Plan) -> Iterator[list[Tile]]:
    """Every tile, in batches that either hold tissue or hold none."""
    return batches(work.grid, work.load.batch, lambda tile: bool(work.cells.within(tile.reach).any()))


def batches(tiles: Iterable[Tile], most: int, kind: Callable[[Tile], bool] = bool) -> Iterator[list[Tile]]:
    """Runs of neighbouring tiles of one kind with windows of one shape, at most so many in a run."""
    for _, alike in groupby(tiles, key=lambda tile: (tile.window.size, kind(tile))):
        run = list(alike)
        for start in range(0, len(run), most):
            yield run[start : start + most]
