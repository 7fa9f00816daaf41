"""The main job: a level of a slide, through an `Upscaler`, into a pyramid on disk.

read -> network -> finish -> encode and store, each in threads of its own and a few batches ahead of the next, so that
the network waits for none of them; `Load` says what they hold in memory.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, field, replace
from itertools import groupby
from pathlib import Path
from typing import TypeAlias

import numpy as np

import wsisr
from wsisr.audit import Audit, Measures
from wsisr.background import BICUBIC_REACH, WHITE, Background, Cells
from wsisr.blending import Blender
from wsisr.budget import DEFAULT_MEMORY_GB, DEPTHS, STORING, Load, affordable
from wsisr.crew import cores
from wsisr.errors import ModelError, OutputError, SlideError
from wsisr.files import refuse_source
from wsisr.geometry import Box
from wsisr.identity import identity
from wsisr.pixels import Rgb, Tiles
from wsisr.progress import Progress
from wsisr.provenance import digest_note, findings_note, provenance, title
from wsisr.residual import apart
from wsisr.seams import Sides
from wsisr.slides.associated import associated_image
from wsisr.slides.content import digesting
from wsisr.slides.holes import Hole
from wsisr.source import Source
from wsisr.stages import ahead, mapped
from wsisr.tiling import Tile, TileGrid, Tiling
from wsisr.timing import Times
from wsisr.tissue.map import Flags
from wsisr.upscaler import Upscaler
from wsisr.verification import wrong
from wsisr.writing import Codec, Diary, PyramidSpec, PyramidWriter, Said, WorkFolder
from wsisr.writing.layouts import DEFAULT, LAYOUTS, layout_name

STORED_TILE_PX = 256
"""Side of a tile of the written file; the same whatever the tiling, so that the file is too."""

DEFAULT_TILE_PX = 1024
"""Input px. A network computes at one rate from 384 to 1536 px (make bench-network); what differs is the overlap."""

GPU_TILE_PX = 2048
"""The same on a GPU, where every window costs the processor as much time to start; taken where memory has room for it
besides all that finishes blocks."""


FILTERING = min(4, cores())
"""Windows that a filter enlarges beside each other."""

NETWORKING = min(2, cores())
"""The same of a network, each with its share of the cores: in one call all of them wait for the slowest at every layer,
and each time that the encoder, or another program, has one of them."""

FINISHING = tuple(count for count in (8, 4, 2, 1) if count <= cores())
"""Blocks that are finished beside each other, as many as memory has room for: glass is enlarged and all is measured
there, for which one core is not enough beside a GPU."""

Windows: TypeAlias = list[tuple[Tile, Rgb, Flags]]
"""Tiles of one batch, what is read for each, and which cells of its reach a network is needed for."""

Enlarged: TypeAlias = tuple[Tile, Rgb, Flags, Rgb]
"""The same of one tile, and its window, or block, enlarged."""


@dataclass(frozen=True, slots=True)
class Options:
    """How the work is cut and what is stored; none of it changes what the network shows, but for a short overlap."""

    tile_px: int | None = None
    """Input px that a tile completes, along one axis; `DEFAULT_TILE_PX`, or what memory allows, by default."""
    overlap_px: int | None = None
    """Input px by which neighbouring windows overlap; None is what makes seams impossible: twice the context."""
    batch: int = 1
    """Windows that go through the network together."""
    codec: Codec | None = None
    """How tiles of the output are coded; as is usual for its layout by default."""
    layout: str | None = None
    """Of the output; what its suffix stands for by default."""
    background: Background = field(default_factory=Background)
    """Where no network is needed, and what is shown there."""
    audit: Audit | None = None
    """Is shown every block."""
    deidentify: bool = False
    """Leave out the day of the scan."""
    keep: tuple[str, ...] = ()
    """What is copied of the slide's own `label` and `macro`: they may name a patient."""
    verify: bool = True
    """Read the finished file again before it gets its name."""
    memory_gb: float = DEFAULT_MEMORY_GB
    """What all but the network may hold in memory, in 10^9 bytes."""


@dataclass(frozen=True, slots=True)
class Plan:
    """What would be done."""

    source: Source
    load: Load
    cells: Cells
    output: PyramidSpec
    audit: Audit | None
    verify: bool
    warning: str | None
    """What the reader of the result must know, besides that it is an estimate; in the file, too."""
    times: Times = field(default_factory=Times)
    """Grow while it is done."""

    @property
    def grid(self) -> TileGrid:
        return self.load.grid

    @property
    def waste(self) -> float:
        """Pixels computed over pixels kept, minus 1: what overlapping costs."""
        return self.grid.read_pixels / self.grid.image.pixels - 1

    @property
    def busy(self) -> float:
        """Share of what is read, 0 to 1, in tiles that hold tissue: what a network is needed for."""
        busy = (tile.window.size.pixels for tile in self.grid if self.cells.within(tile.reach).any())
        return sum(busy) / self.grid.read_pixels


def plan(source: Source, upscaler: Upscaler, options: Options) -> Plan:
    """Decides tiles and output of an upscaling.

    Raises `OutputError` for a tiling that the output cannot hold, `SlideError` where the pixel pitch is not known: a
    result without a scale could not be measured on, and nobody would see it.
    """
    if source.mpp is None:
        raise SlideError(f"{source.slide.info.path}: pixel pitch is not recorded; give it in um/px (--mpp)")
    scale = upscaler.scale
    unit = STORED_TILE_PX // math.gcd(scale, STORED_TILE_PX)
    load = _load(source, upscaler, options, unit)
    cells = Cells.of(source, unit, upscaler.context, options.background)
    warning = doubt(upscaler, source.mpp)
    layout = options.layout or DEFAULT
    codec = options.codec or LAYOUTS[layout].coding()
    note = provenance(source, upscaler, codec, dated=not options.deidentify) | cells.note()
    if load.grid.tiling.margin < upscaler.context:
        note["overlap"] = f"{options.overlap_px} px, less than the network looks around a pixel"
    if warning:
        note["warning"] = warning
    if options.keep:
        note["pictures"] = f"{' and '.join(options.keep)} of the slide"
    spec = PyramidSpec(
        size=source.size * scale,
        mpp=source.mpp / scale,
        tile_px=STORED_TILE_PX,
        codec=codec,
        layout=layout,
        offset=_offset(source, scale),
        magnification=_magnification(source, scale),
        title=title(source, scale),
        icc=source.slide.info.icc,
        pictures={name: associated_image(source.slide.info, name) for name in options.keep},
        note=note,
        software=f"wsisr {wsisr.__version__}",
    )
    return Plan(source, load, cells, spec, options.audit, options.verify, warning)


def _load(source: Source, upscaler: Upscaler, options: Options, unit: int) -> Load:
    """The cut that is asked for; else the largest tiles, up to the default, that memory has room for."""
    asked, overlap = options.tile_px, options.overlap_px
    if asked is not None and (asked < 1 or asked % unit):
        raise OutputError(
            f"tiles of {asked} px do not fit stored ones; at scale {upscaler.scale} take a multiple of {unit}"
        )
    overlap = 2 * max(upscaler.context, BICUBIC_REACH) if overlap is None else overlap
    if overlap < 0 or options.batch < 1:
        raise OutputError(
            f"an overlap of {overlap} px in batches of {options.batch} cannot be; take 0 px and 1 or more"
        )
    largest = GPU_TILE_PX if upscaler.hardware.startswith("on cuda") else DEFAULT_TILE_PX
    sides = range(largest, 0, -unit) if asked is None else (asked,)
    cuts = (Tiling.overlapping(side, overlap, upscaler.context) for side in sides)
    grids = (TileGrid(source.size, cut, source.readable) for cut in cuts)
    workers = NETWORKING if upscaler.weights else FILTERING
    loads = (
        Load(grid, upscaler.scale, options.batch, depth, workers, finishers)
        for grid in grids
        for finishers in FINISHING
        if asked or grid.tiling.step <= DEFAULT_TILE_PX or finishers == FINISHING[0]
        for depth in DEPTHS
    )
    return affordable((load.reading_from(source) for load in loads), options.memory_gb)


def doubt(upscaler: Upscaler, mpp: float | None) -> str | None:
    """Why nobody measured how good the result will be; None for a filter, or a pixel pitch met in training."""
    if upscaler.weights is None:
        return None
    if upscaler.weights.spec is None:
        return f"{upscaler.name} is not from wsisr; on what it was trained, and how good it is here, is unknown"
    if mpp is not None and upscaler.weights.spec.covers(mpp):
        return None
    finest, coarsest = upscaler.weights.spec.input_mpp
    given = "the pixel pitch is not recorded" if mpp is None else f"not on {mpp:.4g} um/px"
    return f"{upscaler.name} was trained on {finest:g} to {coarsest:g} um/px, {given}; how good it is there is unknown"


def work_folder(work: Plan, upscaler: Upscaler, parent: Path | None = None, *, keep: bool = False) -> WorkFolder:
    """Where a run keeps its finished tiles, so that the same run goes on from them after it was stopped."""
    named = identity(work.source, upscaler, work.output, work.grid.tiling, work.load.batch)
    return WorkFolder(named, parent, keep)


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
    load = work.load
    runs = all_runs(work) if runs is None else runs
    read = mapped(lambda batch: _read(work, batch), runs, load.depth)
    enlarged = mapped(lambda windows: _where_kept(work, windows, upscaler), read, load.beside, load.beside)
    joined = _joined(enlarged, Blender(work.grid, upscaler.scale))
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


def _joined(batches: Generator[list[Enlarged]], blender: Blender) -> Iterator[tuple[Enlarged, Box]]:
    """Windows enlarged to blocks that are joined with those before them, in their order."""
    with closing(batches):
        for batch in batches:
            for tile, window, flags, pixels in batch:
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
    needed = work.cells.needed(tile, flags)
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

    A run is computed whole, for a network may round otherwise in a batch of another size; and with it, where tiles
    feather, those that fade into it.
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


def _magnification(source: Source, scale: int) -> float | None:
    """What an objective of that many times would show, as the slide counts."""
    objective = source.slide.info.objective
    return None if objective is None else objective / source.downsample * scale


def _offset(source: Source, scale: int) -> tuple[float, float]:
    """Of the centre of the first pixel from that of the slide's, x and y in um. Their corners are what may coincide."""
    finest, own = source.slide.info.mpp or 0.0, (source.mpp or 0.0) / scale
    x, y = ((edge - 0.5) * finest + 0.5 * own for edge in source.origin)
    return x, y
