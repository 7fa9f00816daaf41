import cv2
import numpy as np
import pytest

from tests.support.captures import Field, Setting, centred, recoloured, tissue
from wsisr.dataset.registration.acceptance import Gate, Reason
from wsisr.dataset.registration.affine import Affine, disagreement
from wsisr.dataset.registration.matching import Prior, match
from wsisr.dataset.registration.refinement import Fit, Target, refine
from wsisr.imaging.geometry import Size
from wsisr.imaging.pixels import Rgb, rounded

TURNS = (-4.5, -3.0, -1.5, 0.0, 1.5, 3.0, 4.5)


def field(seed: int, ratio: int = 4) -> Field:
    found = Setting(ratio).field(tissue(seed), np.random.default_rng(seed))
    assert found
    return found


def defocused(image: Rgb, sigma: float) -> Rgb:
    return rounded(np.asarray(cv2.GaussianBlur(image.astype(np.float64), (0, 0), sigma), np.float64))


def tried(low: Rgb, high: Rgb, ratio: int) -> Fit | Reason:
    start = centred(Affine.similarity(ratio), len(low), (len(high) / 2, len(high) / 2))
    return match(low, Target.seen_at(high, ratio), Prior(start, 20 // ratio, TURNS), Gate())


@pytest.mark.parametrize("ratio", [2, 4])
@pytest.mark.parametrize("seed", range(4))
def test_a_true_partner_is_found_to_half_a_pixel_of_the_finer_image(seed: int, ratio: int) -> None:
    pair = field(seed, ratio)
    found = tried(pair.low, pair.high, ratio)
    assert isinstance(found, Fit)
    assert disagreement(found.map, pair.truth, Size(len(pair.low), len(pair.low))) < 0.5


@pytest.mark.parametrize("seed", range(4))
def test_another_field_is_refused(seed: int) -> None:
    assert isinstance(tried(field(seed).low, field(seed + 10).high, 4), Reason)


def test_a_mirrored_field_is_refined_as_one() -> None:
    pair = field(1)
    high = np.ascontiguousarray(pair.high[:, ::-1])
    truth = Affine.similarity(1, flip=True).moved(len(high), 0).after(pair.truth)
    found = refine(pair.low, Target.seen_at(high, 4), truth.moved(2, -1))
    assert found
    assert found.map.flip
    assert disagreement(found.map, truth, Size(48, 48)) < 0.5


def test_colours_that_are_mixed_linearly_change_nothing() -> None:
    pair = field(2)
    mixing = np.array([[0.7, 0.2, 0.0], [0.1, 0.6, 0.1], [0.0, 0.2, 0.7]])
    target = Target.seen_at(pair.high, 4)
    plain, mixed = (refine(low, target, pair.truth) for low in (pair.low, rounded(pair.low @ mixing.T + 10.0)))
    assert plain
    assert mixed
    assert disagreement(plain.map, mixed.map, Size(48, 48)) < 0.05


def test_the_fitted_colours_are_those_of_the_source() -> None:
    pair = field(3)
    high = rounded(recoloured(pair.high.astype(np.float64), 0.3, np.random.default_rng(0)))
    target = Target.seen_at(high, 4)
    found = refine(pair.low, target, pair.truth)
    assert found
    seen = target.view(found.map, Size(48, 48))
    apart = np.abs(seen @ found.colours[:3] + found.colours[3] - pair.low).mean()
    assert apart < 0.6 * np.abs(seen - pair.low).mean()


def test_glass_is_refused_as_glass() -> None:
    assert tried(np.full((48, 48, 3), 243, np.uint8), field(0).high, 4) == Reason.GLASS


def test_an_image_out_of_focus_is_named() -> None:
    fine = tissue(5)
    pair = Setting(4).field(fine, np.random.default_rng(5))
    assert pair
    low, high = defocused(pair.low, 2.5), defocused(pair.high, 10)
    verdicts = []
    for coarse, finer in ((low, pair.high), (pair.low, high)):
        target = Target.seen_at(finer, 4)
        fit = refine(coarse, target, pair.truth)
        assert fit
        verdicts.append(Gate().refusal(coarse, target, fit))
    assert verdicts == [Reason.COARSE_BLURRED, Reason.FINE_BLURRED]


def test_an_image_that_lies_elsewhere_leads_out() -> None:
    pair = field(0)
    assert refine(pair.low, Target.seen_at(pair.high, 4), pair.truth.moved(900, 0)) is None
