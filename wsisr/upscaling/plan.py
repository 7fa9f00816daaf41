"""The plan of an upscaling: how the region is cut into tiles, what is background, what the output will be."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from pathlib import Path

from wsisr.errors import OutputError, SlideError
from wsisr.imaging.geometry import Size
from wsisr.imaging.pixels import CUBIC_RADIUS
from wsisr.imaging.tiling import TileGrid, Tiling
from wsisr.models.upscaler import Upscaler, UpscalerInfo
from wsisr.parallel.cpu import count_usable_cores
from wsisr.parallel.timing import StageTimes
from wsisr.slides.associated import read_associated_image
from wsisr.slides.region import SlideRegion
from wsisr.upscaling.background import BackgroundMask, BackgroundOptions
from wsisr.upscaling.dicom_output import DICOM_LAYOUT, context_metadata, read_output_context
from wsisr.upscaling.memory import DEFAULT_MEMORY_GB, QUEUE_DEPTHS, WorkUnit, largest_within_budget
from wsisr.upscaling.provenance import image_title, provenance_metadata
from wsisr.upscaling.quality import QualityMonitor
from wsisr.upscaling.run_identity import identify_source, run_identity
from wsisr.version import __version__
from wsisr.writing import Codec, PyramidSpec, WorkFolder
from wsisr.writing.layouts.catalog import DEFAULT_LAYOUT, LAYOUTS

STORED_TILE_PX = 256
"""Side of a tile of the written file; the same whatever the tiling, so that the file is too."""

DEFAULT_TILE_PX = 1024
"""Input px, at most. From 384 to 1536 px a network computes at one rate (`tests.bench runtimes`); only the overlap
differs, and the memory."""

CPU_FEATURE_BYTES = 30_000_000
"""Bytes of one map of a network's features, for the tile that a CPU computes: the heap holds two dozen of them, for two
tiles at a time (`tests.bench memory`)."""

BYTES_PER_FEATURE = 2
"""Bytes of a feature in half precision."""

THIRD_PARTY_CHANNELS = 64
"""Features at each pixel of a network that does not tell."""

RADII_PER_TILE = 28
"""Receptive fields within the side of a CPU network's tile, at least, up to `DEFAULT_TILE_PX`: a seventh is computed
twice."""

WIDTH_UNIT = 16
"""Input px. On a CPU, bf16 convolutions (oneDNN 3.12, AMX) take a tenth longer on most other widths, and twice as long
on some (`tests.bench runtimes --tiles 1024 1042 1060 1072`)."""

GPU_TILE_PX = 2048
"""`DEFAULT_TILE_PX` of a GPU, where every call costs the processor as much time to start; taken where memory has room
for it besides all that finishes blocks."""

FILTER_WORKERS = min(4, count_usable_cores())
"""Tiles that a filter enlarges in parallel."""

NETWORK_WORKERS = min(2, count_usable_cores())
"""Tiles that a network enlarges in parallel, each on its share of the cores: in one call all cores wait for the slowest
at every layer, and each time that the encoder, or another program, has one of them."""

FINISHER_COUNTS = tuple(count for count in (8, 4, 2, 1) if count <= count_usable_cores())
"""Blocks that are finished in parallel, as many as memory has room for: background is enlarged and quality measured
there, for which one core is not enough beside a GPU."""


@dataclass(frozen=True, slots=True)
class UpscaleOptions:
    """How the work is cut and what is stored. No option changes an output pixel, but for a short overlap."""

    tile_px: int | None = None
    """Input px that a tile completes, along one axis; `DEFAULT_TILE_PX`, or what memory allows, by default."""
    overlap_px: int | None = None
    """Input px by which neighbouring tiles overlap; by default twice the receptive field, so that no seam can show."""
    batch: int = 1
    """Tiles that go through the network together."""
    codec: Codec | None = None
    """How tiles of the output are encoded; the usual codec of its layout by default."""
    layout: str | None = None
    """Layout of the output; by default the one that its suffix stands for."""
    background: BackgroundOptions = field(default_factory=BackgroundOptions)
    """What counts as tissue, and what is shown elsewhere."""
    quality: QualityMonitor | None = None
    """Collects quality measurements, if given."""
    deidentify: bool = False
    """Leave out the day of the scan."""
    keep_images: tuple[str, ...] = ()
    """Which of the slide's `label` and `macro` images to copy: they may name a patient."""
    verify: bool = True
    """Read the finished file again before it gets its name."""
    memory_gb: float = DEFAULT_MEMORY_GB
    """What all but the network may hold in memory, in 10^9 bytes."""


@dataclass(frozen=True, slots=True)
class UpscalePlan:
    """All that is decided before a region is enlarged."""

    region: SlideRegion
    upscaler: Upscaler
    work_unit: WorkUnit
    background: BackgroundMask
    output: PyramidSpec
    quality: QualityMonitor | None
    verify: bool
    warning: str | None
    """What the reader of the result must know, besides that it is an estimate; the file records it, too."""
    times: StageTimes = field(default_factory=StageTimes)
    """Grow while the plan is run."""

    @property
    def scale(self) -> int:
        """Output pixels per input pixel, along one axis."""
        return self.upscaler.info.scale

    @property
    def grid(self) -> TileGrid:
        return self.work_unit.grid

    @property
    def overlap_overhead(self) -> float:
        """What overlapping costs: pixels computed over pixels stored, minus 1."""
        return self.grid.input_pixel_count / self.grid.image.pixel_count - 1

    @property
    def network_pixel_count(self) -> int:
        """Pixels read that go through the network: of each tile with tissue the part that the tissue depends on."""
        mask, count = self.background, 0
        for tile in self.grid:
            cells = mask.tissue_in(tile.blend_box)
            if cells.any():
                count += mask.crop_needed(tile, cells).size.pixel_count
        return count

    def work_folder(self, parent: Path | None = None, *, keep: bool = False) -> WorkFolder:
        """Return where a run keeps its finished tiles, so that the same run resumes from them after a stop."""
        identity = run_identity(self.region, self.upscaler, self.output, self.grid.tiling, self.work_unit.batch)
        return WorkFolder(identity, parent, keep, identify_source(self.region.slide.info))


def find_cell_side(scale: int) -> int:
    """Return the side, in input px, of what every tile is a multiple of: it completes whole stored tiles."""
    return STORED_TILE_PX // math.gcd(scale, STORED_TILE_PX)


def plan_upscaling(region: SlideRegion, upscaler: Upscaler, options: UpscaleOptions) -> UpscalePlan:
    """Decide tiles and output of an upscaling.

    Raises `OutputError` for a tiling that the output cannot hold, `SlideError` where the pixel size is not known: a
    result without a scale could not be measured on, and nobody would see it.
    """
    if region.mpp is None:
        raise SlideError(f"{region.slide.info.path}: pixel size is not recorded; give it in um/px (--mpp)")
    info, scale = upscaler.info, upscaler.info.scale
    cell_px = find_cell_side(scale)
    unit = _choose_work_unit(region, upscaler, options, cell_px)
    background = BackgroundMask.from_tissue(region, cell_px, info.receptive_field, options.background)
    warning = training_range_warning(upscaler, region.mpp)
    layout = options.layout or DEFAULT_LAYOUT
    codec = options.codec or LAYOUTS[layout].select_codec()
    LAYOUTS[layout].check_size(region.size * scale)
    metadata = provenance_metadata(region, upscaler, codec, dated=not options.deidentify) | background.build_metadata()
    if unit.grid.tiling.halo_px < info.receptive_field:
        metadata["overlap"] = f"{options.overlap_px} px, less than the network looks around a pixel"
    if warning:
        metadata["warning"] = warning
    if options.keep_images:
        metadata["pictures"] = f"{' and '.join(options.keep_images)} of the slide"
    if layout == DICOM_LAYOUT:
        metadata |= context_metadata(region, deidentify=options.deidentify)
    output = PyramidSpec(
        size=region.size * scale,
        mpp=region.mpp / scale,
        tile_px=STORED_TILE_PX,
        codec=codec,
        layout=layout,
        origin_um=_origin_um(region, scale),
        magnification=_magnification(region, scale),
        title=image_title(region, scale),
        icc=region.slide.info.icc,
        associated_images={name: read_associated_image(region.slide.info, name) for name in options.keep_images},
        metadata=metadata,
        dicom=read_output_context(region, deidentify=options.deidentify) if layout == DICOM_LAYOUT else None,
        software=f"wsisr {__version__}",
    )
    return UpscalePlan(region, upscaler, unit, background, output, options.quality, options.verify, warning)


def _choose_work_unit(region: SlideRegion, upscaler: Upscaler, options: UpscaleOptions, cell_px: int) -> WorkUnit:
    """Return the requested tiles; else the largest, up to the default, that memory has room for."""
    info, tile_px, overlap_px = upscaler.info, options.tile_px, options.overlap_px
    if tile_px is not None and (tile_px < 1 or tile_px % cell_px):
        raise OutputError(f"--tile-px must be a multiple of {cell_px} at scale {info.scale}, not {tile_px}")
    overlap_px = 2 * max(info.receptive_field, CUBIC_RADIUS) if overlap_px is None else overlap_px
    if overlap_px < 0 or options.batch < 1:
        raise OutputError("--overlap-px must be at least 0 and --batch at least 1")
    largest_px = _equal_side(region.size, _largest_side(info), cell_px)
    sides = range(largest_px, 0, -cell_px) if tile_px is None else (tile_px,)
    lengths = {"width_multiple": WIDTH_UNIT if info.weights else 1, "cell_px": info.cell_px}
    tilings = (Tiling.from_overlap(side, overlap_px, info.receptive_field, **lengths) for side in sides)
    grids = (TileGrid(region.size, tiling, region.readable_box) for tiling in tilings)
    workers = NETWORK_WORKERS if info.weights else FILTER_WORKERS
    units = (
        WorkUnit(grid, info.scale, options.batch, depth, workers, finishers)
        for grid in grids
        for finishers in FINISHER_COUNTS
        if tile_px or grid.tiling.core_px <= DEFAULT_TILE_PX or finishers == FINISHER_COUNTS[0]
        for depth in QUEUE_DEPTHS
    )
    return largest_within_budget((unit.with_resampling(region) for unit in units), options.memory_gb)


def _largest_side(info: UpscalerInfo) -> int:
    """Return the side of the largest tile, in input px, where none is asked for."""
    if info.on_gpu:
        return GPU_TILE_PX
    if info.weights is None:
        return DEFAULT_TILE_PX
    channels = info.weights.spec.channels if info.weights.spec else THIRD_PARTY_CHANNELS
    pixels = CPU_FEATURE_BYTES * info.cell_px**2 // (channels * BYTES_PER_FEATURE)
    return min(DEFAULT_TILE_PX, max(math.isqrt(pixels), RADII_PER_TILE * info.receptive_field))


def _equal_side(size: Size, largest_px: int, cell_px: int) -> int:
    """Return the smallest side, in whole cells, that makes no more tiles than the largest: none is much narrower."""
    whole_cells = max(1, largest_px // cell_px) * cell_px
    counts = ((length, -(-length // whole_cells)) for length in (size.width, size.height))
    return max(-(-length // (count * cell_px)) * cell_px for length, count in counts)


def training_range_warning(upscaler: Upscaler, mpp: float | None) -> str | None:
    """Return a warning where the quality of the result was never measured.

    None for a filter, and for a network on a pixel size that it was trained on. Files record the text, and a finished
    file counts as the same only if its text is: other words would have every such file made anew.
    """
    name, weights = upscaler.info.name, upscaler.info.weights
    if weights is None:
        return None
    if weights.spec is None:
        return f"{name} is not from wsisr; on what it was trained, and how good it is here, is unknown"
    if mpp is not None and weights.spec.covers_mpp(mpp):
        return None
    finest, coarsest = weights.spec.input_mpp
    given = "the pixel pitch is not recorded" if mpp is None else f"not on {mpp:.4g} um/px"
    return f"{name} was trained on {finest:g} to {coarsest:g} um/px, {given}; how good it is there is unknown"


def _magnification(region: SlideRegion, scale: int) -> float | None:
    """Return the objective that would show the result's pixel size, counted from the slide's own objective."""
    objective = region.slide.info.objective
    return None if objective is None else objective / region.downsample * scale


def _origin_um(region: SlideRegion, scale: int) -> tuple[float, float]:
    """Return the centre of the result's first pixel, x and y in um from the centre of the slide's first pixel.

    Only the corners of the two pixels can coincide, for they differ in size.
    """
    slide_mpp, output_mpp = region.slide.info.mpp or 0.0, (region.mpp or 0.0) / scale
    x, y = ((edge - 0.5) * slide_mpp + 0.5 * output_mpp for edge in region.level0_origin)
    return x, y
