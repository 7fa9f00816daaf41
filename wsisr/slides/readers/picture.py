"""Plain pictures, as a microscope's snapshot: PNG and JPEG as a slide of one level, decoded as a whole through Pillow.

A picture's own density is what a program thought of screens and paper, so none is taken for a pixel size, but of a PNG
that wsisr wrote.
"""

from __future__ import annotations

import json
import struct
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from PIL import Image

from wsisr.bounds import MAX_FIELD_PX
from wsisr.errors import SlideError, describe_error
from wsisr.imaging.geometry import Size
from wsisr.imaging.pixels import Rgb
from wsisr.slides.pixel_size import parse_number
from wsisr.slides.readers.signatures import PNG, WSISR_MAGNIFICATION_KEY, WSISR_SIZE_KEY, WSISR_TEXT_KEY
from wsisr.slides.readers.tiff import ORIENTATION_PROPERTY
from wsisr.slides.slide import Level, SlideInfo

_PNG_HEADER = struct.Struct(">16x2I2B")
"""Width, height, bits of a sample and kind of colour, which the first 26 bytes of a PNG hold."""

_PNG_COLOURS = {0: "grey", 2: "RGB", 3: "palette", 4: "grey", 6: "RGB"}
_JPEG_COLOURS = {"L": "grey", "RGB": "RGB", "CMYK": "CMYK"}
"""Keys are Pillow's modes."""

_EXIF_ORIENTATION = 274

_UM_PER_INCH = 25_400

_OPAQUE = 255

_BAND_PX = 4_000_000
"""Pixels that are copied at a time."""

_DAMAGED = (OSError, SyntaxError, ValueError, LookupError, TypeError, OverflowError, EOFError, struct.error)
"""What Pillow raises where a picture is damaged."""


def read_picture(path: Path, vendor: str) -> tuple[SlideInfo, Rgb]:
    """Return the facts of a picture, without a pixel size unless wsisr wrote it, and its pixels as stored, (h, w, 3).

    An orientation in EXIF is among the properties, under the name that it has in TIFF; whoever opens the slide turns
    it. Memory: 3 bytes a pixel, while it is opened 7. Raises `SlideError` where it is damaged, not 8-bit RGB, partly
    transparent, or has more than `MAX_FIELD_PX`.
    """
    with _translate_damage(path), Image.open(path, formats=[vendor]) as picture:
        _refuse_large(path, picture.width * picture.height)
        _refuse_other_colours(path, vendor, picture)
        picture.load()
        pixels = _copy_pixels(path, picture)
        orientation, doubts = _read_orientation(picture)
        icc = picture.info.get("icc_profile")
        mpp, objective = None, None
        if _is_resized(picture):
            doubts += ("another program has cut or resized it since wsisr wrote it, so its pixel size is not known",)
        else:
            mpp, objective = _read_own_mpp(picture), _read_own_magnification(picture)
    info = SlideInfo(
        path=path,
        reader="pillow",
        vendor=vendor,
        levels=(Level(Size(pixels.shape[1], pixels.shape[0]), 1.0),),
        mpp=mpp,
        objective=objective,
        icc=icc if isinstance(icc, bytes) and icc else None,
        associated={},
        properties={ORIENTATION_PROPERTY: orientation},
        warnings=doubts,
    )
    return info, pixels


def _is_resized(picture: Image.Image) -> bool:
    """Whether a PNG that wsisr wrote has another size than it records: programs keep its texts and its density."""
    try:
        recorded = json.loads(picture.info.get(WSISR_TEXT_KEY, "{}"))
    except (ValueError, TypeError, RecursionError):
        return True
    size = recorded.get(WSISR_SIZE_KEY) if isinstance(recorded, dict) else None
    return size is not None and size != f"{Size(picture.width, picture.height)} px"


def _read_own_mpp(picture: Image.Image) -> float | None:
    """Return the pixel size in um/px of a PNG that wsisr wrote; None for any other picture, and where it has none."""
    per_inch = picture.info.get("dpi", (0, 0))[0] if WSISR_TEXT_KEY in picture.info else 0
    return _UM_PER_INCH / per_inch if per_inch else None


def _read_own_magnification(picture: Image.Image) -> float | None:
    """Return the magnification of a PNG that wsisr wrote; None for any other picture, and where it has none."""
    text = picture.info.get(WSISR_MAGNIFICATION_KEY) if WSISR_TEXT_KEY in picture.info else None
    value = parse_number(text if isinstance(text, str) else None)
    return value if value and value > 0 else None


@contextmanager
def _translate_damage(path: Path) -> Iterator[None]:
    """Context: what Pillow raises is one line. Its warnings, of size and of damage that it repairs, are not shown."""
    try:
        with warnings.catch_warnings(action="ignore"):
            yield
    except Image.DecompressionBombError:
        _refuse_large(path, MAX_FIELD_PX + 1)
    except _DAMAGED as error:
        raise SlideError(
            f"{path}: cannot be decoded ({describe_error(error)}); it is damaged, copy it again"
        ) from error


def _read_orientation(picture: Image.Image) -> tuple[str, tuple[str, ...]]:
    """Return the orientation that EXIF records, and a warning if it cannot be read: Pillow takes it for 1 then."""
    exif = Image.Exif()
    try:
        with warnings.catch_warnings(action="error"):
            exif.load(picture.info.get("exif", b""))
            return str(exif.get(_EXIF_ORIENTATION, 1)), ()
    except (Warning, *_DAMAGED) as error:
        return "1", (f"its EXIF data are damaged ({describe_error(error)}); the picture is shown as stored",)


def _refuse_large(path: Path, pixel_count: int) -> None:
    if pixel_count > MAX_FIELD_PX:
        raise SlideError(
            f"{path}: has too many pixels for a picture, which is held in memory, more than {MAX_FIELD_PX:,}; store it "
            "as a slide, for example with vips tiffsave --tile --pyramid"
        )


def _refuse_other_colours(path: Path, vendor: str, picture: Image.Image) -> None:
    """Raise `SlideError` unless the samples are 8-bit red, green and blue: Pillow cuts 16 bits of a PNG to 8."""
    bits, frames = 8, 1
    if vendor == PNG:
        with path.open("rb") as file:
            _, _, bits, kind = _PNG_HEADER.unpack(file.read(_PNG_HEADER.size))
        colours, frames = _PNG_COLOURS.get(kind, "unknown"), getattr(picture, "n_frames", 1)
    else:
        colours = _JPEG_COLOURS.get(picture.mode, picture.mode)
    if frames > 1:
        raise SlideError(f"{path}: holds {frames} pictures; save the one that you mean by itself")
    if colours != "RGB" or bits != 8:
        raise SlideError(f"{path}: is a picture in {bits}-bit {colours}; networks take 8-bit RGB, save it so")
    if "transparency" in picture.info:
        raise _make_transparency_error(path)


def _copy_pixels(path: Path, picture: Image.Image) -> Rgb:
    """Copy (h, w, 3) out of a decoded picture in RGB or RGBA, in which nothing may shine through.

    In bands: NumPy would take all of it twice, besides Pillow's 4 bytes a pixel.
    """
    width, height = picture.size
    pixels, rows = np.empty((height, width, 3), np.uint8), max(1, _BAND_PX // width)
    for top in range(0, height, rows):
        band = np.asarray(picture.crop((0, top, width, min(top + rows, height))))
        if band.shape[2] == 4 and (band[..., 3] != _OPAQUE).any():
            raise _make_transparency_error(path)
        pixels[top : top + rows] = band[..., :3]
    return pixels


def _make_transparency_error(path: Path) -> SlideError:
    return SlideError(f"{path}: is a picture with transparent places, whose colours are unknown; save it without")
