"""Labelled images of an OME-Zarr, OME-NGFF 0.5: planes of whole numbers over the image, in the group `labels` in it.

A viewer such as napari shows them as layers over the image, each value in the colour that is stored with it.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import product
from pathlib import Path
from typing import Any

import imagecodecs
import numpy as np
import numpy.typing as npt

from wsisr.errors import OutputError, describe_error
from wsisr.files import publish_output, sync_folder, translate_disk_errors
from wsisr.writing.encoding.codec import ZSTD_LEVEL
from wsisr.writing.layouts.ome_zarr import (
    MAX_METADATA_BYTES,
    METADATA_FILE,
    OWN_ATTRIBUTE,
    build_array,
    serialise_metadata,
    write_new_file,
)

LABELS_FOLDER = "labels"

CHUNK_PX = 1024

Colour = tuple[int, int, int, int]
LabelPlane = npt.NDArray[np.uint8]


@dataclass(frozen=True, slots=True)
class LabelImage:
    """A labelled image over the whole of an image."""

    name: str
    planes: Sequence[LabelPlane]
    """(h, w) each, from fine to coarse, each half the one above, rounded up; as many as the image has levels."""
    px_per_value: int
    """Px of the image's level 0 along a side of a value of the finest plane."""
    colours: Mapping[int, Colour] = field(repr=False)
    """Red, green, blue and opacity of each value."""
    fill: int
    """Value where nothing is known."""
    metadata: Mapping[str, str] = field(repr=False)
    """What is known of the values, for people and programs."""


def list_labels(image: Path) -> list[str]:
    """Return the names of the labelled images of an OME-Zarr; a folder of labels that cannot be read has one, "?"."""
    group = image / LABELS_FOLDER / METADATA_FILE
    if not group.parent.exists():
        return []
    try:
        with group.open("rb") as file:
            return [str(name) for name in json.loads(file.read(MAX_METADATA_BYTES))["attributes"]["ome"]["labels"]]
    except (OSError, ValueError, TypeError, KeyError, RecursionError):
        return ["?"]


def count_zarr_levels(image: Path) -> int:
    """Return how many levels an OME-Zarr has. Raises `OutputError` where it is none of wsisr."""
    return len(_read_datasets(image))


def write_label_image(image: Path, label: LabelImage, *, overwrite: bool) -> None:
    """Add a labelled image to a finished OME-Zarr, whole or not at all; it becomes the only one.

    Raises `OutputError` if there are labels already, unless `overwrite`, and if the disk refuses.
    """
    datasets = _read_datasets(image)
    with (
        translate_disk_errors(image),
        tempfile.TemporaryDirectory(dir=image.parent, prefix=".wsisr-labels-") as partial,
    ):
        group = Path(partial) / LABELS_FOLDER
        transformations = datasets[0]["coordinateTransformations"]
        for number, plane in enumerate(label.planes):
            _write_plane(group / label.name / str(number), plane, label.fill)
        write_new_file(group / label.name / METADATA_FILE, serialise_metadata(_build_group(label, transformations)))
        ome = {"ome": {"version": "0.5", "labels": [label.name]}}
        write_new_file(
            group / METADATA_FILE, serialise_metadata({"zarr_format": 3, "node_type": "group", "attributes": ome})
        )
        for subfolder in [*group.rglob("*/"), group]:
            sync_folder(subfolder)
        publish_output(group, image / LABELS_FOLDER, overwrite=overwrite)


def _read_datasets(image: Path) -> list[dict[str, Any]]:
    try:
        with (image / METADATA_FILE).open("rb") as file:
            attributes = dict(json.loads(file.read(MAX_METADATA_BYTES)))["attributes"]
        return [dict(item) for item in attributes["ome"]["multiscales"][0]["datasets"] if attributes[OWN_ATTRIBUTE]]
    except (OSError, ValueError, TypeError, KeyError, IndexError, RecursionError) as error:
        raise OutputError(f"{image}: is no OME-Zarr of wsisr ({describe_error(error)}); it gets no labels") from error


def _write_plane(folder: Path, plane: LabelPlane, fill: int) -> None:
    chunk = tuple(min(CHUNK_PX, side) for side in plane.shape)
    codecs: list[dict[str, Any]] = [
        {"name": "bytes"},
        {"name": "zstd", "configuration": {"level": ZSTD_LEVEL, "checksum": False}},
    ]
    array = build_array(list(plane.shape), list(chunk), codecs, fill) | {"dimension_names": ["y", "x"]}
    write_new_file(folder / METADATA_FILE, serialise_metadata(array))
    for row, column in product(*(range(-(-side // step)) for side, step in zip(plane.shape, chunk, strict=True))):
        part = plane[row * chunk[0] : (row + 1) * chunk[0], column * chunk[1] : (column + 1) * chunk[1]]
        whole = np.full(chunk, fill, np.uint8)
        whole[: part.shape[0], : part.shape[1]] = part
        encoded = bytes(imagecodecs.zstd_encode(whole.tobytes(), level=ZSTD_LEVEL))
        write_new_file(folder / "c" / str(row) / str(column), [encoded])


def _build_group(label: LabelImage, transformations: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Return the metadata of a labelled image; `transformations` are those of the image's level 0."""
    (_, mpp_y, mpp_x), (_, top, left) = (list(item.values())[1] for item in transformations)
    datasets = []
    for number in range(len(label.planes)):
        factor = label.px_per_value * 2**number
        # Positions are those of centres, so that a larger value's lies further inside.
        translation = [top + (factor - 1) / 2 * mpp_y, left + (factor - 1) / 2 * mpp_x]
        steps = [
            {"type": "scale", "scale": [mpp_y * factor, mpp_x * factor]},
            {"type": "translation", "translation": translation},
        ]
        datasets.append({"path": str(number), "coordinateTransformations": steps})
    axes = [{"name": name, "type": "space", "unit": "micrometer"} for name in "yx"]
    colours = [{"label-value": value, "rgba": list(colour)} for value, colour in label.colours.items()]
    ome = {
        "version": "0.5",
        "multiscales": [{"name": label.name, "axes": axes, "datasets": datasets}],
        "image-label": {"version": "0.5", "colors": colours, "source": {"image": "../../"}},
    }
    return {"zarr_format": 3, "node_type": "group", "attributes": {"ome": ome, OWN_ATTRIBUTE: {"note": label.metadata}}}
