"""A run: stopped or killed at any step it ends with the same bytes, and a good checkpoint is never lost."""

from __future__ import annotations

import hashlib
import io
import json
import os
import pickle
import shutil
import signal
from dataclasses import fields, replace
from itertools import islice
from pathlib import Path

import pytest
import torch
from hypothesis import given as draw
from hypothesis import settings
from hypothesis import strategies as st
from torch import Tensor

from tests.support.disks import limit_file_size, make_readable_folder, run_as_nobody
from tests.support.forks import run_in_forks
from tests.support.pairs import write_dataset
from wsisr.errors import ConfigError, DatasetError, ModelError, OutputError, WsisrError
from wsisr.models.weights import load_network, save_weights
from wsisr.training.checkpoint import CheckpointKey, load_checkpoint
from wsisr.training.config import DataConfig, NetworkConfig, ScheduleConfig, TrainConfig
from wsisr.training.config_keys import flatten_config, list_changed_keys
from wsisr.training.distributed import launch_fabric
from wsisr.training.loop import BEST_WEIGHTS_FILE, CHECKPOINT_FILE, LAST_WEIGHTS_FILE, METRICS_FILE, TrainingRun
from wsisr.training.metrics_log import append_metrics, read_metrics, rewind_metrics
from wsisr.training.stain_augmentation import StainVariation
from wsisr.training.trainer import Trainer

pytestmark = pytest.mark.usefixtures("one_thread")

CPU = torch.device("cpu")
STEPS = 12


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_dataset(tmp_path_factory.mktemp("pairs"))


@pytest.fixture(scope="module")
def whole(dataset: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of a run that nobody interrupted."""
    folder = tmp_path_factory.mktemp("whole")
    finish(config(dataset), folder)
    return folder


def config(dataset: Path, **schedule: float) -> TrainConfig:
    """A run of seconds: 8 channels, 1 block."""
    values = {"learning_rate": 1e-3, "warm_up": 3, "ema": 0.9, "validate_every": 4, "save_every": 3} | schedule
    return TrainConfig(
        NetworkConfig(2, channels=8, blocks=1, window=3),
        DataConfig(dataset, patch_px=8, batch=2),
        ScheduleConfig(STEPS, **values),  # type: ignore[arg-type]
    )


def finish(given: TrainConfig, folder: Path) -> TrainingRun:
    run = TrainingRun(given, folder, CPU)
    for _ in run:
        pass
    return run


def outcome(folder: Path) -> dict[str, bytes]:
    """Everything that a run leaves but its checkpoint, whose zip archive is compared by its tensors."""
    return {name: (folder / name).read_bytes() for name in (BEST_WEIGHTS_FILE, LAST_WEIGHTS_FILE, METRICS_FILE)}


def tensors_of(run: TrainingRun) -> dict[str, Tensor]:
    learner = run.trainer
    moments = learner.optimiser.state_dict()["state"]
    optimiser = {f"{key}.{name}": value for key, state in moments.items() for name, value in state.items()}
    average = {f"average.{name}": tensor for name, tensor in learner.average.items()}
    return {name: tensor.clone() for name, tensor in (learner.network.state_dict() | average | optimiser).items()}


def equal(one: dict[str, Tensor], other: dict[str, Tensor]) -> bool:
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


@pytest.mark.parametrize("stop", range(1, STEPS + 1))
def test_a_run_dropped_after_any_step_ends_as_if_it_had_not_been(
    dataset: Path, tmp_path: Path, whole: Path, stop: int
) -> None:
    first = TrainingRun(config(dataset), tmp_path, CPU)
    assert [report.step for report in islice(first, stop)] == list(range(1, stop + 1))
    second = finish(config(dataset), tmp_path)
    assert second.resumed == (stop >= 3)
    assert outcome(tmp_path) == outcome(whole)
    assert equal(tensors_of(second), tensors_of(TrainingRun(config(dataset), whole, CPU)))


def test_a_run_dropped_after_every_step_ends_as_if_it_had_not_been(dataset: Path, tmp_path: Path, whole: Path) -> None:
    for step in range(STEPS):
        run = TrainingRun(config(dataset), tmp_path, CPU)
        assert run.step == step
        next(iter(run))
        run.save()
    assert outcome(tmp_path) == outcome(whole)


KILLED = """
import os, signal
from pathlib import Path
import torch
from tests.training.test_run import config
from wsisr.training.loop import TrainingRun

def train_until(dataset, folder, step):
    torch.set_num_threads(1)
    for report in TrainingRun(config(Path(dataset)), Path(folder), torch.device("cpu")):
        if report.step == step:
            os.kill(os.getpid(), signal.SIGKILL)
"""
KILLS = [2, 8]


@pytest.fixture(scope="module")
def killed_folders(dataset: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[int, Path]:
    """Step to the folder of a run whose process was killed in it."""
    folders = {step: tmp_path_factory.mktemp("killed") for step in KILLS}
    calls = [f"train_until({str(dataset)!r}, {str(folder)!r}, {step})" for step, folder in folders.items()]
    assert run_in_forks(KILLED, calls) == [-signal.SIGKILL] * len(KILLS)
    return folders


@pytest.mark.parametrize("step", KILLS)
def test_a_run_killed_in_a_process_of_its_own_ends_as_if_it_had_not_been(
    dataset: Path, killed_folders: dict[int, Path], whole: Path, step: int
) -> None:
    finish(config(dataset), killed_folders[step])
    assert outcome(killed_folders[step]) == outcome(whole)


def test_saving_and_validating_at_other_steps_changes_no_weight(dataset: Path, tmp_path: Path, whole: Path) -> None:
    other = finish(config(dataset, save_every=5, validate_every=7), tmp_path)
    assert (tmp_path / LAST_WEIGHTS_FILE).read_bytes() == (whole / LAST_WEIGHTS_FILE).read_bytes()
    assert equal(tensors_of(other), tensors_of(TrainingRun(config(dataset), whole, CPU)))


def test_a_run_learns(dataset: Path, tmp_path: Path) -> None:
    given = config(dataset, warm_up=5, learning_rate=3e-3, validate_every=60, save_every=60)
    given = replace(given, schedule=replace(given.schedule, steps=60))
    run = finish(given, tmp_path)
    assert run.best_score > 0.1


def test_the_best_weights_are_those_of_the_best_validation(whole: Path, dataset: Path) -> None:
    run = TrainingRun(config(dataset), whole, CPU)
    best = max(entry["gain_db"] for entry in read_metrics(whole / METRICS_FILE))
    assert round(run.best_score, 4) == best
    spec, network = load_network(whole / BEST_WEIGHTS_FILE)
    assert run.validation.score_network(network, CPU).gain_db == pytest.approx(run.best_score, abs=0.02)
    assert spec == run.spec
    assert spec.input_mpp == (1.0, 1.0)


def test_a_finished_run_has_nothing_more_to_do(whole: Path, dataset: Path) -> None:
    before = outcome(whole)
    assert list(TrainingRun(config(dataset), whole, CPU)) == []
    assert outcome(whole) == before


def test_reports_tell_step_loss_and_gain(dataset: Path, tmp_path: Path) -> None:
    reports = list(TrainingRun(config(dataset), tmp_path, CPU))
    assert [report.step for report in reports] == list(range(1, STEPS + 1))
    assert [report.step for report in reports if report.gain_db is not None] == [4, 8, 12]
    assert all(report.loss > 0 and report.steps == STEPS for report in reports)


def test_another_configuration_is_refused_and_the_checkpoint_stays(whole: Path, dataset: Path) -> None:
    before = (whole / CHECKPOINT_FILE).read_bytes()
    with pytest.raises(ConfigError, match="belongs to another configuration; give another folder"):
        TrainingRun(config(dataset, learning_rate=0.1), whole, CPU)
    assert (whole / CHECKPOINT_FILE).read_bytes() == before


@pytest.mark.parametrize("stop", [1, 4])
def test_a_finished_run_goes_on_with_more_steps_and_ends_as_if_nobody_had_stopped_it(
    dataset: Path, tmp_path: Path, whole: Path, stop: int
) -> None:
    longer = replace(config(dataset), schedule=replace(config(dataset).schedule, steps=STEPS + 6))
    for name in ("once", "twice"):
        shutil.copytree(whole, tmp_path / name)
    first = TrainingRun(longer, tmp_path / "twice", CPU)
    assert (first.resumed, first.is_finished, first.step) == (True, False, STEPS)
    assert [report.step for report in islice(first, stop)] == list(range(STEPS + 1, STEPS + 1 + stop))
    for name in ("once", "twice"):
        assert finish(longer, tmp_path / name).step == STEPS + 6
    assert outcome(tmp_path / "once") == outcome(tmp_path / "twice")
    assert outcome(tmp_path / "once")[LAST_WEIGHTS_FILE] != outcome(whole)[LAST_WEIGHTS_FILE]
    steps = [entry["step"] for entry in read_metrics(tmp_path / "once" / METRICS_FILE)]
    assert steps == [4, 8, 12, 16, 18]
    with pytest.raises(ConfigError, match="belongs to another configuration"):
        TrainingRun(config(dataset), tmp_path / "once", CPU)  # with fewer steps than it has done


def test_an_unfinished_run_takes_no_other_steps(dataset: Path, tmp_path: Path) -> None:
    list(islice(TrainingRun(config(dataset), tmp_path, CPU), 3))
    longer = replace(config(dataset), schedule=replace(config(dataset).schedule, steps=STEPS + 6))
    with pytest.raises(ConfigError) as error:
        TrainingRun(longer, tmp_path, CPU)
    assert error.value.__notes__ == ["schedule.steps: was 12, now 18"]


def test_what_differs_from_the_run_in_the_folder_is_said_key_by_key(dataset: Path, whole: Path) -> None:
    other = config(dataset, learning_rate=0.1, save_every=7)
    data = replace(other.data, kernels={"area": 1.0}, stain=StainVariation(mixing=0.2))
    with pytest.raises(ConfigError, match="give another folder for this one, or change back") as error:
        TrainingRun(replace(other, data=data, seed=3), whole, CPU)
    assert set(error.value.__notes__) == {
        "seed: was 0, now 3",
        "schedule.learning_rate: was 0.001, now 0.1",
        "data.kernels: was area 0.4, bicubic 0.4, pyramid 0.2, now area 1",
        "data.stain: was none, now not there",
        "data.stain.mixing: was not there, now 0.2",
        "data.stain.density: was not there, now 0.1, 1.5",
        "data.stain.density_share: was not there, now 0.5",
    }


def test_whatever_makes_another_run_is_among_the_keys_that_are_said(dataset: Path) -> None:
    """Each field, changed alone: the digest changes just where a key does."""
    plain = config(dataset)
    for table in ("network", "data", "schedule", "loss", "adversary"):
        part = getattr(plain, table)
        for item in fields(part):
            value = getattr(part, item.name)
            if not isinstance(value, int | float) or item.name == "scale":
                continue
            other = replace(plain, **{table: replace(part, **{item.name: value + 2})})
            keys = list_changed_keys(flatten_config(plain), flatten_config(other))
            assert keys == ([f"{table}.{item.name}"] if other.compute_digest() != plain.compute_digest() else [])
    keys = list_changed_keys(flatten_config(plain), flatten_config(plain, ["0" * 64]))
    assert keys == ["the stages that it starts from"]


def test_another_dataset_is_refused_but_not_another_place_of_it(whole: Path, dataset: Path, tmp_path: Path) -> None:
    assert TrainingRun(config(write_dataset(tmp_path / "same")), whole, CPU).step == STEPS
    other = write_dataset(tmp_path / "other")
    (other / "manifest.jsonl").write_text((dataset / "manifest.jsonl").read_text().replace("40.0", "41.0"))
    with pytest.raises(ConfigError, match="trained on a dataset of other patches"):
        TrainingRun(config(other), whole, CPU)


def test_a_case_that_is_trained_on_and_validated_on_is_warned_of(dataset: Path, tmp_path: Path) -> None:
    assert TrainingRun(config(dataset), tmp_path / "run", CPU).warnings == []
    shared = tmp_path / "pairs"
    shutil.copytree(dataset, shared)
    manifest = (shared / "manifest.jsonl").read_text().replace('"case": "slide2"', '"case": "slide1"')
    (shared / "manifest.jsonl").write_text(manifest)
    (warning,) = TrainingRun(config(shared), tmp_path / "other", CPU).warnings
    assert warning == "case slide1 is trained on and validated on: the scores are too high"


class Trap:
    """An object that acts when it is unpickled."""

    def __init__(self, target: Path) -> None:
        self.target = target

    def __reduce__(self) -> tuple[object, ...]:
        return os.mkdir, (str(self.target),)


def test_a_damaged_checkpoint_is_refused_in_one_line_and_not_executed(
    whole: Path, dataset: Path, tmp_path: Path
) -> None:
    content, path = (whole / CHECKPOINT_FILE).read_bytes(), tmp_path / CHECKPOINT_FILE
    trap = pickle.dumps(Trap(tmp_path / "trapped"))
    archive = io.BytesIO()
    torch.save({"digest": Trap(tmp_path / "trapped")}, archive)
    for damaged in (b"", b"text", content[: len(content) // 2], content[:-10], trap, pickle.dumps({"step": 5})):
        path.write_bytes(damaged)
        with pytest.raises(ModelError, match=r"by its checksum: .* put back a copy, or remove it to start") as error:
            TrainingRun(config(dataset), tmp_path, CPU)
        assert "\n" not in str(error.value)
    for signed in (b"", b"text", trap, archive.getvalue()):
        path.write_bytes(signed + hashlib.sha256(signed).digest())
        with pytest.raises(ModelError, match="not a complete checkpoint of this version; remove it to start again"):
            TrainingRun(config(dataset), tmp_path, CPU)
    assert sorted(entry.name for entry in tmp_path.iterdir()) == [CHECKPOINT_FILE]


@settings(max_examples=30)
@draw(data=st.data())
def test_a_flipped_bit_anywhere_in_a_checkpoint_is_one_line(
    whole: Path, tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    content = bytearray((whole / CHECKPOINT_FILE).read_bytes())
    content[data.draw(st.integers(0, len(content) - 1))] ^= 1 << data.draw(st.integers(0, 7))
    folder = tmp_path_factory.mktemp("flipped")
    (folder / CHECKPOINT_FILE).write_bytes(content)
    with pytest.raises(ModelError, match="not the checkpoint that was saved, by its checksum") as error:
        load_checkpoint(folder / CHECKPOINT_FILE, CheckpointKey("", ""), CPU)
    assert "\n" not in str(error.value)


def test_torch_opens_a_checkpoint_with_its_checksum_behind_it(whole: Path) -> None:
    assert torch.load(whole / CHECKPOINT_FILE, weights_only=True)["step"] == STEPS


def test_a_disk_full_while_saving_keeps_the_old_checkpoint(dataset: Path, tmp_path: Path, whole: Path) -> None:
    run = TrainingRun(config(dataset), tmp_path, CPU)
    list(islice(run, 3))
    before = (tmp_path / CHECKPOINT_FILE).read_bytes()
    with (
        limit_file_size(3000),
        pytest.raises(OutputError, match=r"checkpoint\.pt: cannot be written: file too large; ") as error,
    ):
        run.save()
    assert "\n" not in str(error.value)
    assert (tmp_path / CHECKPOINT_FILE).read_bytes() == before
    assert [path.name for path in tmp_path.iterdir()] == [CHECKPOINT_FILE]
    finish(config(dataset), tmp_path)
    assert outcome(tmp_path) == outcome(whole)


def test_a_disk_full_within_a_run_is_one_line_and_the_run_goes_on_later(
    dataset: Path, tmp_path: Path, whole: Path
) -> None:
    with limit_file_size(3000), pytest.raises(OutputError, match="file too large; "):
        finish(config(dataset), tmp_path)
    finish(config(dataset), tmp_path)
    assert outcome(tmp_path) == outcome(whole)


def test_a_loss_that_is_no_number_is_one_line_and_the_checkpoint_stays_good(dataset: Path, tmp_path: Path) -> None:
    given = config(dataset, learning_rate=1e30, warm_up=0, save_every=1)
    words = r"(loss is not finite in|weights are not finite after) step \d+; |loss has exploded: in step \d+"
    with pytest.raises(ModelError, match=words) as error:
        finish(given, tmp_path)
    assert "lower learning_rate" in str(error.value)
    checkpoint = tmp_path / CHECKPOINT_FILE
    if checkpoint.exists():
        run = TrainingRun(given, tmp_path, CPU)
        assert all(tensor.isfinite().all() for tensor in run.trainer.network.state_dict().values())


def test_a_loss_that_explodes_stops_the_run_and_the_checkpoint_is_one_from_before(
    dataset: Path, tmp_path: Path
) -> None:
    given = config(dataset, learning_rate=1e-4, warm_up=0, save_every=1, validate_every=100)
    given = replace(given, schedule=replace(given.schedule, steps=40))
    run, losses = TrainingRun(given, tmp_path, CPU), []

    def ruin_weights_after_step_10() -> None:
        for report in run:
            losses.append(report.loss)
            if report.step == 10:
                with torch.no_grad():
                    for parameter in run.trainer.network.parameters():
                        parameter.mul_(10)

    with pytest.raises(ModelError, match=r"loss has exploded: in step \d+ its median over 9 steps is") as error:
        ruin_weights_after_step_10()
    assert "checkpoint.pt is unchanged; lower learning_rate" in str(error.value)
    assert 10 < len(losses) < 20
    assert max(losses) > 100 * max(losses[:10])
    resumed = TrainingRun(given, tmp_path, CPU)
    assert resumed.step == 10
    assert next(iter(resumed)).loss < 2 * max(losses[:10])


def test_weights_that_are_no_numbers_never_replace_a_checkpoint(dataset: Path, tmp_path: Path) -> None:
    run = TrainingRun(config(dataset), tmp_path, CPU)
    list(islice(run, 3))
    before = (tmp_path / CHECKPOINT_FILE).read_bytes()
    with torch.no_grad():
        next(run.trainer.network.parameters()).fill_(float("nan"))
    with pytest.raises(ModelError, match=r"weights are not finite after step 3; .*checkpoint\.pt is unchanged"):
        run.save()
    with pytest.raises(
        ModelError, match=r"loss is not finite in step 4; its batch is saved in .*checkpoint\.pt is unchanged"
    ):
        next(iter(run))
    assert (tmp_path / CHECKPOINT_FILE).read_bytes() == before


def test_a_warm_start_is_where_the_run_begins_and_is_not_needed_to_go_on(
    dataset: Path, tmp_path: Path, whole: Path
) -> None:
    donor = tmp_path / "x2.safetensors"
    donor.write_bytes((whole / LAST_WEIGHTS_FILE).read_bytes())
    given = config(dataset)
    given = replace(given, network=replace(given.network, warm_start=(donor,)))
    run = TrainingRun(given, tmp_path / "run", CPU)
    assert equal(run.trainer.network.state_dict(), load_network(donor)[1].state_dict())
    assert equal(run.trainer.average, run.trainer.network.state_dict())
    list(islice(run, 3))
    donor.unlink()
    assert TrainingRun(given, tmp_path / "run", CPU).step == 3


def test_a_warm_start_of_another_scale_is_warned_about(dataset: Path, tmp_path: Path, whole: Path) -> None:
    given = config(dataset)
    other_scale = replace(given.network, warm_start=(whole / LAST_WEIGHTS_FILE,), scale=6 - given.network.scale)
    trainer = Trainer(
        replace(given, network=other_scale), other_scale.build_spec((0.5, 0.5)), launch_fabric(CPU, batch=1, parts=1)
    )
    assert "tensors fit, the others begin untrained" in str(trainer.load_warm_start(other_scale.warm_start))
    assert TrainingRun(given, tmp_path / "run", CPU).warnings == []


def test_a_start_that_no_step_is_better_than_is_what_is_kept(dataset: Path, tmp_path: Path, whole: Path) -> None:
    given = config(dataset, learning_rate=0.03, warm_up=0)
    given = replace(given, network=replace(given.network, warm_start=(whole / LAST_WEIGHTS_FILE,)))
    run = TrainingRun(given, tmp_path / "run", CPU)
    list(run)
    lines = read_metrics(run.folder / METRICS_FILE)
    assert [line["step"] for line in lines] == [0, 4, 8, 12]
    assert "loss" not in lines[0]
    assert max(line["gain_db"] for line in lines[1:]) < lines[0]["gain_db"]
    assert equal(
        load_network(run.folder / BEST_WEIGHTS_FILE)[1].state_dict(),
        load_network(whole / LAST_WEIGHTS_FILE)[1].state_dict(),
    )
    assert run.initial_metrics == lines[0]
    assert TrainingRun(given, tmp_path / "run", CPU).initial_metrics == lines[0]


def test_a_run_that_cannot_begin_leaves_nothing(dataset: Path, tmp_path: Path) -> None:
    given = config(dataset)
    for wrong in (
        replace(given, data=replace(given.data, dataset=tmp_path / "none")),
        replace(given, data=replace(given.data, patch_px=33)),
        replace(given, network=replace(given.network, family="srgan")),
        replace(given, network=replace(given.network, warm_start=(tmp_path / "none.safetensors",))),
    ):
        with pytest.raises(WsisrError) as error:
            TrainingRun(wrong, tmp_path / "run", CPU)
        assert "\n" not in str(error.value)
    assert list(tmp_path.iterdir()) == []


def test_a_shard_that_goes_missing_is_one_line(tmp_path: Path) -> None:
    dataset = write_dataset(tmp_path / "pairs")
    run = TrainingRun(config(dataset), tmp_path / "run", CPU)
    (dataset / "shards" / "slide1.bin").unlink()
    with pytest.raises(DatasetError, match=r"slide1\.bin: patches cannot be read"):
        list(run)


def test_a_folder_without_permission_is_one_line(dataset: Path, tmp_path: Path) -> None:
    with make_readable_folder() as folder:
        given = config(write_dataset(folder / "pairs"))
        for hidden in (folder / "run", tmp_path / "run"):
            with (
                run_as_nobody(),
                pytest.raises(OutputError, match="permission denied; choose a folder that you may write"),
            ):
                TrainingRun(given, hidden, CPU)
        with run_as_nobody(), pytest.raises(DatasetError, match="cannot be looked into"):
            TrainingRun(config(dataset), folder / "run", CPU)


def test_metrics_are_one_line_a_validation(whole: Path) -> None:
    lines = [json.loads(line) for line in (whole / METRICS_FILE).read_text().splitlines()]
    assert [line["step"] for line in lines] == [4, 8, 12]
    assert all(set(line) == {"step", "loss", "gain_db"} for line in lines)


def test_the_metrics_log_forgets_what_comes_again_and_what_was_not_finished(tmp_path: Path) -> None:
    path = tmp_path / METRICS_FILE
    rewind_metrics(path, 5)
    assert not path.exists()
    for step in (1, 5, 9):
        append_metrics(path, {"step": step})
    with path.open("ab") as file:
        file.write(b'{"step": 10, "ga')
    rewind_metrics(path, 5)
    assert read_metrics(path) == [{"step": 1}, {"step": 5}]
    append_metrics(path, {"step": 6})
    assert [entry["step"] for entry in read_metrics(path)] == [1, 5, 6]


def test_a_checkpoint_holds_the_step_and_the_best_gain(whole: Path, dataset: Path) -> None:
    run = TrainingRun(config(dataset), whole, CPU)
    owner = CheckpointKey(run.config.compute_digest(), run.sampler.store.digest)
    state = load_checkpoint(whole / CHECKPOINT_FILE, owner, CPU)
    assert (state.step, state.best_score) == (STEPS, run.best_score)


def test_weights_of_a_run_can_be_used_like_shipped_ones(whole: Path, tmp_path: Path) -> None:
    spec, network = load_network(whole / LAST_WEIGHTS_FILE)
    save_weights(tmp_path / "again.safetensors", spec, network.state_dict())
    assert (tmp_path / "again.safetensors").read_bytes() == (whole / LAST_WEIGHTS_FILE).read_bytes()
