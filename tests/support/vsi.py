"""Writing small Olympus VSI slides: a TIFF whose volumes describe the scan, and the scan's tiles in an ETS file."""

from __future__ import annotations

import io
import struct
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import imagecodecs
import numpy as np
import tifffile
from PIL import Image

from wsisr.imaging.geometry import Size
from wsisr.imaging.pixels import Rgb

RAW, JPEG, JPEG_2000 = 0, 2, 3
RGB, BGR = 3, 4
_UINT8 = 2

_ENCODERS: Mapping[int, Callable[[Rgb], bytes]] = {
    RAW: lambda tile: tile.tobytes(),
    JPEG: lambda tile: bytes(imagecodecs.jpeg8_encode(tile, level=95, subsampling="444")),
    JPEG_2000: lambda tile: bytes(imagecodecs.jpeg2k_encode(tile, level=0, codecformat="j2k")),
}

_COLLECTION, _IMAGE, _FRAME, _EXTERNAL, _STACK = 2000, 2001, 2002, 2018, 2005
_BOUNDARY, _HAS_EXTERNAL_FILE = 2053, 20005
_NAME, _TYPE, _SCALE, _UNIT, _DEVICES = 2030, 2074, 2019, 2020, 2043
_OPTICS, _OBJECTIVE_MAGNIFICATION = 120114, 120060
_INLINE, _VOLUMES, _SET, _DIMENSIONS = 0x40000000, 0x98000000, 0x90000001, 0x90000002
_INT, _DOUBLE, _BOOL, _CODE_UNITS, _TEXT, _RECTANGLE, _TWO_DOUBLES = 5, 10, 12, 13, 8192, 259, 260


@dataclass(frozen=True, slots=True)
class Scan:
    """One image of a slide, with what the slide says of it."""

    levels: Sequence[Rgb]
    codec: int = JPEG_2000
    mpp: tuple[float, float] | None = (0.25, 0.25)
    """um/px along x and along y; None where none is recorded."""
    unit: str = "10^-6m^1"
    objectives: Sequence[float] = (20.0,)
    name: str = "20x_BF_01"
    kind: int = 0
    """0 for an image, 1 for an overview, 2 for a mask."""
    tile_px: int = 64
    colour_space: int = RGB
    left_out: Sequence[tuple[int, int, int]] = ()
    """Tiles that are not stored, each as level, column and row."""
    planes: int = 1
    """Planes of focus; the middle one shows the levels, each other their negative."""
    background: bytes = b"\xff\xff\xff"

    @property
    def size(self) -> tuple[int, int]:
        height, width = self.levels[0].shape[:2]
        return width, height


Field = tuple[int, int, "bytes | int | list[Field]"]
"""Type, tag, and the value: an inline number, bytes, or the fields of a volume."""


def _pack_volume(fields: Sequence[Field]) -> bytes:
    """Pack fields behind the header of a volume; each says where the next begins, counted from the header."""
    packed = struct.pack("<HHIqII", 24, 21321, 402, 24, len(fields), 0)
    for number, (kind, tag, value) in enumerate(fields):
        if isinstance(value, int):
            size, data = value, b""
        else:
            data = _pack_volume(value) if isinstance(value, list) else value
            size = len(data) if kind == _VOLUMES or not isinstance(value, list) else 0
        second = struct.pack("<i", 0) if kind & 0x8000000 else b""
        is_last = number == len(fields) - 1
        following = 0 if is_last else len(packed) + 16 + len(second) + len(data)
        packed += struct.pack("<Iiii", kind, tag, following, size) + second + data
    return packed


def _describe_scan(scan: Scan) -> Field:
    external: list[Field] = [
        (_RECTANGLE, _BOUNDARY, struct.pack("<4i", 0, 0, *scan.size)),
        (_INLINE | _BOOL, _HAS_EXTERNAL_FILE, 1),
    ]
    devices: list[Field] = [
        (_SET, number, [(_SET, _OPTICS, [(_DOUBLE, _OBJECTIVE_MAGNIFICATION, struct.pack("<d", power))])])
        for number, power in enumerate(scan.objectives, 3)
    ]
    stack: list[Field] = [
        (_TEXT, _NAME, scan.name.encode("utf-16-le") + b"\0\0"),
        *([] if scan.mpp is None else [(_TWO_DOUBLES, _SCALE, struct.pack("<2d", *scan.mpp))]),
        (_CODE_UNITS, _UNIT, scan.unit.encode("utf-16-le")),
        (_DIMENSIONS, _DEVICES, devices),
        (_INLINE | _INT, _TYPE, scan.kind),
    ]
    return (_VOLUMES, _IMAGE, [(_VOLUMES, _FRAME, [(_SET, _EXTERNAL, external)]), (_SET, _STACK, stack)])


def write_vsi(path: Path, *scans: Scan, described: Sequence[Scan] | None = None) -> Path:
    """Write a slide of one scan or several; `described` are what it says of them, if not what they are."""
    folder = path.parent / f"_{path.stem}_"
    for number, scan in enumerate(scans):
        if scan.kind < 2:  # others have no pixels
            stack = folder / f"stack{10000 + number}"
            stack.mkdir(parents=True)
            (stack / "frame_t.ets").write_bytes(_encode_ets(scan))
    facts = scans if described is None else described
    volumes = _pack_volume([(_VOLUMES, _COLLECTION, [_describe_scan(scan) for scan in facts])])
    # The preview of the glass follows the volumes, so its offsets count from there.
    preview = io.BytesIO()
    tifffile.imwrite(preview, scans[0].levels[-1][:32, :32], photometric="rgb", metadata=None)
    tiff = _move_tiff(preview.getvalue(), len(volumes))
    path.write_bytes(tiff[:8] + volumes + tiff[8:])
    return path


def _move_tiff(data: bytes, distance: int) -> bytes:
    """Return a TIFF of one page whose offsets are larger by `distance`."""
    moved, (at,) = bytearray(data), struct.unpack_from("<I", data, 4)
    struct.pack_into("<I", moved, 4, at + distance)
    (count,) = struct.unpack_from("<H", data, at)
    sizes = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8}
    for entry in range(at + 2, at + 2 + 12 * count, 12):
        tag, kind, number, value = struct.unpack_from("<HHII", data, entry)
        if sizes[kind] * number > 4 or tag == 273:
            struct.pack_into("<I", moved, entry + 8, value + distance)
    return bytes(moved)


def find_ets(path: Path, number: int = 0) -> Path:
    """Return the file of the tiles of a scan."""
    return path.parent / f"_{path.stem}_" / f"stack{10000 + number}" / "frame_t.ets"


def _cut_tiles(scan: Scan) -> Iterator[tuple[tuple[int, int, int, int], bytes]]:
    """Yield place (column, row, plane, level) and bytes of each tile; those at the edges are padded."""
    side = scan.tile_px
    for level, image in enumerate(scan.levels):
        for row in range(-(-image.shape[0] // side)):
            for column in range(-(-image.shape[1] // side)):
                tile = image[row * side : (row + 1) * side, column * side : (column + 1) * side]
                padded = np.pad(tile, [(0, side - tile.shape[0]), (0, side - tile.shape[1]), (0, 0)], mode="edge")
                stored = np.ascontiguousarray(padded[..., ::-1] if scan.colour_space == BGR else padded)
                for plane in range(scan.planes):
                    shown = stored if plane == (scan.planes - 1) // 2 else 255 - stored
                    if (level, column, row) not in scan.left_out:
                        yield (column, row, plane, level), _ENCODERS[scan.codec](shown)


def _encode_ets(scan: Scan) -> bytes:
    """Encode headers, tiles, and the table that says where each is."""
    at, data, table = 64 + 228, b"", b""
    for number, (place, encoded) in enumerate(_cut_tiles(scan)):
        table += struct.pack("<I4iQII", 4, *place, at + len(data), len(encoded), number)
        data += encoded
    count = len(table) // 36
    header = struct.pack("<4sIIIQIIQIIQII", b"SIS\0", 64, 3, 4, 64, 228, 0, at + len(data), count, 0, 0, 0, 0)
    facts = (0x00030006, _UINT8, 3, scan.colour_space, scan.codec, 90, scan.tile_px, scan.tile_px, 1)
    # Order of the components, as in a real file, and whether the last number of a place is a level.
    usage = (0xFFFFFFFF, int(len(scan.levels) > 1))
    pixels = struct.pack("<4s9I17I40s20I", b"ETS\0", *facts, *[0] * 17, scan.background, *usage, *[0] * 18)
    return header + pixels + data + table


def decode_vsi_tiles(path: Path, size: Size, level: int) -> Rgb:
    """Decode the tiles of a level with Pillow, and put them side by side."""
    data = find_ets(path).read_bytes()
    table_at, count = struct.unpack_from("<QI", data, 32)
    (side,) = struct.unpack_from("<I", data, 64 + 28)
    image = np.zeros((-(-size.height // side) * side, -(-size.width // side) * side, 3), np.uint8)
    for column, row, _, of_level, start, length in (
        struct.unpack_from("<4x4iQI4x", data, table_at + 36 * number) for number in range(count)
    ):
        if of_level == level:
            tile = np.asarray(Image.open(io.BytesIO(data[start : start + length])))
            image[row * side : (row + 1) * side, column * side : (column + 1) * side] = tile
    return image[: size.height, : size.width]
