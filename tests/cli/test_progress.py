"""Rates are of the work that was done since a stage began, or went on."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from wsisr.cli.progress import describe_steps
from wsisr.progress import Progress


def test_a_stage_that_goes_on_has_a_rate_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [0.0]
    monkeypatch.setattr("wsisr.cli.progress.time.monotonic", lambda: now[0])

    def take_steps() -> Iterator[Progress]:
        yield Progress("train", 0, 94)
        now[0] = 60.0
        yield Progress("train", 90, 94)
        yield Progress("train", 90, 92, 90)  # the time was up, and a run of fewer steps goes on
        now[0] = 61.0
        yield Progress("train", 92, 92, 90)

    seconds = [float(text) for _, text in describe_steps(take_steps(), lambda _, passed: f"{passed}")]
    assert seconds == [0.0, 60.0, 0.0, 1.0]
