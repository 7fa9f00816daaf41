"""Worker processes: each job is done once, whoever dies meanwhile, and the wish to stop is heard."""

from __future__ import annotations

import os
import signal
from contextlib import closing
from pathlib import Path

import pytest

from wsisr.parallel.processes import Channel, JobDone, Message, WorkerDied, WorkerEvent, run_in_processes


def doubled(number: int, link: Channel) -> int:
    """Says the number; dies of it where it is negative."""
    os.kill(os.getpid(), signal.SIGINT)  # goes to all processes of a terminal, and is for the first to act upon
    link.send(f"{number} in hand")
    if number < 0:
        os.kill(os.getpid(), signal.SIGKILL)
    return 2 * number


def endless(marker: Path, link: Channel) -> None:
    link.send("begun")
    while not link.stop.is_set():
        pass
    marker.touch()


def once_there(marker: Path | None, _link: Channel) -> int:
    while marker and not marker.exists():
        pass
    return os.getpid()


def refusing(number: int, _link: Channel) -> None:
    raise ValueError(f"no {number}")


def test_one_that_dies_costs_only_its_own_job() -> None:
    jobs = [1, -1, 2, 3, -2]
    found: list[WorkerEvent[int]] = list(run_in_processes(doubled, jobs, 2))
    assert {each.job: each.result for each in found if isinstance(each, JobDone)} == {0: 2, 2: 4, 3: 6}
    assert sorted(each.job for each in found if isinstance(each, WorkerDied)) == [1, 4]
    assert {each.code for each in found if isinstance(each, WorkerDied)} == {-signal.SIGKILL}
    said = [(each.job, each.content) for each in found if isinstance(each, Message)]
    assert sorted(said) == [(place, f"{number} in hand") for place, number in enumerate(jobs)]


def test_one_that_dies_with_nothing_in_hand_costs_no_job(tmp_path: Path) -> None:
    marker = tmp_path / "end"
    found: list[WorkerEvent[int]] = []
    with closing(run_in_processes(once_there, [None, marker], 2)) as happenings:
        for each in happenings:
            found.append(each)
            if isinstance(each, JobDone) and each.job == 0:
                os.kill(each.result, signal.SIGKILL)
            elif any(isinstance(one, JobDone) for one in found):
                marker.touch()
    assert [each.job for each in found if isinstance(each, JobDone)] == [0, 1]
    assert not any(isinstance(each, WorkerDied) for each in found)


def test_left_early_the_job_in_hand_hears_it_and_is_waited_for(tmp_path: Path) -> None:
    marker = tmp_path / "ended"
    with closing(run_in_processes(endless, [marker], 1)) as happenings:
        assert Message(0, "begun") in happenings
    assert marker.exists()


def test_a_bug_keeps_its_traceback() -> None:
    with pytest.raises(ValueError, match="no 5") as caught, closing(run_in_processes(refusing, [5], 1)) as happenings:
        list(happenings)
    assert "in refusing" in caught.value.__notes__[0]
