"""`wsisr.enlarge` gives for an array what the main job encodes for a slide of the same pixels."""

from __future__ import annotations

import warnings
from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import wsisr
from tests.support.samples import make_noise, write_tiff
from wsisr.errors import OptionError
from wsisr.imaging.geometry import Box, Size
from wsisr.imaging.pixels import WHITE, Rgb, resize_image
from wsisr.models.upscaler import Resampling

Options = dict[str, Any]

MPP = 0.5


@pytest.fixture(scope="module")
def pixels() -> Rgb:
    """Smooth and rough contrast on the left, glass with the noise of a camera on the right."""
    image = 238 + make_noise(Size(384, 96)) % 4
    image[:, :50] = make_noise(Size(50, 96)) // 2 + 60
    image[:64, :40] = resize_image(make_noise(Size(20, 32)), 40, 64, "bicubic")
    return image


def enlarge_quietly(pixels: Rgb, **options: Any) -> Rgb:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", wsisr.UpscaleWarning)
        return wsisr.enlarge(pixels, **options)


def upscale_stored(pixels: Rgb, folder: Path, options: Options) -> Rgb:
    """Return what a slide of the pixels becomes, from a file without loss."""
    slide = write_tiff(folder / "slide.tif", pixels, photometric="rgb", metadata=None)
    report = wsisr.upscale_slide(slide, mpp=MPP, codec="deflate", **options)
    with wsisr.open_slide(report.output) as result:
        return result.read(Box.from_size(result.info.size), 0)


@pytest.mark.parametrize(
    "options",
    [{}, {"guard": False, "tissue": "none"}, {"scale": 4, "model": "bicubic", "tile_px": 64, "background": "white"}],
    ids=["defaults", "the network everywhere", "bicubic on white"],
)
def test_an_array_becomes_what_a_slide_of_it_becomes(pixels: Rgb, tmp_path: Path, options: Options) -> None:
    before = pixels.copy()
    result = enlarge_quietly(pixels, mpp=MPP, **options)
    np.testing.assert_array_equal(result, upscale_stored(pixels, tmp_path, {"scale": 2, **options}))
    np.testing.assert_array_equal(pixels, before)


@pytest.fixture(scope="module")
def guarded(pixels: Rgb) -> Rgb:
    return enlarge_quietly(pixels, mpp=MPP, tissue="none")


def test_network_guard_and_tissue_count_for_an_array(pixels: Rgb, guarded: Rgb) -> None:
    """Without a difference the law above would say nothing of them."""
    assert not np.array_equal(guarded, enlarge_quietly(pixels, mpp=MPP, tissue="none", guard=False))
    assert not np.array_equal(guarded, wsisr.enlarge(pixels, mpp=MPP, model="bicubic"))
    white = wsisr.enlarge(pixels, mpp=MPP, model="bicubic", background="white")
    assert (white[:, 512:] == WHITE).all()
    assert (white[:, :80] != WHITE).any()


def test_tiles_do_not_show(pixels: Rgb, guarded: Rgb) -> None:
    tiled = enlarge_quietly(pixels, mpp=MPP, tissue="none", tile_px=128, batch=2)
    assert np.abs(guarded.astype(np.int16) - tiled).max() <= 1


@settings(max_examples=20)
@given(width=st.integers(1, 90), height=st.integers(1, 90), scale=st.sampled_from([2, 4]))
def test_an_array_of_any_size_is_enlarged_whole(width: int, height: int, scale: int) -> None:
    """A view of other pixels, as a crop is, counts as an array of its own."""
    crop = make_noise(Size(100, 100))[5 : 5 + height, 7 : 7 + width]
    expected = Resampling("bicubic", scale)(crop[None])[0]
    np.testing.assert_array_equal(wsisr.enlarge(crop, mpp=MPP, scale=scale, model="bicubic"), expected)


@pytest.mark.parametrize(
    ("array", "words"),
    [
        (np.zeros((8, 8, 3)), "holds float64; give uint8"),
        (np.zeros((8, 8, 3), np.uint16), "holds uint16; give uint8"),
        (np.zeros((8, 8), np.uint8), "grey"),
        (np.zeros((8, 8, 4), np.uint8), r"pixels\[..., :3\]"),
        (np.zeros((3, 8, 8), np.uint8), r"transpose\(1, 2, 0\)"),
        (np.zeros((2, 8, 8, 3), np.uint8), "one at a time"),
        (np.zeros((0, 8, 3), np.uint8), "without any pixel"),
        ([[[0, 0, 0]]], "is a list"),
    ],
)
def test_another_array_is_refused_with_what_to_give(array: Any, words: str) -> None:
    with pytest.raises(OptionError, match=words) as caught:
        wsisr.enlarge(array, mpp=MPP)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({}, "give its pixel size in um/px, for example mpp=0.5"),
        ({"mpp": 0.0}, "no slide has pixels of 0 um"),
        ({"mpp": float("nan")}, "no slide has pixels of nan um"),
        ({"mpp": MPP, "scale": 3}, "scale=2 or scale=4"),
    ],
)
def test_a_missing_pixel_size_and_another_scale_are_refused(pixels: Rgb, options: Options, words: str) -> None:
    with pytest.raises(OptionError, match=words):
        wsisr.enlarge(pixels, **options)


def test_what_a_reader_must_know_is_a_warning_at_the_callers_line(pixels: Rgb) -> None:
    with pytest.warns(wsisr.UpscaleWarning, match="not on 8 um/px") as caught:
        wsisr.enlarge(pixels[:64, :64], mpp=8, model="mmsrnet-x2", tissue="none")
    assert {warning.filename for warning in caught} == {__file__}


def test_options_have_the_names_and_defaults_of_the_main_job(pixels: Rgb) -> None:
    request = wsisr.ArrayRequest(pixels, mpp=MPP)
    of_slides = wsisr.UpscaleRequest("slide.svs", scale=2)
    for option in fields(request):
        if option.name not in ("pixels", "mpp"):
            assert getattr(request, option.name) == getattr(of_slides, option.name), option.name


def test_every_option_reaches_the_main_job(pixels: Rgb) -> None:
    options: Options = {"scale": 4, "model": "lanczos", "device": "cpu", "precision": "fp32", "perception": 0.5}
    options |= {"consistency": True, "guard": False, "tissue": "none", "background": "white"}
    options |= {"tile_px": 128, "overlap_px": 8, "batch": 3, "memory": 1.5}
    request = wsisr.ArrayRequest(pixels, mpp=MPP, **options)
    assert {option.name for option in fields(request)} == {"pixels", "mpp"} | set(options)
    assert {name: getattr(request.slide_request, name) for name in options} == options
