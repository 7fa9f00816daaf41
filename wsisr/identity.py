"""What the pixels of a result depend on, in words: by it a run that goes on is told from another run."""

from __future__ import annotations

import hashlib
from datetime import UTC, datetime
from pathlib import Path

from wsisr.source import Source
from wsisr.tiling import Tiling
from wsisr.upscaler import Upscaler
from wsisr.writing import Identity, TiffSpec


def identity(source: Source, upscaler: Upscaler, output: TiffSpec, tiling: Tiling, batch: int) -> Identity:
    """Names to values. How the work is cut is among them only where it shows, with an overlap below the context."""
    named = {
        **_slide(source.slide.info.path),
        "source level": str(source.level),
        "source factor": repr(source.factor),
        "source part": str(source.part),
        "model": upscaler.name,
        "weights": upscaler.weights.sha256 if upscaler.weights else "none",
        "scale": str(upscaler.scale),
        "hardware": upscaler.hardware,
        "codec": str(output.codec),
        "colour profile": hashlib.sha256(output.icc or b"").hexdigest(),
        "output": f"{output.size} px in tiles of {output.tile_px} px, {output.mpp} um/px, by {output.software}",
    }
    cut = {"tiling": f"{tiling}, {batch} at a time"} if tiling.margin < upscaler.context else {}
    return named | cut | {f"note: {name}": text for name, text in output.note.items()}


def _slide(path: Path) -> dict[str, str]:
    """Its age and size stand for its content: a digest would read all of it before any work."""
    if not path.exists():
        return {"slide": str(path)}
    found = path.stat()
    changed = datetime.fromtimestamp(found.st_mtime_ns / 1e9, UTC).isoformat()
    return {"slide": str(path.resolve()), "slide bytes": str(found.st_size), "slide changed": changed}
