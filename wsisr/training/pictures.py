"""Pictures of a run: samples of its validation, and its learning curve, drawn with Pillow."""

from __future__ import annotations

from collections.abc import Sequence
from io import BytesIO
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

from wsisr.files import disk_errors, write_whole
from wsisr.imaging.pixels import Rgb
from wsisr.training.metrics_log import Entry

PANEL = (640, 240)
"""Width and height of one panel of the curve, in px."""

MARGIN_PX = 48

INK, LINE, PAPER = (40, 40, 40), (30, 90, 180), (255, 255, 255)

PANELS = {
    "loss": "loss",
    "gain_db": "dB over bicubic, validation",
    "texture": "distance from the truth's texture, validation",
    "accuracy": "magnifications told right, validation",
}
"""Key of a journal's entries to what is written above its curve."""


def save_picture(path: Path, image: Rgb) -> None:
    """Writes a PNG, whole or not at all, and its folder. Raises `OutputError`."""
    file = BytesIO()
    Image.fromarray(image).save(file, "PNG")
    with disk_errors(path):
        path.parent.mkdir(exist_ok=True)
    write_whole(path, [file.getvalue()])


def curve(entries: Sequence[Entry]) -> Rgb:
    """A journal as one panel above another, each over the steps."""
    panels = []
    for key, title in PANELS.items():
        points = [(int(entry["step"]), float(entry[key])) for entry in entries if key in entry]
        if points:
            panels.append(_panel(title, points))
    return np.concatenate(panels)


def _panel(title: str, points: list[tuple[int, float]]) -> Rgb:
    width, height = PANEL
    image = Image.new("RGB", PANEL, PAPER)
    draw = ImageDraw.Draw(image)
    steps, values = zip(*points, strict=True)
    low, high = min(values), max(values)
    right, bottom = width - MARGIN_PX, height - MARGIN_PX
    places = [
        (
            MARGIN_PX + (right - MARGIN_PX) * step / max(steps),
            bottom - (bottom - MARGIN_PX) * ((value - low) / (high - low) if high > low else 0.5),
        )
        for step, value in points
    ]
    draw.line([(MARGIN_PX, MARGIN_PX), (MARGIN_PX, bottom), (right, bottom)], INK)
    draw.line(places, LINE, width=2)
    for x, y in places:
        draw.ellipse((x - 2, y - 2, x + 2, y + 2), LINE)
    draw.text((MARGIN_PX, 16), title, INK)
    draw.text((4, MARGIN_PX - 6), f"{high:.4g}", INK)
    draw.text((4, bottom - 6), f"{low:.4g}", INK)
    draw.text((right - 16, bottom + 8), f"step {max(steps)}", INK)
    return np.asarray(image)
