"""Re-parameterised training: branches are merged exactly, change nothing at first, and all of them learn."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from tests.support.networks import make_small_network, make_small_spec
from tests.support.pairs import write_dataset
from wsisr.errors import ConfigError
from wsisr.models.weights import build_network, load_network
from wsisr.training.config import DataConfig, NetworkConfig, ScheduleConfig, TrainConfig
from wsisr.training.config_file import read_train_config
from wsisr.training.loop import BEST_WEIGHTS_FILE, LAST_WEIGHTS_FILE, TrainingRun
from wsisr.training.reparameterisation import (
    KernelBranches,
    add_kernel_branches,
    load_merged_tensors,
    read_merged_tensors,
)

pytestmark = pytest.mark.usefixtures("one_thread")

CPU = torch.device("cpu")
FAMILIES = ("half", "masrgan", "mmsrnet")
PIXELS = torch.rand(1, 3, 12, 10, generator=torch.Generator().manual_seed(3))


def make_branched(family: str, noise: float = 0.0) -> nn.Module:
    network = make_small_network(family)
    add_kernel_branches(network)
    with torch.no_grad():
        for name, parameter in network.named_parameters():
            if ".parametrizations." in name and not name.endswith("original"):
                parameter.add_(torch.randn_like(parameter), alpha=noise)
    return network


def enlarge(network: nn.Module) -> Tensor:
    with torch.no_grad():
        enlarged: Tensor = network(PIXELS)
    return enlarged


@pytest.mark.parametrize("family", FAMILIES)
def test_branches_begin_without_effect(family: str) -> None:
    assert torch.equal(enlarge(make_branched(family)), enlarge(make_small_network(family)))


@pytest.mark.parametrize("family", FAMILIES)
def test_a_plain_network_of_the_merged_kernels_gives_the_same_pixels_to_the_bit(family: str) -> None:
    branched, plain = make_branched(family, noise=0.1), build_network(make_small_spec(family)).eval()
    tensors = read_merged_tensors(branched)
    assert set(tensors) == set(plain.state_dict())
    plain.load_state_dict(tensors)
    assert torch.equal(enlarge(branched), enlarge(plain))
    assert not torch.equal(enlarge(plain), enlarge(make_small_network(family)))


def test_loaded_kernels_are_the_sum_of_all_branches() -> None:
    branched, tensors = make_branched("half", noise=0.1), make_small_network("half").state_dict()
    load_merged_tensors(branched, tensors)
    for name, tensor in read_merged_tensors(branched).items():
        torch.testing.assert_close(tensor, tensors[name], msg=name)


def test_the_wide_branch_is_two_convolutions_and_the_masks_are_edges() -> None:
    torch.manual_seed(0)
    branches = KernelBranches(torch.zeros(4, 3, 3, 3))
    x = torch.rand(1, 3, 7, 7)
    with torch.no_grad():
        branches.narrow.normal_()
        wide = nn.functional.conv2d(nn.functional.conv2d(x, branches.widen[:, :, None, None]), branches.narrow)
        torch.testing.assert_close(nn.functional.conv2d(x, branches.merge_branches()), wide)
    torch.testing.assert_close(branches.masks.square().sum((1, 2)), torch.ones(4))
    # The point keeps a constant; an edge filter makes nothing of it.
    torch.testing.assert_close(branches.masks.sum((1, 2)), torch.tensor([1.0, 0.0, 0.0, 0.0]), atol=1e-6, rtol=0)


def make_config(
    dataset: Path, *, reparameterise: bool, warm_start: tuple[Path, ...] = (), steps: int = 3
) -> TrainConfig:
    return TrainConfig(
        NetworkConfig(2, "half", channels=8, blocks=1, reparameterise=reparameterise, warm_start=warm_start),
        DataConfig(dataset, patch_px=8, batch=2),
        ScheduleConfig(steps, warm_up=1, ema=0.5, validate_every=3, save_every=1),
    )


def train(config: TrainConfig, folder: Path, stop_at: int = 99) -> TrainingRun:
    run = TrainingRun(config, folder, CPU)
    for report in run:
        if report.step == stop_at:
            break
    return run


def test_a_stopped_run_ends_as_if_it_had_not_been_and_its_result_is_a_plain_network(tmp_path: Path) -> None:
    dataset = write_dataset(tmp_path)
    config = make_config(dataset, reparameterise=True)
    whole = train(config, tmp_path / "whole")
    train(config, tmp_path / "parts", stop_at=2)
    train(config, tmp_path / "parts")
    train(make_config(dataset, reparameterise=False), tmp_path / "plain")
    whole_bytes, parts_bytes, plain_bytes = (
        (tmp_path / name / LAST_WEIGHTS_FILE).read_bytes() for name in ("whole", "parts", "plain")
    )
    assert whole_bytes == parts_bytes != plain_bytes
    assert len(whole_bytes) == len(plain_bytes)
    for name, parameter in whole.trainer.network.named_parameters():
        if "widen" not in name:  # it begins with noise, and all others at zero
            assert parameter.abs().sum() > 0, name

    warm = make_config(dataset, reparameterise=True, warm_start=(tmp_path / "whole" / LAST_WEIGHTS_FILE,), steps=0)
    train(warm, tmp_path / "warm")
    given, kept = (
        load_network(tmp_path / name)[1].state_dict()
        for name in (f"whole/{LAST_WEIGHTS_FILE}", f"warm/{BEST_WEIGHTS_FILE}")
    )
    assert all(torch.equal(given[name], kept[name]) for name in given)


def test_a_recipe_names_it_and_a_frozen_trunk_has_no_use_for_it(tmp_path: Path) -> None:
    recipe = tmp_path / "recipe.toml"
    network = (
        '[network]\nscale = 2\nfamily = "mmsrnet"\ntrunk = "half"\nmagnifications = [10, 20]\nreparameterise = true\n'
    )
    rest = '[data]\ndataset = "pairs"\n[loss]\nclassification = 1\n[schedule]\nsteps = 5\n'
    recipe.write_text(network + rest)
    assert read_train_config(recipe).network.reparameterise
    recipe.write_text(network + rest + "trunk_rate = 0\n")
    with pytest.raises(ConfigError, match="reparameterise is for a trunk that learns"):
        read_train_config(recipe)
