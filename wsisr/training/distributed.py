"""Processes of a training run: one, or as many as torchrun started, each with its part of every batch."""

from __future__ import annotations

import logging
import os
from typing import Any

import torch
from lightning_fabric import Fabric
from lightning_fabric.plugins.environments.lightning import LightningEnvironment
from lightning_fabric.plugins.environments.torchelastic import TorchElasticEnvironment
from lightning_fabric.plugins.precision import MixedPrecision

from wsisr.errors import ConfigError
from wsisr.models.backends.device import has_fast_bf16


class ExactInputPrecision(MixedPrecision):
    """Autocast that leaves a network's inputs in fp32, as in inference; the first convolution rounds what it is given.

    Fabric's own rounds them to bf16 before, by half a grey level near white, and with them the bicubic enlargement and
    the gate, which are computed in fp32; see findings/.
    """

    def convert_input(self, data: Any) -> Any:
        """Return the inputs as they are."""
        return data


def launch_fabric(device: torch.device, batch: int, parts: int) -> Fabric:
    """Return a launched Fabric on `device`, in bf16 where the device is faster in it.

    torchrun gives the number of processes in environment variables. Raises `ConfigError` if a batch cannot be divided
    evenly among the processes and their parts.
    """
    world, local = (int(os.environ.get(name, "1")) for name in ("WORLD_SIZE", "LOCAL_WORLD_SIZE"))
    if batch % (world * parts):
        raise ConfigError(
            f"a batch of {batch} cannot be divided among {world} processes in {parts} parts; choose a multiple"
        )
    logging.getLogger("lightning_fabric").setLevel(logging.WARNING)  # messages come from the command line only
    # Left to choose, Fabric takes each job of Slurm for one of several processes, and warns wherever srun is installed.
    environment = TorchElasticEnvironment() if TorchElasticEnvironment.detect() else LightningEnvironment()
    precision = [ExactInputPrecision("bf16-mixed", device.type)] if has_fast_bf16(device) else []
    fabric = Fabric(
        accelerator=device.type,
        devices=local if world > 1 or device.type == "cpu" else [device.index or 0],
        num_nodes=world // local,
        strategy="ddp" if world > 1 else "auto",
        plugins=[environment, *precision],
    )
    fabric.launch()
    return fabric
