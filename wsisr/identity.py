"""What the pixels of a result depend on, in words: by it a run that goes on is told from another run."""

from __future__ import annotations

import hashlib
from pathlib import Path

from wsisr.source import Source
from wsisr.tiling import Tiling
from wsisr.upscaler import Upscaler
from wsisr.writing import Identity, PyramidSpec


def identity(source: Source, upscaler: Upscaler, output: PyramidSpec, tiling: Tiling, batch: int) -> Identity:
    """Names to values. How the work is cut is among them only where it shows, with an overlap below the context."""
    part = source.part
    named = {
        "slide (path, age and size)": _slide(source.slide.info.path),
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


def _slide(path: Path) -> str:
    """Which slide, as a digest: the work may outlive the run beside its result, and names of slides name patients.

    Its path, age and size stand for its content, all of which would have to be read before any work.
    """
    words = str(path.resolve())
    if path.exists():
        found = path.stat()
        words += f", {found.st_size} bytes, changed {found.st_mtime_ns}"
    return hashlib.sha256(words.encode("utf-8", "surrogateescape")).hexdigest()[:16]
