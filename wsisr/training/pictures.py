"""Pictures of a run: validation samples and the learning curve, drawn with Pillow."""

from __future__ import annotations

from collections.abc import Sequence
from io import BytesIO
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from wsisr.files import translate_disk_errors, write_atomically
from wsisr.imaging.pixels import Rgb
from wsisr.training.metrics_log import MetricsEntry

PANEL_SIZE_PX = (640, 240)
"""Width and height of one panel of the curve, in px."""

PANEL_MARGIN_PX = 48

CAPTION_LINE_PX = 18
"""Height of a line of captions; its letters are two thirds of that, so that a word fits on 64 px."""

INK, LINE, PAPER = (40, 40, 40), (30, 90, 180), (255, 255, 255)

PANEL_TITLES = {
    "loss": "loss",
    "gain_db": "dB over bicubic, validation",
    "texture": "distance from the truth's texture, validation",
    "accuracy": "magnifications told right, validation",
}
"""Title of the curve of each key of the metrics log."""


def save_picture(path: Path, image: Rgb) -> None:
    """Write a PNG atomically, and its folder if missing. Raises `OutputError`."""
    file = BytesIO()
    Image.fromarray(image).save(file, "PNG")
    with translate_disk_errors(path):
        path.parent.mkdir(exist_ok=True)
    write_atomically(path, [file.getvalue()])


def add_captions(image: Rgb, columns: Sequence[str], title: str) -> Rgb:
    """Put a title and the names of columns of equal width above a picture: (h, w, 3) to (h + 36, w, 3)."""
    width = image.shape[1]
    head = Image.new("RGB", (width, 2 * CAPTION_LINE_PX), PAPER)
    draw, font = ImageDraw.Draw(head), ImageFont.load_default(size=CAPTION_LINE_PX * 2 // 3)
    draw.text((4, 1), title, INK, font)
    for number, name in enumerate(columns):
        draw.text((4 + number * width // len(columns), CAPTION_LINE_PX), name, INK, font)
    return np.concatenate([np.asarray(head), image])


def draw_learning_curve(entries: Sequence[MetricsEntry]) -> Rgb:
    """Draw the entries of a metrics log over the steps, one panel a metric, stacked vertically."""
    panels = []
    for key, title in PANEL_TITLES.items():
        points = [(int(entry["step"]), float(entry[key])) for entry in entries if key in entry]
        if points:
            panels.append(_draw_panel(title, points))
    return np.concatenate(panels)


def _draw_panel(title: str, points: list[tuple[int, float]]) -> Rgb:
    width, height = PANEL_SIZE_PX
    image = Image.new("RGB", PANEL_SIZE_PX, PAPER)
    draw = ImageDraw.Draw(image)
    steps, values = zip(*points, strict=True)
    low, high = min(values), max(values)
    right, bottom = width - PANEL_MARGIN_PX, height - PANEL_MARGIN_PX
    positions = [
        (
            PANEL_MARGIN_PX + (right - PANEL_MARGIN_PX) * step / max(*steps, 1),
            bottom - (bottom - PANEL_MARGIN_PX) * ((value - low) / (high - low) if high > low else 0.5),
        )
        for step, value in points
    ]
    draw.line([(PANEL_MARGIN_PX, PANEL_MARGIN_PX), (PANEL_MARGIN_PX, bottom), (right, bottom)], INK)
    draw.line(positions, LINE, width=2)
    for x, y in positions:
        draw.ellipse((x - 2, y - 2, x + 2, y + 2), LINE)
    draw.text((PANEL_MARGIN_PX, 16), title, INK)
    draw.text((4, PANEL_MARGIN_PX - 6), f"{high:.4g}", INK)
    draw.text((4, bottom - 6), f"{low:.4g}", INK)
    draw.text((right - 16, bottom + 8), f"step {max(steps)}", INK)
    return np.asarray(image)
