"""Pictures that a page embeds as small JPEGs in data URIs."""

from __future__ import annotations

import base64
import re
from io import BytesIO

from PIL import Image

from wsisr.imaging.pixels import Rgb

_BASE64 = re.compile(r"[A-Za-z0-9+/]+={0,2}")


def encode_data_uri(image: Rgb, quality: int = 85) -> str:
    """Encode (h, w, 3) or (h, w) as a JPEG and return it as a data URI."""
    file = BytesIO()
    Image.fromarray(image).save(file, "JPEG", quality=quality, subsampling="4:4:4")
    return make_data_uri(base64.b64encode(file.getvalue()).decode())


def make_data_uri(content: str) -> str:
    """Return a base64 JPEG as a data URI."""
    return f"data:image/jpeg;base64,{content}"


def encode_png_uri(png: bytes) -> str:
    """Return a PNG as a data URI."""
    return f"data:image/png;base64,{base64.b64encode(png).decode()}"


def is_base64_jpeg(content: str, max_characters: int) -> bool:
    """Check that text from a file is nothing but a base64 JPEG of at most `max_characters`."""
    return content.startswith("/9j/") and len(content) <= max_characters and bool(_BASE64.fullmatch(content))
