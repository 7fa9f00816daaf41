"""Simulated pairs: of any slide, repeatable wherever they are made, and trained as they are stored."""

from __future__ import annotations

import pickle
from collections import deque
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import torch
from typer.testing import CliRunner, Result

from tests.support.disks import limit_file_size
from tests.support.pairs import RECIPE, read_files, write_blank_slide, write_levels, write_slide
from tests.support.samples import make_noise
from wsisr.cli.build_dataset import build_dataset_app
from wsisr.dataset.builder import BuildOptions, DatasetBuilder
from wsisr.dataset.degradation import CAPTURE, SCAN
from wsisr.dataset.reader import PatchStore
from wsisr.dataset.simulated import Simulation, plan_simulated_dataset
from wsisr.dataset.slides_and_splits import assign_slides
from wsisr.errors import ConfigError, DatasetError, OutputError, WsisrError
from wsisr.imaging.geometry import Size
from wsisr.imaging.pixels import enlarge_image
from wsisr.slides import open_slide
from wsisr.slides.listing import SlideEntry
from wsisr.training.config import DataConfig, NetworkConfig, ScheduleConfig, TrainConfig
from wsisr.training.loop import TrainingRun
from wsisr.training.sampler import BatchSampler
from wsisr.training.validation import Validation

COARSE = Simulation(scales=(2, 4))


def make_simulated_builder(
    folder: Path, slides: Sequence[Path], held_out: Sequence[Path] = (), simulation: Simulation = COARSE
) -> DatasetBuilder:
    sources = assign_slides(map(SlideEntry, slides), map(SlideEntry, held_out), RECIPE)
    return DatasetBuilder(plan_simulated_dataset(sources, folder, RECIPE, simulation, BuildOptions()))


def build_simulated(
    folder: Path, slides: Sequence[Path], held_out: Sequence[Path] = (), simulation: Simulation = COARSE
) -> PatchStore:
    deque(make_simulated_builder(folder, slides, held_out, simulation))
    return PatchStore(folder)


def test_both_sides_are_the_levels_pixels_and_what_the_record_says_was_made_of_them(tmp_path: Path) -> None:
    path = write_slide(tmp_path / "a.ome.tif", Size(128, 128), (2,))
    store = build_simulated(tmp_path / "d", [path])
    assert [(each.level, each.scale, each.mpp_lr) for each in store.records[::4]] == [
        (0, 2, 1.0),
        (0, 2, 1.0),
        (1, 2, 2.0),
    ]
    with open_slide(path) as slide:
        for record in store.records:
            high = store.read_high(record)
            assert np.array_equal(high, slide.read(record.level_box, record.level))
            low, drawn = CAPTURE(high, record.scale, record.mpp_lr, COARSE.make_generator(record))
            assert np.array_equal(store.read_low(record), low)
            assert record.parameters == {"seed": 0, **drawn}
            assert record.kind == "simulated"


def test_a_slide_of_one_level_gives_pairs_at_every_scale(tmp_path: Path) -> None:
    path = write_slide(tmp_path / "a.ome.tif", Size(128, 128), ())
    store = build_simulated(tmp_path / "d", [path], simulation=Simulation(scales=(2, 8)))
    assert [each.scale for each in store.records] == [2, 8] * 4


def test_the_bytes_do_not_depend_on_other_slides_nor_on_when(tmp_path: Path) -> None:
    slides = [write_slide(tmp_path / f"{name}.ome.tif", Size(128, 64), (), seed=i) for i, name in enumerate("ab")]
    whole, again, alone = (
        build_simulated(tmp_path / name, some) for name, some in zip("xyz", (slides, slides, slides[1:]), strict=True)
    )
    assert read_files(whole.folder) == read_files(again.folder)
    assert read_files(alone.folder)["shards/b.ome.bin"] == read_files(whole.folder)["shards/b.ome.bin"]


def test_a_job_can_be_handed_to_another_process(tmp_path: Path) -> None:
    for job in make_simulated_builder(tmp_path / "d", [write_slide(tmp_path / "a.ome.tif")]).plan.jobs:
        assert pickle.loads(pickle.dumps(job)) == job


def test_another_seed_makes_other_pixels_of_the_same_patches(tmp_path: Path) -> None:
    path = write_slide(tmp_path / "a.ome.tif", Size(128, 64), ())
    first, second = (build_simulated(tmp_path / str(seed), [path], simulation=Simulation(seed=seed)) for seed in (0, 1))
    for left, right in zip(first.records, second.records, strict=True):
        assert np.array_equal(first.read_high(left), second.read_high(right))
        assert not np.array_equal(first.read_low(left), second.read_low(right))
        assert left.parameters != right.parameters


def test_another_degradation_does_not_go_on_with_what_was_begun(tmp_path: Path) -> None:
    slides = [write_slide(tmp_path / f"{name}.ome.tif", Size(128, 64), ()) for name in "ab"]
    steps = iter(make_simulated_builder(tmp_path / "d", slides))
    for progress in steps:
        if progress.done == 1:
            steps.close()
    with pytest.raises(OutputError, match=r"with kernels \{'light': 0.5, 'area': 0.5\}, now \{'area': 1.0\}"):
        build_simulated(tmp_path / "d", slides, simulation=Simulation(SCAN))


def test_what_gives_no_pairs_is_refused_in_one_line_and_leaves_nothing(tmp_path: Path) -> None:
    text = tmp_path / "text.svs"
    text.write_text("no slide")
    cases = {
        write_slide(tmp_path / "bare.ome.tif", mpp=None): "pixel size is not recorded",
        write_slide(tmp_path / "coarse.ome.tif", mpp=3.0): "levels that pair start at 3 um/px, coarser than 2.1",
        write_slide(tmp_path / "small.ome.tif", Size(63, 200)): "smaller than a patch of 64 px",
        write_blank_slide(tmp_path / "glass.ome.tif"): "",
        text: "",
        tmp_path / "missing.svs": "",
    }
    before = read_files(tmp_path)
    for path, reason in cases.items():
        with pytest.raises(WsisrError) as error:
            build_simulated(tmp_path / "d", [path])
        assert reason in str(error.value)
        assert str(path if "glass" not in path.name else tmp_path / "d") in str(error.value)
        assert "\n" not in str(error.value)
    good = write_slide(tmp_path / "bare.ome.tif", mpp=0.5)
    with limit_file_size(20_000), pytest.raises(OutputError, match="file too large"):
        build_simulated(tmp_path / "d", [good])
    assert set(read_files(tmp_path)) == set(before)
    with pytest.raises(DatasetError, match="scale 3 is not one of 2, 4, 8"):
        Simulation(scales=(2, 3))


def run_simulated(*arguments: str | Path) -> Result:
    options = ["simulated", *map(str, arguments), "--patch-px", "64", "--jobs", "1"]
    return CliRunner(env={"COLUMNS": "140"}).invoke(build_dataset_app, options, catch_exceptions=False)


def test_the_command_takes_a_file_and_keeps_what_can_be_used(tmp_path: Path) -> None:
    good = write_slide(tmp_path / "a.ome.tif", Size(128, 64), ())
    scanner = tmp_path / "scanner.toml"
    scanner.write_text("[first.jpeg]\nqualities = 50\n")
    done = run_simulated(good, tmp_path / "none.svs", "--degradation", scanner, "--scale", "4", "-o", tmp_path / "d")
    assert done.exit_code == 3
    assert f"\nwsisr: error: {tmp_path / 'none.svs'}: " in done.stderr
    assert "simulated" in done.stdout
    records = PatchStore(tmp_path / "d").records
    assert {each.parameters["first.jpeg.quality"] for each in records} == {50}
    assert {each.scale for each in records} == {4}
    scanner.write_text("[first.jpg]\n")
    with pytest.raises(ConfigError, match="unknown key 'jpg'; known: lens, defocus, blur"):
        run_simulated(good, "--degradation", scanner, "-o", tmp_path / "e")
    assert not (tmp_path / "e").exists()


@pytest.fixture
def blurred(tmp_path: Path) -> PatchStore:
    """Two slides that can be learned, seen by a weaker objective."""
    slides = []
    for number in range(2):
        smooth = enlarge_image(make_noise(Size(32, 32), number), 4, "bicubic")
        slides.append(write_levels(tmp_path / f"s{number}.ome.tif", [smooth], 0.5))
    return build_simulated(tmp_path / "d", slides[:1], tuple(slides[1:]))


def test_training_takes_the_stored_low_resolution_unless_told_otherwise(blurred: PatchStore) -> None:
    lows = {blurred.read_low(record).tobytes() for record in blurred.select_pairs("train", 2)}
    for kernels in (None, {"stored": 1.0}, {"pyramid": 1.0}):
        batches = BatchSampler(DataConfig(blurred.folder, patch_px=32, batch=2, kernels=kernels), 2, 0)
        low = batches.make_pair(0, 0).low
        turned = [np.rot90(side, turns) for side in (low, low[:, ::-1]) for turns in range(4)]
        assert lows & {np.ascontiguousarray(each).tobytes() for each in turned}


def test_validation_scores_the_stored_low_resolution(blurred: PatchStore) -> None:
    inputs = []

    class Watching(torch.nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            inputs.append(x.mul(255).round().byte().permute(0, 2, 3, 1).numpy())
            return x.repeat_interleave(2, dim=2).repeat_interleave(2, dim=3)

    Validation(blurred, 2).score_network(Watching(), torch.device("cpu"))
    stored = np.stack([blurred.read_low(record) for record in blurred.select_pairs("val", 2)])
    assert len(inputs) == 1
    assert np.array_equal(inputs[0], stored)


@pytest.mark.usefixtures("one_thread")
def test_what_is_learned_on_simulated_pairs_undoes_some_of_what_they_suffered(
    blurred: PatchStore, tmp_path: Path
) -> None:
    network = NetworkConfig(2, channels=8, blocks=1, window=3)
    schedule = ScheduleConfig(40, learning_rate=3e-3, warm_up=5, ema=0.9, validate_every=40)
    config = TrainConfig(network, DataConfig(blurred.folder, patch_px=16, batch=8), schedule)
    *_, last = TrainingRun(config, tmp_path / "run", torch.device("cpu"))
    assert last.gain_db is not None
    assert last.gain_db > 0.2
