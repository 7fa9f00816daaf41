"""The texture score ranks images as an eye does, although it was not trained to."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image, ImageFilter

from tests.support.samples import make_noise
from wsisr.imaging.geometry import Size
from wsisr.imaging.pixels import Rgb, enlarge_image, resize_image, shrink_image
from wsisr.imaging.texture import OCTAVES, TextureAccumulator, compare_texture, measure_contrasts


def make_grains() -> Rgb:
    """Return (264, 200, 3): grains of several sizes on a pale background in three quarters, the rest flat."""
    image = np.full((264, 200, 3), 230.0)
    for seed, side in enumerate((2, 4, 12)):
        image += 0.3 * (resize_image(make_noise(Size(200 // side, 264 // side), seed), 200, 264, "bicubic") - 128.0)
    image[200:] = 235
    return image.clip(0, 255).astype(np.uint8)


def blur(image: Rgb, px: float) -> Rgb:
    return np.asarray(Image.fromarray(image).filter(ImageFilter.GaussianBlur(px)))


def add_grain(image: Rgb, levels: float) -> Rgb:
    random = np.random.default_rng(0)
    return (image + random.normal(0, levels, image.shape)).round().clip(0, 255).astype(np.uint8)


def measure_distance(image: Rgb, truth: Rgb) -> float:
    comparison = compare_texture(image, truth)
    assert comparison is not None
    return comparison.distance


def test_the_truth_has_distance_0_and_all_of_its_detail() -> None:
    comparison = compare_texture(make_grains(), make_grains())
    assert comparison is not None
    assert (comparison.distance, comparison.detail) == (0, (1,) * OCTAVES)


def test_more_blur_is_further_away_and_loses_the_finest_detail_first() -> None:
    truth = make_grains()
    comparisons = [compare_texture(blur(truth, px), truth) for px in (0.5, 1, 2, 4)]
    distances = [comparison.distance for comparison in comparisons if comparison]
    details = [comparison.detail for comparison in comparisons if comparison]
    assert distances == sorted(distances)
    assert distances[0] > 0.1
    finest = [detail[0] for detail in details]
    assert finest == sorted(finest, reverse=True)
    assert all(detail[0] < detail[-1] < 1 for detail in details)


@pytest.mark.parametrize("base", ["truth", "bicubic"])
def test_noise_is_further_away_although_it_adds_detail(base: str) -> None:
    truth = make_grains()
    image = truth if base == "truth" else enlarge_image(shrink_image(truth, 2, "area"), 2, "bicubic")
    distances = [measure_distance(add_grain(image, levels) if levels else image, truth) for levels in (0, 2, 6, 18)]
    assert distances == sorted(distances)
    assert distances[-1] > distances[0] + 0.3


def test_the_right_texture_in_slightly_another_place_is_nearer_than_bicubic() -> None:
    """The score tolerates what the eye tolerates and a pixel error does not."""
    truth = make_grains()
    moved, bicubic = np.roll(truth, 1, axis=1), enlarge_image(shrink_image(truth, 2, "area"), 2, "bicubic")
    assert measure_distance(moved, truth) < 0.7 * measure_distance(bicubic, truth)
    error = [float(((image.astype(float) - truth) ** 2).mean()) for image in (moved, bicubic)]
    assert error[0] > error[1]


def test_texture_on_blank_glass_is_far_off() -> None:
    glass = np.full((72, 72, 3), 243, np.uint8)
    assert measure_distance(add_grain(glass, 8), glass) > 2
    assert measure_distance(add_grain(glass, 0.3), glass) < 0.5


def test_parts_add_up_to_the_whole() -> None:
    image, truth = blur(make_grains(), 1), make_grains()
    parts = TextureAccumulator()
    for top in (0, 64, 128, 192):
        rows = slice(top, top + 72)
        parts.add(measure_contrasts(image[rows, :200]), measure_contrasts(truth[rows, :200]))
    whole, summed = compare_texture(image, truth), parts.compare()
    assert whole is not None
    assert summed is not None
    assert summed.distance == pytest.approx(whole.distance, rel=1e-6)
    assert summed.detail == pytest.approx(whole.detail, rel=1e-5)


def test_an_image_smaller_than_a_square_has_no_comparison() -> None:
    small = make_noise(Size(200, 71))
    assert compare_texture(small, small) is None
    assert TextureAccumulator().compare() is None
