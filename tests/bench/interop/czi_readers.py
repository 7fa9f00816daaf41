"""How the libraries that read Zeiss CZI show one image: `python -m tests.bench czi_readers`.

The same tiles are stored in each codec, with a hole, with a tile that cannot be decoded, with two tiles that overlap,
and as one grey channel. Libraries that cannot be imported are left out; none but OpenSlide and pylibCZIrw comes with
wsisr[dev]: pip install slideio fastslide czifile, in an environment of its own.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import TypeAlias

import numpy as np

from tests.bench.interop._questions import describe_colours, describe_value, print_answers
from tests.support.czi import (
    JPEG,
    JPEG_XR,
    RAW,
    ZSTD,
    ZSTD_WITH_HEADER,
    Block,
    describe_czi,
    find_stored_bytes,
    tile_image,
    write_czi,
)
from tests.support.formats import make_blobs
from wsisr.imaging.geometry import Box, Size
from wsisr.imaging.pixels import Rgb
from wsisr.slides import open_slide
from wsisr.slides.readers.openslide import composite_over_white

Reader: TypeAlias = Callable[[Path], Rgb]
SIZE = Size(256, 192)
IMAGE = make_blobs(SIZE, 0)
CODECS = {"raw": RAW, "JPEG": JPEG, "JPEG XR": JPEG_XR, "zstd": ZSTD, "zstd, header": ZSTD_WITH_HEADER}
HOLE = Box(64, 64, 128, 128)
METADATA = describe_czi(size=(SIZE.width, SIZE.height))


def read_with_wsisr(path: Path) -> Rgb:
    with open_slide(path) as slide:
        return slide.read(Box.from_size(slide.info.size), 0)


def read_with_openslide(path: Path) -> Rgb:
    import openslide

    with openslide.OpenSlide(path) as slide:
        return composite_over_white(np.asarray(slide.read_region((0, 0), 0, slide.dimensions)))


def read_with_pylibczirw(path: Path) -> Rgb:
    from pylibCZIrw import czi

    with czi.open_czi(str(path)) as file:
        return np.asarray(file.read())


def read_with_czifile(path: Path) -> Rgb:
    import czifile  # type: ignore[import-not-found, unused-ignore]

    with czifile.CziFile(path) as file:
        image = file.scenes[0] if hasattr(file, "scenes") else file
        return np.asarray(np.squeeze(image.asarray()))


def read_with_slideio(path: Path) -> Rgb:
    import slideio  # type: ignore[import-not-found, unused-ignore]

    return np.asarray(slideio.open_slide(str(path), "CZI").get_scene(0).read_block())


def read_with_fastslide(path: Path) -> Rgb:
    import fastslide  # type: ignore[import-not-found, unused-ignore]

    slide = fastslide.FastSlide.from_file_path(str(path))
    return np.asarray(slide.read_region((0, 0), 0, slide.dimensions).numpy())


READERS: dict[str, Reader] = {
    "wsisr": read_with_wsisr,
    "openslide-python": read_with_openslide,
    "pylibCZIrw": read_with_pylibczirw,
    "czifile": read_with_czifile,
    "slideio": read_with_slideio,
    "fastslide": read_with_fastslide,
}


def describe_image(path: Path, read: Reader) -> str:
    return describe_colours(read(path), IMAGE)


def describe_overlap(read: Reader, paths: Sequence[Path]) -> str:
    """Say which of two tiles lies above, where the one of the higher number is stored first, and where it is last."""
    shown = [describe_value(read(path)[70:90, 70:90]) for path in paths]
    meanings = {
        ("200", "200"): "higher number",
        ("10", "10"): "lower number",
        ("200", "10"): "stored first",
        ("10", "200"): "stored last",
    }
    return meanings.get((shown[0], shown[1]), "other values")


def describe_grey(read: Reader, path: Path) -> str:
    pixels = read(path)
    return "RGB" if pixels.ndim == 3 and pixels.shape[2] == 3 else "grey"


def write_samples(folder: Path) -> Iterator[tuple[str, Callable[[Reader], str]]]:
    """Write a file for each question, and yield the question with what answers it."""
    for name, codec in CODECS.items():
        path = write_czi(folder / f"{codec}.czi", tile_image(IMAGE, codec=codec), METADATA)
        yield name, partial(describe_image, path)
    tiles = list(tile_image(IMAGE, codec=RAW))
    hole = write_czi(folder / "hole.czi", [tile for tile in tiles if (tile.left, tile.top) != (64, 64)], METADATA)
    yield "hole", lambda read: describe_value(read(hole)[HOLE.rows, HOLE.columns])
    damaged = write_czi(folder / "damaged.czi", tile_image(IMAGE, codec=ZSTD), METADATA)
    start, count = find_stored_bytes(damaged, 5)
    content = bytearray(damaged.read_bytes())
    content[start : start + count] = b"x" * count
    damaged.write_bytes(content)
    yield "damaged tile", lambda read: describe_value(read(damaged)[HOLE.rows, HOLE.columns])
    low = Block(np.full((100, 100, 3), 10, np.uint8), dimensions={"C": 0, "M": 0})
    high = Block(np.full((100, 100, 3), 200, np.uint8), 60, 60, dimensions={"C": 0, "M": 1})
    metadata = describe_czi(size=(160, 160))
    overlaps = [
        write_czi(folder / f"overlap-{number}.czi", blocks, metadata)
        for number, blocks in enumerate([(high, low), (low, high)])
    ]
    yield "overlap shows", lambda read: describe_overlap(read, overlaps)
    grey = write_czi(folder / "grey.czi", [Block(IMAGE[..., 0])], METADATA)
    yield "one channel", lambda read: describe_grey(read, grey)


def main() -> None:
    """Print the table in Markdown."""
    with tempfile.TemporaryDirectory() as folder:
        print_answers(dict(write_samples(Path(folder))), READERS, {})


if __name__ == "__main__":
    main()
