"""What the pixels of a result depend on, in words: it tells a run that resumes from any other run."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from threading import Event

from wsisr.imaging.geometry import Size
from wsisr.imaging.tiling import Tiling
from wsisr.models.upscaler import Upscaler
from wsisr.slides import SlideInfo
from wsisr.slides.files import fingerprint_files, fingerprint_states, hash_slide, list_slide_files
from wsisr.slides.region import SlideRegion
from wsisr.slides.wrappers.unchanged import read_original_states
from wsisr.writing import Codec, PyramidSpec, RunIdentity, RunSource

_OUTPUT_KEY, _NOTE = "output", "note: "
_OUTPUT = re.compile(
    r"([1-9]\d{0,6}) x ([1-9]\d{0,6}) px in tiles of ([1-9]\d{1,3}) px, (None|\d{1,6}(?:\.\d{1,20})?) um/px, by "
)
"""How an identity describes its output; stored in work folders."""


def run_identity(
    region: SlideRegion, upscaler: Upscaler, output: PyramidSpec, tiling: Tiling, batch: int
) -> RunIdentity:
    """Return names and values. The tiling is among them only where it shows: with less overlap than is exact."""
    crop, info = region.crop, upscaler.info
    # A copy is as old as the run that made it; a run that resumes has another one of the same slide.
    originals = (file for file, _ in read_original_states(list_slide_files(region.slide.info)))
    identity = {
        # No path: names of slides name patients.
        "slide (path, age and size)": fingerprint_files(originals),
        "source level": str(region.level),
        "source factor": repr(region.resampling_factor),
        "source part": f"{crop.size} px at {crop.left}, {crop.top}" if crop else "all of it",
        "model": info.name,
        "weights": info.weights.sha256 if info.weights else "none",
        "scale": str(info.scale),
        "hardware": info.hardware,
        "codec": output.codec.description,
        "levels": "2x2 means of pixels before they are encoded, ties to even",
        "colour profile": hashlib.sha256(output.icc or b"").hexdigest(),
        _OUTPUT_KEY: f"{output.size} px in tiles of {output.tile_px} px, {output.mpp} um/px, by {output.software}",
    }
    if tiling.halo_px < info.receptive_field:
        identity["tiling"] = f"{_describe_tiling(tiling)}, {batch} at a time"
    return identity | {f"{_NOTE}{name}": text for name, text in output.metadata.items()}


@dataclass(frozen=True, slots=True)
class IdentifiedOutput:
    """What the identity of a run tells of its output."""

    size: Size
    tile_px: int
    mpp: float | None
    """um/px."""
    codec: Codec
    metadata: Mapping[str, str] = field(repr=False)
    """What the result will record of its origin, besides what is found out until it is finished."""


def parse_run_identity(identity: RunIdentity) -> IdentifiedOutput | None:
    """Return what an identity that `run_identity` made says of the output; None for that of anything else."""
    found = _OUTPUT.match(identity.get(_OUTPUT_KEY, ""))
    codec = Codec.parse(identity.get("codec", ""))
    if found is None or codec is None:
        return None
    width, height, tile_px, mpp = found.groups()
    metadata = {key.removeprefix(_NOTE): text for key, text in identity.items() if key.startswith(_NOTE)}
    size = Size(int(width), int(height))
    return IdentifiedOutput(size, int(tile_px), None if mpp == "None" else float(mpp), codec, metadata)


def identify_source(info: SlideInfo) -> RunSource:
    """Return the state of the slide's files, and what proves that it is the same slide if only that differs."""
    state = fingerprint_states(read_original_states(list_slide_files(info, folders=True)))
    return RunSource(state, lambda: hash_slide(info, Event()))


def _describe_tiling(tiling: Tiling) -> str:
    """Describe a tiling in words that stay: work folders of stopped runs hold them."""
    unit = tiling.width_multiple
    return f"Tiling(step={tiling.core_px}, margin={tiling.halo_px}, feather={tiling.feather_px}, unit={unit})"
