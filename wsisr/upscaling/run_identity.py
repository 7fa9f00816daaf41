"""What the pixels of a result depend on, in words: by it a run that goes on is told from another run."""

from __future__ import annotations

import hashlib

from wsisr.imaging.tiling import Tiling
from wsisr.models.upscaler import Upscaler
from wsisr.slides.files import age, slide_files
from wsisr.slides.region import Source
from wsisr.writing import Identity, PyramidSpec


def identity(source: Source, upscaler: Upscaler, output: PyramidSpec, tiling: Tiling, batch: int) -> Identity:
    """Names to values. How the work is cut is among them only where it shows, with an overlap below the context."""
    part = source.part
    named = {
        "slide (path, age and size)": age(slide_files(source.slide.info)),  # no path: names of slides name patients
        "source level": str(source.level),
        "source factor": repr(source.factor),
        "source part": f"{part.size} px at {part.left}, {part.top}" if part else "all of it",
        "model": upscaler.name,
        "weights": upscaler.weights.sha256 if upscaler.weights else "none",
        "scale": str(upscaler.scale),
        "hardware": upscaler.hardware,
        "codec": output.codec.said,
        "colour profile": hashlib.sha256(output.icc or b"").hexdigest(),
        "output": f"{output.size} px in tiles of {output.tile_px} px, {output.mpp} um/px, by {output.software}",
    }
    cut = {"tiling": f"{tiling}, {batch} at a time"} if tiling.margin < upscaler.context else {}
    return named | cut | {f"note: {name}": text for name, text in output.note.items()}
