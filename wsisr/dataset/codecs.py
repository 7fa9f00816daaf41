"""Encoding and decoding the pixels of one patch. Every codec but `jpeg` is lossless.

`build-dataset` writes `raw`: reading it is a copy, more than ten times as fast as any decoder (measured by
`python -m tests.bench patch_loading`). `webp` takes half of the space. `jpeg` (quality 95, 4:4:4) takes a quarter and
decodes fastest of the compressed ones; `build-dataset pack` writes it. `png` is larger and slower than `webp`.
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
    "webp": _pillow_encoder("WEBP", lossless=True, quality=0, method=0),  # lossless: both numbers are the effort
    "jpeg": _pillow_encoder("JPEG", quality=95, subsampling="4:4:4"),
    "png": _pillow_encoder("PNG", compress_level=6),
}
"""Codec name to encoder: (h, w, 3) to bytes."""


def decode_patch(content: memoryview, codec: str, side: int) -> Rgb:
    """Decode a patch, (side, side, 3). Raises `DatasetError`, without a path, if the bytes are not such a patch."""
    if codec == "raw":
        if len(content) != side * side * 3:
            raise DatasetError(f"{len(content)} bytes are not a patch of {side} px")
        return np.frombuffer(content, np.uint8).reshape(side, side, 3)
    if codec not in _FORMATS:
        raise DatasetError(f"codec {codec!r} is not known; known: {', '.join(PATCH_CODECS)}")
    try:
        # A dataset may come from anywhere: of Pillow's decoders, only the expected one may see its bytes.
        with Image.open(BytesIO(content), formats=[_FORMATS[codec]]) as image:
            if image.size != (side, side) or image.mode != "RGB":
                raise DatasetError(
                    f"holds an image of {image.size[0]} x {image.size[1]} px, {image.mode}, not RGB of {side} px"
                )
            return np.asarray(image)
    except (OSError, UnidentifiedImageError, ValueError, SyntaxError) as error:
        raise DatasetError(describe_error(error)) from error
