"""Damaged files of every format: each is read, or refused in one line. `python -m tests.bench fuzz` tries many more."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.fuzz_targets import TARGETS, judge_mutant, make_samples, write_mutant

MUTANTS = 24
"""Damaged files of each format."""


@pytest.mark.parametrize("name", TARGETS)
def test_damage_is_never_a_traceback(tmp_path: Path, name: str) -> None:
    if name == "onnx":
        pytest.importorskip("onnx")
        pytest.importorskip("onnxruntime")
    samples = make_samples(name, tmp_path)
    assert [judge_mutant(name, sample).outcome for sample in samples] == ["read"] * len(samples)
    mutants = tmp_path / "mutants"
    mutants.mkdir()
    for number in range(MUTANTS):
        verdict = judge_mutant(name, write_mutant(name, samples, mutants, f"ci-{name}-{number}"))
        assert verdict.outcome != "fault", f"ci-{name}-{number}: {verdict.error!r}"
