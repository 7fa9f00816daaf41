"""Where a run computes: one process, or as many as torchrun started, each with its part of every batch."""

from __future__ import annotations

import logging
import os

import torch
from lightning_fabric import Fabric

from wsisr.errors import ConfigError
from wsisr.models.backends.device import has_bf16


def fabric_on(device: torch.device, batch: int, parts: int) -> Fabric:
    """Ready to set networks up, in bf16 where that pays. torchrun says by environment variables how many there are.

    Raises `ConfigError` where a batch cannot be shared out evenly among the processes and their parts.
    """
    world, local = (int(os.environ.get(name, "1")) for name in ("WORLD_SIZE", "LOCAL_WORLD_SIZE"))
    if batch % (world * parts):
        raise ConfigError(
            f"a batch of {batch} cannot be shared out among {world} processes in {parts} parts; choose a multiple"
        )
    logging.getLogger("lightning_fabric").setLevel(logging.WARNING)  # what wsisr says is said by its command line
    fabric = Fabric(
        accelerator=device.type,
        devices=local if world > 1 or device.type == "cpu" else [device.index or 0],
        num_nodes=world // local,
        strategy="ddp" if world > 1 else "auto",
        precision="bf16-mixed" if has_bf16(device) else "32-true",
    )
    fabric.launch()
    return fabric
