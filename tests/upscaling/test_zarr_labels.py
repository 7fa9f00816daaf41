"""The trust layer in an OME-Zarr: a labelled image that other readers find, at its place, and that harms nothing."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import zarr

from tests.viewer.pictures import REGION, write_scan
from wsisr.api import upscale_slide
from wsisr.errors import OutputError
from wsisr.upscaling.trust.zarr_labels import write_zarr_labels
from wsisr.writing.verification import verify_pyramid

PX_PER_CELL = 16
BOUNDS = np.random.default_rng(0).integers(
    0, 256, (-(-2 * REGION[3] // PX_PER_CELL), 2 * REGION[2] // PX_PER_CELL), np.uint8
)


def open_zarr(result: Path) -> Any:
    return zarr.open_group(str(result), mode="r")


@pytest.fixture(scope="module")
def result(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("zarr")
    output = folder / "result.ome.zarr"
    upscale_slide(
        write_scan(folder / "scan.tif"), output=output, region=REGION, scale=2, model="bicubic", tissue="none"
    )
    write_zarr_labels(output, BOUNDS, PX_PER_CELL, {"calibration": "none"})
    return output


def test_the_label_image_has_the_bounds_at_the_place_of_their_pixels(result: Path) -> None:
    root = open_zarr(result)
    image = root.attrs["ome"]["multiscales"][0]["datasets"]
    label = root["labels/trust"]
    datasets = label.attrs["ome"]["multiscales"][0]["datasets"]
    assert root["labels"].attrs["ome"] == {"version": "0.5", "labels": ["trust"]}
    np.testing.assert_array_equal(root["labels/trust/0"][:], BOUNDS)
    assert len(datasets) == len(image)
    mpp, first = (image[0]["coordinateTransformations"][n][key] for n, key in ((0, "scale"), (1, "translation")))
    for number, dataset in enumerate(datasets):
        pitch, centre = (
            step[key] for step, key in zip(dataset["coordinateTransformations"], ("scale", "translation"), strict=True)
        )
        px = PX_PER_CELL * 2**number
        assert pitch == pytest.approx([px * mpp[1], px * mpp[2]])
        # The middle of a cell is that of its pixels.
        assert centre == pytest.approx([first[axis] + np.arange(px).mean() * mpp[axis] for axis in (1, 2)])
        assert root[f"labels/trust/{number}"].shape == tuple(-(-side // 2**number) for side in BOUNDS.shape)


def test_every_value_has_its_colour(result: Path) -> None:
    label = open_zarr(result)["labels/trust"].attrs["ome"]["image-label"]
    colours = {entry["label-value"]: entry["rgba"] for entry in label["colors"]}
    assert sorted(colours) == list(range(256))
    assert all(
        len(rgba) == 4 and all(type(value) is int and 0 <= value <= 255 for value in rgba) for rgba in colours.values()
    )
    assert colours[3][3] == 0 < colours[30][3]
    assert label["source"] == {"image": "../../"}


def test_the_result_is_as_good_as_before_and_a_layer_replaces_the_older_one(result: Path) -> None:
    write_zarr_labels(result, BOUNDS // 2, PX_PER_CELL, {})
    np.testing.assert_array_equal(open_zarr(result)["labels/trust/0"][:], BOUNDS // 2)
    write_zarr_labels(result, BOUNDS, PX_PER_CELL, {})
    assert all(finding.good for finding in verify_pyramid(result))
    assert sorted(path.name for path in result.parent.iterdir()) == ["result.ome.zarr", "scan.tif"]


def test_labels_of_others_stay(result: Path, tmp_path: Path) -> None:
    copy = Path(shutil.copytree(result, tmp_path / "copy.ome.zarr"))
    group = copy / "labels" / "zarr.json"
    group.write_text(json.dumps({"attributes": {"ome": {"labels": ["trust", "nuclei"]}}}))
    with pytest.raises(OutputError, match="holds other labels"):
        write_zarr_labels(copy, BOUNDS // 2, PX_PER_CELL, {})
    np.testing.assert_array_equal(open_zarr(copy / "labels/trust")["0"][:], BOUNDS)
