"""The PNG layout: one picture without a pyramid, for results as small as a microscope's snapshot.

The pixel size stands in the chunk pHYs, the metadata as JSON in a text chunk of its own, and what a person must know in
the text chunks that picture programs show.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Sequence
from pathlib import Path

from PIL import Image

from wsisr.errors import SlideError, describe_error
from wsisr.imaging.geometry import Box, Size
from wsisr.slides.readers.signatures import PNG, WSISR_MAGNIFICATION_KEY, WSISR_SIZE_KEY, WSISR_TEXT_KEY
from wsisr.writing.spec import PyramidSpec
from wsisr.writing.workdir.tile_store import TileStore

_UM_PER_INCH = 25_400
"""Pillow takes a pixel size as dots per inch, and stores px per metre."""

_PLACE_KEYS = (WSISR_SIZE_KEY, "mpp", "scale", "source origin", "source downsample", "source size")
"""Keys of what says where a result's pixels lie."""


def write_png(path: Path, levels: Sequence[TileStore], spec: PyramidSpec) -> Iterator[int]:
    """Write level 0 as a PNG; yields the number of all tiles once it is written. Memory: 7 bytes a pixel."""
    from PIL import PngImagePlugin  # noqa: PLC0415 - it brings ten modules, and every run imports all layouts

    picture = Image.fromarray(levels[0].read(Box.from_size(spec.size)))
    text = PngImagePlugin.PngInfo()
    for key, value in _describe(spec).items():
        text.add_itxt(key, value)
    text.add_text(WSISR_TEXT_KEY, json.dumps(spec.metadata))
    if spec.magnification is not None:
        text.add_text(WSISR_MAGNIFICATION_KEY, f"{spec.magnification:g}")
    density = {} if spec.mpp is None else {"dpi": (_UM_PER_INCH / spec.mpp,) * 2}
    profile = {} if spec.icc is None else {"icc_profile": spec.icc}
    with path.open("w+b") as file:
        picture.save(file, format="PNG", pnginfo=text, **density, **profile)
        file.flush()
        os.fsync(file.fileno())
    yield sum(level.grid.tile_count for level in levels)


def read_png_metadata(path: Path) -> dict[str, str]:
    """Return our metadata from a PNG; empty if it has none, and without place and size once it has another size.

    No pixel is decoded. Raises `SlideError`.
    """
    try:
        with Image.open(path, formats=[PNG]) as picture:
            metadata, size = json.loads(picture.info.get(WSISR_TEXT_KEY, "{}")), Size(picture.width, picture.height)
    except (OSError, SyntaxError, ValueError, RecursionError, Image.DecompressionBombError) as error:
        raise SlideError(f"{path}: cannot be read as a PNG ({describe_error(error)}); copy it again") from error
    if not isinstance(metadata, dict):
        return {}
    texts = {key: value for key, value in metadata.items() if isinstance(value, str)}
    if texts.get(WSISR_SIZE_KEY, f"{size} px") != f"{size} px":  # cut or resized by a program that kept the texts
        return {key: value for key, value in texts.items() if key not in _PLACE_KEYS}
    return texts


def _describe(spec: PyramidSpec) -> dict[str, str]:
    """Return the texts for people, under keywords that PNG defines."""
    texts = {"Title": spec.title, "Description": spec.metadata.get("derived", ""), "Software": spec.software}
    return {key: text for key, text in texts.items() if text}
