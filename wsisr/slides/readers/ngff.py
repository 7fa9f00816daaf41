"""OME-NGFF metadata, versions 0.1 to 0.5: the images of a zarr group, their axes, levels and pixel sizes; no pixels.

Nothing is followed out of the folder, and files of metadata are bounded.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from itertools import count, islice, takewhile
from pathlib import Path
from typing import Any

from wsisr.bounds import MAX_LEVELS, MAX_ZARR_ARRAY_METADATA_BYTES, MAX_ZARR_METADATA_BYTES
from wsisr.files import is_zarr
from wsisr.imaging.units import is_unknown_unit, parse_length_unit
from wsisr.remote.path import is_url
from wsisr.slides.pixel_size import parse_number
from wsisr.slides.readers.zarr_array import ZarrArrayError

_MAX_VERSION_CHARACTERS = 40

_OLD_AXES = "tczyx"
"""Axes of versions 0.1 and 0.2, which name none and always have five."""

_READ_VERSIONS = ("0.1", "0.2", "0.3", "0.4", "0.5")

_MAX_NAMED_IMAGES = 3
_MAX_SEARCHED_FOLDERS = 10_000
_SPATIALDATA_IMAGES = "images"


@dataclass(frozen=True, slots=True)
class ZarrImage:
    """One multiscale image: its folder and its metadata."""

    folder: Path
    multiscale: Mapping[str, Any]
    """The image's entry in OME-NGFF's `multiscales`."""
    ngff_attributes: Mapping[str, Any]
    """All OME-NGFF attributes of the group that holds the image."""
    wsisr_attributes: Mapping[str, Any]
    """Attributes that wsisr writes; empty in the files of others."""
    group_name: str = ""
    """Name of its group, where that is what tells images apart; else empty."""

    @property
    def name(self) -> str:
        return str(self.multiscale.get("name", "")) if not self.group_name else self.group_name

    @property
    def axes(self) -> str:
        """A letter for each axis. Version 0.3 gives the names alone, in a list; versions before it none."""
        axes = self.multiscale.get("axes")
        if axes is None:
            return _OLD_AXES
        return "".join(axis if isinstance(axis, str) else axis["name"] for axis in axes)

    @property
    def level_folders(self) -> list[Path]:
        """The folder of each level. Raises `ZarrArrayError` where a path leads elsewhere."""
        datasets = self.multiscale["datasets"]
        if len(datasets) > MAX_LEVELS:
            raise ZarrArrayError(f"{len(datasets)} levels, more than {MAX_LEVELS},")
        return [_join_level_path(self.folder, dataset["path"]) for dataset in datasets]

    @property
    def axis_mpp(self) -> tuple[float | None, float | None]:
        """um/px of the finest level along x and y; None where it is not recorded, or in an unknown unit."""
        x, y = (self._parse_axis_mpp(self.axes.index(axis)) for axis in "xy")
        return x, y

    @property
    def unknown_unit(self) -> str | None:
        """The unit of its pixel size if that is not understood; else None."""
        units = [self._parse_unit(self.axes.index(axis)) for axis in "xy"]
        return next(filter(is_unknown_unit, units), None)

    def parse_level_transformations(self, kind: str) -> list[tuple[float, float] | None]:
        """Parse each level's own `scale` or `translation` along x and y; None where it has none."""
        axes = [self.axes.index(axis) for axis in "xy"]
        datasets = self.multiscale["datasets"]
        return [_parse_transformation(dataset.get("coordinateTransformations", []), kind, axes) for dataset in datasets]

    def _parse_unit(self, axis: int) -> str:
        axes = self.multiscale.get("axes", [])
        return str(axes[axis].get("unit") or "") if axis < len(axes) and isinstance(axes[axis], Mapping) else ""

    def _parse_axis_mpp(self, axis: int) -> float | None:
        """Parse the um/px of the finest level along one axis: its own scale times that of all levels."""
        transformations = [
            *self.multiscale["datasets"][0].get("coordinateTransformations", []),
            *self.multiscale.get("coordinateTransformations", []),
        ]
        scales = [parse_number(str(step["scale"][axis])) for step in transformations if step["type"] == "scale"]
        mpp = parse_length_unit(self._parse_unit(axis))
        for scale in scales:
            mpp = None if mpp is None or scale is None else mpp * scale
        return mpp if scales else None


def find_images(folder: Path) -> Iterator[ZarrImage]:
    """Yield the images of a group, or those of its groups 0, 1, ..., as bioformats2raw writes the images of a file.

    Of a SpatialData store, those of its group `images`. Raises `ValueError` for other groups, naming the images that
    lie further down.
    """
    attributes = _read_attributes(folder)
    ngff_attributes = attributes.get("ome", attributes)
    if "plate" in ngff_attributes:
        raise ZarrArrayError("a plate of many images")
    if "multiscales" in ngff_attributes:
        yield from _list_images_in_group(folder)
    elif is_zarr(folder / "0"):
        for group in takewhile(is_zarr, (folder / str(number) for number in count())):
            yield from _list_images_in_group(group)
    elif "spatialdata_attrs" in attributes and is_zarr(folder / _SPATIALDATA_IMAGES):
        for group in _list_groups(folder / _SPATIALDATA_IMAGES):
            yield from _list_images_in_group(group, group.name)
    else:
        _refuse_group(folder)


def read_metadata_json(file: Path) -> dict[str, Any]:
    """Read a file of metadata. Raises `ZarrArrayError` where it is larger than any of an image."""
    return _read_json(file, MAX_ZARR_METADATA_BYTES)


def _read_json(file: Path, max_bytes: int) -> dict[str, Any]:
    if file.stat().st_size > max_bytes:
        raise ZarrArrayError(f"metadata of {file.stat().st_size} bytes, more than {max_bytes},")
    return dict(json.loads(file.read_bytes()))


def read_array_metadata(folder: Path) -> dict[str, Any]:
    file = folder / ("zarr.json" if (folder / "zarr.json").is_file() else ".zarray")
    return _read_json(file, MAX_ZARR_ARRAY_METADATA_BYTES)


def _list_images_in_group(group: Path, group_name: str = "") -> Iterator[ZarrImage]:
    attributes = _read_attributes(group)
    ngff_attributes = attributes.get("ome", attributes)
    for multiscale in ngff_attributes.get("multiscales", []):
        _require_known_version(str(multiscale.get("version", ngff_attributes.get("version", ""))), multiscale)
        yield ZarrImage(group, multiscale, ngff_attributes, attributes.get("wsisr", {}), group_name)


def _require_known_version(version: str, multiscale: Mapping[str, Any]) -> None:
    """Raise `ZarrArrayError` for a version whose axes lie elsewhere, as those after 0.5 do."""
    if "axes" not in multiscale and version not in ("", *_READ_VERSIONS):
        raise ZarrArrayError(f"an image in OME-Zarr {version[:_MAX_VERSION_CHARACTERS]}")


def _refuse_group(folder: Path) -> None:
    """Raise `ValueError` for a group that is no image, with the images in it."""
    images = [group.relative_to(folder).as_posix() for group in islice(_find_nested_images(folder), _MAX_NAMED_IMAGES)]
    if not images:
        raise ValueError("neither it nor a group in it has `multiscales`")
    raise ValueError(f"its images lie in {', '.join(images)}")


def _find_nested_images(folder: Path) -> Iterator[Path]:
    """Yield the groups one and two levels down that are images."""
    for child in _list_groups(folder):
        for group in (child, *_list_groups(child)):
            with suppress(OSError, ValueError, LookupError, TypeError, AttributeError):
                attributes = _read_attributes(group)
                if attributes.get("ome", attributes).get("multiscales"):
                    yield group


def _list_groups(folder: Path) -> list[Path]:
    """Return the zarr groups in a folder by name; links are left out, as they may lead anywhere."""
    if is_url(folder):
        return []  # HTTP lists nothing; whoever gives a URL names the image
    with os.scandir(folder) as entries:
        names = [entry.name for entry in islice(entries, _MAX_SEARCHED_FOLDERS) if entry.is_dir(follow_symlinks=False)]
    return [folder / name for name in sorted(names) if is_zarr(folder / name)]


def _read_attributes(folder: Path) -> Mapping[str, Any]:
    """Read the attributes of a group; none where it has none."""
    if (folder / "zarr.json").is_file():
        return dict(read_metadata_json(folder / "zarr.json").get("attributes", {}))
    return read_metadata_json(folder / ".zattrs") if (folder / ".zattrs").is_file() else {}


def _join_level_path(folder: Path, path: str) -> Path:
    if not path or Path(path).is_absolute() or ".." in Path(path).parts:
        raise ZarrArrayError("a level outside its folder")
    return folder / path


def _parse_transformation(
    steps: Sequence[Mapping[str, Any]], kind: str, axes: Sequence[int]
) -> tuple[float, float] | None:
    """Parse the numbers of the first transformation of a kind along x and y; None where there is none, or malformed."""
    try:
        numbers = next(step[kind] for step in steps if step["type"] == kind)
        x, y = (parse_number(str(numbers[axis])) for axis in axes)
    except (LookupError, TypeError, StopIteration):
        return None
    return None if x is None or y is None else (x, y)
