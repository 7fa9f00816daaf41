"""Slides beside each other, in processes of their own: the same files, whatever befalls one of the processes."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner, Result

from tests.support.samples import make_noise, write_tiff
from wsisr.cli import enlargement
from wsisr.cli.app import app
from wsisr.cli.batch import BatchItem
from wsisr.cli.frontend import STOPPED_MESSAGE, Frontend
from wsisr.cli.progress import ProgressFormatter
from wsisr.cli.resources import ParallelResources
from wsisr.cli.run_report import ReportRow
from wsisr.cluster.session import ClusterSession
from wsisr.imaging.geometry import Size
from wsisr.parallel.processes import StopFlag, WorkerSlot
from wsisr.progress import Progress

PITCHED = {"resolution": (20000, 20000), "resolutionunit": "CENTIMETER", "photometric": "rgb", "metadata": None}


class Fated:
    """A frontend where something happens to the process once a slide is begun, and nothing of it is finished."""

    def __init__(self, frontend: Frontend) -> None:
        self.frontend, self.label, self.announces_stop = frontend, frontend.label, frontend.announces_stop

    def catch_stop_signals(self) -> AbstractContextManager[StopFlag]:
        return self.frontend.catch_stop_signals()

    def show_preparation(self, text: str) -> AbstractContextManager[None]:
        return self.frontend.show_preparation(text)

    def show_progress(self, steps: Iterable[Progress], formatter: ProgressFormatter) -> Iterator[Progress]:
        for number, step in enumerate(self.frontend.show_progress(steps, formatter)):
            if number == 1:
                self.happens()
            yield step

    def happens(self) -> None:
        os.kill(os.getpid(), signal.SIGKILL)


class Waiting(Fated):
    def happens(self) -> None:
        with self.catch_stop_signals() as stop:
            while not stop.is_set():
                pass


class CtrlC(Waiting):
    def happens(self) -> None:
        os.kill(os.getppid(), signal.SIGINT)
        super().happens()


class Killed(enlargement.SlideEnlargement):
    """The process of one of the slides is killed."""

    def __call__(
        self,
        item: BatchItem,
        frontend: Frontend,
        slot: WorkerSlot | None = None,
        cluster: ClusterSession | None = None,
    ) -> ReportRow:
        return super().__call__(item, Fated(frontend) if item.slide.name == "b.tif" else frontend, slot, cluster)


class Interrupted(enlargement.SlideEnlargement):
    """One Ctrl-C while slides are in hand: a second would end this process, and the tests with it, at once."""

    def __call__(
        self,
        item: BatchItem,
        frontend: Frontend,
        slot: WorkerSlot | None = None,
        cluster: ClusterSession | None = None,
    ) -> ReportRow:
        fated = CtrlC(frontend) if item.slide.name == "a.tif" else Waiting(frontend)
        return super().__call__(item, fated, slot, cluster)


def upscaled(folder: Path, slides: list[Path], *options: str) -> Result:
    words = ["upscale", *map(str, slides), "-o", str(folder), "--scale", "2", "--model", "bicubic", "--tile-px", "128"]
    return CliRunner(env={"COLUMNS": "200"}).invoke(
        app, [*words, "--report", str(folder.with_suffix(".json")), *options]
    )


def states(folder: Path) -> list[str]:
    return [each["state"] for each in json.loads(folder.with_suffix(".json").read_bytes())["slides"]]


def files(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


@pytest.fixture(scope="module")
def slides(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    folder = tmp_path_factory.mktemp("slides")
    return [write_tiff(folder / f"{name}.tif", make_noise(Size(300, 280), ord(name)), **PITCHED) for name in "abc"]


@pytest.fixture(scope="module")
def expected(slides: list[Path], tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """What one process makes of them, one after the other."""
    folder = tmp_path_factory.mktemp("alone") / "out"
    assert upscaled(folder, slides, "--jobs", "1").exit_code == 0
    return files(folder)


def test_two_at_a_time_make_the_same_files_and_a_bad_one_stops_none(
    slides: list[Path], expected: dict[str, bytes], tmp_path: Path
) -> None:
    bad, folder = tmp_path / "bad.tif", tmp_path / "out"
    bad.write_text("dear diary")
    done = upscaled(folder, [bad, *slides], "--jobs", "2")
    assert done.exit_code == 3
    assert states(folder) == ["failed", "done", "done", "done"]
    assert files(folder) == expected
    assert "4 slides, 1 failed" in done.stdout
    assert done.stderr.count(": done in ") == 3
    assert done.stderr.count("error: ") == 1
    assert all(line.startswith("wsisr: ") for line in done.stderr.splitlines())


def test_a_killed_process_fails_its_slide_alone_and_the_same_command_finishes_it(
    slides: list[Path], expected: dict[str, bytes], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "out"
    with monkeypatch.context() as patch:
        patch.setattr(enlargement, "SlideEnlargement", Killed)
        done = upscaled(folder, slides, "--jobs", "2")
    assert done.exit_code == 3
    assert states(folder) == ["done", "failed", "done"]
    assert done.stderr.count("error: ") == 1
    assert "b.tif: its process was ended from outside (signal 9" in done.stderr
    assert upscaled(folder, slides).exit_code == 0
    assert states(folder) == ["finished before", "done", "finished before"]
    assert files(folder) == expected


def test_ctrl_c_ends_all_after_what_is_in_hand_and_the_same_command_goes_on(
    slides: list[Path], expected: dict[str, bytes], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "out"
    with monkeypatch.context() as patch:
        patch.setattr(enlargement, "SlideEnlargement", Interrupted)
        done = upscaled(folder, slides, "--jobs", "2")
    assert done.exit_code == 130
    assert done.stderr.count(STOPPED_MESSAGE) == 1
    assert list(folder.glob("*.tif")) == []
    assert upscaled(folder, slides).exit_code == 0
    assert files(folder) == expected


def test_as_many_at_a_time_as_there_are_devices_unless_a_number_says_how_many() -> None:
    assert ParallelResources.from_options("auto", 5, "cpu", None) == ParallelResources(1, ("cpu",))
    assert ParallelResources.from_options("auto", 5, "auto", "bicubic").slides_at_once == 1
    assert ParallelResources.from_options("3", 5, "cpu", None) == ParallelResources(3, ("cpu",))
    assert ParallelResources.from_options("3", 2, "cuda:1", None) == ParallelResources(2, ("cuda:1",))
    assert ParallelResources.from_options("8", 1, "auto", None).slides_at_once == 1


def test_workers_take_turns_over_devices_and_divide_the_memory_of_those_they_share() -> None:
    shares = ParallelResources(5, ("cuda:0", "cuda:1"))
    assert [shares.device_for(number) for number in range(5)] == ["cuda:0", "cuda:1", "cuda:0", "cuda:1", "cuda:0"]
    assert (
        shares.slides_per_device,
        ParallelResources(2, ("cuda:0", "cuda:1")).slides_per_device,
        ParallelResources(4, ("cpu",)).slides_per_device,
    ) == (3, 1, 4)


@pytest.mark.parametrize("jobs", ["0", "-1", "many", "1.5", ""])
def test_an_impossible_number_of_jobs_is_wrong_usage(jobs: str) -> None:
    with pytest.raises(typer.BadParameter):
        ParallelResources.from_options(jobs, 5, "cpu", None)
