"""The facts of a slide besides its pairs, which are stored as a row of `slides.jsonl` and shown in the report."""

from __future__ import annotations

import base64
from io import BytesIO
from typing import Any

import msgspec
from msgspec import Struct
from PIL import Image

from wsisr.dataset.level_relation import LevelRelation
from wsisr.dataset.slides_and_splits import DatasetSlide
from wsisr.imaging.pixels import Rgb
from wsisr.slides import Slide
from wsisr.tissue.detection import read_overview

EXAMPLES_PER_REASON = 3
"""Pictures of rejected patches that a slide keeps for each reason."""

THUMBNAIL_SIDE_PX = 360
"""Longer side of the picture of a slide."""

REJECTED_SIDE_PX = 96
"""Longer side of the picture of a rejected patch."""

JsonObject = dict[str, Any]


class Rejections(Struct, forbid_unknown_fields=True):
    """The fields of a slide that were rejected for one reason."""

    count: int = 0
    examples: list[str] = msgspec.field(default_factory=list)
    """Pictures of a few of them, see `encode_picture`."""


class SlideFacts(Struct, forbid_unknown_fields=True):
    """The facts of a slide besides its pairs: one row of `slides.jsonl`, so all values are JSON values."""

    slide: str
    case: str
    split: str
    kind: str
    size: tuple[int, int] = (0, 0)
    """Width and height of level 0 in px."""
    mpp: float = 0.0
    """Pixel size of level 0, in um/px."""
    thumbnail: str = ""
    """Picture of the whole slide, see `encode_picture`."""
    rejected: dict[str, Rejections] = msgspec.field(default_factory=dict)
    """Reason, as text, to the rejected fields."""
    relations: list[LevelRelation] = msgspec.field(default_factory=list)
    """Measured relations of two levels or captures."""
    told: dict[str, str] = msgspec.field(default_factory=dict)
    """Further entries for the report: name to text."""

    def needs_example(self, reason: str) -> bool:
        """Tell whether a patch rejected for this reason would be kept as an example."""
        return reason not in self.rejected or len(self.rejected[reason].examples) < EXAMPLES_PER_REASON

    def reject(self, reason: str, patch: Rgb | None = None, count: int = 1) -> None:
        """Count rejected fields; the first few patches of a reason are kept as examples."""
        rejections = self.rejected.setdefault(reason, Rejections())
        rejections.count += count
        if patch is not None and self.needs_example(reason):
            rejections.examples.append(encode_picture(patch, REJECTED_SIDE_PX))


def collect_slide_facts(source: DatasetSlide, slide: Slide, kind: str) -> SlideFacts:
    """Return the facts of an open slide that are known before it gives pairs."""
    size = slide.info.size
    return SlideFacts(
        source.name,
        source.case,
        source.split,
        kind,
        (size.width, size.height),
        slide.info.mpp or 0.0,
        encode_picture(read_overview(slide)[0], THUMBNAIL_SIDE_PX),
    )


def encode_picture(image: Rgb, longer_side_px: int) -> str:
    """Encode (h, w, 3) as a small JPEG in base64, its longer side at most `longer_side_px`."""
    file = BytesIO()
    thumbnail = Image.fromarray(image)
    thumbnail.thumbnail((longer_side_px, longer_side_px))
    thumbnail.save(file, "JPEG", quality=80)
    return base64.b64encode(file.getvalue()).decode()
