"""The engine: a region of a slide goes through an `Upscaler` into a pyramid on disk.

Read, network, finish, encode and store are stages with threads of their own, each a few batches ahead of the next, so
that the network waits for none of them. `WorkUnit` says what they hold in memory.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from concurrent.futures import Future
from contextlib import AbstractContextManager, closing
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypeAlias

import numpy as np

from wsisr.errors import ModelError
from wsisr.files import refuse_source
from wsisr.imaging.blending import Blender
from wsisr.imaging.geometry import Box
from wsisr.imaging.pixels import WHITE, Rgb, RgbBatch
from wsisr.imaging.tiling import Tile
from wsisr.models.upscaler import Upscaler
from wsisr.parallel.pipeline import parallel_map, prefetch
from wsisr.progress import Progress
from wsisr.slides import Slide
from wsisr.slides.files import hash_in_background
from wsisr.slides.region import SlideRegion
from wsisr.slides.unreadable import UnreadableRegion
from wsisr.tissue.map import BoolMask
from wsisr.upscaling.batches import missing_batches, tile_batches
from wsisr.upscaling.consistency import count_consistency_errors
from wsisr.upscaling.memory import PARALLEL_STORES
from wsisr.upscaling.plan import UpscaleOptions, UpscalePlan, plan_upscaling
from wsisr.upscaling.provenance import digest_metadata, findings_metadata
from wsisr.upscaling.quality import TileQuality
from wsisr.upscaling.seams import TileBorders
from wsisr.writing import MessageLog, PyramidWriter, RunLog, WorkFolder
from wsisr.writing.layouts.catalog import resolve_layout_name
from wsisr.writing.verification import describe_faults


@dataclass(frozen=True, eq=False, slots=True)
class TileInput:
    """A tile and the pixels that were read for it."""

    tile: Tile
    pixels: Rgb
    """(h, w, 3): the pixels of the tile's input box."""
    network_cells: BoolMask
    """(rows, columns): which cells of the tile's blend box need a network."""


@dataclass(frozen=True, eq=False, slots=True)
class FinishedBlock:
    """What a tile completes."""

    tile: Tile
    box: Box
    """In px of the result."""
    pixels: Rgb
    """(h, w, 3): the pixels of the box."""
    quality: TileQuality | None
    """Measurements, if the plan collects them."""


LevelWriter: TypeAlias = Callable[[UpscalePlan, PyramidWriter], Iterator[Progress]]
"""Computes and stores level 0 without the tiles that an earlier run finished, and yields `upscale` in output pixels."""


def upscale_region(
    region: SlideRegion,
    upscaler: Upscaler,
    output: Path | str,
    *,
    options: UpscaleOptions | None = None,
    overwrite: bool = False,
    folder: WorkFolder | None = None,
) -> Generator[Progress, None, None]:
    """Write a pyramid of an enlarged region. Nothing happens until the iterator is consumed, to its end.

    Yields `upscale` in output pixels, first what an earlier run finished, if there was one, then `pyramid` and
    `assemble` in stored tiles. Leaving early, also by an error, keeps the finished tiles in `folder`, by default beside
    the output, and the same call resumes from them; `WorkFolder()` keeps nothing. Raises `SlideError`, `ModelError` or
    `OutputError`, each in one line.
    """
    output, options = Path(output), options or UpscaleOptions()
    plan = plan_upscaling(region, upscaler, replace(options, layout=resolve_layout_name(output, options.layout)))
    yield from run_plan(plan, output, overwrite=overwrite, folder=folder)


def run_plan(
    plan: UpscalePlan,
    output: Path,
    *,
    overwrite: bool = False,
    folder: WorkFolder | None = None,
    write_level_0: LevelWriter | None = None,
) -> Generator[Progress, None, None]:
    """Do what `upscale_region` does, for a plan that was made before.

    A plan can be run once: its quality monitor and its stage times belong to one run. `write_level_0` has level 0
    computed elsewhere; by default this process does it.
    """
    refuse_source(output, plan.region.slide.info.path)
    with (
        PyramidWriter(output, plan.output, folder or plan.work_folder(), overwrite=overwrite) as writer,
        _hash_source(plan.region.slide, writer) as digest,
    ):
        yield from (write_level_0 or write_level_here)(plan, writer)
        writer.add_metadata(digest_metadata(digest.result()))
        plan.region.slide.check_unchanged()
        steps = writer.finish(check=describe_faults if plan.verify else None)
        while step := plan.times.time_next(steps):
            yield step


def _hash_source(slide: Slide, writer: PyramidWriter) -> AbstractContextManager[Future[str | None]]:
    """Context: a thread hashes the slide, and records its digest as a proof for the runs that resume from this one.

    Only if no tile of a changed file could be stored: not for slides in so many files that not all can be looked at
    behind every read.
    """

    def record_digest(sha256: str | None) -> None:
        if slide.is_checked_per_read:
            slide.check_unchanged()
            writer.record_source_digest(sha256)

    return hash_in_background(slide.info, record_digest)


def count_finished_pixels(plan: UpscalePlan, writer: PyramidWriter) -> int:
    """Return how many pixels of level 0 an earlier run finished, without those that are computed again."""
    missing = (tile for batch in missing_batches(plan, writer.has_tiles) for tile in batch)
    return plan.output.size.pixel_count - sum((tile.core * plan.scale).size.pixel_count for tile in missing)


def write_level_here(plan: UpscalePlan, writer: PyramidWriter) -> Iterator[Progress]:
    """Store level 0 block by block, without the blocks that an earlier run finished."""
    total = plan.output.size.pixel_count
    done = before = count_finished_pixels(plan, writer)
    warnings, unreadable = MessageLog(writer.run_log, "remark"), MessageLog(writer.run_log, "hole")
    blocks = enlarge_blocks(plan, missing_batches(plan, writer.has_tiles), writer.run_log)

    def log_findings() -> Iterator[tuple[Box, Rgb]]:
        """Log what was found out about a block before it is stored: a stored block is never computed again."""
        with closing(prefetch(blocks, plan.work_unit.queue_depth)) as prefetched:
            for block in prefetched:
                warnings.collect(plan.upscaler.warnings)
                unreadable.collect(place.numbers for place in plan.region.slide.unreadable_regions)
                yield block

    def store(block: tuple[Box, Rgb]) -> int:
        box, pixels = block
        with plan.times.measure("encode"):
            writer.write(box, pixels)
        return box.size.pixel_count

    if before:
        yield Progress("upscale", done, total, before)
    with closing(parallel_map(store, log_findings(), PARALLEL_STORES, PARALLEL_STORES)) as stored:
        for pixel_count in stored:
            done += pixel_count
            yield Progress("upscale", done, total, before)
    places = [UnreadableRegion.parse(text) for text in unreadable.messages]
    writer.add_metadata(findings_metadata(warnings.messages, places))


def enlarge_blocks(
    plan: UpscalePlan, batches: Iterable[list[Tile]] | None = None, run_log: RunLog | None = None
) -> Iterator[tuple[Box, Rgb]]:
    """Enlarge the region in blocks, row by row: boxes in output px, (h, w, 3) sRGB. By default, of all tiles.

    Quality measurements go to the run log; those of earlier runs that it holds count, too.
    """
    begin_quality(plan, run_log)
    with closing(finish_blocks(plan, tile_batches(plan) if batches is None else batches)) as finished:
        for block in finished:
            if plan.quality and block.quality:
                plan.quality.add(block.tile, block.quality)
            yield block.box, block.pixels
    if plan.quality:
        plan.quality.end()


def begin_quality(plan: UpscalePlan, run_log: RunLog | None) -> None:
    """Let the plan's quality monitor, if it has one, begin with what earlier runs logged."""
    if plan.quality:
        plan.quality.begin(plan.grid, plan.background.cell_px * plan.scale, run_log)


def finish_blocks(plan: UpscalePlan, batches: Iterable[list[Tile]]) -> Generator[FinishedBlock, None, None]:
    """Compute batches of tiles, in the order of the grid, and yield the blocks that they complete."""
    unit = plan.work_unit
    inputs = parallel_map(lambda batch: _read_batch(plan, batch), batches, unit.queue_depth)
    enlarged = parallel_map(
        lambda batch: _enlarge_tissue(plan, batch), inputs, unit.parallel_batches, unit.parallel_batches
    )
    blended = _blend_tiles(plan, enlarged)
    return parallel_map(
        lambda block: _finish_block(plan, *block), blended, unit.parallel_finishers, unit.parallel_finishers
    )


def _read_batch(plan: UpscalePlan, batch: Sequence[Tile]) -> list[TileInput]:
    with plan.times.measure("read"):
        images = [plan.region.read(tile.input_box) for tile in batch]
        return [
            TileInput(tile, image, plan.background.find_network_cells(tile, image))
            for tile, image in zip(batch, images, strict=True)
        ]


def _enlarge_tissue(plan: UpscalePlan, batch: Sequence[TileInput]) -> list[tuple[TileInput, Rgb]]:
    """Enlarge the inputs in which a cell needs a network.

    The others come with a white image of the enlarged size, which costs nothing and is painted over later.
    """
    with_tissue = [tile_input for tile_input in batch if tile_input.network_cells.any()]
    with plan.times.measure("network"):
        enlarged = iter(_enlarge_batch(plan, with_tissue))
    return [
        (tile_input, next(enlarged) if tile_input.network_cells.any() else _white_image(tile_input.pixels, plan.scale))
        for tile_input in batch
    ]


def _white_image(pixels: Rgb, scale: int) -> Rgb:
    """Return white in the enlarged size of an image, without memory for each pixel."""
    height, width = pixels.shape[:2]
    return np.broadcast_to(np.uint8(WHITE), (height * scale, width * scale, 3))


def _enlarge_batch(plan: UpscalePlan, batch: Sequence[TileInput]) -> Iterable[Rgb]:
    """Enlarge inputs. Of a single one only the crop that its cells need, unless the rest fades into a neighbour."""
    if len(batch) == 1 and not plan.grid.tiling.feather_px:
        return [_enlarge_crop(plan, batch[0])]
    tiles, images = [tile_input.tile for tile_input in batch], [tile_input.pixels for tile_input in batch]
    return _call_upscaler(plan.upscaler, tiles, np.stack(images)) if batch else ()


def _enlarge_crop(plan: UpscalePlan, tile_input: TileInput) -> Rgb:
    """Enlarge the part of an input that its cells need; the rest of the result is white and is painted over later."""
    tile, pixels = tile_input.tile, tile_input.pixels
    needed = plan.background.crop_needed(tile, tile_input.network_cells)
    needed = plan.grid.tiling.fit_input_box(needed, tile.input_box)
    crop = needed.relative_to(tile.input_box)
    enlarged: Rgb = _call_upscaler(plan.upscaler, [tile], pixels[None, crop.rows, crop.columns])[0]
    if needed == tile.input_box:
        return enlarged
    image, place = _white_image(pixels, plan.scale).copy(), crop * plan.scale
    image[place.rows, place.columns] = enlarged
    return image


def _call_upscaler(upscaler: Upscaler, batch: Sequence[Tile], images: RgbBatch) -> RgbBatch:
    """Enlarge the images of a batch of tiles.

    Raises the upscaler's `ModelError` with the position of the tile that failed: a batch is tried again tile by tile.
    """
    try:
        return upscaler(images)
    except ModelError as error:
        if len(batch) > 1:
            parts = [_call_upscaler(upscaler, [tile], images[i : i + 1]) for i, tile in enumerate(batch)]
            return np.concatenate(parts)
        core = batch[0].core
        raise ModelError(f"{error} (tile of {core.size} px at {core.left}, {core.top} of the input)") from error


def _blend_tiles(
    plan: UpscalePlan, batches: Generator[list[tuple[TileInput, Rgb]]]
) -> Iterator[tuple[TileInput, Box, Rgb]]:
    """Blend enlarged tiles with their neighbours; yield each with the block that it completes, its box in output px."""
    blender = Blender(plan.grid, plan.scale)
    with closing(batches):
        for batch in batches:
            for tile_input, enlarged in batch:
                with plan.times.measure("finish"):
                    box, block = blender.blend_tile(tile_input.tile, enlarged)
                yield tile_input, box, block


def _finish_block(plan: UpscalePlan, tile_input: TileInput, box: Box, block: Rgb) -> FinishedBlock:
    """Fill the background of a block and measure the quality of the result."""
    with plan.times.measure("finish"):
        cells = tile_input.network_cells
        block = plan.background.fill_background(tile_input.tile, tile_input.pixels, cells, block, plan.scale)
        quality = _measure_quality(plan, tile_input, block) if plan.quality else None
    return FinishedBlock(tile_input.tile, box, block, quality)


def _measure_quality(plan: UpscalePlan, tile_input: TileInput, block: Rgb) -> TileQuality:
    """Measure the borders and the consistency error of a finished block."""
    tile, mask = tile_input.tile, plan.background
    core = tile.core.relative_to(tile.input_box)
    low = tile_input.pixels[core.rows, core.columns]
    cells = mask.shows_source(tile, tile_input.network_cells)
    borders = TileBorders.measure(block, cells, mask.cell_px * plan.scale, plan.scale)
    return TileQuality(borders, count_consistency_errors(low, block, mask.comparable_pixels(tile, low)))
