"""Readers that come with wsisr[dev], and cuCIM, ome-zarr-py and Bio-Formats, which may be there."""

from __future__ import annotations

import re
import subprocess
import tempfile
from importlib import import_module
from pathlib import Path
from typing import Any
from zipfile import ZipFile

import numpy as np
import openslide
import pyvips
import tifffile
import tiffslide
import zarr

from tests.bench.interop._seen import COMPARED, Reader, Seen, compare_levels
from wsisr.imaging.pixels import Rgb
from wsisr.writing.layouts.dicom_note import FIRST_LEVEL_FILE

BIO_FORMATS = "Bio-Formats"

_UM_PER_UNIT = {"µm": 1.0, "mm": 1000.0}


def read_with_openslide(path: Path, truth: list[Rgb]) -> Seen:
    with openslide.OpenSlide(get_first_file(path)) as slide:
        return _compare_slide(slide, "openslide", truth)


def get_first_file(path: Path) -> Path:
    """Return the file of level 0 of a DICOM folder; the path itself of anything else."""
    return path / FIRST_LEVEL_FILE if path.suffix == ".dcm" else path


def read_with_tiffslide(path: Path, truth: list[Rgb]) -> Seen:
    with tiffslide.TiffSlide(path) as slide:
        return _compare_slide(slide, "tiffslide", truth)


def _compare_slide(slide: Any, prefix: str, truth: list[Rgb]) -> Seen:
    facts = [slide.properties.get(f"{prefix}.{name}") for name in ("mpp-x", "objective-power")]
    mpp, power = (None if fact is None else float(fact) for fact in facts)
    errors = compare_levels(
        lambda number: slide.read_region((0, 0), number, slide.level_dimensions[number]), slide.level_count, truth
    )
    return Seen(slide.level_count, mpp, power, errors)


def read_with_tifffile(path: Path, truth: list[Rgb]) -> Seen:
    with tifffile.TiffFile(path) as tiff:
        levels = tiff.series[0].levels
        um_per_cm, resolution = 1e4, tiff.pages.first.resolution
        errors = compare_levels(lambda number: levels[number].asarray(), len(levels), truth)
        return Seen(len(levels), um_per_cm / resolution[0], None, errors)


def read_with_pyvips(path: Path, truth: list[Rgb]) -> Seen:
    """Compare the pages that have the size of a level; vips counts pages, not levels."""
    pages = pyvips.Image.new_from_file(str(path)).get("n-pages")
    images = [pyvips.Image.new_from_file(str(path), page=page) for page in range(pages)]
    found = [next((i for i in images if (i.height, i.width) == level.shape[:2]), None) for level in truth]
    levels = [image for image in found if image is not None]
    errors = compare_levels(lambda number: levels[number].numpy(), len(levels), truth)
    return Seen(len(levels), 1000 / images[0].xres, None, errors)


def read_with_cucim(path: Path, truth: list[Rgb]) -> Seen:
    image = import_module("cucim").CuImage(str(path))
    levels = image.resolutions
    sizes, power = levels["level_dimensions"], image.metadata.get("aperio", {}).get("AppMag")
    errors = compare_levels(
        lambda number: image.read_region((0, 0), sizes[number], number), levels["level_count"], truth
    )
    return Seen(levels["level_count"], float(image.spacing()[0]), power and float(power), errors)


def read_with_zarr(path: Path, truth: list[Rgb]) -> Seen:
    group: Any = zarr.open_group(path, mode="r")
    datasets = group.attrs["ome"]["multiscales"][0]["datasets"]
    errors = compare_levels(lambda number: group[datasets[number]["path"]][...], len(datasets), truth)
    return Seen(len(datasets), find_mpp(datasets[0]["coordinateTransformations"]), None, errors)


def read_with_wsidicom(path: Path, truth: list[Rgb]) -> Seen:
    with import_module("wsidicom").WsiDicom.open(path) as slide:
        sizes = [(level.size.width, level.size.height) for level in slide.levels]
        errors = compare_levels(
            lambda number: slide.read_region((0, 0), slide.levels[number].level, sizes[number]), len(sizes), truth
        )
        return Seen(len(sizes), slide.mpp.width, None, errors)


def read_with_ome_zarr(path: Path, truth: list[Rgb]) -> Seen:
    location = import_module("ome_zarr.io").parse_url(str(path))
    image = next(iter(import_module("ome_zarr.reader").Reader(location)()))
    errors = compare_levels(lambda number: image.data[number], len(image.data), truth)
    return Seen(len(image.data), find_mpp(image.metadata["coordinateTransformations"][0]), None, errors)


def find_mpp(steps: list[dict[str, Any]]) -> float:
    """Return the scale along x of the transformations of a level."""
    return next(float(step["scale"][-1]) for step in steps if step["type"] == "scale")


def make_bioformats_reader(jar: Path) -> Reader:
    def read(path: Path, truth: list[Rgb]) -> Seen:
        file = get_first_file(path)
        words = _run_java(jar, "loci.formats.tools.ImageInfo", "-nopix", "-omexml", "-noflat", str(file))
        levels = re.findall(r"Resolutions = (\d+)", words)
        count = int(levels[0]) if levels else 1
        power = re.search(r'NominalMagnification="([\d.]+)"', words)
        with tempfile.TemporaryDirectory() as folder:
            regions = {
                number: convert_with_bioformats(jar, file, number, Path(folder) / f"{number}.ome.tif")
                for number in COMPARED
            }
        errors = compare_levels(lambda number: regions[number], count, truth)
        return Seen(count, _parse_mpp(words), power and float(power[1]), errors)

    return read


def read_bioformats_version(jar: Path) -> str:
    """Return name and version of the library in a jar."""
    with ZipFile(jar) as archive:
        manifest = archive.read("META-INF/MANIFEST.MF").decode()
    found = re.search(r"^Implementation-Version: (\S+)", manifest, re.MULTILINE)
    return f"{BIO_FORMATS} {found[1] if found else ''}".rstrip()


def read_bioformats_mpp(jar: Path, path: Path) -> float:
    """Read the um/px of the first image that Bio-Formats finds; 0 where it finds none."""
    return _parse_mpp(_run_java(jar, "loci.formats.tools.ImageInfo", "-nopix", "-omexml", "-noflat", str(path))) or 0.0


def _parse_mpp(words: str) -> float | None:
    found = re.search(r'PhysicalSizeX="(\S+)" PhysicalSizeXUnit="(\w+)"', words)
    return float(found[1]) * _UM_PER_UNIT[found[2]] if found else None


def convert_with_bioformats(jar: Path, path: Path, level: int, output: Path) -> Rgb:
    """Let Bio-Formats write a level as OME-TIFF, and read that."""
    # Without -noflat every level is a series of its own.
    _run_java(jar, "loci.formats.tools.ImageConverter", "-series", str(level), str(path), str(output))
    return np.asarray(tifffile.imread(output))


def _run_java(jar: Path, tool: str, *arguments: str) -> str:
    run = subprocess.run(["java", "-cp", str(jar), tool, *arguments], capture_output=True, text=True, check=True)
    return run.stdout
