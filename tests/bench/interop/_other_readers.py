"""Readers of this field that are no dependency of wsisr: each is asked where it can be imported."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import zarr

from tests.bench.interop._common_readers import find_mpp
from tests.bench.interop._seen import Reader, Seen, compare_levels
from wsisr.imaging.pixels import Rgb


def read_with_slideio(path: Path, truth: list[Rgb]) -> Seen:
    driver = {".svs": "SVS", ".dcm": "DCM"}.get(path.suffix, "OMETIFF")
    scene = import_module("slideio").open_slide(str(path), driver).get_scene(0)

    def read_level(number: int) -> Any:
        size = scene.get_zoom_level_info(number).size
        return scene.read_block(size=(size.width, size.height))

    errors = compare_levels(read_level, scene.num_zoom_levels, truth)
    return Seen(scene.num_zoom_levels, scene.resolution[0] * 1e6 or None, scene.magnification or None, errors)


def read_with_fastslide(path: Path, truth: list[Rgb]) -> Seen:
    slide = import_module("fastslide").FastSlide.from_file_path(str(path))
    errors = compare_levels(
        lambda number: slide.read_region((0, 0), number, slide.level_dimensions[number]).numpy(),
        slide.level_count,
        truth,
    )
    return Seen(slide.level_count, slide.mpp[0] or None, slide.properties.get("magnification"), errors)


def read_with_dlup(path: Path, truth: list[Rgb]) -> Seen:
    image = import_module("dlup").SlideImage.from_file_path(path)
    backend = image._wsi
    errors = compare_levels(
        lambda number: backend.read_region((0, 0), number, backend.level_dimensions[number]).to_numpy(),
        backend.level_count,
        truth,
    )
    return Seen(backend.level_count, image.mpp, image.magnification, errors)


def make_large_image_reader(source: str) -> Reader:
    def read(path: Path, truth: list[Rgb]) -> Seen:
        slide = import_module(source).open(str(path))
        facts = slide.getMetadata()

        def read_level(number: int) -> Any:
            """Assemble a level from its tiles; a level that is not stored is made from the next finer one."""
            z, (height, width) = slide.levels - 1 - number, truth[number].shape[:2]
            rows = [
                np.concatenate(
                    [slide.getTile(x, y, z, numpyAllowed="always") for x in range(-(-width // slide.tileWidth))], axis=1
                )
                for y in range(-(-height // slide.tileHeight))
            ]
            return np.concatenate(rows)[:height, :width]

        stored = getattr(slide, "_populatedLevels", slide.levels)
        errors = compare_levels(read_level, slide.levels, truth)
        return Seen(stored, facts["mm_x"] and facts["mm_x"] * 1000, facts["magnification"], errors)

    return read


def read_with_bioio(path: Path, truth: list[Rgb]) -> Seen:
    image = import_module("bioio").BioImage(path)

    def read_level(number: int) -> Any:
        image.set_resolution_level(number)
        return image.get_image_data("YXS" if "S" in image.dims.order else "CYX")

    levels, mpp = len(image.resolution_levels), image.physical_pixel_sizes.X
    return Seen(levels, mpp, None, compare_levels(read_level, levels, truth))


def read_with_tiatoolbox(path: Path, truth: list[Rgb]) -> Seen:
    reader = import_module("tiatoolbox.wsicore.wsireader").WSIReader.open(path)
    info = reader.info
    errors = compare_levels(
        lambda number: reader.read_rect((0, 0), info.level_dimensions[number], number, "level"),
        info.level_count,
        truth,
    )
    return Seen(info.level_count, None if info.mpp is None else float(info.mpp[0]), info.objective_power, errors)


def read_with_wsidata(path: Path, truth: list[Rgb]) -> Seen:
    slide = import_module("wsidata").open_wsi(str(path))
    facts = slide.properties
    errors = compare_levels(slide.reader.get_level, facts.n_level, truth)
    return Seen(facts.n_level, facts.mpp, facts.magnification, errors)


def read_with_napari(path: Path, truth: list[Rgb]) -> Seen:
    """Read with napari-ome-zarr; its layers show what the file is, if their names hold all of the image's name."""
    read = import_module("napari_ome_zarr").napari_get_reader(str(path))
    levels, facts, _ = read(str(path))[0]
    if not all(name.startswith("a test, research use only") for name in facts["name"]):
        raise ValueError(f"layers are called {facts['name']}")
    return Seen(
        len(levels), facts["scale"][-1], None, compare_levels(lambda number: levels[number], len(levels), truth)
    )


def validate_with_ome_zarr_models(path: Path, _: list[Rgb]) -> Seen:
    image = import_module("ome_zarr_models").open_ome_zarr(zarr.open_group(path, mode="r"))
    datasets = image.attributes.model_dump()["ome"]["multiscales"][0]["datasets"]
    return Seen(len(datasets), find_mpp(list(datasets[0]["coordinateTransformations"])), None)
