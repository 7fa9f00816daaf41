"""A network with all that moves along: every loss moves it, exactly as often and as far on several processes."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from dataclasses import replace
from itertools import islice
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor

from tests.support.networks import make_small_network, make_small_spec
from tests.support.pairs import write_dataset
from tests.support.samples import REPOSITORY
from wsisr.errors import ConfigError, ModelError
from wsisr.models.architectures.mmsrnet import MMSRNet
from wsisr.models.weights import load_network, save_weights
from wsisr.training.config import (
    DISCRIMINATOR_NAMES,
    AdversaryConfig,
    DataConfig,
    LossConfig,
    NetworkConfig,
    ScheduleConfig,
    TrainConfig,
)
from wsisr.training.loop import BEST_WEIGHTS_FILE, LAST_WEIGHTS_FILE, METRICS_FILE, TrainingRun

pytestmark = pytest.mark.usefixtures("one_thread")

CPU = torch.device("cpu")
STEPS = 4

JOINT = NetworkConfig(2, "mmsrnet", channels=8, blocks=1, window=3, trunk="edsr", magnifications=(10.0, 20.0))


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Of 10x and 20x, at low resolution."""
    return write_dataset(tmp_path_factory.mktemp("pairs"), mpps=(0.5, 0.25, 0.5))


@pytest.fixture(scope="module")
def features(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("weights") / "features.safetensors"
    save_weights(path, make_small_spec("mmsrnet"), make_small_network("mmsrnet").state_dict())
    return path


def config(dataset: Path, loss: LossConfig | None = None, network: NetworkConfig | None = None) -> TrainConfig:
    return TrainConfig(
        network or NetworkConfig(2, channels=8, blocks=1, window=3),
        DataConfig(dataset, patch_px=8, batch=4),
        ScheduleConfig(STEPS, warm_up=1, ema=0.9, validate_every=2, save_every=1),
        loss or LossConfig(),
        AdversaryConfig(channels=4),
    )


def finish(given: TrainConfig, folder: Path) -> TrainingRun:
    run = TrainingRun(given, folder, CPU)
    for _ in run:
        pass
    return run


def every_loss(features: Path) -> LossConfig:
    return LossConfig(1, 1, 0.1, 0.1, 0.1, 0.5, 0.1, 0.1, features)


def test_every_loss_has_its_term_and_a_killed_run_with_all_of_them_ends_as_if_it_had_not_been(
    dataset: Path, features: Path, tmp_path: Path
) -> None:
    given = config(dataset, every_loss(features), JOINT)
    reports = list(TrainingRun(given, tmp_path / "whole", CPU))
    assert set(reports[0].terms) == {*given.loss.weights, "discriminator"}
    assert all(value > 0 for value in reports[0].terms.values())
    for stop in range(STEPS):
        assert len(list(islice(TrainingRun(given, tmp_path / "cut", CPU), 1))) == 1, stop
    for name in (BEST_WEIGHTS_FILE, LAST_WEIGHTS_FILE, METRICS_FILE):
        assert (tmp_path / "cut" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()


KILLED = """
import os, signal, sys
from pathlib import Path
import torch
from tests.training.test_trainer import JOINT, config, every_loss
from wsisr.training.loop import TrainingRun
torch.set_num_threads(1)
dataset, features, folder = map(Path, sys.argv[1:])
for report in TrainingRun(config(dataset, every_loss(features), JOINT), folder, torch.device("cpu")):
    if report.step == 3:
        os.kill(os.getpid(), signal.SIGKILL)
"""


def test_an_adversary_and_a_branch_survive_kill_9(dataset: Path, features: Path, tmp_path: Path) -> None:
    given = config(dataset, every_loss(features), JOINT)
    command = [sys.executable, "-c", KILLED, *map(str, (dataset, features, tmp_path / "cut"))]
    done = subprocess.run(command, cwd=REPOSITORY, env=os.environ | {"OMP_NUM_THREADS": "1"}, check=False)
    assert done.returncode == -signal.SIGKILL
    assert finish(given, tmp_path / "cut").resumed
    finish(given, tmp_path / "whole")
    for name in (BEST_WEIGHTS_FILE, LAST_WEIGHTS_FILE, METRICS_FILE):
        assert (tmp_path / "cut" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()


@pytest.mark.parametrize("name", ["l1", "charbonnier", "ssim", "fourier", "consistency", "perceptual", "adversarial"])
def test_each_loss_alone_moves_the_network(dataset: Path, features: Path, tmp_path: Path, name: str) -> None:
    chosen = {"l1": 0.0, name: 1.0} | ({"features": features} if name == "perceptual" else {})
    run = TrainingRun(config(dataset, LossConfig(**chosen)), tmp_path, CPU)  # type: ignore[arg-type]
    before = {key: tensor.clone() for key, tensor in run.trainer.network.state_dict().items()}
    next(iter(run))
    assert not torch.equal(run.trainer.network.state_dict()["tail.weight"], before["tail.weight"])


@pytest.mark.parametrize("judge", DISCRIMINATOR_NAMES)
def test_an_adversary_with_a_head_start_learns_alone_at_first(dataset: Path, tmp_path: Path, judge: str) -> None:
    adversary = AdversaryConfig(4, head_start=2, judge=judge)
    given = replace(config(dataset, LossConfig(l1=0.0, adversarial=1.0)), adversary=adversary)
    learner = (run := TrainingRun(given, tmp_path, CPU)).trainer
    assert learner.adversary is not None
    first, tail = next(learner.adversary.network.parameters()), learner.network.state_dict()["tail.weight"]
    starts = first.detach().clone(), tail.clone()
    moved = [(not torch.equal(first, starts[0]), not torch.equal(tail, starts[1])) for _ in run]
    assert moved == [(True, False), (True, False), (True, True), (True, True)]


def test_a_joint_network_learns_both_and_tells_how_often_it_is_right(dataset: Path, tmp_path: Path) -> None:
    run = finish(config(dataset, LossConfig(classification=0.5), JOINT), tmp_path)
    spec, network = load_network(tmp_path / LAST_WEIGHTS_FILE)
    assert isinstance(network, MMSRNet)
    assert spec.magnifications == JOINT.magnifications
    assert '"accuracy": ' in (tmp_path / METRICS_FILE).read_text()
    assert all(parameter.grad is None or parameter.grad.any() for parameter in run.trainer.network.parameters())


def test_a_trunk_at_rest_stays_as_it_is_while_the_branch_learns(dataset: Path, tmp_path: Path) -> None:
    donor = finish(config(dataset, network=replace(JOINT, family="edsr", trunk="", magnifications=())), tmp_path / "a")
    given = config(
        dataset, LossConfig(classification=0.5), replace(JOINT, warm_start=(donor.folder / LAST_WEIGHTS_FILE,))
    )
    finish(replace(given, schedule=replace(given.schedule, trunk_rate=0.0)), tmp_path / "b")
    alone, joint = (load_network(tmp_path / name / LAST_WEIGHTS_FILE)[1].state_dict() for name in "ab")
    assert all(torch.equal(joint[f"trunk.{name}"], tensor) for name, tensor in alone.items())
    assert joint["branch.last.bias"].any()


def test_a_branch_can_learn_alone_and_what_is_kept_is_its_best(dataset: Path, tmp_path: Path) -> None:
    """It looks at whole patches of the batch, and no pixel is enlarged but by the validation."""
    start = (
        finish(config(dataset, LossConfig(classification=0.5), JOINT), tmp_path / "joint").folder / LAST_WEIGHTS_FILE
    )
    given = config(dataset, LossConfig(l1=0.0, classification=1.0), replace(JOINT, warm_start=(start,)))
    given = replace(given, schedule=replace(given.schedule, trunk_rate=0.0))
    reports = list(TrainingRun(given, tmp_path / "whole", CPU))
    assert [set(report.terms) for report in reports] == [{"classification"}] * STEPS
    found = [report.validation.accuracy for report in reports if report.validation]
    run = TrainingRun(given, tmp_path / "whole", CPU)
    assert run.best_score == max(each for each in found if each is not None)
    before, after = (load_file(path) for path in (start, tmp_path / "whole" / LAST_WEIGHTS_FILE))
    moved = {name for name, tensor in before.items() if not torch.equal(tensor, after[name])}
    assert moved
    assert all(name.startswith("branch.") for name in moved)


def differ_by_rounding(one: dict[str, Tensor], other: dict[str, Tensor]) -> bool:
    """Weights move by some 3e-3 in four steps; of a gradient that is all but zero, Adam goes by the sign."""
    return all((other[name] - tensor).abs().mean() < 1e-4 for name, tensor in one.items())


def test_parts_of_a_batch_add_up_to_it(dataset: Path, tmp_path: Path) -> None:
    given = config(dataset)
    finish(given, tmp_path / "whole")
    finish(replace(given, schedule=replace(given.schedule, accumulate=2)), tmp_path / "parts")
    whole, parts = (load_file(tmp_path / name / LAST_WEIGHTS_FILE) for name in ("whole", "parts"))
    assert differ_by_rounding(whole, parts)


WORKER = """
import sys
from pathlib import Path
import torch
from tests.training.test_trainer import config, finish
torch.set_num_threads(1)
finish(config(Path(sys.argv[1])), Path(sys.argv[2]))
"""


def test_two_processes_learn_what_one_does_that_accumulates(dataset: Path, tmp_path: Path) -> None:
    given = config(dataset)
    finish(replace(given, schedule=replace(given.schedule, accumulate=2)), tmp_path / "one")
    script = tmp_path / "worker.py"
    script.write_text(WORKER)
    launch = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2", str(script)]
    environment = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(REPOSITORY)}
    subprocess.run([*launch, str(dataset), str(tmp_path / "two")], cwd=REPOSITORY, env=environment, check=True)
    one, two = (load_file(tmp_path / name / LAST_WEIGHTS_FILE) for name in ("one", "two"))
    assert differ_by_rounding(one, two)
    assert (tmp_path / "two" / METRICS_FILE).read_text().count("\n") == 2


def test_a_batch_that_cannot_be_shared_out_is_one_line(
    dataset: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WORLD_SIZE", "3")
    with pytest.raises(ConfigError, match="a batch of 4 cannot be divided among 3 processes in 1 parts"):
        TrainingRun(config(dataset), tmp_path / "run", CPU)


def test_a_start_from_another_family_is_refused_though_its_tail_would_fit(dataset: Path, tmp_path: Path) -> None:
    donor = tmp_path / "span.safetensors"
    save_weights(donor, make_small_spec("span"), make_small_network("span").state_dict())
    given = config(dataset, network=NetworkConfig(2, channels=8, blocks=1, window=3, warm_start=(donor,)))
    with pytest.raises(ModelError, match="family masrgan cannot start from weights of the family span"):
        TrainingRun(given, tmp_path / "run", CPU)
    assert not (tmp_path / "run").exists()


def test_a_magnification_that_occurs_nowhere_is_one_line(dataset: Path, tmp_path: Path) -> None:
    wide = replace(JOINT, magnifications=(2.5, 5.0, 10.0))
    with pytest.raises(ConfigError, match=r"no training pair at 2\.5x, 5x, where the input has 0\.5 to 1 um/px"):
        TrainingRun(config(dataset, LossConfig(classification=1), wide), tmp_path / "run", CPU)


def test_features_of_what_does_not_classify_are_refused(dataset: Path, tmp_path: Path) -> None:
    path = tmp_path / "plain.safetensors"
    save_weights(path, make_small_spec("edsr"), make_small_network("edsr").state_dict())
    loss = LossConfig(perceptual=1, features=path)
    with pytest.raises(ConfigError, match=r"plain\.safetensors: not a classifier"):
        TrainingRun(config(dataset, loss), tmp_path / "run", CPU)
    path.write_bytes(b"text")
    with pytest.raises(ModelError, match="not a whole safetensors file"):
        TrainingRun(config(dataset, loss), tmp_path / "run", CPU)


def test_a_batch_whose_loss_is_no_number_is_kept(dataset: Path, tmp_path: Path) -> None:
    run = TrainingRun(config(dataset), tmp_path, CPU)
    next(iter(run))
    weights = {name: tensor.clone() for name, tensor in run.trainer.average.items()}
    with torch.no_grad():
        next(run.trainer.network.parameters()).fill_(float("nan"))
    with pytest.raises(ModelError, match="loss is not finite in step 2; its batch is saved in"):
        next(iter(run))
    kept = load_file(tmp_path / "failed-step-2.safetensors")
    assert (kept["low"].shape, kept["high"].shape) == ((4, 3, 8, 8), (4, 3, 16, 16))
    assert all(torch.equal(tensor, run.trainer.average[name]) for name, tensor in weights.items())
