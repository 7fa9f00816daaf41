"""Stage times, measured with a given clock."""

from __future__ import annotations

from itertools import count

from wsisr.parallel.timing import StageTimes
from wsisr.progress import Progress


def test_the_time_of_a_stage_adds_up_and_waiting_counts_for_none() -> None:
    times = StageTimes(clock=map(float, count()).__next__)
    for stage in ("read", "network", "read"):
        with times.measure(stage):
            pass
    assert times.seconds == {"read": 2.0, "network": 1.0}


def test_steps_are_counted_for_their_own_stage() -> None:
    times = StageTimes(clock=map(float, count()).__next__)
    steps = iter([Progress("pyramid", 1, 1), Progress("assemble", 1, 2), Progress("assemble", 2, 2)])
    passed = list(iter(lambda: times.time_next(steps), None))
    assert [step.stage for step in passed] == ["pyramid", "assemble", "assemble"]
    assert times.seconds == {"pyramid": 1.0, "assemble": 2.0}
