"""A quick look before the long run: one region as scanned, enlarged by a filter and by a network, and the truth if any.

There is a truth where the slide was scanned finer than what is enlarged: the only picture that tells what was invented.
"""

from __future__ import annotations

import math
from io import BytesIO
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from wsisr.errors import SlideError
from wsisr.files import write_whole
from wsisr.imaging.geometry import Box
from wsisr.imaging.pixels import Rgb, enlarge
from wsisr.models.upscaler import Upscaler, describe_upscaler
from wsisr.slides.region import Source, reaches, source_of

LARGEST_PX = 2048 * 2048
"""Output pixels of one panel at the most: a preview is held in memory."""

GAP_PX = 24
CAPTION_PX = 30
"""Line of a caption at the least; on tall pictures it is a thirtieth of their height."""
INK, PAPER, MARK = (32, 32, 32), (255, 255, 255), (220, 40, 40)


def compare(source: Source, upscaler: Upscaler) -> Image.Image:
    """Overview with the source marked, then the source as scanned, by bicubic, by the upscaler, and the truth if any.

    The upscaler sees its context around the source, so the panel is what the whole slide's result shows there.
    """
    scale = upscaler.scale
    side = math.isqrt(LARGEST_PX) // scale
    if source.size.pixels * scale**2 > LARGEST_PX:
        raise SlideError(f"a region of {source.size} px is too large for a preview; at x{scale} {side} x {side} px fit")
    low = source.read(Box.of(source.size))
    nearest = low.repeat(scale, axis=0).repeat(scale, axis=1)
    panels = {
        "where": _overview(source, nearest.shape[0]),
        _caption(_origin(source), source.mpp): nearest,
        _caption("bicubic", source.mpp, scale): enlarge(low, scale, "bicubic"),
        _caption(
            describe_upscaler(upscaler) + (", an estimate" if upscaler.weights else ""), source.mpp, scale
        ): _enlarged(source, upscaler),
    }
    truth = truth_of(source, scale)
    if truth:
        panels[_caption("the slide itself", truth.mpp)] = truth.read(Box.of(truth.size))
    return _in_a_row(panels)


def save(picture: Image.Image, output: Path, *, overwrite: bool = False) -> None:
    """Writes a PNG, whole or not at all. Raises `OutputError`."""
    png = BytesIO()
    picture.save(png, format="PNG")
    write_whole(output, [png.getvalue()], overwrite=overwrite)


def _enlarged(source: Source, upscaler: Upscaler) -> Rgb:
    whole = Box.of(source.size)
    window = whole.grown(upscaler.context).intersection(source.readable)
    inner = whole.seen_from(window) * upscaler.scale
    enlarged: Rgb = upscaler(source.read(window)[None])[0][inner.rows, inner.columns]
    return enlarged


def truth_of(source: Source, scale: int) -> Source | None:
    """The same place of the slide at the pitch of the result, where it was scanned that finely."""
    info = source.slide.info
    if source.mpp is None or not reaches(info, source.mpp / scale):
        return None
    place = Box(*map(round, source.extent)).intersection(Box.of(info.size))
    return source_of(source.slide, mpp=source.mpp / scale, area=place)


def _overview(source: Source, height: int) -> Rgb:
    """The whole slide, shrunk to that height, with the source framed.

    From the coarsest level that is high enough; read in bands, so memory does not grow with the slide.
    """
    info = source.slide.info
    number = max((n for n, level in enumerate(info.levels) if level.size.height >= height), default=0)
    factor = max(1.0, info.levels[number].size.height / height)
    small = Source(source.slide, number, factor)
    image = Image.fromarray(small.read(Box.of(small.size)))
    frame = [edge / small.downsample for edge in source.extent]
    ImageDraw.Draw(image).rectangle(frame, outline=MARK, width=max(2, height // 200))
    return np.asarray(image)


def _origin(source: Source) -> str:
    if source.factor != 1:
        return "shrunk"
    return f"level {source.level} of the slide" if source.level else "as scanned"


def _caption(name: str, mpp: float | None, scale: int = 1) -> str:
    return name if mpp is None else f"{name}: {mpp / scale:.4g} um/px"


def _in_a_row(panels: dict[str, Rgb]) -> Image.Image:
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
