"""How the pixels of one patch become bytes, and back. Every codec but `jpeg` gives back the same pixels.

`raw` is what `build-dataset` writes: reading it is a copy, more than ten times as fast as any decoder (`make
bench-loading`). `webp` is lossless and takes half of the space; `jpeg` (quality 95, all colours kept) a quarter, is
decoded fastest of the three, and is what `build-dataset pack` writes. `png` is larger and slower than `webp`.
"""

from __future__ import annotations

from collections.abc import Callable
from io import BytesIO
from typing import Any

import numpy as np
from PIL import Image, UnidentifiedImageError

from wsisr.errors import DatasetError, describe_error
from wsisr.imaging.pixels import Rgb

_FORMATS = {"webp": "WEBP", "jpeg": "JPEG", "png": "PNG"}


def _pillow_encoder(kind: str, **options: Any) -> Callable[[Rgb], bytes]:
    def encode(image: Rgb) -> bytes:
        file = BytesIO()
        Image.fromarray(image).save(file, kind, **options)
        return file.getvalue()

    return encode


PATCH_CODECS: dict[str, Callable[[Rgb], bytes]] = {
    "raw": lambda image: image.tobytes(),
    "webp": _pillow_encoder("WEBP", lossless=True, quality=0, method=0),
    "jpeg": _pillow_encoder("JPEG", quality=95, subsampling="4:4:4"),
    "png": _pillow_encoder("PNG", compress_level=6),
}
"""Name to encoder: (h, w, 3) to bytes."""


def decode_patch(content: memoryview, codec: str, side: int) -> Rgb:
    """(side, side, 3). Raises `DatasetError`, without a place, where the bytes are something else."""
    if codec == "raw":
        if len(content) != side * side * 3:
            raise DatasetError(f"{len(content)} bytes are no patch of {side} px")
        return np.frombuffer(content, np.uint8).reshape(side, side, 3)
    if codec not in _FORMATS:
        raise DatasetError(f"codec {codec!r} is not known; known: {', '.join(PATCH_CODECS)}")
    try:
        with Image.open(BytesIO(content), formats=[_FORMATS[codec]]) as image:
            if image.size != (side, side) or image.mode != "RGB":
                raise DatasetError(f"an image of {image.size[0]} x {image.size[1]} px, {image.mode}, not of {side} px")
            return np.asarray(image)
    except (OSError, UnidentifiedImageError, ValueError, SyntaxError) as error:
        raise DatasetError(describe_error(error)) from error
