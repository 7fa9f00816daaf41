"""The libraries that are asked what they see of a file, each in a process of its own."""

from __future__ import annotations

import logging
import textwrap
from collections.abc import Mapping
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TypeAlias

from tests.bench.interop import _common_readers as common
from tests.bench.interop import _other_readers as other
from tests.bench.interop._common_readers import BIO_FORMATS, make_bioformats_reader, read_bioformats_version
from tests.bench.interop._seen import Reader, Seen
from wsisr.imaging.pixels import Rgb

TIFFS = {"ome-tiff": "image.ome.tif", "aperio": "image.svs"}
ZARRS = {"ome-zarr": "image.ome.zarr"}
DICOMS = {"dicom": "image.dcm"}

MAX_ERROR_CHARACTERS = 100
"""Characters of an error that are shown."""

Key: TypeAlias = tuple[str, str]
"""Layout and codec of a file."""

Sample: TypeAlias = tuple[Path, list[Rgb]]
"""A file and the levels that are stored in it."""


@dataclass(frozen=True)
class Library:
    """A library that reads files, and what it is given."""

    name: str
    distribution: str
    """Its name on PyPI, which has a version where it is installed."""
    read: Reader
    layouts: tuple[str, ...] = tuple(TIFFS)
    jar: Path | None = None
    """The library itself, where it is a Java archive."""


LIBRARIES = (
    Library("OpenSlide (Python)", "openslide-python", common.read_with_openslide, (*TIFFS, *DICOMS)),
    Library("tiffslide", "tiffslide", common.read_with_tiffslide),
    Library("tifffile", "tifffile", common.read_with_tifffile),
    Library("libvips (pyvips)", "pyvips", common.read_with_pyvips),
    Library("cuCIM", "cucim-cu12", common.read_with_cucim),
    Library("slideio", "slideio", other.read_with_slideio, (*TIFFS, *DICOMS)),
    Library("fastslide", "fastslide", other.read_with_fastslide, (*TIFFS, *ZARRS)),
    Library("dlup", "dlup", other.read_with_dlup),
    Library("large_image, tiff", "large-image-source-tiff", other.make_large_image_reader("large_image_source_tiff")),
    Library(
        "large_image, openslide",
        "large-image-source-openslide",
        other.make_large_image_reader("large_image_source_openslide"),
    ),
    Library(
        "large_image, tifffile",
        "large-image-source-tifffile",
        other.make_large_image_reader("large_image_source_tifffile"),
    ),
    Library(
        "large_image, zarr",
        "large-image-source-zarr",
        other.make_large_image_reader("large_image_source_zarr"),
        ("ome-zarr",),
    ),
    Library("bioio", "bioio", other.read_with_bioio, (*TIFFS, *ZARRS)),
    Library("tiatoolbox", "tiatoolbox", other.read_with_tiatoolbox, (*TIFFS, *ZARRS, *DICOMS)),
    Library("wsidata", "wsidata", other.read_with_wsidata, (*TIFFS, *ZARRS)),
    Library("wsidicom", "wsidicom", common.read_with_wsidicom, tuple(DICOMS)),
    Library("zarr", "zarr", common.read_with_zarr, tuple(ZARRS)),
    Library("ome-zarr-py", "ome-zarr", common.read_with_ome_zarr, tuple(ZARRS)),
    Library("napari-ome-zarr", "napari-ome-zarr", other.read_with_napari, tuple(ZARRS)),
    Library("ome-zarr-models (validator)", "ome-zarr-models", other.validate_with_ome_zarr_models, tuple(ZARRS)),
)


def find_libraries(only: list[str], jar: Path | None) -> dict[str, Library]:
    """Return what is installed, by name and version; only those whose names begin so, if any are given."""
    found = {}
    for library in LIBRARIES:
        if only and not library.name.startswith(tuple(only)):
            continue
        try:
            found[f"{library.name} {version(library.distribution)}"] = library
        except PackageNotFoundError:
            continue
    if jar:
        layouts = (*TIFFS, *DICOMS)
        found[read_bioformats_version(jar)] = Library(BIO_FORMATS, "", make_bioformats_reader(jar), layouts, jar)
    return found


def ask_about_each(library: Library, samples: Mapping[Key, Sample]) -> dict[Key, Seen | str]:
    """Return what a reader sees of each file, in a process of its own: some crash on a codec that they lack."""
    answers: dict[Key, Seen | str] = {}
    pool: ProcessPoolExecutor | None = None
    for key, sample in samples.items():
        pool = pool or ProcessPoolExecutor(1)
        try:
            answers[key] = pool.submit(_ask, library.name, library.jar, *sample).result()
        except BrokenProcessPool:
            pool, answers[key] = None, "crashes"
    if pool:
        pool.shutdown()
    return answers


def _ask(name: str, jar: Path | None, path: Path, truth: list[Rgb]) -> Seen | str:
    """Return what the reader of a name sees, or the beginning of its error: that is an answer, too."""
    logging.disable(logging.ERROR)
    read = make_bioformats_reader(jar) if jar else next(each.read for each in LIBRARIES if each.name == name)
    try:
        return read(path, truth)
    except Exception as error:  # noqa: BLE001 - that a reader fails, however it does, is what is measured
        words = " ".join(str(error).replace(str(path), path.name).split()).replace("|", "/")
        words = type(error).__name__ if words in ("", path.name) else words
        return f"fails: {textwrap.shorten(words, MAX_ERROR_CHARACTERS, placeholder=' ...')}"
