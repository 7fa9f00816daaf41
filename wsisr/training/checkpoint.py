"""A checkpoint: all that a run needs to go on exactly, in one file that is whole or not there."""

from __future__ import annotations

import io
import pickle
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from zipfile import is_zipfile

import torch
from torch import Tensor

from wsisr.errors import ConfigError, ModelError
from wsisr.files import write_whole

# What torch answers to an archive that it did not write, and what one with other things in it leads to.
_UNREADABLE = (
    OSError,
    RuntimeError,
    pickle.UnpicklingError,
    EOFError,
    ValueError,
    TypeError,
    LookupError,
    AttributeError,
)


@dataclass(frozen=True, slots=True)
class Owner:
    """The run that a checkpoint belongs to."""

    config: str
    """`TrainConfig.digest`."""
    dataset: str
    """`PatchStore.digest`."""


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """A run after a whole number of steps."""

    step: int
    best: float
    """Highest gain so far, in dB."""
    network: dict[str, Tensor]
    average: dict[str, Tensor]
    """Moving average of the network's tensors."""
    optimiser: dict[str, Any]
    """As torch's optimisers give it."""


def save_checkpoint(path: Path, owner: Owner, checkpoint: Checkpoint) -> None:
    """Replaces the checkpoint at `path`; an older one stays until the new one is whole.

    Raises `ModelError` for weights that are no numbers, `OutputError` where the disk refuses; the older one then stays.
    """
    if not all(tensor.isfinite().all() for tensor in checkpoint.network.values()):
        raise ModelError(f"weights are no numbers after step {checkpoint.step}; {advice(path)}")
    state = {name: getattr(checkpoint, name) for name in Checkpoint.__slots__}
    buffer = io.BytesIO()  # torch writes to a file without telling a full disk from other trouble
    torch.save({"digest": owner.config, "dataset": owner.dataset, **state}, buffer)
    write_whole(path, [buffer.getvalue()])


def load_checkpoint(path: Path, owner: Owner, device: torch.device) -> Checkpoint:
    """A checkpoint with its tensors on that device. Nothing in the file is executed.

    Raises `ModelError` if it cannot be read, `ConfigError` if it belongs to another run.
    """
    try:
        if not is_zipfile(path):  # torch would try formats of long ago
            raise EOFError("no end of an archive")
        state = torch.load(path, map_location=device, weights_only=True)
        found = Owner(state.pop("digest"), state.pop("dataset"))
        checkpoint = Checkpoint(**state)
    except _UNREADABLE as error:
        raise ModelError(f"{path}: not a whole checkpoint of this version; remove it to start again") from error
    if found.config != owner.config:
        raise ConfigError(f"{path}: belongs to another configuration; give another folder for this one")
    if found.dataset != owner.dataset:
        raise ConfigError(f"{path}: was trained on a dataset of other patches; give another folder for this one")
    return checkpoint


def advice(checkpoint: Path) -> str:
    """What to do when numbers run away."""
    kept = f"{checkpoint} stays as it was; " if checkpoint.exists() else ""
    return f"{kept}lower learning_rate and start again in another folder"
