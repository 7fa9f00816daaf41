"""Zeiss CZI files of tests: blocks of pixels in the ZISRAW container, in every codec, with levels, scenes and planes.

pylibCZIrw writes neither coarser levels nor JPEG XR; what is written here, it reads, and so does OpenSlide.
"""

from __future__ import annotations

import struct
import uuid
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import imagecodecs
import numpy as np
import numpy.typing as npt

from wsisr.imaging.pixels import Rgb

RAW, JPEG, JPEG_XR, ZSTD, ZSTD_WITH_HEADER = 0, 1, 4, 5, 6

_RGB_GUID = bytes.fromhex("24c3dd6f034efe4bb1853d77768dc90d")
_BGR_GUID = _RGB_GUID[:-1] + b"\x0c"
"""JPEG XR's names for the order of the decoded bytes; the coded data are the same."""

_PIXEL_TYPES = {("uint8", 3): 3, ("uint8", 2): 0, ("uint16", 3): 4, ("uint16", 2): 1}


@dataclass(frozen=True, slots=True)
class Block:
    """Pixels and where they lie, in px of level 0."""

    pixels: npt.NDArray[np.uint8 | np.uint16]
    """(h, w, 3) of RGB, or (h, w)."""
    left: int = 0
    top: int = 0
    downsample: int = 1
    codec: int = RAW
    dimensions: Mapping[str, int] = field(default_factory=lambda: {"C": 0})


def tile_image(image: Rgb, side: int = 64, overlap: int = 0, downsample: int = 1, codec: int = RAW) -> Iterator[Block]:
    """Yield an image as tiles with numbers (M) row by row; each overlaps its neighbours by some pixels."""
    step = side - overlap
    corners = [(x, y) for y in range(0, image.shape[0], step) for x in range(0, image.shape[1], step)]
    for number, (x, y) in enumerate(corners):
        tile = image[y : y + side, x : x + side]
        yield Block(tile, x * downsample, y * downsample, downsample, codec, {"C": 0, "M": number})


def describe_czi(
    mpp: float = 0.25, objective: float = 40, size: tuple[int, int] = (0, 0), microscope: str = "Axio Scan.Z1"
) -> str:
    """Write the metadata of a slide, with a second objective that the image does not refer to."""
    distances = "".join(f'<Distance Id="{axis}"><Value>{mpp * 1e-6!r}</Value></Distance>' for axis in "XY")
    return (
        f"<ImageDocument><Metadata><Scaling><Items>{distances}</Items></Scaling><Information><Image>"
        f"<PixelType>Bgr24</PixelType><SizeX>{size[0]}</SizeX><SizeY>{size[1]}</SizeY><AcquisitionDateAndTime>2024-03-05T10:11:12Z"
        '</AcquisitionDateAndTime><ObjectiveSettings><ObjectiveRef Id="Objective:2"/></ObjectiveSettings></Image>'
        f'<Instrument><Microscopes><Microscope Id="Microscope:1" Name="{microscope}"/></Microscopes><Objectives>'
        '<Objective Id="Objective:1"><NominalMagnification>5</NominalMagnification></Objective>'
        f'<Objective Id="Objective:2"><NominalMagnification>{objective}</NominalMagnification></Objective>'
        "</Objectives></Instrument></Information></Metadata></ImageDocument>"
    )


def write_czi(
    path: Path,
    blocks: Iterable[Block],
    metadata: str | None = None,
    attachments: Mapping[str, bytes | bytearray] | None = None,
) -> Path:
    """Write a file of blocks, in their order; attachments are JPEG by name."""
    content, entries = bytearray(_make_segment(b"ZISRAWFILE", bytes(512))), list[bytes]()
    for block in blocks:
        entries.append(_make_entry(block, len(content)))
        data = _encode(block)
        head = (struct.pack("<iiq", 0, 0, len(data)) + entries[-1]).ljust(256, b"\0")
        content += _make_segment(b"ZISRAWSUBBLOCK", head + data)
    directory_at = len(content)
    content += _make_segment(b"ZISRAWDIRECTORY", _count(entries, 128) + b"".join(entries))
    metadata_at, text = len(content), (describe_czi() if metadata is None else metadata).encode()
    content += _make_segment(b"ZISRAWMETADATA", struct.pack("<ii", len(text), 0).ljust(256, b"\0") + text)
    attachments_at = _append_attachments(content, attachments or {})
    guid = uuid.UUID(int=7).bytes
    positions = struct.pack("<iqqiq", 0, directory_at, metadata_at, 0, attachments_at)
    header = _make_segment(b"ZISRAWFILE", (struct.pack("<iiii", 1, 0, 0, 0) + guid * 2 + positions).ljust(512, b"\0"))
    content[: len(header)] = header
    path.write_bytes(content)
    return path


def write_czi_pyramid(path: Path, levels: Iterable[Rgb], codec: int = RAW, side: int = 64) -> Path:
    """Write a slide whose levels are halved each time, at a place of the canvas that is not its origin."""
    images = list(levels)
    blocks = [
        Block(block.pixels, block.left + 1000, block.top - 500, block.downsample, codec, block.dimensions)
        for number, image in enumerate(images)
        for block in tile_image(image, side, downsample=2**number)
    ]
    return write_czi(path, blocks, describe_czi(size=images[0].shape[1::-1]))


def find_stored_bytes(path: Path, number: int) -> tuple[int, int]:
    """Return the offset in bytes, and the count, of the stored pixels of a block."""
    content, at = path.read_bytes(), -1
    for _ in range(number + 1):
        at = content.index(b"ZISRAWSUBBLOCK", at + 1)
    return at + 32 + 256, struct.unpack_from("<q", content, at + 40)[0]


def _encode(block: Block) -> bytes:
    pixels = block.pixels
    stored = np.ascontiguousarray(pixels[..., ::-1] if pixels.ndim == 3 else pixels).tobytes()
    encoders: dict[int, Callable[[], bytes | bytearray]] = {
        RAW: lambda: stored,
        JPEG: lambda: imagecodecs.jpeg8_encode(pixels, level=95, subsampling="444"),
        JPEG_XR: lambda: imagecodecs.jpegxr_encode(pixels, level=1.0).replace(_RGB_GUID, _BGR_GUID),
        ZSTD: lambda: imagecodecs.zstd_encode(stored),
        ZSTD_WITH_HEADER: lambda: b"\1" + imagecodecs.zstd_encode(stored),
    }
    return bytes(encoders[block.codec]())


def _make_segment(name: bytes, data: bytes) -> bytes:
    space = -(-len(data) // 32) * 32
    return name.ljust(16, b"\0") + struct.pack("<qq", space, len(data)) + data.ljust(space, b"\0")


def _make_entry(block: Block, position: int) -> bytes:
    height, width = block.pixels.shape[:2]
    pixel_type = _PIXEL_TYPES[str(block.pixels.dtype), block.pixels.ndim]
    dimensions = [
        ("X", block.left, width * block.downsample, width),
        ("Y", block.top, height * block.downsample, height),
    ]
    dimensions += [(name, start, 1, 1) for name, start in block.dimensions.items()]
    pyramid = 0 if block.downsample == 1 else 2
    head = b"DV" + struct.pack("<iqiiB5xi", pixel_type, position, 0, block.codec, pyramid, len(dimensions))
    return head + b"".join(
        struct.pack("<4siifi", name.encode(), start, extent, start, stored)
        for name, start, extent, stored in dimensions
    )


def _append_attachments(content: bytearray, attachments: Mapping[str, bytes | bytearray]) -> int:
    """Append attachments and their directory; return where that begins."""
    entries: list[bytes] = []
    for name, data in attachments.items():
        guid = uuid.UUID(int=len(entries)).bytes
        entries.append(
            b"A1"
            + bytes(10)
            + struct.pack("<qi", len(content), 0)
            + guid
            + b"JPG".ljust(8, b"\0")
            + name.encode().ljust(80, b"\0")
        )
        head = (struct.pack("<q", len(data)) + bytes(8) + entries[-1]).ljust(256, b"\0")
        content += _make_segment(b"ZISRAWATTACH", head + data)
    at = len(content)
    content += _make_segment(b"ZISRAWATTDIR", _count(entries, 256) + b"".join(entries))
    return at


def _count(entries: list[bytes], head_bytes: int) -> bytes:
    return struct.pack("<i", len(entries)).ljust(head_bytes, b"\0")
