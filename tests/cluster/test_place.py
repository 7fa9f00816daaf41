"""What `--cluster` and `--workers` may say, and what is said of anything else, before Dask is loaded."""

from __future__ import annotations

from pathlib import Path

import pytest

from wsisr.cluster.place import ClusterPlace, read_jobqueue_file
from wsisr.errors import ClusterError, OptionError


def test_places_are_known_by_their_form(tmp_path: Path) -> None:
    (tmp_path / "slurm.yaml").touch()
    assert ClusterPlace.parse("local:3").most_workers == 3
    assert ClusterPlace.parse("local").most_workers >= 1
    assert ClusterPlace.parse("tcp://head:8786").is_scheduler
    jobs = ClusterPlace.parse(str(tmp_path / "slurm.yaml"), "1:40")
    assert (jobs.least_workers, jobs.most_workers) == (1, 40)
    assert not jobs.is_scheduler
    assert not jobs.is_local


@pytest.mark.parametrize(
    ("where", "workers", "reason"),
    [
        ("local:0", None, "a number from 1"),
        ("locale", None, "is no cluster"),
        ("head:8786", None, "is no cluster"),
        ("missing.yaml", "3", "no such file"),
        ("tcp://head:8786", "3", "--workers"),
        ("local:2", "3", "--workers"),
        (__file__, None, "is no cluster"),
    ],
)
def test_anything_else_is_wrong_usage(where: str, workers: str | None, reason: str) -> None:
    with pytest.raises(OptionError, match=reason):
        ClusterPlace.parse(where, workers)


@pytest.mark.parametrize("workers", [None, "0", "5:2", "many", "1:", "-1"])
def test_jobs_need_a_number_of_workers(tmp_path: Path, workers: str | None) -> None:
    path = tmp_path / "pbs.yml"
    path.touch()
    with pytest.raises(OptionError, match="--workers"):
        ClusterPlace.parse(str(path), workers)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "needs `jobqueue:`"),
        ("a: [", "is no YAML"),
        ("jobqueue:\n  slurm: {cores: 1}\n  pbs: {cores: 1}", "one batch system"),
        ("jobqueue:\n  slarm: {cores: 1}", "no batch system slarm"),
        ("jobqueue:\n  slurm:", "no options"),
        ("!!python/object/apply:os.system ['true']", "is no YAML"),
    ],
)
def test_a_file_of_another_form_is_refused_in_a_line(tmp_path: Path, text: str, reason: str) -> None:
    path = tmp_path / "jobs.yaml"
    path.write_text(text)
    with pytest.raises(ClusterError, match=reason) as raised:
        read_jobqueue_file(path)
    assert "\n" not in str(raised.value)


def test_a_file_of_dask_jobqueue_gives_its_section(tmp_path: Path) -> None:
    path = tmp_path / "slurm.yaml"
    path.write_text("jobqueue:\n  slurm:\n    cores: 8\n    memory: 32GB\n    walltime: '04:00:00'\n")
    assert read_jobqueue_file(path) == ("slurm", {"cores": 8, "memory": "32GB", "walltime": "04:00:00"})
