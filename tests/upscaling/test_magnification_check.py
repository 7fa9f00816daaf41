"""The second opinion on a pixel size: a warning only where the tissue clearly looks like another magnification."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from tests.support.networks import make_small_network, make_small_spec
from tests.support.samples import InMemorySlide, make_noise
from wsisr.imaging.geometry import Box, Size
from wsisr.imaging.pixels import RgbBatch
from wsisr.models.architectures.mmsrnet import MMSRNet
from wsisr.models.loading import load_magnification_classifier
from wsisr.models.magnification import ClassProbabilities
from wsisr.models.spec import ModelSpec
from wsisr.models.weights import save_weights
from wsisr.slides.region import SlideRegion
from wsisr.tissue import TissueMap, make_full_map
from wsisr.upscaling.magnification_check import (
    WINDOW_COUNT,
    WINDOW_PX,
    check_magnification,
    choose_windows,
    is_contradicted,
)


class Opinion:
    """Sees always the same, of 5x, 10x and 20x."""

    def __init__(self, *shares: float) -> None:
        self.shares = np.array(shares)

    @property
    def spec(self) -> ModelSpec:
        return make_small_spec("mmsrnet")

    def __call__(self, tiles: RgbBatch) -> ClassProbabilities:
        assert tiles.ndim == 4
        return self.shares


def source(mpp: float | None = 0.5, width: int = 500, height: int = 400) -> SlideRegion:
    return SlideRegion(InMemorySlide(make_noise(Size(width, height)), mpp), 0)


def test_what_looks_as_its_pitch_says_is_not_spoken_of() -> None:
    assert check_magnification(source(0.5), make_full_map(), Opinion(0.1, 0.2, 0.7)) is None
    assert check_magnification(source(0.5), make_full_map(), Opinion(0.1, 0.6, 0.3)) is None  # not clearly


def test_what_looks_otherwise_is_said_with_numbers() -> None:
    warning = check_magnification(source(0.5), make_full_map(), Opinion(0.04, 0.95, 0.01))
    assert warning == (
        "the tissue looks like 10x (95 % likely), its 0.5 um/px stand for 20x (1 %); if the pitch is wrong, give --mpp"
    )


class Opinions(Opinion):
    """Sees something else in each window, and counts them."""

    def __init__(self, shares: NDArray[np.float64]) -> None:
        self.windows, self.count = shares, 0

    def __call__(self, tiles: RgbBatch) -> ClassProbabilities:
        seen = self.windows[self.count : self.count + len(tiles)]
        self.count += len(tiles)
        return np.asarray(seen.mean(axis=0))


@settings(max_examples=30)
@given(seed=st.integers(0, 10**6), sureness=st.floats(0.05, 50), leading=st.integers(0, 2))
def test_the_answer_is_that_of_all_windows_though_few_are_mostly_enough(
    seed: int, sureness: float, leading: int
) -> None:
    weights = np.ones(3) + sureness * (np.arange(3) == leading)
    opinions = Opinions(np.random.default_rng(seed).dirichlet(weights, WINDOW_COUNT))
    warning = check_magnification(source(0.5), make_full_map(), opinions)
    assert (warning is not None) == is_contradicted(opinions.windows.mean(axis=0), 2)
    assert (opinions.count == WINDOW_COUNT) >= (warning is not None)


def test_one_window_is_enough_where_its_magnification_is_clear() -> None:
    opinions = Opinions(np.tile([0.05, 0.05, 0.9], (WINDOW_COUNT, 1)))
    assert check_magnification(source(0.5), make_full_map(), opinions) is None
    assert opinions.count == 1


@pytest.mark.parametrize("mpp", [None, 0.25, 8.0])
def test_of_a_pitch_that_is_none_of_the_classes_nothing_is_said(mpp: float | None) -> None:
    assert check_magnification(source(mpp), make_full_map(), Opinion(1, 0, 0)) is None


def test_where_no_tissue_is_nothing_is_said() -> None:
    nothing = TissueMap(np.zeros((4, 4), bool), "a test")
    assert check_magnification(source(0.5), nothing, Opinion(1, 0, 0)) is None


@pytest.mark.parametrize(("width", "is_warned"), [(3 * WINDOW_PX, False), (4 * WINDOW_PX, True)])
def test_of_less_tissue_than_was_measured_on_nothing_is_said(width: int, is_warned: bool) -> None:
    warning = check_magnification(source(0.5, width, 4 * WINDOW_PX), make_full_map(), Opinion(1, 0, 0))
    assert (warning is not None) == is_warned


@given(width=st.integers(1, 900), height=st.integers(1, 900), seed=st.integers(0, 99))
def test_windows_lie_inside_are_alike_and_few(width: int, height: int, seed: int) -> None:
    flags = np.random.default_rng(seed).random((7, 5)) < 0.4
    size = Size(width, height)
    boxes = choose_windows(
        SlideRegion(InMemorySlide(np.zeros((height, width, 3), np.uint8)), 0), TissueMap(flags, "a test")
    )
    assert len(boxes) <= WINDOW_COUNT
    assert len({box.size for box in boxes}) <= 1
    assert all(Box.from_size(size).contains(box) for box in boxes)
    assert bool(boxes) == bool(flags.any())


def test_windows_are_where_the_tissue_is() -> None:
    flags = np.zeros((4, 8), bool)
    flags[:, 4:] = True
    boxes = choose_windows(source(0.5, 8 * WINDOW_PX, 4 * WINDOW_PX), TissueMap(flags, "a test"))
    assert len(boxes) == WINDOW_COUNT
    assert min(box.left for box in boxes) == 4 * WINDOW_PX


def test_a_branch_sees_by_the_mean_over_windows(tmp_path: Path) -> None:
    network = make_small_network("mmsrnet")
    assert isinstance(network, MMSRNet)
    path = tmp_path / "joint.safetensors"
    save_weights(path, make_small_spec("mmsrnet"), network.state_dict())
    sight = load_magnification_classifier(path, scale=2, device="cpu")
    assert sight is not None
    tiles = np.stack([make_noise(Size(40, 40), seed) for seed in range(3)])
    alone = [sight(tiles[number : number + 1]) for number in range(3)]
    np.testing.assert_allclose(sight(tiles), np.mean(alone, axis=0), atol=1e-6)
    with torch.inference_mode():
        logits = network.compute_logits(torch.from_numpy(tiles[:1]).permute(0, 3, 1, 2) / 255)
    np.testing.assert_allclose(alone[0], logits.softmax(dim=1)[0].numpy(), atol=1e-5)


def test_what_has_no_branch_sees_nothing(tmp_path: Path) -> None:
    save_weights(tmp_path / "a.safetensors", make_small_spec("edsr"), make_small_network("edsr").state_dict())
    for model in ("bicubic", "masrgan-x2", tmp_path / "a.safetensors", "model.onnx"):
        assert load_magnification_classifier(model, scale=2, device="cpu") is None
