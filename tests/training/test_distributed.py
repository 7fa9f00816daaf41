"""Laws of how a network meets its data in training."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import torch
from lightning_fabric import Fabric
from lightning_fabric.plugins.environments.lightning import LightningEnvironment
from torch import Tensor, nn

from wsisr.training.distributed import ExactInputPrecision, launch_fabric


class Witness(nn.Module):
    """Returns its input, and the data type in which a convolution computes."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Conv2d(1, 1, 1)

    def forward(self, x: Tensor) -> tuple[Tensor, str]:
        return x, str(self.layer(x).dtype)


def test_a_job_of_slurm_is_one_process_unless_torchrun_starts_more(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, recwarn: pytest.WarningsRecorder
) -> None:
    (tmp_path / "srun").write_text("#!/bin/sh\n")
    (tmp_path / "srun").chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    for name, value in {"SLURM_NTASKS": "4", "SLURM_JOB_NAME": "night", "SLURM_PROCID": "2"}.items():
        monkeypatch.setenv(name, value)
    fabric = launch_fabric(torch.device("cpu"), batch=2, parts=1)
    assert (fabric.world_size, fabric.global_rank) == (1, 0)
    assert not recwarn.list


def test_a_network_sees_every_grey_level_and_computes_in_half_precision() -> None:
    fabric = Fabric(
        accelerator="cpu", devices=1, plugins=[LightningEnvironment(), ExactInputPrecision("bf16-mixed", "cpu")]
    )
    levels = (torch.arange(256) / 255).reshape(1, 1, 16, 16)
    seen, dtype = fabric.setup(Witness())(levels)
    assert torch.equal(seen, levels)
    assert dtype == "torch.bfloat16"
