"""The trust layer: bounds that hold as often as they say, computed beside the result and never in it."""

from __future__ import annotations

import hashlib
import json
import shutil
from dataclasses import asdict, replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import numpy.typing as npt
import pytest
import tifffile
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

import wsisr
from tests.support.samples import REPOSITORY, InMemorySlide, make_noise, write_generic_pyramid
from wsisr.errors import ModelError, OutputError
from wsisr.imaging.geometry import Size
from wsisr.imaging.pixels import Rgb, enlarge_image, resize_image
from wsisr.models.upscaler import Blend, UpscalerInfo, Weights
from wsisr.slides import SlideInfo
from wsisr.slides.region import SlideRegion
from wsisr.upscaling.provenance import read_derived_metadata
from wsisr.upscaling.trust import layer
from wsisr.upscaling.trust.features import FEATURE_NAMES, measure_cell_features
from wsisr.upscaling.trust.outlines import Ring, outline_cells
from wsisr.upscaling.trust.predictor import (
    Calibration,
    TrustPredictor,
    find_conformal_rank,
    fit_coefficients,
    predict_logarithms,
)
from wsisr.upscaling.trust.run import find_predictor, find_scanner_doubt
from wsisr.upscaling.trust.summary import NOT_CALIBRATED, CellMaps, TrustSummary

CALIBRATION = Calibration(
    model="net",
    weights_sha256="ab",
    scale=2,
    coefficients=(0.5, 0.2, 0.0, 0.1, 0.0, 0.4, 0.0, 0.1, 0.1, 0.0, 0.0, 0.3),
    factor_logarithm=0.25,
    cells=100,
    cases=("one", "two"),
    scanners=("AT2",),
    mpp=(0.5, 1.0),
    least=(0.0,) * 10,
    largest=(255.0,) * 10,
)

INFO = UpscalerInfo("net", 2, 0, "in a test", weights=Weights(None, "ab"), is_guarded=True)


def write_calibration(folder: Path, calibration: Calibration = CALIBRATION) -> Path:
    path = folder / "net.trust.json"
    path.write_bytes(msgspec.json.encode(asdict(calibration)))
    return path


def paint_tissue(width: int, height: int, seed: int = 0) -> Rgb:
    """Return cloudy purple without glass."""
    clouds = resize_image(make_noise(Size(-(-width // 6), -(-height // 6)), seed), width, height, "bicubic")
    return (clouds // 2 + np.array([90, 20, 70], np.uint8)).astype(np.uint8)


@pytest.mark.parametrize(("count", "rank"), [(8, None), (9, 9), (18, 18), (19, 18), (99, 90), (0, None)])
def test_the_rank_is_the_smallest_that_nine_of_ten_stay_below(count: int, rank: int | None) -> None:
    assert find_conformal_rank(count) == rank


@settings(max_examples=50)
@given(st.integers(0, 10**15))
def test_the_rank_is_exact_for_any_count(count: int) -> None:
    rank = find_conformal_rank(count)
    least = next(each for each in range(9 * (count + 1) // 10, count + 3) if 10 * each >= 9 * (count + 1))
    assert rank == (least if least <= count else None)


@pytest.mark.parametrize("count", [9, 19, 99])
def test_of_exchangeable_values_at_least_nine_of_ten_stay_below_the_bound_of_the_others(count: int) -> None:
    values = np.random.default_rng(count).normal(size=count + 1)
    rank = find_conformal_rank(count)
    assert rank is not None
    held = [value <= np.sort(np.delete(values, number))[rank - 1] for number, value in enumerate(values)]
    assert 10 * sum(held) >= 9 * len(held)


def test_the_fit_finds_the_powers_that_errors_follow() -> None:
    random = np.random.default_rng(0)
    features, mpp = random.uniform(1, 50, (500, 6)).astype(np.float32), random.choice([0.5, 1, 4], 500)
    powers = np.array([0.3, -0.2, 0.5, 0.1, 0.4, -0.1, 0.25])
    errors = np.exp(0.7 + np.log(np.column_stack([features + 0.5, mpp])) @ powers) - 0.5
    found = fit_coefficients(features, mpp.astype(np.float32), errors.astype(np.float32))
    assert found == pytest.approx((0.7, *powers), abs=1e-4)
    for each in (0.5, 4.0):
        predicted = predict_logarithms(features[mpp == each], each, found)
        assert predicted == pytest.approx(np.log(errors[mpp == each] + 0.5), abs=1e-3)


def test_a_cell_is_judged_with_those_around_it() -> None:
    low = np.full((40, 40, 3), 150, np.uint8)
    low[16:24, 16:24] += make_noise(Size(8, 8)) // 8
    features = measure_cell_features(low, enlarge_image(low, 2, "lanczos"))
    around = features[..., FEATURE_NAMES.index("contrast around")]
    assert (around[1:4, 1:4] > 2 * around[0, 0]).all()
    alone = np.log(features[..., FEATURE_NAMES.index("contrast")] + 0.5)
    assert np.log(around[2, 2] + 0.5) == pytest.approx(alone[1:4, 1:4].mean(), abs=1e-4)


def test_cells_unlike_those_of_the_calibration_have_no_bound(tmp_path: Path) -> None:
    narrow = replace(CALIBRATION, least=(10.0,) * 10, largest=(20.0,) * 10)
    predictor = TrustPredictor.from_file(write_calibration(tmp_path, narrow), 0.5)
    features = np.full((1, 4, 10), 15, np.float32)
    features[0, 1, 0], features[0, 2, 5], features[0, 3, 2] = 2, 60, 38
    bounds = predictor.bound_errors(features)
    assert (bounds == NOT_CALIBRATED).tolist() == [[False, True, True, False]]
    assert (predictor.predict_errors(features) < bounds).all()


@pytest.mark.parametrize("size", [(200, 152), (77, 131)])
def test_bounds_do_not_depend_on_the_blocks(
    tmp_path: Path, size: tuple[int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    low = paint_tissue(*size)
    noise = make_noise(Size(*size) * 2) // 8 * (np.arange(size[0] * 2) % 64 > 32)[:, None]
    high = np.clip(enlarge_image(low, 2, "lanczos").astype(int) + noise, 0, 255)
    region, result = SlideRegion(InMemorySlide(low), 0), InMemorySlide(high.astype(np.uint8))
    predictor = TrustPredictor.from_file(write_calibration(tmp_path), 0.5)
    found = []
    for block_px in (64, 512):
        monkeypatch.setattr(layer, "BLOCK_PX", block_px)
        count = layer.count_cells(region.size)
        cells = CellMaps.allocate(count.width, count.height)
        steps = list(layer.bound_result(region, result, predictor, cells))
        assert steps[-1].done == steps[-1].total
        assert not cells.is_glass.any()
        found.append(cells.bounds)
    assert (found[0] == found[1]).all()
    assert len(np.unique(found[0])) > 3
    whole = measure_cell_features(
        low[: size[1] // 8 * 8, : size[0] // 8 * 8], result.pixels[: size[1] // 8 * 16, : size[0] // 8 * 16]
    )
    assert (predictor.bound_errors(whole)[:-2, :-2] == found[0][: size[1] // 8 - 2, : size[0] // 8 - 2]).all()


def test_a_layer_is_a_pyramid_that_no_doubt_gets_lost_in_and_no_folder_takes_for_a_slide(tmp_path: Path) -> None:
    bounds = np.random.default_rng(0).integers(0, 256, (301, 522)).astype(np.uint8)
    path = tmp_path / "a.trust.ome.tif"
    layer.write_trust_layer(path, bounds, 4.0, {"derived": "a bound", "model": "net"}, overwrite=False)
    with tifffile.TiffFile(path) as tiff:
        assert tiff.is_ome
        levels = [level.asarray() for level in tiff.series[0].levels]
    assert (levels[0] == bounds).all()
    assert [level.shape for level in levels] == [(301, 522), (151, 261), (76, 131)]
    blocks = bounds[:300].reshape(150, 2, 261, 2)
    known = np.where(blocks == NOT_CALIBRATED, -1, blocks.astype(int)).max(axis=(1, 3))
    assert (levels[1][:150] == np.where(known < 0, NOT_CALIBRATED, known)).all()
    assert read_derived_metadata(path) == {"derived": "a bound", "model": "net"}


def measure_area(ring: Ring) -> float:
    return abs(sum(x * v - u * y for (x, y), (u, v) in pairwise(ring))) / 2


@settings(max_examples=50)
@given(arrays(bool, (7, 9)))
def test_outlines_enclose_exactly_the_cells(cells: npt.NDArray[np.bool_]) -> None:
    polygons = outline_cells(cells, 1, 16)
    areas = [measure_area(outline) - sum(map(measure_area, holes)) for outline, *holes in polygons]
    assert sum(areas) == 256 * cells.sum()
    rings = [ring for polygon in polygons for ring in polygon]
    assert all(ring[0] == ring[-1] for ring in rings)
    assert all(x == u or y == v for ring in rings for (x, y), (u, v) in pairwise(ring))
    assert len(outline_cells(cells, 2, 16)) <= len(polygons)


@pytest.mark.parametrize(
    ("info", "mpp", "reason"),
    [
        (INFO, 0.25, "0.25 um/px lies outside of the 0.5 to 1 um/px that were calibrated"),
        (INFO, None, "the pixel size of the slide is not known"),
        (replace(INFO, weights=None), 0.5, "net is no network"),
        (replace(INFO, weights=Weights(None, "cd")), 0.5, "net has no calibration"),
        (replace(INFO, is_guarded=False), 0.5, "as it is by default"),
        (replace(INFO, name="net + back-projection"), 0.5, "as it is by default"),
        (replace(INFO, weights=Weights(None, "ab", Blend("gan", 0.5, "ef"))), 0.5, "as it is by default"),
    ],
)
def test_what_was_not_calibrated_says_so(tmp_path: Path, info: UpscalerInfo, mpp: float | None, reason: str) -> None:
    write_calibration(tmp_path)
    assert isinstance(find_predictor(INFO, 0.5, tmp_path), TrustPredictor)
    found = find_predictor(info, mpp, tmp_path)
    assert isinstance(found, str)
    assert reason in found


def test_a_scanner_that_was_not_calibrated_is_named(tmp_path: Path) -> None:
    predictor = TrustPredictor.from_file(write_calibration(tmp_path), 0.5)

    def describe(**properties: str) -> SlideInfo:
        return replace(InMemorySlide(make_noise(Size(9, 9))).info, properties=properties)

    assert find_scanner_doubt(predictor, describe(**{"aperio.ScannerType": "AT2"})) is None
    other = find_scanner_doubt(predictor, describe(**{"aperio.ScannerType": "GT450"}))
    assert other == "trust: the scanner GT450 is not among those of the calibration (AT2); the bounds may be too low"
    assert "is not recorded" in (find_scanner_doubt(predictor, describe()) or "")


@pytest.mark.parametrize("content", [b"", b"[]", b'{"model": 1}', b'{"model": "net"}', b"\xff"])
def test_a_damaged_calibration_is_an_error_in_a_line(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "net.trust.json"
    path.write_bytes(content)
    with pytest.raises(ModelError, match=r"net\.trust\.json: cannot be read as a calibration"):
        find_predictor(INFO, 0.5, tmp_path)


def test_the_summary_counts_tissue_only() -> None:
    bounds = np.array([[3, 8, 15, 40, NOT_CALIBRATED, 3]], np.uint8)
    tissue = np.array([[True, True, True, True, True, False]])
    found = TrustSummary.from_bounds(bounds, tissue, knows_scanner=True)
    assert found.to_json() == {
        "cells": 5, "within": {"5": 0.2, "10": 0.4, "20": 0.6}, "unknown": 0.2, "scanner": True
    }  # fmt: skip
    assert str(found) == (
        "of the tissue, 20 % within 5, 40 % within 10, 60 % within 20 grey levels of the truth "
        "(9 of 10 such bounds hold); not calibrated for 20 %"
    )
    assert str(TrustSummary.from_bounds(bounds, ~tissue & False, knows_scanner=True)) == "no tissue"


def test_shipped_calibrations_are_of_shipped_weights() -> None:
    files = sorted((REPOSITORY / "weights").glob("*.trust.json"))
    assert files
    for path in files:
        calibration = TrustPredictor.from_file(path, 1.0).calibration
        weights = path.with_name(path.name.replace(".trust.json", ".safetensors"))
        assert calibration.weights_sha256 == hashlib.sha256(weights.read_bytes()).hexdigest()
        assert len(calibration.least) == len(FEATURE_NAMES)


@pytest.fixture(scope="module")
def slide(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Tissue at 1 um/px."""
    options: dict[str, Any] = {"resolution": (10000, 10000), "resolutionunit": 3}
    return write_generic_pyramid(tmp_path_factory.mktemp("trust") / "a.tif", [paint_tissue(100, 84)], **options)


@pytest.fixture(scope="module")
def trusted(slide: Path) -> tuple[Path, wsisr.UpscaleReport]:
    """A result with its trust layer."""
    output = slide.with_name("out.ome.tif")
    return output, wsisr.upscale_slide(slide, scale=2, output=output, trust=True, tissue="none", device="cpu")


def test_trust_changes_no_pixel_and_is_told_of(slide: Path, trusted: tuple[Path, wsisr.UpscaleReport]) -> None:
    output, report = trusted
    plain = slide.with_name("plain.ome.tif")
    wsisr.upscale_slide(slide, scale=2, output=plain, tissue="none", device="cpu")
    assert plain.read_bytes() == output.read_bytes()
    assert sorted(path.name for path in slide.parent.glob("plain*")) == ["plain.ome.tif"]
    bounds = tifffile.imread(output.with_name("out.trust.ome.tif"))
    assert bounds.shape == (11, 13)
    assert report.trust is not None
    assert report.to_json()["trust"] == report.trust.to_json()
    assert report.trust.cells == 11 * 13
    assert any("scanner is not recorded" in text for text in report.warnings)
    areas = json.loads(output.with_name("out.doubtful.geojson").read_text())
    assert areas["type"] == "FeatureCollection"


def test_a_dry_run_tells_what_the_layer_takes_and_what_it_would_warn_of(slide: Path, tmp_path: Path) -> None:
    options: dict[str, Any] = {"scale": 2, "output": tmp_path / "out.ome.tif", "tissue": "none", "device": "cpu"}
    report = wsisr.upscale_slide(slide, dry_run=True, trust=True, **options)
    assert report.estimate is not None
    trust = report.estimate.trust
    assert trust is not None
    assert 0 < trust.seconds < report.estimate.seconds
    assert 0 < trust.layer_bytes < 11 * 13 * 2
    assert report.to_json()["estimate"]["trust_bytes"] == trust.layer_bytes
    assert any("scanner is not recorded" in text for text in report.warnings)
    filtered = wsisr.upscale_slide(slide, dry_run=True, trust=True, model="bicubic", **options)
    assert filtered.warnings == ("trust: not calibrated, no layer is written: bicubic is no network",)
    assert filtered.estimate is not None
    assert filtered.estimate.trust is None
    assert not [*tmp_path.iterdir()]


def test_a_trust_layer_that_is_missing_is_added_to_a_finished_result(
    slide: Path, trusted: tuple[Path, wsisr.UpscaleReport]
) -> None:
    output, first = trusted
    path, before = output.with_name("out.trust.ome.tif"), output.stat().st_mtime_ns
    bounds = tifffile.imread(path)
    path.unlink()
    report = wsisr.upscale_slide(slide, scale=2, output=output, trust=True, tissue="none", device="cpu")
    assert report.state == "finished before"
    assert report.trust == first.trust
    assert output.stat().st_mtime_ns == before
    assert (tifffile.imread(path) == bounds).all()


def test_the_layer_of_a_result_that_was_replaced_is_told_of_and_never_taken_for_its_own(
    slide: Path, trusted: tuple[Path, wsisr.UpscaleReport], tmp_path: Path
) -> None:
    output = tmp_path / "out.ome.tif"
    for path in slide.parent.glob(f"{trusted[0].name.removesuffix('.ome.tif')}.*"):
        shutil.copy(path, tmp_path)
    again = wsisr.upscale_slide(slide, scale=2, output=output, tissue="none", device="cpu", overwrite=True)
    assert not any("out.trust.ome.tif" in text for text in again.warnings)  # the same result still
    report = wsisr.upscale_slide(slide, scale=2, output=output, model="bicubic", overwrite=True)
    assert f"{tmp_path / 'out.trust.ome.tif'}: is of another result, not of {output}; remove it" in report.warnings
    with pytest.raises(OutputError, match=r"out\.trust\.ome\.tif: is not of .*as it is now; remove it"):
        wsisr.upscale_slide(slide, scale=2, output=output, model="bicubic", trust=True)


def test_a_result_of_a_result_has_no_trust_layer(trusted: tuple[Path, wsisr.UpscaleReport], tmp_path: Path) -> None:
    output = tmp_path / "again.ome.tif"
    report = wsisr.upscale_slide(trusted[0], scale=2, output=output, allow_derived=True, trust=True, device="cpu")
    assert "trust: not calibrated, no layer is written: the slide was itself written by wsisr" in report.warnings
    assert [path.name for path in tmp_path.iterdir()] == ["again.ome.tif"]


def test_a_filter_has_no_trust_layer(slide: Path) -> None:
    output = slide.with_name("bicubic.ome.tif")
    report = wsisr.upscale_slide(slide, scale=2, output=output, model="bicubic", trust=True)
    assert report.warnings == ("trust: not calibrated, no layer is written: bicubic is no network",)
    assert [path.name for path in slide.parent.glob("bicubic*")] == ["bicubic.ome.tif"]
