"""The training step: what it computes, and that it computes the same where it is recorded and replayed.

A CUDA graph reads its inputs from, and writes its outputs to, the same memory each time. `Replayed` does that on a CPU.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import replace
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from tests.support.pairs import write_dataset
from wsisr.models.backends.device import has_fast_bf16
from wsisr.models.spec import ModelSpec
from wsisr.models.weights import build_network
from wsisr.training.config import (
    AdversaryConfig,
    DataConfig,
    LossConfig,
    NetworkConfig,
    ScheduleConfig,
    TrainConfig,
)
from wsisr.training.cuda_graphs import GraphedCall, StepFunction, find_cuda_graph_obstacle
from wsisr.training.distributed import launch_fabric
from wsisr.training.loop import LAST_WEIGHTS_FILE, TrainingRun
from wsisr.training.optimiser import learning_rate_at
from wsisr.training.sampler import BatchSampler
from wsisr.training.trainer import Trainer

pytestmark = pytest.mark.usefixtures("one_thread")

CPU, GPU = torch.device("cpu"), torch.device("cuda", 0)
STEPS = 8
PLAIN = NetworkConfig(2, channels=8, blocks=1, window=3)
JOINT = NetworkConfig(2, "mmsrnet", channels=8, blocks=1, window=3, trunk="edsr", magnifications=(10.0, 20.0))


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Of 10x and 20x, at low resolution."""
    return write_dataset(tmp_path_factory.mktemp("pairs"), mpps=(0.5, 0.25, 0.5))


def make_config(dataset: Path, network: NetworkConfig = PLAIN, loss: LossConfig | None = None) -> TrainConfig:
    schedule = ScheduleConfig(STEPS, warm_up=2, ema=0.9, validate_every=STEPS)
    return TrainConfig(network, DataConfig(dataset, patch_px=8, batch=4), schedule, loss or LossConfig(ssim=0.1))


def spec_of(config: TrainConfig) -> ModelSpec:
    return config.network.build_spec((0.5, 1.0))


class Replayed:
    """A function whose inputs and outputs lie in the same memory at each call, as those of a CUDA graph do."""

    def __init__(self, function: StepFunction) -> None:
        self.function, self.calls = function, 0

    def __call__(self, *inputs: Tensor | None) -> dict[str, Tensor]:
        self.calls += 1
        if self.calls == 1:
            self.inputs = [None if value is None else torch.full_like(value, 77) for value in inputs]
            self.outputs: dict[str, Tensor] = {}
        for buffer, value in zip(self.inputs, inputs, strict=True):
            if buffer is not None and value is not None:
                buffer.copy_(value)
        for name, value in self.function(*self.inputs).items():
            self.outputs.setdefault(name, torch.empty_like(value)).copy_(value)
        return self.outputs


def train(
    config: TrainConfig, device: torch.device = CPU, capture: Callable[[StepFunction], StepFunction] | None = None
) -> tuple[Trainer, list[dict[str, float]]]:
    fabric = launch_fabric(device, config.data.batch, config.schedule.accumulate)
    trainer = Trainer(config, spec_of(config), fabric, capture)
    classified = bool(config.network.magnifications)
    sampler = BatchSampler(config.data, 2, config.seed, with_branch_input=classified)
    return trainer, [trainer.train_batch(sampler.make_batch(step), step) for step in range(STEPS)]


def equal(one: dict[str, Tensor], other: dict[str, Tensor]) -> bool:
    return one.keys() == other.keys() and all(torch.equal(tensor, other[name]) for name, tensor in one.items())


def test_a_step_is_loss_backward_adamw_and_the_average_and_nothing_else(dataset: Path) -> None:
    """The same in plain torch, written down once more, ends with the same bytes."""
    config = make_config(dataset, loss=LossConfig(l1=2.0))
    torch.manual_seed(config.seed)
    network = build_network(spec_of(config))
    average = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    optimiser = torch.optim.AdamW(network.parameters(), weight_decay=0.0)
    sampler, costs = BatchSampler(config.data, 2, config.seed), []
    autocast: AbstractContextManager[object] = torch.autocast("cpu", torch.bfloat16, enabled=has_fast_bf16(CPU))
    for step in range(STEPS):
        batch = sampler.make_batch(step).to(CPU)
        with autocast:
            enlarged = network(batch.low)
        cost = 2 * F.l1_loss(enlarged, batch.high)
        optimiser.zero_grad()
        cost.backward()  # type: ignore[no-untyped-call]
        optimiser.param_groups[0]["lr"] = learning_rate_at(step, config.schedule)
        optimiser.step()
        for name, tensor in network.state_dict().items():
            average[name].lerp_(tensor, 1 - min(0.9, (1 + step) / (10 + step)))
        costs.append(cost.item())
    trainer, terms = train(config)
    assert [term["l1"] for term in terms] == costs
    assert equal(trainer.network.state_dict(), dict(network.state_dict()))
    assert equal(trainer.average, average)


@pytest.mark.parametrize("kind", ["plain", "joint", "branch", "parts", "adversary"])
def test_a_step_that_is_replayed_from_fixed_memory_computes_the_same(dataset: Path, kind: str) -> None:
    config = make_config(dataset)
    if kind in ("joint", "branch"):
        config = make_config(dataset, JOINT, LossConfig(l1=float(kind == "joint"), classification=0.5))
    if kind == "branch":
        config = replace(config, schedule=replace(config.schedule, trunk_rate=0.0))
    if kind == "parts":
        config = replace(config, schedule=replace(config.schedule, accumulate=2))
    if kind == "adversary":
        config = replace(config, loss=LossConfig(adversarial=0.1), adversary=AdversaryConfig(4, head_start=3))
    (trainer, terms), (replayed, same) = train(config), train(config, capture=Replayed)
    assert terms == same
    assert equal(trainer.network.state_dict(), replayed.network.state_dict())
    assert equal(trainer.average, replayed.average)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({}, None),
        ({"loss": LossConfig(adversarial=0.1)}, "the loss adversarial has a weight"),
        ({"schedule": ScheduleConfig(STEPS, accumulate=2)}, "accumulate is above 1"),
    ],
)
def test_what_cannot_be_recorded_is_told(dataset: Path, change: dict[str, object], reason: str | None) -> None:
    config = replace(make_config(dataset), **change)  # type: ignore[arg-type]
    assert find_cuda_graph_obstacle(config, GPU, 1) == reason
    assert find_cuda_graph_obstacle(config, CPU, 1) == "the device is cpu, not a CUDA GPU"
    assert find_cuda_graph_obstacle(config, GPU, 2) == "the run has 2 processes"


def test_a_run_that_asks_for_graphs_without_a_gpu_says_so_and_is_the_run_that_it_was(
    dataset: Path, tmp_path: Path
) -> None:
    config = make_config(dataset)
    asking = replace(config, schedule=replace(config.schedule, cuda_graphs=True))
    for name, given in (("plain", config), ("asking", asking)):
        run = TrainingRun(given, tmp_path / name, CPU)
        assert run.warnings == (
            ["cuda_graphs is not used: the device is cpu, not a CUDA GPU"] if given is asking else []
        )
        list(run)
    assert (tmp_path / "plain" / LAST_WEIGHTS_FILE).read_bytes() == (
        tmp_path / "asking" / LAST_WEIGHTS_FILE
    ).read_bytes()
    assert TrainingRun(asking, tmp_path / "plain", CPU).is_finished


needs_gpu = pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA GPU here")


@needs_gpu
@pytest.mark.parametrize("network", [PLAIN, JOINT], ids=["plain", "joint"])
def test_on_a_gpu_a_recorded_step_learns_what_one_that_is_not_does(dataset: Path, network: NetworkConfig) -> None:
    loss = LossConfig(classification=0.5 if network is JOINT else 0.0)
    (trainer, terms), (captured, same) = (
        train(make_config(dataset, network, loss), GPU, capture) for capture in (None, GraphedCall)
    )
    for one, other in zip(terms, same, strict=True):
        assert other == pytest.approx(one, rel=1e-2)
    for name, tensor in trainer.average.items():
        assert (captured.average[name] - tensor).abs().mean() < 1e-4, name


@needs_gpu
def test_on_a_gpu_a_recorded_run_goes_on_where_it_was_and_on_a_cpu_too(dataset: Path, tmp_path: Path) -> None:
    config = make_config(dataset)
    config = replace(config, schedule=replace(config.schedule, cuda_graphs=True, save_every=1))
    for device in (GPU, CPU, GPU):
        run = TrainingRun(config, tmp_path, device)
        before = run.step
        for report in run:
            if report.step == before + 2 and device is CPU:
                break
            if report.step == before + 5 and before == 0:
                break
    assert run.is_finished
