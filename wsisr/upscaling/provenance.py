"""What a result says of where it comes from: the note that every layout stores, and the words on its label.

No field of the slide's header is copied as it stands: of names, numbers and dates it tells the scanner and the day.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from wsisr.errors import SlideError, WsisrError
from wsisr.models.upscaler import Upscaler
from wsisr.slides.region import Source
from wsisr.slides.scanner import scan_date, scanner_of
from wsisr.slides.unreadable import Hole, listed
from wsisr.version import __version__
from wsisr.writing import Codec, read_note

SOURCE = "source sha256"
"""Name of the slide's digest, which is known once all of it has been read."""

UNREADABLE = "unreadable"
"""Name of what is said of places that could not be decoded."""

FOUND = ("remarks", UNREADABLE)
"""What is found out on the way."""

_NOT_ASKED = {"software", "computed", *FOUND}
"""What is not known before the work is done, or does not change what was asked for."""


def provenance(source: Source, upscaler: Upscaler, codec: Codec, *, dated: bool = True) -> dict[str, str]:
    """What any reader of the file must know: that these pixels were computed, from what, by what, and how.

    `dated` tells the day of the scan, where it is recorded.
    """
    kind = "super-resolved; fine detail is an estimate" if upscaler.scale > 1 else "resampled; no detail was added"
    info = source.slide.info
    date = scan_date(info.properties) if dated else None
    blend = upscaler.weights.blend if upscaler.weights else None
    return {
        "derived": f"{kind}, not an observation; research use only",
        "software": f"wsisr {__version__}",
        "model": upscaler.name,
        "weights sha256": upscaler.weights.sha256 if upscaler.weights else "none",
        "computed": upscaler.hardware,
        "scale": str(upscaler.scale),
        "size": f"{source.size * upscaler.scale} px",
        "mpp": "unknown" if source.mpp is None else f"{source.mpp / upscaler.scale:.10g}",
        "codec": codec.said,
        **source.note(),
        **scanner_of(info.vendor, info.properties),
        **({"perception": f"{blend}, sha256 {blend.sha256}"} if blend else {}),
    } | ({"scan date": date} if date else {})


def digest_note(sha256: str | None) -> dict[str, str]:
    """What is added once all of the slide has been read; None where it is not stored in files."""
    return {SOURCE: sha256 or "none, the slide is no file"}


def findings_note(remarks: Sequence[str], holes: Sequence[Hole]) -> dict[str, str]:
    """What is added of what was found out on the way; nothing where there was nothing."""
    found = zip(FOUND, ("; ".join(remarks), f"shown white: {listed(holes)}" if holes else ""), strict=True)
    return {name: text for name, text in found if text}


def title(source: Source, scale: int) -> str:
    """On the label image, and as the image's name, because viewers hide metadata; the source's pitch is known."""
    kind = f"super-resolved x{scale}" if scale > 1 else "resampled"
    pitch = source.pitches[-1 if scale > 1 else 0]
    return f"{kind} from {pitch:.2f} um/px, research use only"


def derived_note(path: Path) -> dict[str, str]:
    """The note that wsisr left in a file it wrote; empty for any other, and for what cannot be read."""
    try:
        return read_note(path)
    except WsisrError:
        return {}


def refuse_derived(slide: Path) -> None:
    """Raises `SlideError` for a slide that wsisr wrote: what is made of it would be an estimate of an estimate."""
    if derived_note(slide):
        raise SlideError(f"{slide}: wsisr wrote it, its detail is an estimate; give the scan, or insist with --again")


def difference(there: Mapping[str, str], asked: Mapping[str, str]) -> str | None:
    """In words, the first of what a finished file's note says otherwise than what is asked for now; None for alike.

    The slide's digest counts where it is among what is asked for.
    """
    for name in (*asked, *there):
        unknown = name == SOURCE and name not in asked
        if not unknown and name not in _NOT_ASKED and there.get(name) != asked.get(name):
            return f"{name}: {there.get(name, 'none')}, not {asked.get(name, 'none')}"
    return None
