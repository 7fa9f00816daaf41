"""The main job: a level of a slide, through an `Upscaler`, into a pyramid on disk.

read -> network -> finish -> encode and store, each in threads of its own and a few batches ahead of the next, so that
the network waits for none of them; `Load` says what they hold in memory.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from contextlib import closing
from dataclasses import replace
from itertools import groupby
from pathlib import Path
from typing import TypeAlias

import numpy as np

from wsisr.audit import Measures
from wsisr.blending import Blender
from wsisr.budget import STORING
from wsisr.errors import ModelError
from wsisr.files import refuse_source
from wsisr.geometry import Box
from wsisr.pixels import WHITE, Rgb, Tiles
from wsisr.planning import Options, Plan, plan, work_folder
from wsisr.progress import Progress
from wsisr.provenance import digest_note, findings_note
from wsisr.residual import apart
from wsisr.seams import Sides
from wsisr.slides.content import digesting
from wsisr.slides.holes import Hole
from wsisr.source import Source
from wsisr.stages import ahead, mapped
from wsisr.tiling import Tile
from wsisr.tissue.map import Flags
from wsisr.upscaler import Upscaler
from wsisr.verification import wrong
from wsisr.writing import Diary, PyramidWriter, Said, WorkFolder
from wsisr.writing.layouts import layout_name

Windows: TypeAlias = list[tuple[Tile, Rgb, Flags]]
"""Tiles of one batch, what is read for each, and which cells of its reach a network is needed for."""

Enlarged: TypeAlias = tuple[Tile, Rgb, Flags, Rgb]
"""The same of one tile, and its window, or block, enlarged."""


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
    enlarged = mapped(lambda windows: _where_kept(work, windows, upscaler), read, load.beside, load.beside)
    joined = _joined(work, enlarged, Blender(work.grid, upscaler.scale))
    finished = mapped(lambda block: _finished(work, *block), joined, load.finishers, load.finishers)
    with closing(finished):
        for tile, box, block, measures in finished:
            if work.audit and measures:
                work.audit.add(tile, measures)
            yield box, block
    if work.audit:
        work.audit.end()


def _read(work: Plan, batch: Sequence[Tile]) -> Windows:
    """What is read for a batch, and which cells of it a network is needed for."""
    with work.times.of("read"):
        windows = [work.source.read(tile.window) for tile in batch]
        kept = [work.cells.kept(tile, window) for tile, window in zip(batch, windows, strict=True)]
    return list(zip(batch, windows, kept, strict=True))


def _joined(work: Plan, batches: Generator[list[Enlarged]], blender: Blender) -> Iterator[tuple[Enlarged, Box]]:
    """Windows enlarged to blocks that are joined with those before them, in their order."""
    with closing(batches):
        for batch in batches:
            for tile, window, flags, pixels in batch:
                with work.times.of("finish"):
                    box, block = blender.add(tile, pixels)
                yield (tile, window, flags, block), box


def _finished(work: Plan, joined: Enlarged, box: Box) -> tuple[Tile, Box, Rgb, Measures | None]:
    """A block as it is stored, and what is measured of it."""
    tile, window, flags, block = joined
    with work.times.of("finish"):
        painted = work.cells.painted(tile, window, flags, block)
        measures = _measured(work, tile, window, flags, painted) if work.audit else None
    return tile, box, painted, measures


def _measured(work: Plan, tile: Tile, window: Rgb, kept: Flags, block: Rgb) -> Measures:
    """A tile, its window, which cells of its reach were kept, and its finished block."""
    part = tile.block.seen_from(tile.window)
    low = window[part.rows, part.columns]
    scale = block.shape[0] // low.shape[0]
    sides = Sides.of(block, work.cells.shown(tile, kept), work.cells.side * scale, scale)
    return Measures(sides, apart(low, block, work.cells.measurable(tile, low)))


def _where_kept(work: Plan, windows: Windows, upscaler: Upscaler) -> list[Enlarged]:
    """Windows with themselves enlarged; where nothing of one is kept, a placeholder of its size that costs nothing."""
    busy = [window for window in windows if window[2].any()]
    with work.times.of("network"):
        enlarged = iter(_busy_enlarged(work, busy, upscaler))
    blank = np.uint8(WHITE)
    sizes = ([side * upscaler.scale for side in window.shape[:2]] for _, window, _ in windows)
    return [
        (tile, window, flags, next(enlarged) if flags.any() else np.broadcast_to(blank, (height, width, 3)))
        for (tile, window, flags), (height, width) in zip(windows, sizes, strict=True)
    ]


def _busy_enlarged(work: Plan, busy: Windows, upscaler: Upscaler) -> Iterable[Rgb]:
    """Windows enlarged. Of a single one, only what its kept cells need, unless the rest fades into a neighbour."""
    if len(busy) == 1 and not work.grid.tiling.feather:
        return [_partly_enlarged(work, *busy[0], upscaler)]
    return _enlarged([tile for tile, *_ in busy], np.stack([window for _, window, _ in busy]), upscaler) if busy else ()


def _partly_enlarged(work: Plan, tile: Tile, window: Rgb, flags: Flags, upscaler: Upscaler) -> Rgb:
    """A window enlarged where cells are kept, and white elsewhere, which will be painted over."""
    needed = work.cells.needed(tile, flags).widened(work.grid.tiling.unit, tile.window)
    part = needed.seen_from(tile.window)
    pixels: Rgb = _enlarged([tile], window[None, part.rows, part.columns], upscaler)[0]
    if needed == tile.window:
        return pixels
    place, scale = part * upscaler.scale, upscaler.scale
    whole = np.full((window.shape[0] * scale, window.shape[1] * scale, 3), WHITE, np.uint8)
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
