"""What an upscaling would do: how the source is cut, what becomes of its background, what the output is."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from pathlib import Path

from wsisr.errors import OutputError, SlideError
from wsisr.imaging.pixels import CUBIC_REACH
from wsisr.imaging.tiling import TileGrid, Tiling
from wsisr.models.upscaler import Upscaler
from wsisr.parallel.cpu import cores
from wsisr.parallel.timing import Times
from wsisr.slides.associated import associated_image
from wsisr.slides.region import Source
from wsisr.upscaling.background import Background, Cells
from wsisr.upscaling.memory import DEFAULT_MEMORY_GB, DEPTHS, Load, affordable
from wsisr.upscaling.provenance import provenance, title
from wsisr.upscaling.quality import Audit
from wsisr.upscaling.run_identity import identity
from wsisr.version import __version__
from wsisr.writing import Codec, PyramidSpec, WorkFolder
from wsisr.writing.layouts.catalog import DEFAULT, LAYOUTS

STORED_TILE_PX = 256
"""Side of a tile of the written file; the same whatever the tiling, so that the file is too."""

DEFAULT_TILE_PX = 1024
"""Input px. A network computes at one rate from 384 to 1536 px (make bench-network); what differs is the overlap."""

WIDTH_UNIT = 16
"""Input px. On a CPU, bf16 convolutions (oneDNN 3.12, AMX) take a tenth longer on most other widths, and twice as long
on some (`tests.bench runtimes --tiles 1024 1042 1060 1072`)."""

GPU_TILE_PX = 2048
"""`DEFAULT_TILE_PX` of a GPU, where every window costs the processor as much time to start; taken where memory has room
for it besides all that finishes blocks."""

FILTERING = min(4, cores())
"""Windows that a filter enlarges beside each other."""

NETWORKING = min(2, cores())
"""The same of a network, each with its share of the cores: in one call all of them wait for the slowest at every layer,
and each time that the encoder, or another program, has one of them."""

FINISHING = tuple(count for count in (8, 4, 2, 1) if count <= cores())
"""Blocks that are finished beside each other, as many as memory has room for: glass is enlarged and all is measured
there, for which one core is not enough beside a GPU."""


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
        software=f"wsisr {__version__}",
    )
    return Plan(source, load, cells, spec, options.audit, options.verify, warning)


def _load(source: Source, upscaler: Upscaler, options: Options, unit: int) -> Load:
    """The cut that is asked for; else the largest tiles, up to the default, that memory has room for."""
    asked, overlap = options.tile_px, options.overlap_px
    if asked is not None and (asked < 1 or asked % unit):
        raise OutputError(
            f"tiles of {asked} px do not fit stored ones; at scale {upscaler.scale} take a multiple of {unit}"
        )
    overlap = 2 * max(upscaler.context, CUBIC_REACH) if overlap is None else overlap
    if overlap < 0 or options.batch < 1:
        raise OutputError(
            f"an overlap of {overlap} px in batches of {options.batch} cannot be; take 0 px and 1 or more"
        )
    largest = GPU_TILE_PX if upscaler.on_gpu else DEFAULT_TILE_PX
    sides = range(largest, 0, -unit) if asked is None else (asked,)
    width = WIDTH_UNIT if upscaler.weights else 1
    cuts = (Tiling.overlapping(side, overlap, upscaler.context, width) for side in sides)
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


def _magnification(source: Source, scale: int) -> float | None:
    """What an objective of that many times would show, as the slide counts."""
    objective = source.slide.info.objective
    return None if objective is None else objective / source.downsample * scale


def _offset(source: Source, scale: int) -> tuple[float, float]:
    """Of the centre of the first pixel from that of the slide's, x and y in um. Their corners are what may coincide."""
    finest, own = source.slide.info.mpp or 0.0, (source.mpp or 0.0) / scale
    x, y = ((edge - 0.5) * finest + 0.5 * own for edge in source.origin)
    return x, y
