"""The main job: a level of a slide, through an `Upscaler`, into a pyramid on disk.

read -> network -> blend -> encode and store: reading runs in one thread, the network with the blender in another,
encoding in the caller's. Memory: five batches of windows and their enlargements, what the network needs, and, where
tiles feather, the blender's strip as wide as the result.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from itertools import groupby
from pathlib import Path

import numpy as np

import wsisr
from wsisr.background import BICUBIC_REACH, WHITE, Background, Cells
from wsisr.blending import Blender
from wsisr.errors import ModelError, OutputError, SlideError
from wsisr.files import refuse_source
from wsisr.geometry import Box
from wsisr.identity import identity
from wsisr.pixels import Rgb, Tiles
from wsisr.progress import Progress
from wsisr.residual import Residual
from wsisr.seams import Seams
from wsisr.source import Source
from wsisr.stages import ahead
from wsisr.tiling import Tile, TileGrid, Tiling
from wsisr.tissue.map import Flags
from wsisr.upscaler import Upscaler
from wsisr.writing import Codec, PyramidWriter, TiffSpec, WorkFolder

STORED_TILE_PX = 256
"""Side of a tile of the written file; the same whatever the tiling, so that the file is too."""

DEFAULT_TILE_PX = 768
"""Input px. On a CPU larger tiles gain little (the overlap is 16 % here) and cost memory."""


class Audit:
    """What is measured of a result while it is made; of a run that goes on, what it makes itself."""

    def __init__(self, scale: int) -> None:
        self.seams, self.residual = Seams(scale), Residual(scale)

    def add(self, work: Plan, tile: Tile, window: Rgb, block: Rgb) -> None:
        """A tile, its window, and its finished block."""
        part = tile.block.moved(-tile.window.left, -tile.window.top)
        low = window[part.rows, part.columns]
        self.seams.add(tile, block)
        self.residual.add(tile, low, block, work.cells.measurable(tile, low))


@dataclass(frozen=True, slots=True)
class Options:
    """How the work is cut and what is stored; none of it changes what the network shows, but for a short overlap."""

    tile_px: int = DEFAULT_TILE_PX
    """Input px that a tile completes, along one axis."""
    overlap_px: int | None = None
    """Input px by which neighbouring windows overlap; None is what makes seams impossible: twice the context."""
    batch: int = 1
    """Windows that go through the network together."""
    codec: Codec = field(default_factory=Codec)
    """How tiles of the output are coded."""
    layout: str | None = None
    """Of the output; what its suffix stands for by default."""
    background: Background = field(default_factory=Background)
    """Where no network is needed, and what is shown there."""
    audit: Audit | None = None
    """Is shown every block."""


@dataclass(frozen=True, slots=True)
class Plan:
    """What would be done."""

    source: Source
    grid: TileGrid
    cells: Cells
    batch: int
    output: TiffSpec
    audit: Audit | None
    warning: str | None
    """What the reader of the result must know, besides that it is an estimate; in the file, too."""

    @property
    def waste(self) -> float:
        """Pixels computed over pixels kept, minus 1: what overlapping costs."""
        return self.grid.read_pixels / self.grid.image.pixels - 1

    @property
    def busy(self) -> float:
        """Share of the tiles, 0 to 1, that hold tissue: what a network is needed for."""
        return sum(bool(self.cells.within(tile.reach).any()) for tile in self.grid) / len(self.grid)


def plan(source: Source, upscaler: Upscaler, options: Options) -> Plan:
    """Decides tiles and output of an upscaling.

    Raises `OutputError` for a tiling that the output cannot hold, `SlideError` where the pixel pitch is not known: a
    result without a scale could not be measured on, and nobody would see it.
    """
    if source.mpp is None:
        raise SlideError(f"{source.slide.info.path}: pixel pitch is not recorded; give it in um/px (--mpp)")
    scale = upscaler.scale
    unit = STORED_TILE_PX // math.gcd(scale, STORED_TILE_PX)
    if options.tile_px < 1 or options.tile_px % unit:
        raise OutputError(
            f"tiles of {options.tile_px} px do not fit stored ones; at scale {scale} take a multiple of {unit}"
        )
    overlap = 2 * max(upscaler.context, BICUBIC_REACH) if options.overlap_px is None else options.overlap_px
    if overlap < 0 or options.batch < 1:
        raise OutputError(
            f"an overlap of {overlap} px in batches of {options.batch} cannot be; take 0 px and 1 or more"
        )
    grid = TileGrid(source.size, Tiling.overlapping(options.tile_px, overlap, upscaler.context), source.readable)
    cells = Cells.of(source, unit, upscaler.context, options.background)
    warning = doubt(upscaler, source.mpp)
    spec = TiffSpec(
        size=source.size * scale,
        mpp=source.mpp / scale,
        tile_px=STORED_TILE_PX,
        codec=options.codec,
        layout=options.layout,
        magnification=_magnification(source, scale),
        title=_title(source.mpp, scale),
        icc=source.slide.info.icc,
        note=_note(source, upscaler) | cells.note() | ({"warning": warning} if warning else {}),
        software=f"wsisr {wsisr.__version__}",
    )
    return Plan(source, grid, cells, options.batch, spec, options.audit, warning)


def doubt(upscaler: Upscaler, mpp: float | None) -> str | None:
    """Why nobody measured how good the result will be; None for a filter, or a pixel pitch met in training."""
    if upscaler.weights is None or (mpp is not None and upscaler.weights.spec.covers(mpp)):
        return None
    finest, coarsest = upscaler.weights.spec.input_mpp
    given = "the pixel pitch is not recorded" if mpp is None else f"not on {mpp:.4g} um/px"
    return f"{upscaler.name} was trained on {finest:g} to {coarsest:g} um/px, {given}; how good it is there is unknown"


def work_folder(work: Plan, upscaler: Upscaler, parent: Path | None = None, *, keep: bool = False) -> WorkFolder:
    """Where a run keeps its finished tiles, so that the same run goes on from them after it was stopped."""
    named = identity(work.source, upscaler, work.output, work.grid.tiling, work.batch)
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

    Yields `upscale` in output pixels, then `pyramid` and `assemble` in stored tiles. Leaving early, by an error too,
    keeps the finished tiles in `folder`, by default beside the output, and the same call goes on from them;
    `WorkFolder()` keeps nothing. Raises `SlideError`, `ModelError` or `OutputError`, each in one line.
    """
    work, output = plan(source, upscaler, options or Options()), Path(output)
    refuse_source(output, source.slide.info.path)
    folder = folder or work_folder(work, upscaler)
    with PyramidWriter(output, work.output, folder, overwrite=overwrite) as writer:
        runs = list(pending(work, upscaler.scale, writer.holds))
        total = work.output.size.pixels
        done = before = total - sum((tile.block * upscaler.scale).size.pixels for run in runs for tile in run)
        with closing(ahead(blocks(work, upscaler, runs))) as enlarged:
            for box, pixels in enlarged:
                writer.write(box, pixels)
                done += box.size.pixels
                yield Progress("upscale", done, total, before)
        if upscaler.remarks:
            writer.annotate({"remarks": "; ".join(upscaler.remarks)})
        yield from writer.finish()


def blocks(work: Plan, upscaler: Upscaler, runs: Iterable[list[Tile]] | None = None) -> Iterator[tuple[Box, Rgb]]:
    """The enlarged source in blocks, row by row: boxes in output px, (h, w, 3) sRGB. Of all runs, or of some."""
    blender = Blender(work.grid, upscaler.scale)
    runs = all_runs(work) if runs is None else runs
    read = ((batch, [work.source.read(tile.window) for tile in batch]) for batch in runs)
    with closing(ahead(read)) as ready:
        for batch, windows in ready:
            kept = [work.cells.kept(tile, window) for tile, window in zip(batch, windows, strict=True)]
            enlarged = _where_kept(batch, windows, kept, upscaler)
            for tile, window, flags, pixels in zip(batch, windows, kept, enlarged, strict=True):
                box, block = blender.add(tile, pixels)
                painted = work.cells.painted(tile, window, flags, block)
                if work.audit:
                    work.audit.add(work, tile, window, painted)
                yield box, painted


def _where_kept(
    batch: Sequence[Tile], windows: Sequence[Rgb], kept: Sequence[Flags], upscaler: Upscaler
) -> Iterator[Rgb]:
    """Windows enlarged; where nothing of one is kept, a placeholder of its size that costs nothing."""
    busy = [number for number, flags in enumerate(kept) if flags.any()]
    pixels = np.stack([windows[number] for number in busy]) if busy else None
    enlarged = iter(() if pixels is None else _enlarged([batch[number] for number in busy], pixels, upscaler))
    for window, flags in zip(windows, kept, strict=True):
        height, width = (side * upscaler.scale for side in window.shape[:2])
        yield next(enlarged) if flags.any() else np.broadcast_to(np.uint8(WHITE), (height, width, 3))


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
    return batches(work.grid, work.batch, lambda tile: bool(work.cells.within(tile.reach).any()))


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


def _title(mpp: float, scale: int) -> str:
    """On the label image, because viewers hide metadata."""
    kind = f"super-resolved x{scale}" if scale > 1 else "resampled"
    return f"{kind} from {mpp:.2f} um/px, research use only"


def _note(source: Source, upscaler: Upscaler) -> dict[str, str]:
    """What any reader of the file must know: that these pixels were computed, from what, and by what."""
    kind = "super-resolved; fine detail is an estimate" if upscaler.scale > 1 else "resampled; no detail was added"
    return {
        "derived": f"{kind}, not an observation; research use only",
        "software": f"wsisr {wsisr.__version__}",
        "model": upscaler.name,
        "weights sha256": upscaler.weights.sha256 if upscaler.weights else "none",
        "scale": str(upscaler.scale),
        "size": f"{source.size * upscaler.scale} px",
        "mpp": "unknown" if source.mpp is None else f"{source.mpp / upscaler.scale:.10g}",
    } | source.note()
