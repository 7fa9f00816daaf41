"""Pictures of one result on the page of a run: the overview with its marks, and places before and after."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import cv2
from markupsafe import Markup

from wsisr.imaging.geometry import Box
from wsisr.imaging.pixels import Rgb
from wsisr.reports.pictures import encode_data_uri, encode_png_uri
from wsisr.reports.templating import render_template
from wsisr.upscaling.result_pictures import Outline, PlacePictures, ResultPictures

DETAIL_MARK, TRUST_MARK = "D", "T"
"""First letters of the places of most added detail and of least trust."""

INPUT_QUALITY, OUTPUT_QUALITY, OVERVIEW_QUALITY = 95, 88, 82


class ResultSection(NamedTuple):
    """The pictures of a result, as HTML."""

    overview: Markup
    places: Markup


def render_result_pictures(pictures: ResultPictures, *, mpp: float | None, shows_detail: bool) -> ResultSection:
    """Render the overview and the places of a result, whose pixel size is `mpp` um/px where it is known.

    Without a network there is no added detail, and only the places of least trust are shown.
    """
    detail = pictures.most_detail if shows_detail else []
    return ResultSection(
        _render_overview(pictures, detail),
        render_template(
            "run/places.html",
            sampled_windows=pictures.sampled_windows,
            searched_tiles=len(pictures.worst_tiles),
            has_bounds=any(shown.place.bound is not None for shown in pictures.least_trust),
            detail=_render_places(detail, DETAIL_MARK, pictures.scale, mpp),
            trust=_render_places(pictures.least_trust, TRUST_MARK, pictures.scale, mpp),
        ),
    )


def _render_overview(pictures: ResultPictures, detail: Sequence[PlacePictures]) -> Markup:
    height, width = pictures.overview.shape[:2]
    ratio = width / max(1, pictures.region_size.width)
    groups = (("detail", DETAIL_MARK, detail), ("trust", TRUST_MARK, pictures.least_trust))
    marks = [
        (kind, f"{letter}{number}", _scale_box(shown.place.box, ratio))
        for kind, letter, group in groups
        for number, shown in enumerate(group, 1)
    ]
    return render_template(
        "run/overview.html",
        overview=encode_data_uri(pictures.overview, OVERVIEW_QUALITY),
        width=width,
        height=height,
        outline="".join(map(_draw_outline, pictures.outlines)),
        tiles=[_scale_box(tile, ratio) for tile in pictures.worst_tiles],
        marks=marks,
        kinds={kind for kind, _, _ in marks},
        trust=pictures.trust and encode_png_uri(pictures.trust.png),
        trust_size=pictures.trust and (pictures.trust.size.width * ratio, pictures.trust.size.height * ratio),
    )


def _render_places(places: Sequence[PlacePictures], letter: str, scale: int, mpp: float | None) -> list[Markup]:
    return [_render_place(shown, f"{letter}{number}", scale, mpp) for number, shown in enumerate(places, 1)]


def _render_place(shown: PlacePictures, mark: str, scale: int, mpp: float | None) -> Markup:
    box = shown.place.box * scale
    pictures = [
        ("before", "before: the input", shown.before, INPUT_QUALITY),
        ("after", "bicubic", shown.bicubic, OUTPUT_QUALITY),
        ("after", "after: the result", shown.after, OUTPUT_QUALITY),
    ]
    if shown.truth is not None:
        pictures.append(("after", "truth: the slide itself", _fit_truth(shown.truth, shown.after), OUTPUT_QUALITY))
    return render_template(
        "run/place.html",
        mark=mark,
        left=box.left,
        top=box.top,
        width_um=None if mpp is None else box.width * mpp,
        place=shown.place,
        pictures=[(style, caption, encode_data_uri(image, quality)) for style, caption, image, quality in pictures],
    )


def _fit_truth(truth: Rgb, after: Rgb) -> Rgb:
    """Return the truth in the size of the result: edges that are rounded may make it a pixel larger or smaller."""
    height, width = after.shape[:2]
    bottom, right = max(0, height - truth.shape[0]), max(0, width - truth.shape[1])
    return cv2.copyMakeBorder(truth, 0, bottom, 0, right, cv2.BORDER_REPLICATE)[:height, :width]  # type: ignore[return-value]


def _scale_box(box: Box, ratio: float) -> tuple[float, float, float, float]:
    """Return left, top, width and height of a box in px of the overview."""
    return box.left * ratio, box.top * ratio, box.width * ratio, box.height * ratio


def _draw_outline(outline: Outline) -> str:
    """Return an SVG path of a closed line through the centres of pixels."""
    points = " ".join(f"{x + 0.5:g} {y + 0.5:g}" for x, y in outline)
    return f"M{points}z"
