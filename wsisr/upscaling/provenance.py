"""Provenance: what a result records about its origin, as metadata in every layout and in words on its label.

No field of the slide's header is copied as it stands: of names, numbers and dates, only scanner and day are recorded.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import lru_cache
from pathlib import Path

from wsisr.errors import SlideError, WsisrError
from wsisr.models.upscaler import Upscaler
from wsisr.remote.path import is_url
from wsisr.slides.files import FileState, read_file_state
from wsisr.slides.region import SlideRegion
from wsisr.slides.scanner import identify_scanner, parse_scan_date
from wsisr.slides.unreadable import UnreadableRegion, describe_unreadable_regions
from wsisr.version import __version__
from wsisr.writing import Codec, read_metadata

GUARD_DESCRIPTION = "bicubic where the network contradicts its input"
"""What a result records of the guard; files hold it."""

SOURCE_KEY = "source sha256"
"""Key of the slide's digest, which is known once all of the slide has been read."""

UNREADABLE_KEY = "unreadable"
"""Key of the places that could not be decoded."""

WORKERS_KEY = "workers"
"""Key of what workers computed with, where they were mixed on purpose."""

FINDING_KEYS = ("remarks", UNREADABLE_KEY)
"""Keys of what is found out while a region is enlarged."""

HARDWARE_KEY = "computed"
"""Key of the device and the precision of the computation."""

_IGNORED_KEYS = {"software", HARDWARE_KEY, WORKERS_KEY, *FINDING_KEYS}
"""Keys that are not known before a run, or do not say what was requested."""


def provenance_metadata(region: SlideRegion, upscaler: Upscaler, codec: Codec, *, dated: bool = True) -> dict[str, str]:
    """Return what every reader of the file must know: that its pixels were computed, from what, by what, and how.

    `dated` includes the day of the scan, where it is recorded.
    """
    info, slide = upscaler.info, region.slide.info
    kind = "super-resolved; fine detail is an estimate" if info.scale > 1 else "resampled; no detail was added"
    date = parse_scan_date(slide.properties) if dated else None
    blend = info.weights.blend if info.weights else None
    return {
        "derived": f"{kind}, not an observation; research use only",
        "software": f"wsisr {__version__}",
        "model": info.name,
        "weights sha256": info.weights.sha256 if info.weights else "none",
        HARDWARE_KEY: info.hardware,
        "scale": str(info.scale),
        "size": f"{region.size * info.scale} px",
        "mpp": "unknown" if region.mpp is None else f"{region.mpp / info.scale:.10g}",
        "codec": codec.description,
        **region.build_metadata(),
        **identify_scanner(slide.vendor, slide.properties),
        **({"perception": f"{blend}, sha256 {blend.sha256}"} if blend else {}),
        **({"guard": GUARD_DESCRIPTION} if info.is_guarded else {}),
    } | ({"scan date": date} if date else {})


def digest_metadata(sha256: str | None) -> dict[str, str]:
    """Return what is added once all of the slide has been read; None for a slide that is not stored in files."""
    return {SOURCE_KEY: sha256 or "none, the slide is no file"}


def findings_metadata(warnings: Sequence[str], unreadable: Sequence[UnreadableRegion]) -> dict[str, str]:
    """Return what is added at the end about the run: warnings, and places that could not be decoded."""
    places = f"shown white: {describe_unreadable_regions(unreadable)}" if unreadable else ""
    findings = zip(FINDING_KEYS, ("; ".join(warnings), places), strict=True)
    return {key: text for key, text in findings if text}


def image_title(region: SlideRegion, scale: int) -> str:
    """Return the words for the label image and the image's name, for viewers that hide metadata.

    The region's pixel size must be known.
    """
    kind = f"super-resolved x{scale}" if scale > 1 else "resampled"
    mpp = region.mpp_steps[-1 if scale > 1 else 0]
    return f"{kind} from {mpp:.2f} um/px, research use only"


def read_derived_metadata(path: Path) -> dict[str, str]:
    """Return the metadata of a file that wsisr wrote; empty for any other file, and for one that cannot be read."""
    state = None if is_url(path) or path.is_dir() else read_file_state(path)
    return dict(_read_metadata_once(path, state)) if state else _try_read_metadata(path)


@lru_cache(maxsize=4096)
def _read_metadata_once(path: Path, _state: FileState) -> dict[str, str]:
    """Read the metadata of a file in a state: a run asks more than once whether wsisr wrote a slide."""
    return _try_read_metadata(path)


def _try_read_metadata(path: Path) -> dict[str, str]:
    try:
        return read_metadata(path)
    except WsisrError:
        return {}


def refuse_derived(slide: Path) -> None:
    """Raise `SlideError` for a slide that wsisr wrote: the result would be an estimate of an estimate."""
    if read_derived_metadata(slide):
        raise SlideError(f"{slide}: wsisr wrote it, its detail is an estimate; give the scan, or --allow-derived")


DERIVED_WARNING = "the slide was itself written by wsisr: its detail is an estimate, and the result an estimate of that"
"""What a result records of its source, if that is no scan; no word of it is the slide's own."""


def describe_difference(
    finished: Mapping[str, str], requested: Mapping[str, str], *, compares_hardware: bool = False
) -> str | None:
    """Return the first difference between the metadata of a finished file and of what is requested; None if alike.

    The slide's digest is compared only if it is among what is requested, device and precision only if that is wanted.
    """
    ignored = _IGNORED_KEYS - ({HARDWARE_KEY} if compares_hardware else set())
    for key in (*requested, *finished):
        unknown = key == SOURCE_KEY and key not in requested
        if not unknown and key not in ignored and finished.get(key) != requested.get(key):
            return f"{key}: {finished.get(key, 'none')}, not {requested.get(key, 'none')}"
    return None
