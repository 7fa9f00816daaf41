"""A finetuning from slides to verdict: left at any step it goes on, with more time it is prolonged."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from itertools import accumulate, chain, repeat
from pathlib import Path

import pytest

from tests.support.pairs import write_blank_slide, write_slide
from wsisr.errors import ConfigError, DatasetError, OutputError
from wsisr.finetuning.job import FinetuneEvent, run_finetuning
from wsisr.finetuning.report import FinetuneReport
from wsisr.finetuning.request import FinetuneRequest
from wsisr.models.catalog import read_model
from wsisr.progress import Progress
from wsisr.upscaling.job import Noted, Warned

MINUTES = 0.05
"""Of the clock of these tests: four steps, at the pace that it gives."""


@pytest.fixture(scope="module")
def slides(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("slides")
    for seed, name in enumerate(("a_1", "b_1")):
        write_slide(folder / f"{name}.ome.tif", factors=(), seed=seed)
    return folder


def make_clock(later_s: float = 0.01) -> Callable[[], float]:
    """A clock that counts its calls: as seconds while the pace is measured, 1.5 steps in each, then as `later_s`."""
    return accumulate(chain(repeat(1.0, 4), repeat(later_s))).__next__


def ask(slides: Path | Sequence[Path], folder: Path, minutes: float = MINUTES, **options: object) -> FinetuneRequest:
    return FinetuneRequest(
        [slides] if isinstance(slides, Path) else slides,
        output=folder,
        minutes=minutes,
        device="cpu",
        patch_px=64,
        crop_px=8,
        batch=2,
        **options,  # type: ignore[arg-type]
    )


def finish(request: FinetuneRequest, clock: Callable[[], float] | None = None) -> list[FinetuneEvent]:
    return list(run_finetuning(request, clock or make_clock()))


def last_step(events: Sequence[FinetuneEvent]) -> int:
    return max(event.done for event in events if isinstance(event, Progress) and event.stage == "train")


@pytest.fixture(scope="module")
def whole(slides: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[FinetuneEvent]]:
    """Folder and events of a finetuning that nobody interrupted."""
    folder = tmp_path_factory.mktemp("whole") / "mine"
    return folder, finish(ask(slides, folder))


def test_it_ends_with_weights_of_the_folder_s_name_and_a_verdict(whole: tuple[Path, list[FinetuneEvent]]) -> None:
    folder, events = whole
    report = events[-1]
    assert isinstance(report, FinetuneReport)
    assert report.verdict.startswith(("use it", "keep the shipped one"))
    assert [item.label for item in report.inputs] == ["as stored", "area", "bicubic"]
    assert (report.train_cases, len(report.held_out_cases)) == (1, 1)
    model = read_model(report.weights)
    assert report.weights == folder / "mine.safetensors"
    assert (model.name, model.spec.scale, model.spec.input_mpp) == ("mine", 2, (1.0, 1.0))
    assert model.path.read_bytes() == (folder / "run" / "last.safetensors").read_bytes()
    assert json.loads((folder / "report.json").read_text())["verdict"] == report.verdict
    assert any("learns from 1 slide of 1 case (" in str(event) for event in events)
    assert any("mostly make a model worse, so give --minutes" in str(event) for event in events)


def test_left_at_any_step_the_same_call_goes_on_and_ends_with_the_same_weights(
    slides: Path, tmp_path: Path, whole: tuple[Path, list[FinetuneEvent]]
) -> None:
    folder, clock = tmp_path / "mine", make_clock()
    for stage in ("slides", "train"):
        events = run_finetuning(ask(slides, folder), clock)
        for event in events:
            if isinstance(event, Progress) and event.stage == stage and event.done:
                break
        events.close()
    last = finish(ask(slides, folder), clock)[-1]
    assert isinstance(last, FinetuneReport)
    assert last.weights.read_bytes() == (whole[0] / "mine.safetensors").read_bytes()
    assert last.inputs == whole[1][-1].inputs  # type: ignore[union-attr]


def test_when_the_time_is_up_the_run_ends_and_more_time_prolongs_it(slides: Path, tmp_path: Path) -> None:
    request = ask(slides, tmp_path / "mine", 0.1)
    events = finish(request, make_clock(later_s=4.0))
    assert any(isinstance(event, Noted) and "the time is up after 2 of 8 steps" in event.text for event in events)
    assert last_step(events) == 3
    with pytest.raises(ConfigError, match=r"was begun with --minutes 0\.1; give at least as many"):
        finish(ask(slides, tmp_path / "mine", 0.05))
    again = finish(ask(slides, tmp_path / "mine", 0.3), make_clock())
    assert last_step(again) > 3
    assert again[-1].steps == last_step(again)  # type: ignore[union-attr]


def test_an_unfinished_one_is_not_prolonged(slides: Path, tmp_path: Path) -> None:
    events = run_finetuning(ask(slides, tmp_path / "mine"), make_clock())
    for event in events:
        if isinstance(event, Progress) and event.stage == "train" and event.done:
            break
    events.close()
    with pytest.raises(ConfigError, match=r"is not finished yet; go on with --minutes 0\.05, then give it more"):
        finish(ask(slides, tmp_path / "mine", 1.0))


def test_a_folder_of_other_slides_or_of_something_else_is_left_alone(
    slides: Path, tmp_path: Path, whole: tuple[Path, list[FinetuneEvent]]
) -> None:
    write_slide(tmp_path / "c_1.ome.tif", factors=(), seed=3)
    with pytest.raises(ConfigError, match="holds a finetuning of other slides or options") as error:
        finish(ask([slides, tmp_path / "c_1.ome.tif"], whole[0]))
    assert any(f"slide {tmp_path / 'c_1.ome.tif'}: was not there, now " in note for note in error.value.__notes__)
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "thesis.txt").touch()
    with pytest.raises(OutputError, match="exists already, and is no finetuning"):
        finish(ask(slides, tmp_path / "other", overwrite=True))
    (whole[0] / "finetune.json").rename(tmp_path / "kept.json")
    (whole[0] / "finetune.json").write_text("{}")
    with pytest.raises(ConfigError, match=r"not the state of a finetuning .*; begin again with --overwrite"):
        finish(ask(slides, whole[0]))
    (tmp_path / "kept.json").replace(whole[0] / "finetune.json")


def test_too_little_tissue_is_refused_before_the_training(slides: Path, tmp_path: Path) -> None:
    blank = write_blank_slide(tmp_path / "slides" / "c_1.ome.tif")
    events: list[FinetuneEvent] = []
    with pytest.raises(
        DatasetError, match=r"to judge by have tissue for 0 pairs of patches of 64 px, and 2 are needed"
    ):
        events.extend(run_finetuning(ask([slides], tmp_path / "mine", validation=[blank]), make_clock()))
    assert not (tmp_path / "mine" / "run").exists()
    assert not any(isinstance(event, Warned) for event in events)
