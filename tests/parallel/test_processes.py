"""Worker processes run each job once, even if workers die, and jobs learn that they should stop."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from contextlib import closing
from pathlib import Path
from textwrap import dedent

import pytest

from tests.support.patience import PATIENCE_S
from tests.support.samples import REPOSITORY
from wsisr.parallel.processes import Channel, JobDone, Message, WorkerDied, WorkerEvent, run_in_processes


def double_or_die(number: int, channel: Channel) -> int:
    """Send the number; die of a negative one."""
    os.kill(os.getpid(), signal.SIGINT)  # a terminal sends it to all processes; only the first acts on it
    channel.send(f"{number} in hand")
    if number < 0:
        os.kill(os.getpid(), signal.SIGKILL)
    return 2 * number


def run_until_stopped(marker: Path, channel: Channel) -> None:
    channel.send("begun")
    while not channel.stop.is_set():
        pass
    marker.touch()


def wait_for_file(marker: Path | None, _channel: Channel) -> int:
    while marker and not marker.exists():
        pass
    return os.getpid()


def refuse_job(number: int, _channel: Channel) -> None:
    raise ValueError(f"no {number}")


def test_a_worker_that_dies_loses_only_its_own_job() -> None:
    jobs = [1, -1, 2, 3, -2]
    events: list[WorkerEvent[int]] = list(run_in_processes(double_or_die, jobs, 2))
    assert {event.job: event.result for event in events if isinstance(event, JobDone)} == {0: 2, 2: 4, 3: 6}
    assert sorted(event.job for event in events if isinstance(event, WorkerDied)) == [1, 4]
    assert {event.code for event in events if isinstance(event, WorkerDied)} == {-signal.SIGKILL}
    messages = [(event.job, event.content) for event in events if isinstance(event, Message)]
    assert sorted(messages) == [(place, f"{number} in hand") for place, number in enumerate(jobs)]


def test_an_idle_worker_that_dies_loses_no_job(tmp_path: Path) -> None:
    marker = tmp_path / "end"
    events: list[WorkerEvent[int]] = []
    with closing(run_in_processes(wait_for_file, [None, marker], 2)) as stream:
        for event in stream:
            events.append(event)
            if isinstance(event, JobDone) and event.job == 0:
                os.kill(event.result, signal.SIGKILL)
            elif any(isinstance(one, JobDone) for one in events):
                marker.touch()
    assert [event.job for event in events if isinstance(event, JobDone)] == [0, 1]
    assert not any(isinstance(event, WorkerDied) for event in events)


def test_workers_end_with_a_first_process_that_ends_at_once_and_nothing_is_printed(tmp_path: Path) -> None:
    program = f"""
        import os
        from pathlib import Path
        from tests.parallel.test_processes import run_until_stopped
        from wsisr.parallel.processes import Message, run_in_processes

        begun = 0
        for event in run_in_processes(run_until_stopped, [Path({str(tmp_path)!r}) / name for name in "ab"], 2):
            begun += isinstance(event, Message)
            if begun == 2:
                os._exit(130)
    """
    command = [sys.executable, "-c", dedent(program)]
    # It returns when the last process that could print has ended.
    done = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, check=False, timeout=PATIENCE_S)
    assert (done.returncode, done.stdout, done.stderr) == (130, "", "")


def test_a_running_job_is_stopped_and_waited_for_when_the_caller_leaves(tmp_path: Path) -> None:
    marker = tmp_path / "ended"
    with closing(run_in_processes(run_until_stopped, [marker], 1)) as stream:
        assert Message(0, "begun") in stream
    assert marker.exists()


def test_a_bug_keeps_its_traceback() -> None:
    with pytest.raises(ValueError, match="no 5") as caught, closing(run_in_processes(refuse_job, [5], 1)) as stream:
        list(stream)
    assert "in refuse_job" in caught.value.__notes__[0]
