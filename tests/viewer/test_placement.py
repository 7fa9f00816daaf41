"""Images lie where their metadata say, in um, whatever their pixel sizes."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.viewer.pictures import REGION, SCAN_MPP, Pair
from wsisr.errors import SlideError
from wsisr.imaging.geometry import Size
from wsisr.slides import Level, SlideInfo, open_slide
from wsisr.upscaling.provenance import read_derived_metadata
from wsisr.viewer.placement import describe_other_scale, place_images


def make_info(name: str, mpp: float | None, side: int = 1000) -> SlideInfo:
    levels = (Level(Size(side, side), 1.0),)
    return SlideInfo(Path(name), "numpy", "array", levels, mpp, None, None, {}, {})


@settings(max_examples=25)
@given(
    mpp=st.floats(0.1, 2),
    downsample=st.sampled_from([1.0, 2.0, 3.7, 4.0002]),
    scale=st.sampled_from([2, 4]),
    corner=st.tuples(st.integers(0, 900), st.integers(0, 900)),
)
def test_a_result_lies_over_its_source(mpp: float, downsample: float, scale: int, corner: tuple[int, int]) -> None:
    metadata = {
        "source origin": f"{corner[0]}, {corner[1]} px of level 0",
        "source downsample": f"{downsample:.10g} px of level 0 per px",
        "source mpp": f"{mpp * downsample:.6g}",
        "scale": str(scale),
    }
    result = make_info("result", mpp * downsample / scale)
    for infos, facts in (([make_info("scan", mpp), result], [{}, metadata]), ([result], [metadata])):
        placed = place_images(infos, facts)[-1]
        assert placed.is_recorded
        assert placed.left == pytest.approx(corner[0] * mpp, rel=1e-5)
        assert placed.top == pytest.approx(corner[1] * mpp, rel=1e-5)
        if len(infos) == 2:  # then to the last digit, or the far corner of a large slide would be a pixel off
            assert placed.mpp == pytest.approx(mpp * downsample / scale, rel=1e-9)


def test_a_real_result_records_its_place(pair: Pair) -> None:
    with open_slide(pair.scan) as scan, open_slide(pair.result) as result:
        placed = place_images([scan.info, result.info], [{}, read_derived_metadata(pair.result)])
    left, top = REGION[0] * SCAN_MPP, REGION[1] * SCAN_MPP
    assert (placed[1].left, placed[1].top, placed[1].mpp) == pytest.approx((left, top, SCAN_MPP / 2), rel=1e-6)


@pytest.mark.parametrize(
    "text", ["", "nan, 1 px of level 0", "1, 2", "1, 2 px of level 0 and more", "1e308, 2 px of level 0"]
)
def test_an_origin_that_is_none_counts_as_none(text: str) -> None:
    metadata = {"source origin": text, "source downsample": "1 px of level 0 per px", "source mpp": "1", "scale": "2"}
    placed = place_images([make_info("result", 0.5)], [metadata])
    assert not placed[0].is_recorded
    assert (placed[0].left, placed[0].top) == (0, 0)


def test_images_of_different_slides_are_told_apart() -> None:
    far = {
        "source origin": "5000, 0 px of level 0",
        "source downsample": "1 px of level 0 per px",
        "source mpp": "0.5",
        "scale": "2",
    }
    with pytest.raises(SlideError, match=r"b\.tif: lies at 2500, 0 um, beyond a\.tif .* of different slides"):
        place_images([make_info("a.tif", 0.5), make_info("b.tif", 0.25)], [{}, far])


def test_several_images_need_a_pixel_size_and_one_does_not() -> None:
    unknown = make_info("a.png", None)
    assert place_images([unknown], [{}])[0].mpp == 1
    with pytest.raises(SlideError, match=r"a\.png: its pixel size is not recorded"):
        place_images([replace(unknown, path=Path("b.png"), mpp=1.0), unknown], [{}, {}])


def test_a_result_that_was_made_for_another_pixel_size_is_told_of() -> None:
    metadata = {"source origin": "4, 4 px of level 0", "source downsample": "2 px of level 0 per px", "scale": "2"}
    scan = make_info("scan.tif", 0.4990001)
    assert describe_other_scale({}, scan) is None
    assert describe_other_scale(metadata | {"source mpp": "0.998"}, scan) is None
    doubt = describe_other_scale(metadata | {"source mpp": "0.5"}, scan)
    assert doubt
    assert doubt.startswith("was made of a scan of 0.25 um/px, where scan.tif has 0.499")


def test_a_result_that_another_program_has_cut_has_no_place() -> None:
    metadata = {
        "source origin": "4, 4 px of level 0",
        "source downsample": "1 px of level 0 per px",
        "source mpp": "0.5",
        "scale": "2",
        "size": "1000 x 1000 px",
    }
    assert place_images([make_info("whole.tif", 0.25)], [metadata])[0].is_recorded
    assert not place_images([make_info("cut.tif", 0.25, 900)], [metadata])[0].is_recorded
