"""Commands that share whole slides among workers: what they write is what one process writes."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from tests.cluster.local_session import open_local_session
from tests.support.pairs import write_slide
from wsisr.cli.app import app
from wsisr.cluster.call_spec import fingerprint_item, make_item_absolute
from wsisr.cluster.calls import call_on_workers
from wsisr.cluster.session import ClusterSession
from wsisr.errors import ClusterError, SlideError
from wsisr.imaging.geometry import Size


@dataclass(frozen=True, slots=True)
class Errand:
    """An item of a call."""

    path: Path
    number: int = 0


def fail_or_report(errand: Errand) -> str:
    """Say where the item's file is, or that it is of no use."""
    if errand.number == 1:
        raise SlideError(f"{errand.path}: is of no use")
    return f"{errand.path}: {errand.number}"


def die_once(errand: Errand) -> int:
    """End the worker's process at the first call with item 7. One must be left: Dask does not always start another."""
    dead = errand.path.with_suffix(".dead")
    if errand.number == 7 and not dead.exists():
        dead.touch()
        os.kill(os.getpid(), signal.SIGKILL)
    return errand.number


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("calls")


@pytest.fixture(scope="module")
def slides(folder: Path) -> list[Path]:
    """Two slides, and a file that is none."""
    paths = [write_slide(folder / f"{name}.ome.tif", Size(256, 256), (2,)) for name in ("a", "b")]
    bad = folder / "bad.tif"
    bad.write_text("dear diary")
    return [*paths, bad]


@pytest.fixture(scope="module")
def session(folder: Path) -> Iterator[ClusterSession]:
    """Two workers, in a folder of their own."""
    with open_local_session(folder, warned) as opened:
        yield opened


warned: list[str] = []
"""What the session warned of."""


def invoke(*words: str | Path) -> Any:
    return CliRunner(env={"COLUMNS": "200"}).invoke(app, list(map(str, words)))


def read_folder(folder: Path) -> dict[str, bytes]:
    """All files but the page, which tells when it was written."""
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.suffix != ".html"
    }


@pytest.mark.parametrize("kind", ["pyramid", "simulated"])
def test_workers_build_the_bytes_of_the_dataset_that_one_process_builds(
    session: ClusterSession, slides: list[Path], folder: Path, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(folder)
    words = ["build-dataset", kind, *(path.name for path in slides), "--patch-px", "64", "--most-patches", "3"]
    scheduler = session.client.scheduler.address
    here = invoke(*words, "-o", f"here-{kind}", "--jobs", "1")
    there = invoke(*words, "-o", f"there-{kind}", "--cluster", scheduler)
    assert (here.exit_code, there.exit_code) == (3, 3), there.output
    assert read_folder(folder / f"here-{kind}") == read_folder(folder / f"there-{kind}")
    errors = [[line for line in done.stderr.splitlines() if "error" in line] for done in (here, there)]
    assert errors[0] == errors[1]
    assert f"cluster {scheduler}: 2 workers" in there.stderr


def test_workers_give_the_scores_and_the_tables_of_one_process(
    session: ClusterSession, slides: list[Path], folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(folder)
    words = ["evaluate", *(path.name for path in slides), "--scale", "2", "--model", "bicubic", "--quiet"]
    here = invoke(*words, "--kernel", "area", "--json", "here.json")
    there = invoke(*words, "--kernel", "area", "--json", "there.json", "--cluster", session.client.scheduler.address)
    assert (here.exit_code, there.exit_code) == (3, 3), there.output
    assert json.loads(Path("there.json").read_bytes()) == json.loads(Path("here.json").read_bytes())
    assert there.stdout == here.stdout
    assert there.stderr == here.stderr


def test_an_error_of_one_item_comes_with_it_and_names_its_path_as_it_was_given(
    session: ClusterSession, slides: list[Path], folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(folder)
    errands = [Errand(Path(slides[0].name), number) for number in range(3)]
    results = sorted(filter(None, call_on_workers(session, fail_or_report, errands)))
    assert [result.value for result in results] == [f"{slides[0].name}: 0", None, f"{slides[0].name}: 2"]
    assert str(results[1].error) == f"{slides[0].name}: is of no use"


def test_a_worker_that_sees_other_files_gets_no_work(
    session: ClusterSession, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each process finds another file, or none, under this path."""
    (tmp_path / "only-here.tif").touch()
    monkeypatch.chdir(tmp_path)
    errand = Errand(Path("/proc/self/cwd/only-here.tif"))
    with pytest.raises(ClusterError, match=r"no worker can do this.*only-here.tif: not the same files here") as raised:
        list(call_on_workers(session, fail_or_report, [errand]))
    assert "\n" not in str(raised.value)


def test_a_killed_workers_item_is_done_by_another(session: ClusterSession, slides: list[Path]) -> None:
    results = list(filter(None, call_on_workers(session, die_once, [Errand(slides[1], 7), Errand(slides[0], 8)])))
    assert sorted(result.value for result in results) == [7, 8]
    assert slides[1].with_suffix(".dead").exists()


def test_a_fingerprint_changes_with_the_files_of_an_item(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    item = make_item_absolute(Errand(Path("slide.tif")))
    assert item.path == tmp_path / "slide.tif"
    missing = fingerprint_item(item)
    item.path.write_text("a slide")
    assert fingerprint_item(item) != missing
