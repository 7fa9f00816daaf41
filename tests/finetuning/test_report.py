"""The verdict: the finetuned model only where its gain is no chance and no other input pays for it."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path

import pytest

from wsisr.evaluation.comparison import InputComparison, MeanGain
from wsisr.finetuning.report import FEW_STEPS, FinetuneReport


def compare(label: str, difference: float, half: float | None) -> InputComparison:
    interval = None if half is None else (difference - half, difference + half)
    before = MeanGain(1.0, None)
    return InputComparison(label, "case", 3, before, MeanGain(1.0 + difference, None), MeanGain(difference, interval))


def report(first: tuple[float, float | None], *others: float) -> FinetuneReport:
    inputs = [compare("as stored", *first), *(compare("area", mean, 0.01) for mean in others)]
    return FinetuneReport(Path("my lab/own.safetensors"), "mmsrnet-x2", 2, 100, 60.0, 5, ("a", "b", "c"), tuple(inputs))


@pytest.mark.parametrize(
    ("first", "others", "verdict"),
    [
        ((0.1, 0.05), (-0.05, 0.2), r"use it: \+0.10 dB \(95 %: \+0.05 to \+0.15\) over mmsrnet-x2 on the input as st"),
        ((0.1, 0.05), (), "use it"),
        ((0.1, 0.2), (), "keep the shipped one: the difference on the input as stored, .*, may be chance"),
        ((0.01, 0.001), (), "keep the shipped one: next to nothing is gained"),
        ((-0.1, 0.2), (), "keep the shipped one: the finetuned one is no better on the input as stored, -0.10 dB"),
        ((-0.1, 0.05), (0.3,), "keep the shipped one: the finetuned one is worse on the input as stored, -0.10 dB"),
        ((0.1, None), (), "keep the shipped one: a single case cannot tell; give more slides to judge by"),
        ((0.1, 0.05), (0.1, -0.2), "keep the shipped one: it gains .* and loses more on area, -0.20 dB"),
    ],
)
def test_a_verdict_names_what_decided_it(
    first: tuple[float, float | None], others: tuple[float, ...], verdict: str
) -> None:
    given = report(first, *others)
    assert re.match(verdict, given.verdict)
    assert given.is_better == verdict.startswith("use")


def test_a_model_of_few_steps_is_said_to_be_one() -> None:
    kept = report((0.01, 0.001))
    assert "100 steps are few, as fewer than 200 mostly" in kept.advice
    assert "few" not in replace(kept, steps=FEW_STEPS).advice
    assert report((0.1, 0.05)).advice == report((0.1, 0.05)).command


def test_the_command_can_be_pasted_and_the_report_is_json() -> None:
    given = report((0.1, 0.05))
    assert given.command == "wsisr upscale SLIDE --scale 2 --model 'my lab/own.safetensors'"
    read = json.loads(json.dumps(given.to_json()))
    assert read["use"] is True
    assert read["inputs"][0]["difference"] == {"mean": 0.1, "interval": [0.05, pytest.approx(0.15)]}
