"""Laws of annotations that go along: there and back is where they were, and all but coordinates stays."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from wsisr.errors import ConfigError
from wsisr.imaging.geometry import Box, Size
from wsisr.tissue.annotation_frames import (
    AnnotationFrame,
    AnnotationOrigin,
    ResultFrame,
    count_hits,
    encode_features,
    iterate_geometries,
    move_annotations,
    read_features,
)

NUMBERS = st.floats(-200_000, 200_000)


def describe_result(
    origin: tuple[float, float] = (100, 50), downsample: float = 1.0, scale: int = 2, size: str = "400 x 300 px"
) -> dict[str, str]:
    """Return what a result records of itself."""
    return {
        "source origin": "{:.10g}, {:.10g} px of level 0".format(*origin),
        "source downsample": f"{downsample:.10g} px of level 0 per px",
        "scale": str(scale),
        "size": size,
    }


def make_frame(**facts: Any) -> ResultFrame:
    return ResultFrame.from_metadata(describe_result(**facts), Path("a.x2.ome.tif"))


def make_features(*points: tuple[float, float]) -> dict[str, Any]:
    """Return a collection of every kind of geometry, all of the same points, as QuPath and others write them."""
    line = [list(point) for point in points]
    geometries = [
        {"type": "Point", "coordinates": [*points[0], 7]},
        {"type": "LineString", "coordinates": line},
        {"type": "MultiPolygon", "coordinates": [[line], [line, line]]},
        {"type": "GeometryCollection", "geometries": [{"type": "MultiPoint", "coordinates": line}]},
    ]
    properties = {"classification": {"name": "Tumour", "color": [200, 0, 0]}, "measurements": {"Area µm^2": 17.5}}
    features = [
        {"type": "Feature", "id": str(number), "geometry": geometry, "properties": properties}
        for number, geometry in enumerate(geometries)
    ]
    features[1]["nucleusGeometry"] = {"type": "Polygon", "coordinates": [line]}
    return {"type": "FeatureCollection", "bbox": [0, 0, 10, 10], "crs": {"a": [1]}, "features": features}


def list_positions(document: Any) -> list[tuple[float, float]]:
    def walk(item: Any) -> list[tuple[float, float]]:
        if isinstance(item[0], list):
            return [position for part in item for position in walk(part)]
        return [(item[0], item[1])]

    return [position for geometry in iterate_geometries(document) for position in walk(geometry["coordinates"])]


@settings(max_examples=25)
@given(
    st.lists(st.tuples(NUMBERS, NUMBERS), min_size=3, max_size=4),
    st.tuples(st.floats(0, 100_000), st.floats(0, 100_000)),
    st.floats(0.3, 64),
    st.sampled_from([1, 2, 4]),
)
def test_there_and_back_is_within_a_hundredth_of_a_pixel(
    points: list[tuple[float, float]], origin: tuple[float, float], downsample: float, scale: int
) -> None:
    frame = make_frame(origin=origin, downsample=downsample, scale=scale)
    document = make_features(*points)
    before = copy.deepcopy(document)
    moved = move_annotations(document, frame.to_result)
    back = move_annotations(moved, frame.to_result.invert())
    assert document == before
    expected = [((x - origin[0]) / downsample * scale, (y - origin[1]) / downsample * scale) for x, y in points]
    assert list_positions(moved)[1:][: len(points)] == [pytest.approx(each, abs=1e-3, rel=1e-8) for each in expected]
    assert list_positions(back) == [pytest.approx(each, abs=0.01) for each in list_positions(document)]


def test_all_but_coordinates_and_bounding_boxes_stays() -> None:
    document = make_features((100, 50), (110, 60), (120, 50))
    moved = move_annotations(document, make_frame().to_result)
    assert moved["bbox"] == [-200.0, -100.0, -180.0, -80.0]
    assert moved["crs"] == document["crs"]
    for before, after in zip(document["features"], moved["features"], strict=True):
        assert before["properties"] == after["properties"]
        assert before["id"] == after["id"]
        assert before["geometry"]["type"] == after["geometry"]["type"]
    assert moved["features"][0]["geometry"]["coordinates"] == [0.0, 0.0, 7]
    assert moved["features"][1]["nucleusGeometry"]["coordinates"][0][1] == [20.0, 20.0]


def test_qupath_counts_from_the_scanned_bounds_and_others_from_the_canvas() -> None:
    """The result of a whole scan begins at the corner of the bounds, which is QuPath's 0, 0."""
    bounds, frame = Box(5000, 3000, 5200, 3150), make_frame(origin=(5000, 3000))
    from_qupath, from_canvas = make_features((10, 20)), make_features((5010, 3020))
    for document in (from_qupath, from_canvas):
        found = AnnotationOrigin("auto", bounds).choose_frame(document, frame, Path("a.geojson"))
        assert list_positions(move_annotations(document, found))[0] == (20, 40)
    result = make_features((20, 40))
    for choice, expected in (("bounds", (10, 20)), ("canvas", (5010, 3020))):
        way = AnnotationOrigin(choice, bounds).choose_target(frame, Path("a.geojson"))
        assert list_positions(move_annotations(result, way))[0] == expected
    with pytest.raises(ConfigError, match="say which with --origin bounds or canvas"):
        AnnotationOrigin("auto", bounds).choose_target(frame, Path("a.geojson"))


def test_marks_that_hit_the_result_from_either_corner_are_asked_about() -> None:
    bounds, frame = Box(20, 10, 220, 160), make_frame(origin=(20, 10))
    with pytest.raises(ConfigError, match="may count from the canvas or, as QuPath does, from the scanned bounds"):
        AnnotationOrigin("auto", bounds).choose_frame(make_features((100, 100)), frame, Path("a.geojson"))


def test_marks_that_touch_the_result_are_counted() -> None:
    frame, area = make_frame(), Box.from_size(Size(400, 300))
    assert count_hits(make_features((100, 50)), frame.to_result, area) == (5, 5)
    assert count_hits(make_features((0, 0), (400, 400)), frame.to_result, area)[0] == 4  # around it, but for the point
    assert count_hits({"type": "MultiPoint", "coordinates": []}, frame.to_result, area) == (0, 1)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[1]",
        '{"type": "Feature"',
        '{"type": "Feature", "geometry": 3}',
        '{"type": "Circle", "coordinates": [1, 2]}',
        '{"type": "Point", "coordinates": [1]}',
        '{"type": "Point", "coordinates": ["1", 2]}',
        '{"type": "Point", "coordinates": [NaN, 2]}',
        '{"type": "Point", "coordinates": [true, 2]}',
        '{"type": "Polygon", "coordinates": [1, 2]}',
        '{"type": "FeatureCollection", "features": "none"}',
        '{"coordinates": []}',
        "[" * 100_000,
        '{"type": "Point", "coordinates": [1e308, 2]}',
        '{"type": "GeometryCollection", "geometries": [' * 100
        + '{"type": "Point", "coordinates": [1, 2]}'
        + "]}" * 100,
    ],
)
def test_what_is_no_geojson_is_an_error_in_a_line(text: str, tmp_path: Path) -> None:
    path = tmp_path / "a.geojson"
    path.write_text(text)
    with pytest.raises(ConfigError, match=r"a.geojson: is not GeoJSON \(") as refused:
        read_features(path)
    assert "\n" not in str(refused.value)


def test_measurements_that_are_no_number_stay_as_qupath_wrote_them(tmp_path: Path) -> None:
    path = tmp_path / "a.geojson"
    path.write_text(
        '{"type": "Feature", "geometry": {"type": "Point", "coordinates": [1, 2, Infinity]}, '
        '"properties": {"measurements": {"Area": NaN}}, "bbox": [NaN, 1, 2, 3]}'
    )
    moved = move_annotations(read_features(path), AnnotationFrame(2.0, (1.0, 1.0)))
    text = encode_features(moved, compressed=False).decode()
    assert '"coordinates":[4.0,6.0,Infinity]' in text
    assert '"measurements":{"Area":NaN}' in text
    assert '"bbox":[NaN,1,2,3]' in text


def test_properties_within_each_other_too_often_are_an_error_in_a_line() -> None:
    nested: dict[str, Any] = {"type": "Point", "coordinates": [1, 2]}
    for _ in range(100_000):
        nested = {"type": "Point", "coordinates": [1, 2], "more": nested}
    with pytest.raises(ConfigError, match="lie within each other too often"):
        encode_features(nested, compressed=False)


@pytest.mark.parametrize("missing", ["source origin", "source downsample", "scale", "size"])
def test_a_file_that_records_no_place_is_refused(missing: str) -> None:
    metadata = describe_result()
    beyond = metadata | {missing: "9" * 5000 + metadata[missing]}  # any float, and what Python reads as a number
    for wrong in (
        metadata | {missing: "here"},
        beyond,
        {key: text for key, text in metadata.items() if key != missing},
    ):
        with pytest.raises(ConfigError, match=r"a.tif: does not record where it lies in its slide; make the result"):
            ResultFrame.from_metadata(wrong, Path("a.tif"))
    with pytest.raises(ConfigError, match="give a result of wsisr upscale"):
        ResultFrame.from_metadata({}, Path("a.tif"))


def test_features_without_a_geometry_stay(tmp_path: Path) -> None:
    document = [{"type": "Feature", "geometry": None, "properties": {"features": "text", "bbox": 3}, "bbox": "wide"}]
    path = tmp_path / "a.geojson"
    path.write_text(json.dumps(document))
    assert move_annotations(read_features(path), make_frame().to_result) == document
