"""The records of a dataset: one `PatchRecord` is one pair and one row of the manifest.

A field at high resolution with partners at several scales has a row for each; the rows share its stored pixels.

A new kind of pair only needs its name in `KINDS` here: its builder makes such records and stores their pixels with a
`ShardWriter` (see `wsisr.dataset.shard_writer`); loading, `info`, `pack` and the report then support it.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, TypeAlias

from wsisr.imaging.geometry import Box
from wsisr.imaging.units import index_of_nearest_magnification

KINDS = ("pyramid", "captured", "simulated")
"""Two levels of one slide; two registered captures of one specimen; low resolution computed from the high one."""

SPLITS = ("train", "val")

SCALES = (2, 4, 8)
"""Scales that pairs can have."""

MAGNIFICATIONS = (5, 10, 20, 40)

ByteSpan: TypeAlias = tuple[int, int]
"""Position of an image in its shard: first byte, number of bytes."""

ParameterValue: TypeAlias = str | int | float | bool | None


@dataclass(frozen=True, slots=True)
class PatchRecord:
    """One pair: its content, its origin, and the position of its pixels."""

    slide: str
    """Name of the slide at high resolution, without its folder, unique within the dataset."""
    case: str
    """Patient or specimen. All patches of a case are in the same split."""
    split: str
    """`train` or `val`."""
    kind: str
    """One of `KINDS`."""
    scale: int
    """High-resolution px per low-resolution px, along one axis."""
    level: int
    """Level of the slide from which the high resolution was read."""
    box: tuple[int, int, int, int]
    """Left, top, right, bottom in level-0 px of the slide at high resolution."""
    mpp_hr: float
    """Pixel size of the high resolution, in um/px."""
    mpp_lr: float
    """Pixel size of the low resolution, `scale` times that of the high one."""
    magnification: int | None
    """Nearest of `MAGNIFICATIONS` to the high resolution; None if its pixel size fits none of them."""
    contrast: float
    """Standard deviation of grey at high resolution, in grey levels; low on glass."""
    focus: float
    """See `wsisr.dataset.patch_quality.measure_focus`; 0 for a patch without any detail."""
    tissue: float
    """Share of the patch that the tissue map calls tissue, 0 to 1."""
    fingerprint: str
    """64 bits in hex, similar for patches that look alike; see `wsisr.dataset.duplicates`."""
    side: int
    """Side of the high resolution, in px."""
    shard: str
    """Name of the file that holds the pixels."""
    images: Mapping[str, ByteSpan]
    """`hr`, `lr` and further images of a kind (`hr-raw`: before colour matching); see `PatchStore.read_image`."""
    codec: str = "raw"
    """Encoding of the images: one of `wsisr.dataset.codecs.PATCH_CODECS`."""
    shift: tuple[float, float] | None = None
    """x and y in px of the finer capture: registered position of the patch minus its position by the map of the whole
    captures. None if the pair was not registered."""
    residual: float | None = None
    """Expected registration error, in high-resolution px."""
    parameters: Mapping[str, ParameterValue] = field(default_factory=dict)
    """Parameters of the simulation or the capture that produced the low resolution."""

    @property
    def level_box(self) -> Box:
        """The box in px of `level`, exact if the downsample of that level is the same all over the slide."""
        ratio = (self.box[2] - self.box[0]) / self.side
        left, top = round(self.box[0] / ratio), round(self.box[1] / ratio)
        return Box(left, top, left + self.side, top + self.side)

    def to_json(self) -> str:
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: str) -> PatchRecord:
        """Parse a row of a manifest. Raises `ValueError`, `TypeError` or `KeyError` if it is none of this version."""
        row = json.loads(text)
        images = {str(name): _parse_span(span) for name, span in row["images"].items()}
        shift = None if row["shift"] is None else tuple(map(float, row["shift"]))
        record = cls(**{**row, "box": tuple(map(int, row["box"])), "images": images, "shift": shift})
        _validate(record)
        return record


def nearest_magnification(mpp: float) -> int | None:
    """Return the nearest of `MAGNIFICATIONS` to a pixel size in um/px; None beyond a factor of the square root of 2."""
    index = index_of_nearest_magnification(mpp, MAGNIFICATIONS)
    return None if index is None else MAGNIFICATIONS[index]


def _parse_span(values: Any) -> ByteSpan:
    start, size = values
    if type(start) is not int or type(size) is not int or start < 0 or size < 1:
        raise ValueError(f"{values} is not a position in a file")
    return start, size


def _validate(record: PatchRecord) -> None:
    """Raise `ValueError` for an impossible record: a manifest may come from anywhere.

    Shard names with path separators would lead out of the dataset.
    """
    if any(type(number) is not int or number < 1 for number in (record.scale, record.side)):
        raise ValueError("scale and side must be whole numbers above 0")
    if len(record.box) != 4 or not {"hr", "lr"} <= set(record.images):
        raise ValueError("a box needs four sides, and a pair the images hr and lr")
    if not record.shard or set(record.shard) & set("/\\\0") or record.shard.startswith("."):
        raise ValueError("a shard must be a file name within the dataset")
