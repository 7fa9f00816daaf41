import cv2
import numpy as np
import pytest

from tests.support.captures import FieldSettings, RegisteredField, centre_map, change_stain, make_tissue
from wsisr.dataset.registration.acceptance import AcceptanceLimits, RegistrationFailure
from wsisr.dataset.registration.affine import Affine, mean_corner_distance
from wsisr.dataset.registration.matching import MapPrior, register_field
from wsisr.dataset.registration.refinement import FittedMap, RegistrationTarget, refine_similarity
from wsisr.imaging.geometry import Size
from wsisr.imaging.pixels import Rgb, round_to_uint8

TURNS = (-4.5, -3.0, -1.5, 0.0, 1.5, 3.0, 4.5)


def field(seed: int, ratio: int = 4) -> RegisteredField:
    found = FieldSettings(ratio).draw_field(make_tissue(seed), np.random.default_rng(seed))
    assert found
    return found


def defocused(image: Rgb, sigma: float) -> Rgb:
    return round_to_uint8(np.asarray(cv2.GaussianBlur(image.astype(np.float64), (0, 0), sigma), np.float64))


def tried(low: Rgb, high: Rgb, ratio: int) -> FittedMap | RegistrationFailure:
    start = centre_map(Affine.similarity(ratio), len(low), (len(high) / 2, len(high) / 2))
    return register_field(
        low, RegistrationTarget.prepare(high, ratio), MapPrior(start, 20 // ratio, TURNS), AcceptanceLimits()
    )


@pytest.mark.parametrize("ratio", [2, 4])
@pytest.mark.parametrize("seed", range(4))
def test_a_true_partner_is_found_to_half_a_pixel_of_the_finer_image(seed: int, ratio: int) -> None:
    pair = field(seed, ratio)
    found = tried(pair.low, pair.high, ratio)
    assert isinstance(found, FittedMap)
    assert mean_corner_distance(found.map, pair.truth, Size(len(pair.low), len(pair.low))) < 0.5


@pytest.mark.parametrize("seed", range(4))
def test_another_field_is_refused(seed: int) -> None:
    assert isinstance(tried(field(seed).low, field(seed + 10).high, 4), RegistrationFailure)


def test_a_mirrored_field_is_refined_as_one() -> None:
    pair = field(1)
    high = np.ascontiguousarray(pair.high[:, ::-1])
    truth = Affine.similarity(1, mirrored=True).translate(len(high), 0).compose(pair.truth)
    found = refine_similarity(pair.low, RegistrationTarget.prepare(high, 4), truth.translate(2, -1))
    assert found
    assert found.map.is_mirrored
    assert mean_corner_distance(found.map, truth, Size(48, 48)) < 0.5


def test_colours_that_are_mixed_linearly_change_nothing() -> None:
    pair = field(2)
    mixing = np.array([[0.7, 0.2, 0.0], [0.1, 0.6, 0.1], [0.0, 0.2, 0.7]])
    target = RegistrationTarget.prepare(pair.high, 4)
    plain, mixed = (
        refine_similarity(low, target, pair.truth) for low in (pair.low, round_to_uint8(pair.low @ mixing.T + 10.0))
    )
    assert plain
    assert mixed
    assert mean_corner_distance(plain.map, mixed.map, Size(48, 48)) < 0.05


def test_the_fitted_colours_are_those_of_the_source() -> None:
    pair = field(3)
    high = round_to_uint8(change_stain(pair.high.astype(np.float64), 0.3, np.random.default_rng(0)))
    target = RegistrationTarget.prepare(high, 4)
    found = refine_similarity(pair.low, target, pair.truth)
    assert found
    seen = target.resample(found.map, Size(48, 48))
    apart = np.abs(seen @ found.colours[:3] + found.colours[3] - pair.low).mean()
    assert apart < 0.6 * np.abs(seen - pair.low).mean()


def test_glass_is_refused_as_glass() -> None:
    assert tried(np.full((48, 48, 3), 243, np.uint8), field(0).high, 4) == RegistrationFailure.GLASS


def test_an_image_out_of_focus_is_named() -> None:
    fine = make_tissue(5)
    pair = FieldSettings(4).draw_field(fine, np.random.default_rng(5))
    assert pair
    low, high = defocused(pair.low, 2.5), defocused(pair.high, 10)
    verdicts = []
    for coarse, finer in ((low, pair.high), (pair.low, high)):
        target = RegistrationTarget.prepare(finer, 4)
        fit = refine_similarity(coarse, target, pair.truth)
        assert fit
        verdicts.append(AcceptanceLimits().find_failure(coarse, target, fit))
    assert verdicts == [RegistrationFailure.COARSE_BLURRED, RegistrationFailure.FINE_BLURRED]


def test_an_image_that_lies_elsewhere_leads_out() -> None:
    pair = field(0)
    assert refine_similarity(pair.low, RegistrationTarget.prepare(pair.high, 4), pair.truth.translate(900, 0)) is None
