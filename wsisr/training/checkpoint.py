"""A checkpoint: all that a run needs to go on exactly, in one file that is whole or not there."""

from __future__ import annotations

import io
from dataclasses import dataclass
from pathlib import Path
from zipfile import is_zipfile

import torch

from wsisr.errors import ConfigError, ModelError
from wsisr.files import write_whole
from wsisr.training.safe_load import UNREADABLE
from wsisr.training.trainer import State


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
    """Highest merit of a validation so far; see `Findings`."""
    state: State


def save_checkpoint(path: Path, owner: Owner, checkpoint: Checkpoint) -> None:
    """Replaces the checkpoint at `path`; an older one stays until the new one is whole.

    Raises `ModelError` for weights that are no numbers, `OutputError` where the disk refuses; the older one then stays.
    """
    if not all(tensor.isfinite().all() for tensor in checkpoint.state.network.values()):
        raise ModelError(f"weights are no numbers after step {checkpoint.step}; {advice(path)}")
    values = {name: getattr(checkpoint.state, name) for name in State.__slots__}
    facts = {"digest": owner.config, "dataset": owner.dataset, "step": checkpoint.step, "best": checkpoint.best}
    buffer = io.BytesIO()  # torch writes to a file without telling a full disk from other trouble
    torch.save(facts | {"state": values}, buffer)
    write_whole(path, [buffer.getvalue()])


def load_checkpoint(path: Path, owner: Owner, device: torch.device) -> Checkpoint:
    """A checkpoint with its tensors on that device. Nothing in the file is executed.

    Raises `ModelError` if it cannot be read, `ConfigError` if it belongs to another run.
    """
    try:
        if not is_zipfile(path):  # torch would try formats of long ago
            raise EOFError("no end of an archive")
        values = torch.load(path, map_location=device, weights_only=True)
        found = Owner(values.pop("digest"), values.pop("dataset"))
        checkpoint = Checkpoint(values.pop("step"), values.pop("best"), State(**values.pop("state")))
    except UNREADABLE as error:
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
