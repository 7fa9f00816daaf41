"""The score that decides which weights are kept."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from msgspec.structs import replace
from torch import Tensor, nn

from tests.support.networks import make_small_network
from tests.support.pairs import write_dataset, write_manifest
from wsisr.dataset.reader import PatchStore
from wsisr.errors import DatasetError
from wsisr.imaging.pixels import enlarge_image
from wsisr.models.architectures.mmsrnet import MMSRNet
from wsisr.training.validation import Validation, ValidationScores

CPU = torch.device("cpu")


class Pillow(nn.Module):
    """Pillow's bicubic as a network, give or take a noise of so many grey levels."""

    def __init__(self, noise: float = 0.0) -> None:
        super().__init__()
        self.noise = noise

    def forward(self, x: Tensor) -> Tensor:
        images = x.mul(255).round().byte().permute(0, 2, 3, 1).numpy()
        large = torch.stack([torch.tensor(enlarge_image(image, 2, "bicubic")) for image in images])
        error = self.noise * torch.randn(large.shape, generator=torch.Generator().manual_seed(0))
        return (large + error).permute(0, 3, 1, 2) / 255


def test_bicubic_gains_nothing_over_itself(tmp_path: Path) -> None:
    assert Validation(PatchStore(write_dataset(tmp_path)), 2).score_network(Pillow(), CPU).gain_db == 0


def test_noise_costs_gain(tmp_path: Path) -> None:
    validation = Validation(PatchStore(write_dataset(tmp_path)), 2)
    gains = [validation.score_network(Pillow(noise), CPU).gain_db for noise in (0.0, 4.0, 16.0)]
    assert gains == sorted(gains, reverse=True)
    assert gains[-1] < -1


def test_the_score_is_the_same_each_time(tmp_path: Path) -> None:
    store = PatchStore(write_dataset(tmp_path))
    assert Validation(store, 2).score_network(Pillow(2), CPU) == Validation(store, 2).score_network(Pillow(2), CPU)


def test_texture_is_told_of_patches_that_hold_a_square_of_it_inside_the_border(tmp_path: Path) -> None:
    small, large = (
        Validation(PatchStore(write_dataset(tmp_path / str(side), side=side)), 2).score_network(Pillow(), CPU)
        for side in (80, 96)
    )
    assert small.texture_distance is None
    assert large.texture_distance is not None
    assert large.texture_distance > 0


def test_what_is_kept_is_best_at_what_the_run_is_for() -> None:
    true, crisp = ValidationScores(2.0, None, 0.3), ValidationScores(1.0, None, 0.1)
    assert true.score("gain") > crisp.score("gain")
    assert true.score("texture") < crisp.score("texture")
    untold = ValidationScores(2.0, None, None), ValidationScores(1.0, None, None)
    assert untold[0].score("texture") > untold[1].score("texture")
    assert untold[0].score("accuracy") > untold[1].score("accuracy")
    assert ValidationScores(1.0, 0.9, None).score("accuracy") > ValidationScores(2.0, 0.8, None).score("accuracy")


def test_only_validation_patches_are_scored(tmp_path: Path) -> None:
    validation = Validation(PatchStore(write_dataset(tmp_path)), 2)
    assert set(validation.highs_by_slide) == {"slide2.svs"}


def test_a_dataset_without_validation_pairs_is_refused(tmp_path: Path) -> None:
    write_manifest(tmp_path, PatchStore(write_dataset(tmp_path)).select_pairs("train", 2))
    with pytest.raises(DatasetError, match="no validation pair at scale 2; build one with validation slides"):
        Validation(PatchStore(tmp_path), 2)


def test_a_strip_shows_low_resolution_bicubic_network_and_truth(tmp_path: Path) -> None:
    validation = Validation(PatchStore(write_dataset(tmp_path)), 2)
    strip = validation.draw_comparison(Pillow(), CPU)
    squares, bicubic, made, high = np.split(strip, 4, axis=1)
    assert np.array_equal(made, bicubic)
    assert np.array_equal(squares[::2, ::2], squares[1::2, 1::2])
    assert np.array_equal(high, validation.highs_by_slide["slide2.svs"][2])


def test_magnifications_are_told_of_patches_as_the_slide_has_them(tmp_path: Path) -> None:
    """The patches are of 0.5 um/px: 20x."""
    validation = Validation(PatchStore(write_dataset(tmp_path)), 2)
    network = make_small_network("mmsrnet")
    assert isinstance(network, MMSRNet)
    for index, due in ((2, 1.0), (0, 0.0)):
        sees_always(network, index)
        assert validation.score_network(network, CPU).accuracy == due
    assert validation.score_network(Pillow(), CPU).accuracy is None


def test_guessing_the_most_frequent_magnification_gains_nothing(tmp_path: Path) -> None:
    """Three patches of 20x and one of 10x are told no better by always 20x than by always 10x."""
    store = PatchStore(write_dataset(tmp_path))
    *frequent, rare = store.select_pairs("val", 2)
    write_manifest(tmp_path, [*frequent, replace(rare, slide="other.svs", mpp_hr=1.0, mpp_lr=2.0)])
    validation = Validation(PatchStore(tmp_path), 2)
    network = make_small_network("mmsrnet")
    assert isinstance(network, MMSRNet)
    for index, due in ((2, 0.5), (1, 0.5), (0, 0.0)):
        sees_always(network, index)
        assert validation.measure_accuracy(network, CPU) == due


def sees_always(network: MMSRNet, index: int) -> None:
    """Whatever it looks at, it takes for that magnification."""
    with torch.no_grad():
        network.branch.last.weight.zero_()
        network.branch.last.bias.copy_(torch.eye(3)[index])
