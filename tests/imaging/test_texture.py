"""The texture score: what it calls better and worse, which nobody trained it to."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image, ImageFilter

from tests.support.samples import make_noise
from wsisr.imaging.geometry import Size
from wsisr.imaging.pixels import Rgb, enlarge_image, resize_image, shrink_image
from wsisr.imaging.texture import OCTAVES, TextureAccumulator, compare_texture, measure_contrasts


def tissue() -> Rgb:
    """(264, 200, 3): grains of several sizes in a pale ground, three quarters of it; the rest is flat."""
    image = np.full((264, 200, 3), 230.0)
    for seed, side in enumerate((2, 4, 12)):
        image += 0.3 * (resize_image(make_noise(Size(200 // side, 264 // side), seed), 200, 264, "bicubic") - 128.0)
    image[200:] = 235
    return image.clip(0, 255).astype(np.uint8)


def blurred(image: Rgb, px: float) -> Rgb:
    return np.asarray(Image.fromarray(image).filter(ImageFilter.GaussianBlur(px)))


def grainy(image: Rgb, levels: float) -> Rgb:
    random = np.random.default_rng(0)
    return (image + random.normal(0, levels, image.shape)).round().clip(0, 255).astype(np.uint8)


def distance(image: Rgb, truth: Rgb) -> float:
    found = compare_texture(image, truth)
    assert found is not None
    return found.distance


def test_the_truth_is_at_no_distance_and_has_all_of_its_detail() -> None:
    found = compare_texture(tissue(), tissue())
    assert found is not None
    assert (found.distance, found.detail) == (0, (1,) * OCTAVES)


def test_more_blur_is_further_and_has_less_detail_finest_first() -> None:
    truth = tissue()
    found = [compare_texture(blurred(truth, px), truth) for px in (0.5, 1, 2, 4)]
    distances = [each.distance for each in found if each]
    details = [each.detail for each in found if each]
    assert distances == sorted(distances)
    assert distances[0] > 0.1
    finest = [detail[0] for detail in details]
    assert finest == sorted(finest, reverse=True)
    assert all(detail[0] < detail[-1] < 1 for detail in details)


@pytest.mark.parametrize("base", ["truth", "bicubic"])
def test_noise_is_further_off_though_it_has_detail(base: str) -> None:
    truth = tissue()
    image = truth if base == "truth" else enlarge_image(shrink_image(truth, 2, "area"), 2, "bicubic")
    distances = [distance(grainy(image, levels) if levels else image, truth) for levels in (0, 2, 6, 18)]
    assert distances == sorted(distances)
    assert distances[-1] > distances[0] + 0.3


def test_the_right_texture_in_slightly_another_place_is_nearer_than_bicubic() -> None:
    """What an eye forgives and a pixel error does not: that is what the score is for."""
    truth = tissue()
    moved, bicubic = np.roll(truth, 1, axis=1), enlarge_image(shrink_image(truth, 2, "area"), 2, "bicubic")
    assert distance(moved, truth) < 0.7 * distance(bicubic, truth)
    error = [float(((image.astype(float) - truth) ** 2).mean()) for image in (moved, bicubic)]
    assert error[0] > error[1]


def test_texture_on_blank_glass_is_far_off() -> None:
    glass = np.full((72, 72, 3), 243, np.uint8)
    assert distance(grainy(glass, 8), glass) > 2
    assert distance(grainy(glass, 0.3), glass) < 0.5


def test_parts_add_up_to_the_whole() -> None:
    image, truth = blurred(tissue(), 1), tissue()
    parts = TextureAccumulator()
    for top in (0, 64, 128, 192):
        rows = slice(top, top + 72)
        parts.add(measure_contrasts(image[rows, :200]), measure_contrasts(truth[rows, :200]))
    whole, summed = compare_texture(image, truth), parts.compare()
    assert whole is not None
    assert summed is not None
    assert summed.distance == pytest.approx(whole.distance, rel=1e-6)
    assert summed.detail == pytest.approx(whole.detail, rel=1e-5)


def test_what_is_smaller_than_a_square_has_no_texture() -> None:
    small = make_noise(Size(200, 71))
    assert compare_texture(small, small) is None
    assert TextureAccumulator().compare() is None
