"""A quick look before the long run: regions as scanned, by a filter, by a network, and a reference if there is one.

There is a reference where the slide was scanned finer than the region: the only picture that shows what was invented.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from io import BytesIO
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from wsisr.errors import SlideError
from wsisr.files import write_atomically
from wsisr.imaging.geometry import Box
from wsisr.imaging.pixels import Rgb, enlarge_image
from wsisr.models.upscaler import Upscaler
from wsisr.slides.region import SlideRegion, is_fine_enough, select_region
from wsisr.upscaling.provenance import read_derived_metadata

LARGEST_PANEL_PIXELS = 2048 * 2048
"""Pixels of one panel at most: a preview is held in memory."""

LARGEST_SHEET_PIXELS = 4 * LARGEST_PANEL_PIXELS
"""Pixels that the panels of one kind may have together, where a sheet shows several regions."""

LARGEST_ZOOM = 16
"""Pixels of the picture along one axis, at most, that show one of a result."""

GAP_PX = 24
CAPTION_PX = 30
"""Smallest height of a caption line; on tall pictures it is a thirtieth of their height."""
INK, PAPER, MARK = (32, 32, 32), (255, 255, 255), (220, 40, 40)


def draw_sheet(regions: Sequence[SlideRegion], upscaler: Upscaler, zoom: int = 1) -> Image.Image:
    """Draw a comparison for each region, one below the other.

    Raises `SlideError` if a region or all of them together are too large for a preview.
    """
    pixels = sum(region.size.pixel_count for region in regions) * (upscaler.info.scale * zoom) ** 2
    for region in regions:
        _check_region_size(region, upscaler.info.scale * zoom)
    if pixels > LARGEST_SHEET_PIXELS:
        raise SlideError(
            f"{len(regions)} regions of such sizes are too large for one preview; give fewer, or smaller ones"
        )
    rows = [draw_comparison(region, upscaler, zoom) for region in regions]
    if len(rows) == 1:
        return rows[0]
    sheet = Image.new("RGB", (max(row.width for row in rows), sum(row.height for row in rows)), PAPER)
    top = 0
    for row in rows:
        sheet.paste(row, (0, top))
        top += row.height
    return sheet


def draw_comparison(region: SlideRegion, upscaler: Upscaler, zoom: int = 1) -> Image.Image:
    """Draw an overview with the region marked, then the region as scanned, by bicubic, by the upscaler, and the
    reference if there is one; `zoom` px of the picture along each axis show one of the result.

    The upscaler also sees its receptive field around the region, so its panel shows the same as the whole slide's
    result does there. Raises `SlideError` for a region that is too large, and for a slide that changes meanwhile.
    """
    info, scale = upscaler.info, upscaler.info.scale
    _check_region_size(region, scale * zoom)
    low = region.read(Box.from_size(region.size))
    network = f"{info}, an estimate" if info.weights else str(info)
    is_derived = bool(read_derived_metadata(region.slide.info.path))
    panels = {
        _caption(_region_caption(region, is_derived), region.mpp): _repeat_pixels(low, scale * zoom),
        _caption("bicubic", region.mpp, scale): _repeat_pixels(enlarge_image(low, scale, "bicubic"), zoom),
        _caption(network, region.mpp, scale): _repeat_pixels(_enlarge_region(region, upscaler), zoom),
    }
    reference = reference_region(region, scale)
    if reference:
        name = "wsisr's own result" if is_derived else "the slide itself"
        truth = reference.read(Box.from_size(reference.size))
        panels[_caption(name, reference.mpp)] = _repeat_pixels(truth, zoom)
    region.slide.check_unchanged()
    return _join_panels({"where": _draw_overview(region, region.size.height * scale * zoom)} | panels)


def _check_region_size(region: SlideRegion, factor: int) -> None:
    """Raise `SlideError` if a panel that shows each pixel of the region as `factor` px would be too large."""
    side = math.isqrt(LARGEST_PANEL_PIXELS) // factor
    if region.size.pixel_count * factor**2 > LARGEST_PANEL_PIXELS:
        raise SlideError(
            f"a region of {region.size} px is too large for a preview; {side} x {side} px fit where each is shown as "
            f"{factor} x {factor}"
        )


def _repeat_pixels(image: Rgb, factor: int) -> Rgb:
    return image if factor == 1 else image.repeat(factor, axis=0).repeat(factor, axis=1)


def save_png(picture: Image.Image, output: Path, *, overwrite: bool = False) -> None:
    """Write a PNG, whole or not at all. Raises `OutputError`."""
    png = BytesIO()
    picture.save(png, format="PNG")
    write_atomically(output, [png.getvalue()], overwrite=overwrite)


def _enlarge_region(region: SlideRegion, upscaler: Upscaler) -> Rgb:
    area = Box.from_size(region.size)
    input_box = area.expand(upscaler.info.receptive_field).intersection(region.readable_box)
    input_box = input_box.align_to(upscaler.info.cell_px, region.readable_box)
    core = area.relative_to(input_box) * upscaler.info.scale
    enlarged: Rgb = upscaler(region.read(input_box)[None])[0][core.rows, core.columns]
    return enlarged


def reference_region(region: SlideRegion, scale: int) -> SlideRegion | None:
    """Return the same place of the slide at the pixel size of the result, where it was scanned that finely."""
    info = region.slide.info
    if region.mpp is None or not is_fine_enough(info, region.mpp / scale):
        return None
    area = Box(*map(round, region.level0_extent)).intersection(Box.from_size(info.size))
    return select_region(region.slide, mpp=region.mpp / scale, area=area)


def _draw_overview(region: SlideRegion, height: int) -> Rgb:
    """Draw the whole slide, shrunk to a height, with the region framed.

    From the coarsest level that is high enough; read in bands, so memory does not grow with the slide.
    """
    info = region.slide.info
    number = info.find_coarsest_level(lambda level: level.size.height >= height)
    factor = max(1.0, info.levels[number].size.height / height)
    overview = SlideRegion(region.slide, number, factor)
    image = Image.fromarray(overview.read(Box.from_size(overview.size)))
    frame = [edge / overview.downsample for edge in region.level0_extent]
    ImageDraw.Draw(image).rectangle(frame, outline=MARK, width=max(2, height // 200))
    return np.asarray(image)


def _region_caption(region: SlideRegion, is_derived: bool) -> str:
    if region.resampling_factor != 1:
        return "shrunk"
    if is_derived:
        return "as wsisr wrote it"
    return f"level {region.level} of the slide" if region.level else "as scanned"


def _caption(name: str, mpp: float | None, scale: int = 1) -> str:
    return name if mpp is None else f"{name}: {mpp / scale:.4g} um/px"


def _join_panels(panels: dict[str, Rgb]) -> Image.Image:
    """Draw panels in a row, each beneath its caption."""
    height = max(image.shape[0] for image in panels.values())
    line_px = max(CAPTION_PX, height // 30)
    font = ImageFont.load_default(size=line_px * 3 // 5)
    widths = {caption: max(image.shape[1], int(font.getlength(caption)) + 1) for caption, image in panels.items()}
    size = sum(widths.values()) + GAP_PX * (len(panels) + 1), height + line_px + 2 * GAP_PX
    sheet = Image.new("RGB", size, PAPER)
    draw, left = ImageDraw.Draw(sheet), GAP_PX
    for caption, image in panels.items():
        draw.text((left, GAP_PX // 2), caption, fill=INK, font=font)
        sheet.paste(Image.fromarray(image), (left, GAP_PX // 2 + line_px))
        left += widths[caption] + GAP_PX
    return sheet
