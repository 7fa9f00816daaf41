"""The precision that `auto` chooses: bf16 only where the processor computes in it."""

from __future__ import annotations

import platform
from pathlib import Path

import pytest
import torch

from wsisr.models.backends.device import select_precision

CPU = torch.device("cpu")
CPUINFO = Path("/proc/cpuinfo")


def processor_flags() -> set[str]:
    lines = [line for line in CPUINFO.read_text().splitlines() if line.startswith("flags")]
    return set(lines[0].split()) if lines else set()


@pytest.fixture(autouse=True)
def uncapped(monkeypatch: pytest.MonkeyPatch) -> None:
    for variable in ("ONEDNN_MAX_CPU_ISA", "DNNL_MAX_CPU_ISA"):
        monkeypatch.delenv(variable, raising=False)


@pytest.mark.skipif(platform.machine() != "x86_64" or not CPUINFO.exists(), reason="flags of Linux on x86")
def test_auto_is_bf16_on_a_cpu_that_computes_in_it_and_fp32_on_one_that_emulates_it() -> None:
    """AVX-512 alone is not enough, though torch's own question says so."""
    computes_in_bf16 = bool(processor_flags() & {"avx512_bf16", "amx_tile"})
    assert select_precision("auto", CPU) == ("bf16" if computes_in_bf16 else "fp32")


@pytest.mark.skipif(platform.machine() != "x86_64", reason="instruction sets of x86")
@pytest.mark.parametrize("variable", ["ONEDNN_MAX_CPU_ISA", "DNNL_MAX_CPU_ISA"])
@pytest.mark.parametrize("cap", ["AVX2", "AVX512_CORE", "avx512_core_vnni"])
def test_auto_is_fp32_where_the_processor_may_not_use_its_instructions_for_bf16(
    variable: str, cap: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(variable, cap)
    assert select_precision("auto", CPU) == "fp32"


@pytest.mark.parametrize("cap", ["ALL", "AVX512_CORE_BF16", "AVX512_CORE_AMX"])
def test_a_cap_that_leaves_bf16_changes_nothing(cap: str, monkeypatch: pytest.MonkeyPatch) -> None:
    uncapped_choice = select_precision("auto", CPU)
    monkeypatch.setenv("ONEDNN_MAX_CPU_ISA", cap)
    assert select_precision("auto", CPU) == uncapped_choice


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_a_precision_that_is_asked_for_is_taken_whatever_is_faster(
    precision: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ONEDNN_MAX_CPU_ISA", "AVX2")
    assert select_precision(precision, CPU) == precision
