"""What a dataset knows of each pair: one `PatchRecord` is one row of its manifest.

A field at high resolution that has partners at several scales has a row for each; the rows share its stored pixels.

A new kind of pair needs nothing here but its name in `KINDS`: whoever builds it makes rows like these and puts their
pixels away with a `Part` (see `wsisr.dataset.shard_writer`); loading, `info`, `pack` and the report then know it.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, TypeAlias

from wsisr.imaging.geometry import Box
from wsisr.imaging.units import index_of_nearest_magnification

KINDS = ("pyramid", "captured", "simulated")
"""Two levels of one slide; two captures of one specimen, registered; low resolution computed from the high one."""

SPLITS = ("train", "val")

SCALES = (2, 4, 8)
"""At which there may be pairs."""

MAGNIFICATIONS = (5, 10, 20, 40)

ByteSpan: TypeAlias = tuple[int, int]
"""Where an image lies in its shard: first byte, number of bytes."""

ParameterValue: TypeAlias = str | int | float | bool | None


@dataclass(frozen=True, slots=True)
class PatchRecord:
    """One pair: what it shows, where that comes from, and where its pixels are."""

    slide: str
    """Name of the slide at high resolution, without its folder, unique within the dataset."""
    case: str
    """Patient or specimen: all patches of a case are in one split."""
    split: str
    """`train` or `val`."""
    kind: str
    """One of `KINDS`."""
    scale: int
    """High-resolution px for one of low resolution, along one axis."""
    level: int
    """Of the slide, which the high resolution was read from."""
    box: tuple[int, int, int, int]
    """Left, top, right, bottom in level-0 px of the slide at high resolution."""
    mpp_hr: float
    """Pixel pitch in um/px."""
    mpp_lr: float
    """That of the other times `scale`."""
    magnification: int | None
    """Class of the high resolution by its pitch; None where it is none of `MAGNIFICATIONS`."""
    contrast: float
    """Standard deviation of grey at high resolution, in grey levels: low on glass."""
    focus: float
    """See `wsisr.dataset.patch_quality.focus`; 0 where there is no detail at all."""
    tissue: float
    """Share of the patch that the tissue map calls tissue, 0 to 1."""
    fingerprint: str
    """64 bits in hex, alike for patches that look alike: see `wsisr.dataset.duplicates`."""
    side: int
    """Of the high resolution, in px."""
    shard: str
    """Name of the file that holds the pixels."""
    images: Mapping[str, ByteSpan]
    """`hr` and `lr`, and whatever else a kind keeps (`hr-raw`: before colours were matched); see `PatchStore.image`."""
    codec: str = "raw"
    """How they are stored: one of `wsisr.dataset.codecs.CODECS`."""
    shift: tuple[float, float] | None = None
    """x and y, in px of the finer capture, from where the map of the whole captures has the patch to where it was
    found; None where nothing was registered."""
    residual: float | None = None
    """Expected error of that, in high-resolution px."""
    parameters: Mapping[str, ParameterValue] = field(default_factory=dict)
    """Of the simulation or the capture that made the low resolution."""

    @property
    def level_box(self) -> Box:
        """In px of `level`, as far as its downsample is even over the slide."""
        ratio = (self.box[2] - self.box[0]) / self.side
        left, top = round(self.box[0] / ratio), round(self.box[1] / ratio)
        return Box(left, top, left + self.side, top + self.side)

    def to_json(self) -> str:
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: str) -> PatchRecord:
        """Raises `ValueError`, `TypeError` or `KeyError` where it is no row of this version."""
        row = json.loads(text)
        images = {str(name): _parse_span(span) for name, span in row["images"].items()}
        shift = None if row["shift"] is None else tuple(map(float, row["shift"]))
        record = cls(**{**row, "box": tuple(map(int, row["box"])), "images": images, "shift": shift})
        _validate(record)
        return record


def nearest_magnification(mpp: float) -> int | None:
    """The nearest of `MAGNIFICATIONS`, if it is within a factor of the square root of 2."""
    found = index_of_nearest_magnification(mpp, MAGNIFICATIONS)
    return None if found is None else MAGNIFICATIONS[found]


def _parse_span(values: Any) -> ByteSpan:
    start, size = values
    if type(start) is not int or type(size) is not int or start < 0 or size < 1:
        raise ValueError(f"{values} is no place in a file")
    return start, size


def _validate(record: PatchRecord) -> None:
    """A manifest may come from anywhere: sizes that are not whole, and names that lead out of the dataset."""
    if any(type(number) is not int or number < 1 for number in (record.scale, record.side)):
        raise ValueError("scale and side are whole numbers above 0")
    if len(record.box) != 4 or not {"hr", "lr"} <= set(record.images):
        raise ValueError("a box has four sides, and a pair two images")
    if not record.shard or set(record.shard) & set("/\\\0") or record.shard.startswith("."):
        raise ValueError("a shard is a file of the dataset")
