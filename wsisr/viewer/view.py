"""What is looked at: open images, what is laid over them, and the bytes of every path of the page."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from functools import cached_property
from importlib.resources import files
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TypeAlias

from wsisr.errors import SlideError
from wsisr.slides import Slide, SlideInfo, open_slide
from wsisr.upscaling.provenance import DERIVED_WARNING, read_derived_metadata
from wsisr.upscaling.trust.belonging import is_layer_of
from wsisr.version import __version__
from wsisr.viewer.annotations import Feature, read_annotations
from wsisr.viewer.openlayers import LIBRARY_FILES, read_library_file
from wsisr.viewer.placement import Placement, describe_other_scale, place_images
from wsisr.viewer.pyramid import PNG, TilePyramid, ViewLevel
from wsisr.viewer.tissue_layer import draw_tissue_layer
from wsisr.viewer.trust_layer import TRUST_SUFFIX, TrustLayer, find_trust_layer, read_trust_layer
from wsisr.viewer.unfinished import RunPyramid, UnfinishedResult, find_work_folder

PAGE_TYPES = {
    ".html": "text/html; charset=utf-8",
    ".css": "text/css",
    ".js": "text/javascript",
    ".json": "application/json",
}
PAGE_FILES = (
    "index.html",
    "viewer.css",
    *(
        f"{name}.js"
        for name in ("main", "images", "panes", "cards", "capture", "links", "minimap", "scale", "runs", "start")
    ),
)
"""The files of `page/`."""
ORIGINS_OF_ANNOTATIONS = ("canvas", "bounds")

ImageSource: TypeAlias = Slide | UnfinishedResult


@dataclass(frozen=True, slots=True)
class ViewRequest:
    """What to look at."""

    paths: Sequence[Path]
    """Slides and results, the scan first; a result that is not finished by its name, or by its work folder. Trust
    layers, `*.trust.ome.tif`, lie over all: those among them, and those beside results."""
    mpp: float | None = None
    """um/px of images that record none."""
    series: int | None = None
    """Number of the image to show of files that hold several; by default the largest."""
    annotations: Sequence[Path] = ()
    """GeoJSON in px of the first image's level 0."""
    annotations_origin: str = "canvas"
    """What annotations count from: the canvas, or, as QuPath does, the scanned bounds."""


@dataclass(frozen=True, slots=True)
class Resource:
    """The answer to one path."""

    data: bytes = field(repr=False)
    media_type: str


@dataclass(frozen=True)
class ViewImage:
    """One open image."""

    source: ImageSource
    derived: Mapping[str, str]
    """Metadata of a result of wsisr; empty for a scan."""
    placement: Placement

    @property
    def info(self) -> SlideInfo:
        return self.source.info

    @property
    def name(self) -> str:
        return self.info.path.name

    @cached_property
    def pyramid(self) -> TilePyramid | RunPyramid:
        return self.source.pyramid if isinstance(self.source, UnfinishedResult) else TilePyramid(self.source)

    @property
    def unfinished(self) -> UnfinishedResult | None:
        """The result, while a run has not finished it."""
        return self.source if isinstance(self.source, UnfinishedResult) else None


class View:
    """Open images and layers. Reading is thread-safe; closing it closes the images."""

    def __init__(self, request: ViewRequest) -> None:
        """Raises `WsisrError` where a file cannot be read, or the images have no area in common."""
        with ExitStack() as opening:
            paths = [path for path in request.paths if not path.name.endswith(TRUST_SUFFIX)]
            if not paths:
                raise SlideError(f"{request.paths[0]}: is a layer over a result; give the result, too")
            sources: list[ImageSource] = []
            for path in paths:
                sources.append(_open_image(path, request))
                opening.callback(sources[-1].close)
            derived = [_read_result_metadata(path, source) for path, source in zip(paths, sources, strict=True)]
            placements = place_images([source.info for source in sources], derived)
            self.images = tuple(map(ViewImage, sources, derived, placements))
            self._doubts: list[str] = []
            self.trust_layers = self._read_trust_layers(request.paths)
            self.has_um = all(source.info.mpp is not None for source in sources)
            self.annotations = [self._read_annotations(path, request) for path in request.annotations]
            self._annotation_names = [path.name for path in request.annotations]
            self.failures: dict[str, str] = {}
            """The last error of each image that could not be read, by name."""
            self._closing = opening.pop_all()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._closing.close()

    @property
    def warnings(self) -> list[str]:
        """Doubts about what is seen, one line each."""
        scans = [image for image in self.images if not image.placement.is_recorded]
        return [
            *(f"{image.name}: {warning}" for image in self.images for warning in image.info.warnings),
            *(f"{image.name}: records no place; its corner is put on that of {scans[0].name}" for image in scans[1:]),
            *(
                f"{image.name}: was made of a result, so its place counts from the corner of that, not of a scan"
                for image in self.images
                if DERIVED_WARNING in image.derived.get("source remarks", "") and len(self.images) > 1
            ),
            *(
                f"{image.name}: {doubt}"
                for image in self.images
                if (first := self.images[0]) and not first.derived
                if (doubt := describe_other_scale(image.derived, first.info))
            ),
            *self._doubts,
        ]

    def get_resource(self, path: str) -> Resource | None:
        """Return the answer to a path of the page, without a slash before it; None where there is none.

        Raises `SlideError` where an image cannot be read any more; it is also noted in `failures`.
        """
        parts = path.split("/")
        if len(parts) == 1:
            return self._get_page_file(parts[0] or "index.html")
        number = _parse_number(parts[1].partition(".")[0])
        if number < 0:
            return None
        if parts[0] == "annotations" and len(parts) == 2:
            return _make_json(self.annotations[number]) if number < len(self.annotations) else None
        if parts[0] == "trust" and len(parts) == 2:
            return Resource(self.trust_layers[number].draw(), PNG) if number < len(self.trust_layers) else None
        return self._get_picture(self.images[number], parts) if number < len(self.images) else None

    def _get_page_file(self, name: str) -> Resource | None:
        if name == "view.json":
            return _make_json(self.describe())
        if name == "status.json":
            return _make_json({"failures": list(self.failures.values()), "runs": self._describe_runs()})
        if name in LIBRARY_FILES:
            return Resource(read_library_file(name), PAGE_TYPES[Path(name).suffix])
        if name not in PAGE_FILES:
            return None
        return Resource(files("wsisr.viewer").joinpath("page", name).read_bytes(), PAGE_TYPES[Path(name).suffix])

    def _get_picture(self, image: ViewImage, parts: Sequence[str]) -> Resource | None:
        try:
            if parts[0] == "tiles" and len(parts) == 4:
                column, _, row = parts[3].partition(".")[0].partition("_")
                tile = image.pyramid.read_tile(*map(_parse_number, (parts[2], column, row)))
                return Resource(tile.data, tile.media_type) if tile else None
            if parts[0] == "thumbnails" and len(parts) == 2:
                thumbnail = image.pyramid.read_thumbnail()
                return Resource(thumbnail.data, thumbnail.media_type)
            if parts[0] == "tissue" and len(parts) == 2 and not isinstance(image.source, UnfinishedResult):
                return Resource(draw_tissue_layer(image.source), PNG)
        except SlideError as error:
            self.failures[image.name] = str(error)
            raise
        return None

    def describe(self) -> dict[str, Any]:
        """Return what the page knows of its images and layers; lengths in um, y downwards."""
        return {
            "software": f"wsisr {__version__}",
            "unit": "um" if self.has_um else "px",
            "images": [_describe_image(number, image) for number, image in enumerate(self.images)],
            "trust": [
                {"name": layer.name, "summary": layer.summary, "url": f"trust/{number}.png", "extent": layer.extent}
                for number, layer in enumerate(self.trust_layers)
            ],
            "annotations": [
                {"name": name, "url": f"annotations/{number}.json"}
                for number, name in enumerate(self._annotation_names)
            ],
        }

    def _describe_runs(self) -> dict[int, dict[str, Any]]:
        """Return how far the unfinished images are, by number. Raises `SlideError`."""
        return {
            number: image.unfinished.describe_progress() for number, image in enumerate(self.images) if image.unfinished
        }

    def _read_trust_layers(self, paths: Sequence[Path]) -> list[TrustLayer]:
        """Read the layers that are given, and those that lie beside results."""
        images = [path for path in paths if not path.name.endswith(TRUST_SUFFIX)]
        # As they were given: a DICOM slide is opened by one of its files.
        opened = zip(images, self.images, strict=True)
        results = [path for path, image in opened if image.derived and not image.unfinished]
        found = {result: find_trust_layer(result) for result in results}
        beside = {result: layer for result, layer in found.items() if layer is not None}
        own = [layer for result, layer in beside.items() if is_layer_of(layer, result)]
        given = [path for path in paths if path.name.endswith(TRUST_SUFFIX)]
        layers = [*given, *own]
        self._doubts = [
            f"{layer.name}: is of another result than {result.name}, and not shown"
            for result, layer in beside.items()
            if layer not in layers
        ] + [
            f"{layer.name}: is of none of the results on this page"
            for layer in given
            if results and not any(is_layer_of(layer, result) for result in results)
        ]
        scan_mpps = [image.placement.mpp for image in self.images if not image.derived]
        return [read_trust_layer(path, scan_mpps) for path in dict.fromkeys(layers)]

    def _read_annotations(self, path: Path, request: ViewRequest) -> list[Feature]:
        first = self.images[0]
        bounds = first.info.bounds if request.annotations_origin == "bounds" else None
        corner = (bounds.left, bounds.top) if bounds else (0, 0)
        place, mpp = first.placement, first.placement.mpp
        return read_annotations(path, (place.left + corner[0] * mpp, place.top + corner[1] * mpp), mpp)


def _open_image(path: Path, request: ViewRequest) -> ImageSource:
    """Open an image; the request's pixel size and series are for files that need them, not for all."""
    if find_work_folder(path):
        return UnfinishedResult(path)
    slide = open_slide(path, estimate=True)
    needs_mpp = slide.info.mpp is None and request.mpp is not None
    needs_series = bool(slide.info.all_series) and request.series not in (None, slide.info.series_number)
    if not (needs_mpp or needs_series):
        return slide
    slide.close()
    series = request.series if needs_series else None
    return open_slide(path, request.mpp if needs_mpp else None, estimate=True, series=series)


def _read_result_metadata(path: Path, source: ImageSource) -> Mapping[str, str]:
    return source.metadata if isinstance(source, UnfinishedResult) else read_derived_metadata(path)


def _describe_image(number: int, image: ViewImage) -> dict[str, Any]:
    info, place = image.info, image.placement
    return {
        "name": image.name,
        "derived": image.derived.get("derived"),
        "facts": _list_facts(image),
        "left": place.left,
        "top": place.top,
        "mpp": place.mpp,
        "objective": info.objective,
        "width": info.size.width,
        "height": info.size.height,
        "thumbnail": f"thumbnails/{number}.jpg",
        "tissue": None if image.unfinished else f"tissue/{number}.png",
        "run": image.unfinished.describe_progress() if image.unfinished else None,
        "levels": [_describe_level(number, position, level) for position, level in enumerate(image.pyramid.levels)],
    }


def _describe_level(image: int, position: int, level: ViewLevel) -> dict[str, Any]:
    return {
        "downsample": level.downsample,
        "columns": level.columns,
        "rows": level.rows,
        "tile": [level.tile.width, level.tile.height],
        "url": f"tiles/{image}/{position}/{{x}}_{{y}}.{'jpg' if level.is_jpeg else 'png'}",
    }


def _list_facts(image: ViewImage) -> list[tuple[str, str]]:
    info = image.info
    return [
        ("size", f"{info.size} px"),
        ("pixel size", "not recorded" if info.mpp is None else f"{info.mpp:.4g} um/px, {info.mpp_origin}"),
        ("objective", "not recorded" if info.objective is None else f"{info.objective:g}x"),
        ("format", f"{info.vendor}, read through {info.reader}"),
        *((key, value) for key, value in image.derived.items()),
    ]


def _parse_number(word: str) -> int:
    """Return the number that a word of a path is; -1 where it is none."""
    return int(word) if word.isascii() and word.isdecimal() and len(word) < 8 else -1


def _make_json(value: Any) -> Resource:
    # Escaped beyond what JSON asks, so that no program takes a part of it for markup.
    text = json.dumps(value, ensure_ascii=True).replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")
    return Resource(text.encode("ascii"), PAGE_TYPES[".json"])
