"""Runs on a cluster of real worker processes: the bytes of one process, whatever befalls the workers."""

from __future__ import annotations

import json
import os
import shutil
import signal
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from tests.cluster.local_session import open_local_session
from tests.support.disks import limit_file_size
from tests.support.http_server import serve_folder
from tests.support.samples import make_noise, write_tiff
from wsisr.cli.app import app
from wsisr.cluster import place, worker
from wsisr.cluster.place import ClusterPlace
from wsisr.cluster.remote import run_cluster_job
from wsisr.cluster.session import ClusterSession, open_session
from wsisr.errors import ClusterError, OutputError
from wsisr.imaging.geometry import Size
from wsisr.models import loading
from wsisr.upscaling.job import Advanced, Finished, JobEvent, run_job
from wsisr.upscaling.report import UpscaleReport
from wsisr.upscaling.request import UpscaleRequest
from wsisr.version import __version__

PITCHED = {"resolution": (20000, 20000), "resolutionunit": "CENTIMETER", "photometric": "rgb", "metadata": None}
"""0.5 um/px."""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cluster")


@pytest.fixture(scope="module")
def slide(folder: Path) -> Path:
    return write_tiff(folder / "slide.tif", make_noise(Size(500, 420)), **PITCHED)


@pytest.fixture(scope="module")
def request_one(slide: Path) -> UpscaleRequest:
    """Tiles of three stored tiles a side: their corners are no corners of coarser tiles."""
    return UpscaleRequest(slide, output=slide.with_name("one.ome.tif"), scale=2, model="bicubic", tile_px=384)


@pytest.fixture(scope="module", autouse=True)
def expected(request_one: UpscaleRequest) -> UpscaleReport:
    """What one process makes of it."""
    return finish(run_job(request_one, loading))


@pytest.fixture(scope="module")
def session(folder: Path) -> Iterator[ClusterSession]:
    """Two workers, in a folder of their own."""
    with open_local_session(folder, warned) as opened:
        yield opened


@pytest.fixture(autouse=True)
def _forget() -> None:
    warned.clear()


warned: list[str] = []
"""What the session warned of, in this test."""


def finish(events: Iterator[JobEvent]) -> UpscaleReport:
    return next(event.report for event in events if isinstance(event, Finished))


def rename(request: UpscaleRequest, name: str, **changes: Any) -> UpscaleRequest:
    return replace(request, output=request.output_path.with_name(name), **changes)


def read(request: UpscaleRequest) -> bytes:
    return request.output_path.read_bytes()


def without_times(report: UpscaleReport) -> dict[str, Any]:
    return {key: value for key, value in report.to_json().items() if key not in ("output", "seconds", "stages")}


@pytest.mark.parametrize("changes", [{}, {"tile_px": 128}], ids=["large", "small"])
def test_two_workers_make_the_bytes_and_the_report_of_one_process(
    session: ClusterSession, request_one: UpscaleRequest, expected: UpscaleReport, changes: dict[str, Any]
) -> None:
    request = rename(request_one, f"two{len(changes)}.ome.tif", **changes)
    report = finish(run_cluster_job(request, session))
    assert read(request) == read(request_one)
    if not changes:
        assert without_times(report) == without_times(expected)
    assert warned == []


@pytest.mark.parametrize(
    "changes",
    [
        {"overlap_px": 4, "batch": 2, "tile_px": 128},
        {"background": "white", "codec": "deflate", "consistency": True, "on_error": "white"},
    ],
    ids=["feather", "white"],
)
def test_options_that_change_pixels_change_them_alike(
    session: ClusterSession, request_one: UpscaleRequest, changes: dict[str, Any]
) -> None:
    here, there = (rename(request_one, f"{name}-{len(changes)}.ome.tif", **changes) for name in ("here", "there"))
    reports = [finish(run_job(here, loading)), finish(run_cluster_job(there, session))]
    assert read(here) == read(there)
    assert without_times(reports[0]) == without_times(reports[1])


def test_workers_read_a_url_by_themselves_with_its_secrets(
    session: ClusterSession, request_one: UpscaleRequest, slide: Path
) -> None:
    with serve_folder(slide.parent, password="geheim") as server:
        url = f"{server.url.replace('//', '//lab:geheim@')}/{slide.name}?X-Amz-Signature=geheim"
        here, there = (rename(request_one, f"url-{name}.ome.tif", slide=url) for name in ("here", "there"))
        finish(run_job(here, loading))
        server.forget()
        report = finish(run_cluster_job(there, session))
        assert server.sent_bytes > slide.stat().st_size  # this process reads headers alone
    assert read(here) == read(there)
    assert b"geheim" not in read(there)
    assert "geheim" not in json.dumps(report.to_json())
    assert warned == []


def pretend_version(version: str) -> None:
    """Have the worker process in which this runs be of another version."""
    worker.read_versions()["wsisr"] = version


def test_a_worker_of_another_version_gets_no_work_and_the_other_does_it_all(
    session: ClusterSession, request_one: UpscaleRequest
) -> None:
    odd = sorted(session.list_workers())[0]
    session.client.run(pretend_version, "0.0.9", workers=[odd])
    # A precision, which a filter ignores, has the workers compared again.
    request = rename(request_one, "versions.ome.tif", tile_px=128, precision="fp32")
    finish(run_cluster_job(request, session))
    session.client.run(pretend_version, __version__, workers=[odd])
    assert read(request) == read(request_one)
    assert [text for text in warned if odd in text and "wsisr 0.0.9, not" in text] == warned
    assert len(warned) == 1


def test_a_killed_worker_and_a_stopped_client_change_nothing(
    session: ClusterSession, request_one: UpscaleRequest
) -> None:
    """The tests below may find one worker only: Dask does not always start another one."""
    request = rename(request_one, "killed.ome.tif", tile_px=128)
    with closing(run_cluster_job(request, session)) as events:
        next(event for event in events if isinstance(event, Advanced) and event.progress.done)
        process = next(iter(session.client.run(os.getpid).values()))
        os.kill(process, signal.SIGKILL)
        next(event for event in events if isinstance(event, Advanced))
    assert not request.output_path.exists()
    report = finish(run_cluster_job(request, session))
    assert report.finished_before > 0
    assert read(request) == read(request_one)


def test_a_full_disk_ends_the_run_in_a_line_and_the_same_command_goes_on(
    session: ClusterSession, request_one: UpscaleRequest
) -> None:
    """Written by this process, whatever its workers compute: half of the tiles have room."""
    request = rename(request_one, "full.ome.tif", tile_px=128)
    with (
        limit_file_size(len(read(request_one)) // 2),
        pytest.raises(OutputError, match="cannot be written: ") as raised,
    ):
        finish(run_cluster_job(request, session))
    assert "\n" not in str(raised.value)
    assert not request.output_path.exists()
    report = finish(run_cluster_job(request, session))
    assert 0 < report.finished_before < 1
    assert read(request) == read(request_one)


def test_workers_of_this_machine_that_do_not_come_back_end_the_run_in_a_line(
    request_one: UpscaleRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("wsisr.cluster.session.LOST_S", 0.5)
    request = rename(request_one, "lost.ome.tif", tile_px=128)
    with (
        open_local_session(tmp_path, warned, workers=1) as session,
        closing(run_cluster_job(request, session)) as events,
    ):
        next(event for event in events if isinstance(event, Advanced) and event.progress.done)
        session.client.cluster.scale(0)  # as where its processes die, and no other can be started
        with pytest.raises(ClusterError, match=r"local:1: all of its workers have died.*same command") as raised:
            finish(events)
    assert "\n" not in str(raised.value)
    assert finish(run_job(request, loading)).finished_before > 0
    assert read(request) == read(request_one)


def test_a_worker_without_the_slide_gets_no_work(
    session: ClusterSession, request_one: UpscaleRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each process finds another slide, or none, under this path."""
    shutil.copy(request_one.slide_path, tmp_path / "only-here.tif")
    monkeypatch.chdir(tmp_path)
    request = replace(request_one, slide="/proc/self/cwd/only-here.tif", output=tmp_path / "out.tif")
    with pytest.raises(ClusterError, match=r"no worker can do this.*cannot be opened.*does this machine see") as raised:
        finish(run_cluster_job(request, session))
    assert "\n" not in str(raised.value)
    assert not request.output_path.exists()


def test_a_worker_without_the_model_gets_no_work(
    session: ClusterSession, request_one: UpscaleRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "model.onnx").touch()
    monkeypatch.chdir(tmp_path)
    request = replace(request_one, model="/proc/self/cwd/model.onnx", output=tmp_path / "out.tif")
    with pytest.raises(ClusterError, match=r"no worker can do this; .*model\.onnx") as raised:
        finish(run_cluster_job(request, session))
    assert "\n" not in str(raised.value)


def upscale(folder: Path, slides: list[Path], *options: str) -> Any:
    words = ["upscale", *map(str, slides), "-o", str(folder), "--scale", "2", "--model", "bicubic", "--tile-px", "384"]
    return CliRunner(env={"COLUMNS": "200"}).invoke(
        app, [*words, "--report", str(folder.with_suffix(".json")), *options]
    )


def test_a_batch_shares_the_workers_of_a_scheduler_and_a_bad_slide_stops_no_other(
    session: ClusterSession, slide: Path, request_one: UpscaleRequest, tmp_path: Path
) -> None:
    bad, other = tmp_path / "bad.tif", shutil.copy(slide, tmp_path / "other.tif")
    bad.write_text("dear diary")
    scheduler = session.client.scheduler.address
    done = upscale(tmp_path / "out", [bad, slide, Path(other)], "--cluster", scheduler)
    assert done.exit_code == 3, done.output
    rows = json.loads((tmp_path / "out.json").read_bytes())["slides"]
    assert [row["state"] for row in rows] == ["failed", "done", "done"]
    assert f"cluster {scheduler}: " in done.stderr
    assert all(line.startswith("wsisr: ") for line in done.stderr.splitlines())
    assert (tmp_path / "out" / "slide.x2.ome.tif").read_bytes() == read(request_one)


def test_without_a_scheduler_there_is_one_line_and_no_file(
    slide: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(place, "CONNECT_S", 0.1)
    done = upscale(tmp_path / "out.tif", [slide], "--cluster", "tcp://127.0.0.1:1", "--quiet")
    assert isinstance(done.exception, ClusterError)
    assert str(done.exception).startswith("tcp://127.0.0.1:1: does not answer; ")
    assert done.stderr == ""
    assert not (tmp_path / "out.tif").exists()


@pytest.mark.parametrize(
    "options",
    [["--workers", "3"], ["--cluster", "local", "--jobs", "2"], ["--cluster", "local", "--stage", "."]],
    ids=lambda words: words[-2],
)
def test_options_that_exclude_each_other_are_wrong_usage(slide: Path, tmp_path: Path, options: list[str]) -> None:
    done = upscale(tmp_path / "out.tif", [slide], *options)
    assert done.exit_code == 2
    assert len(done.stderr.splitlines()) == 1


@pytest.mark.parametrize(
    ("script", "reason"),
    [
        (
            "#!/bin/sh\necho submitting\necho 'sbatch: error: Invalid partition' >&2\nexit 1\n",
            "sbatch: error: Invalid part",
        ),
        (None, "this machine has no sbatch"),
    ],
    ids=["refused", "no batch system"],
)
def test_a_batch_system_that_takes_no_job_ends_the_run_in_a_line(
    request_one: UpscaleRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, script: str | None, reason: str
) -> None:
    """What dask-jobqueue itself only logs; without that the run would wait for a worker for ever."""
    jobs = tmp_path / "slurm.yaml"
    jobs.write_text("jobqueue:\n  slurm: {cores: 1, memory: 1GB, scheduler-options: {dashboard_address: ':0'}}\n")
    monkeypatch.setenv("PATH", str(tmp_path))
    if script:
        (tmp_path / "sbatch").write_text(script)
        (tmp_path / "sbatch").chmod(0o755)
    with (
        pytest.raises(ClusterError, match=f"slurm.yaml: the batch system refuses its jobs; {reason}") as raised,
        open_session(ClusterPlace.parse(str(jobs), "2"), warn=warned.append) as session,
    ):
        finish(run_cluster_job(replace(request_one, output=tmp_path / "out.tif"), session))
    assert "\n" not in str(raised.value)
    assert warned == []
