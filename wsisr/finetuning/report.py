"""The result of a finetuning: the comparison with the shipped model, and the verdict."""

from __future__ import annotations

import shlex
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from wsisr.evaluation.comparison import InputComparison, MeanGain

LEAST_GAIN_DB = 0.05
"""Least gain for which a model of one's own is worth having; shipped models differ by more."""

FEW_STEPS = 200
"""Steps below which a model mostly gets worse: 260 were a gain, 44 and 28 a loss (docs/training.md)."""


@dataclass(frozen=True, slots=True)
class FinetuneReport:
    """What became of a finetuning."""

    weights: Path
    """The finetuned model."""
    start: str
    """Name of the shipped model that it started from."""
    scale: int
    steps: int
    trained_s: float
    train_cases: int
    held_out_cases: tuple[str, ...]
    inputs: tuple[InputComparison, ...]
    """Shipped and finetuned on the held-out cases; the first input is that as archives hold it."""

    @property
    def is_better(self) -> bool:
        """Whether to use the finetuned model.

        Its gain on the first input is above the shipped one's, beyond chance and by `LEAST_GAIN_DB`, and it loses on
        no other input more than it wins there.
        """
        return not self._find_objection()

    @property
    def verdict(self) -> str:
        """What to do, and why, in one sentence."""
        first, objection = self.inputs[0], self._find_objection()
        if objection:
            return f"keep the shipped one: {objection}"
        return f"use it: {describe_gain(first.difference)} over {self.start} on the input {first.label}"

    @property
    def command(self) -> str:
        """The command that uses the finetuned model."""
        return f"wsisr upscale SLIDE --scale {self.scale} --model {shlex.quote(str(self.weights))}"

    @property
    def advice(self) -> str:
        """What to do next, in one line: the command that uses the model, or how to train it on."""
        if self.is_better:
            return self.command
        few = f"{self.steps} steps are few, as fewer than {FEW_STEPS} mostly make a model worse; "
        again = f"{few if self.steps < FEW_STEPS else ''}the same command with more --minutes trains it on"
        return f"what was trained all the same is {self.weights}; {again}"

    def to_json(self) -> dict[str, Any]:
        """Return all values for `report.json`; gains are in dB above bicubic."""
        return asdict(self) | {
            "weights": str(self.weights),
            "verdict": self.verdict,
            "use": self.is_better,
            "command": self.command,
        }

    def _find_objection(self) -> str:
        """Return why the shipped model stays; empty if nothing is to be said for it."""
        first, *others = self.inputs
        gain = first.difference
        if gain.interval is None:
            return f"a single {first.unit} cannot tell; give more slides to judge by"
        if gain.mean < 0:
            worse = "worse" if gain.interval[1] < 0 else "no better"
            return f"the finetuned one is {worse} on the input {first.label}, {describe_gain(gain)}"
        if gain.mean < LEAST_GAIN_DB:
            return f"next to nothing is gained on the input {first.label}, {describe_gain(gain)}"
        if gain.interval[0] <= 0:
            return f"the difference on the input {first.label}, {describe_gain(gain)}, may be chance"
        worst = min(others, key=lambda item: item.difference.mean, default=first)
        if worst.difference.mean < -gain.mean:
            return (
                f"it gains {describe_gain(gain)} on the input {first.label}, and loses more on {worst.label}, "
                f"{describe_gain(worst.difference)}"
            )
        return ""


def describe_gain(gain: MeanGain) -> str:
    """Return `+0.12 dB (95 %: +0.05 to +0.19)`."""
    interval = "" if gain.interval is None else f" (95 %: {gain.interval[0]:+.2f} to {gain.interval[1]:+.2f})"
    return f"{gain.mean:+.2f} dB{interval}"
