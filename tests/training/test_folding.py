"""Folding: a network without attention computes what one with attention computes with its gates at their means."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor

from tests.support.pairs import write_dataset
from wsisr.errors import ModelError
from wsisr.models.architectures.attention import MixAttention
from wsisr.models.architectures.masrgan import MASRGAN
from wsisr.models.spec import ModelSpec
from wsisr.models.weights import build_network, load_network, save_weights
from wsisr.training.config import DataConfig, NetworkConfig, ScheduleConfig, TrainConfig
from wsisr.training.folding import fold_attention
from wsisr.training.loop import BEST_WEIGHTS_FILE, FOLDING_BATCHES, TrainingRun

pytestmark = pytest.mark.usefixtures("one_thread")

CPU = torch.device("cpu")
ATTENTIVE = ModelSpec("masrgan", 2, 12, 2, 3, (0.5, 1.0))
FOLDED = ModelSpec("masrgan-none", 2, 12, 2, 3, (0.5, 1.0))


def make_attentive(seed: int = 0) -> MASRGAN:
    """A network none of whose tensors is zero, and whose gates differ much from place to place."""
    torch.manual_seed(seed)
    network = build_network(ATTENTIVE)
    assert isinstance(network, MASRGAN)
    with torch.no_grad():
        for name, tensor in network.named_parameters():
            tensor.normal_(std=1.0 if "excite" in name or "locate" in name else 0.2)
    return network.eval()


def list_attentions(network: MASRGAN) -> list[MixAttention]:
    return [module for module in network.modules() if isinstance(module, MixAttention)]


def freeze_gates(attention: MixAttention, channel: Tensor, place: Tensor) -> None:
    """Make the gates the same everywhere."""
    with torch.no_grad():
        for layer, gate in ((attention.excite, channel), (attention.locate, place)):
            assert layer.bias is not None
            layer.weight.zero_()
            layer.bias.copy_(torch.logit(gate))


def measure_gates(network: MASRGAN, pixels: Tensor) -> list[tuple[Tensor, Tensor]]:
    """Means of the gates weighted by energy, for all pixels at once and in double precision."""
    inputs: list[Tensor] = []
    attentions = list_attentions(network)
    hooks = [module.register_forward_hook(lambda _m, args, _o: inputs.append(args[0])) for module in attentions]
    with torch.no_grad():
        network(pixels)
        for hook in hooks:
            hook.remove()
        means = []
        for attention, x in zip(attentions, inputs, strict=True):
            squeezed = attention.squeeze(x)
            half = squeezed.shape[1] // 2
            channel = torch.sigmoid(attention.excite(torch.relu(attention.gather(squeezed[:, :half]))))
            place = torch.sigmoid(attention.locate(torch.relu(squeezed[:, half:])))
            energy = x.double().square()
            by_channel = (channel * energy).sum((0, 2, 3)) / energy.sum((0, 2, 3))
            means.append((by_channel.float(), ((place * energy).sum() / energy.sum()).float()))
    return means


def fold(network: MASRGAN, pixels: Tensor) -> MASRGAN:
    folded = build_network(FOLDED)
    assert isinstance(folded, MASRGAN)
    folded.load_state_dict(fold_attention(network, [pixels[:3], pixels[3:]]))
    return folded.eval()


def largest_difference(one: MASRGAN, other: MASRGAN, pixels: Tensor) -> float:
    with torch.no_grad():
        return float((one(pixels) - other(pixels)).abs().max())


def test_gates_that_are_the_same_everywhere_fold_without_any_difference() -> None:
    network, pixels = make_attentive(), torch.rand(5, 3, 16, 20)
    for index, attention in enumerate(list_attentions(network)):
        freeze_gates(attention, torch.linspace(0.2, 0.9, 12), torch.tensor(0.3 + 0.2 * index))
    folded = fold(network, pixels)
    assert largest_difference(folded, network, torch.rand(2, 3, 24, 24)) < 1e-5
    assert not list_attentions(folded)


def test_a_folded_network_is_the_one_whose_gates_are_at_their_means() -> None:
    network, pixels = make_attentive(), torch.rand(5, 3, 16, 20)
    folded, original = fold(network, pixels), make_attentive()
    for attention, (channel, place) in zip(list_attentions(network), measure_gates(network, pixels), strict=True):
        freeze_gates(attention, channel, place)
    others = torch.rand(2, 3, 24, 24)
    assert largest_difference(network, original, others) > 1e-2  # these gates do vary
    assert largest_difference(folded, network, others) < 1e-4


def config(dataset: Path, donor: Path, family: str = "masrgan-none", **shape: int) -> TrainConfig:
    network = replace(NetworkConfig(2, family, 12, 2, 3, warm_start=(donor,), fold=True), **shape)  # type: ignore[arg-type]
    return TrainConfig(network, DataConfig(dataset, patch_px=8, batch=2), ScheduleConfig(0))


def test_a_run_starts_from_the_fold_over_its_own_training_data(tmp_path: Path) -> None:
    donor = tmp_path / "donor.safetensors"
    save_weights(donor, ATTENTIVE, make_attentive().state_dict())
    run = TrainingRun(config(write_dataset(tmp_path / "pairs"), donor), tmp_path / "run", CPU)
    list(run)
    inputs = [run.sampler.make_batch(step).low for step in range(FOLDING_BATCHES)]
    expected = fold_attention(make_attentive(), inputs)
    _, network = load_network(tmp_path / "run" / BEST_WEIGHTS_FILE)
    assert all(torch.equal(tensor, expected[name]) for name, tensor in network.state_dict().items())


@pytest.mark.parametrize(
    ("shape", "reason"),
    [
        ({"family": "masrgan"}, "masrgan cannot be folded into masrgan; fold makes a masrgan-none of a masrgan"),
        ({"channels": 8}, "has channels = 12; a network to be folded from it has the same"),
        ({"blocks": 3}, "has blocks = 2; a network to be folded from it has the same"),
    ],
)
def test_what_cannot_be_folded_is_one_line(tmp_path: Path, shape: dict[str, int], reason: str) -> None:
    donor = tmp_path / "donor.safetensors"
    save_weights(donor, ATTENTIVE, make_attentive().state_dict())
    with pytest.raises(ModelError, match=rf"donor\.safetensors: {reason}"):
        TrainingRun(config(write_dataset(tmp_path / "pairs"), donor, **shape), tmp_path / "run", CPU)  # type: ignore[arg-type]
