"""The records of a dataset: one `PatchRecord` is one pair and one row of the manifest.

A field at high resolution with partners at several scales has a row for each; the rows share its stored pixels.

A new kind of pair only needs its name in `KINDS` here: its builder makes such records and stores their pixels with a
`ShardWriter` (see `wsisr.dataset.shard_writer`); loading, `info`, `pack` and the report then support it.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Annotated, TypeAlias

import msgspec
from msgspec import Meta, Struct

from wsisr.bounds import MAX_PATCH_PX
from wsisr.errors import describe_error
from wsisr.imaging.geometry import Box
from wsisr.imaging.units import index_of_nearest_magnification

KINDS = ("pyramid", "captured", "simulated")
"""Two levels of one slide; two registered captures of one specimen; low resolution computed from the high one."""

SPLITS = ("train", "val")

SCALES = (2, 4, 8)
"""Scales that pairs can have."""

MAGNIFICATIONS = (5, 10, 20, 40)

_LIMIT = 2**62
"""Beyond every count and every file."""

WholeNumber: TypeAlias = Annotated[int, Meta(ge=0, le=_LIMIT)]
PositiveNumber: TypeAlias = Annotated[int, Meta(ge=1, le=_LIMIT)]
Coordinate: TypeAlias = Annotated[int, Meta(ge=-_LIMIT, le=_LIMIT)]
PatchMpp: TypeAlias = Annotated[float, Meta(gt=0, le=1e6)]
Measure: TypeAlias = Annotated[float, Meta(ge=0, le=1e6)]
Shift: TypeAlias = Annotated[float, Meta(ge=-1e6, le=1e6)]

ByteSpan: TypeAlias = tuple[WholeNumber, PositiveNumber]
"""Position of an image in its shard: first byte, number of bytes."""

ShardName: TypeAlias = Annotated[str, Meta(pattern=r"^[^./\\\0][^/\\\0]*\Z")]
"""A file name: path separators would lead out of the dataset, and a manifest may come from anywhere."""

ParameterValue: TypeAlias = str | int | float | bool | None


class PatchRecord(Struct, frozen=True, forbid_unknown_fields=True):
    """One pair: its content, its origin, and the position of its pixels."""

    slide: str
    """Name of the slide at high resolution, without its folder, unique within the dataset."""
    case: str
    """Patient or specimen. All patches of a case are in the same split."""
    split: str
    """`train` or `val`."""
    kind: str
    """One of `KINDS`."""
    scale: PositiveNumber
    """High-resolution px per low-resolution px, along one axis."""
    level: WholeNumber
    """Level of the slide from which the high resolution was read."""
    box: tuple[Coordinate, Coordinate, Coordinate, Coordinate]
    """Left, top, right, bottom in level-0 px of the slide at high resolution."""
    mpp_hr: PatchMpp
    """Pixel size of the high resolution, in um/px."""
    mpp_lr: PatchMpp
    """Pixel size of the low resolution, `scale` times that of the high one."""
    magnification: WholeNumber | None
    """Nearest of `MAGNIFICATIONS` to the high resolution; None if its pixel size fits none of them."""
    contrast: Measure
    """Standard deviation of grey at high resolution, in grey levels; low on glass."""
    focus: Measure
    """See `wsisr.dataset.patch_quality.measure_focus`; 0 for a patch without any detail."""
    tissue: Measure
    """Share of the patch that the tissue map calls tissue, 0 to 1."""
    fingerprint: str
    """64 bits in hex, similar for patches that look alike; see `wsisr.dataset.duplicates`."""
    side: Annotated[int, Meta(ge=1, le=MAX_PATCH_PX)]
    """Side of the high resolution, in px."""
    shard: ShardName
    """Name of the file that holds the pixels."""
    images: Mapping[str, ByteSpan]
    """`hr`, `lr` and further images of a kind (`hr-raw`: before colour matching); see `PatchStore.read_image`."""
    codec: str = "raw"
    """Encoding of the images: one of `wsisr.dataset.codecs.PATCH_CODECS`."""
    shift: tuple[Shift, Shift] | None = None
    """x and y in px of the finer capture: registered position of the patch minus its position by the map of the whole
    captures. None if the pair was not registered."""
    residual: Measure | None = None
    """Expected registration error, in high-resolution px."""
    parameters: Mapping[str, ParameterValue] = msgspec.field(default_factory=dict)
    """Parameters of the simulation or the capture that produced the low resolution."""

    @property
    def level_box(self) -> Box:
        """The box in px of `level`, exact if the downsample of that level is the same all over the slide."""
        ratio = (self.box[2] - self.box[0]) / self.side
        left, top = round(self.box[0] / ratio), round(self.box[1] / ratio)
        return Box(left, top, left + self.side, top + self.side)

    def to_json(self) -> str:
        return json.dumps(msgspec.structs.asdict(self))


def nearest_magnification(mpp: float) -> int | None:
    """Return the nearest of `MAGNIFICATIONS` to a pixel size in um/px; None beyond a factor of the square root of 2."""
    index = index_of_nearest_magnification(mpp, MAGNIFICATIONS)
    return None if index is None else MAGNIFICATIONS[index]


_DECODER = msgspec.json.Decoder(PatchRecord)


def parse_manifest(content: bytes) -> tuple[PatchRecord, ...]:
    """Parse the rows of a manifest. Raises `ValueError` naming the row and key if it is none of this version."""
    try:
        records = tuple(_DECODER.decode_lines(content))
    except (msgspec.MsgspecError, RecursionError) as error:
        raise ValueError(describe_error(error)) from error
    for number, record in enumerate(records):
        if not {"hr", "lr"} <= set(record.images):
            raise ValueError(f"a pair needs the images hr and lr - at `$[{number}].images`")
    return records
