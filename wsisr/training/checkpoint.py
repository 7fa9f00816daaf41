"""Checkpoints: everything that a run needs to resume exactly, in one file that is written atomically.

The file is what torch.save writes, followed by the SHA-256 of that: torch does not check the checksums of its archives,
and a flipped bit in a weight would be trained on.
"""

from __future__ import annotations

import hashlib
import io
from dataclasses import dataclass, field
from pathlib import Path
from zipfile import is_zipfile

import torch

from wsisr.errors import ConfigError, ModelError
from wsisr.files import write_atomically
from wsisr.training.config_keys import ConfigKeys, describe_change, is_prolonged, list_changed_keys
from wsisr.training.loss_watch import LossWatch
from wsisr.training.safe_load import TORCH_LOAD_ERRORS
from wsisr.training.trainer import TrainingState

_DIGEST_BYTES = hashlib.sha256().digest_size


@dataclass(frozen=True, slots=True)
class CheckpointKey:
    """Identity of the run that a checkpoint belongs to; another configuration or dataset must not resume from it."""

    config_digest: str
    """`TrainConfig.compute_digest()`."""
    dataset_digest: str
    """`PatchStore.digest`."""
    config_keys: ConfigKeys = field(default_factory=dict)
    """`flatten_config()`, which tells what differs; empty in checkpoints of builds before 0.1."""


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """State of a run after a whole number of steps."""

    step: int
    best_score: float
    """Highest validation score so far; see `ValidationScores.score`."""
    losses: LossWatch
    state: TrainingState


def save_checkpoint(path: Path, key: CheckpointKey, checkpoint: Checkpoint) -> None:
    """Replace the checkpoint at `path`; the older one stays until the new one is complete.

    Raises `ModelError` if weights are not finite, `OutputError` if it cannot be written; the older one then stays.
    """
    # A finite loss may still have led to weights that are not.
    if not all(tensor.isfinite().all() for tensor in checkpoint.state.network.values()):
        raise ModelError(f"weights are not finite after step {checkpoint.step}; {divergence_advice(path)}")
    values = {name: getattr(checkpoint.state, name) for name in TrainingState.__slots__}
    header = {
        "digest": key.config_digest,
        "config": dict(key.config_keys),
        "dataset": key.dataset_digest,
        "step": checkpoint.step,
        "best": checkpoint.best_score,
        "losses": checkpoint.losses.export_values(),
    }
    buffer = io.BytesIO()  # torch.save to a file does not report a full disk apart from other errors
    torch.save(header | {"state": values}, buffer)
    write_atomically(path, [buffer.getvalue(), hashlib.sha256(buffer.getbuffer()).digest()])


def load_checkpoint(path: Path, key: CheckpointKey, device: torch.device) -> Checkpoint:
    """Read a checkpoint, its tensors on `device`. Nothing in the file is executed. Memory: twice the file.

    That of a finished run also belongs to the same configuration with more steps.
    Raises `ModelError` if it cannot be read or contradicts its checksum, `ConfigError` if it belongs to another run.
    """
    try:
        archive = _read_archive(path)
        if not is_zipfile(archive):  # torch.load would try its formats from before torch 1.6
            raise EOFError("not a zip archive")
        archive.seek(0)
        values = torch.load(archive, map_location=device, weights_only=True)
        config_keys = {str(name): str(value) for name, value in dict(values.pop("config", {})).items()}
        stored_key = CheckpointKey(values.pop("digest"), values.pop("dataset"), config_keys)
        losses = LossWatch.restore(values.pop("losses"))
        checkpoint = Checkpoint(values.pop("step"), values.pop("best"), losses, TrainingState(**values.pop("state")))
    except TORCH_LOAD_ERRORS as error:
        raise ModelError(f"{path}: not a complete checkpoint of this version; remove it to start again") from error
    changes = config_keys, key.config_keys
    if stored_key.config_digest != key.config_digest and not is_prolonged(*changes, checkpoint.step):
        raise _make_changed_error(path, *changes)
    if stored_key.dataset_digest != key.dataset_digest:
        raise ConfigError(f"{path}: was trained on a dataset of other patches; give another folder for this one")
    return checkpoint


def _make_changed_error(path: Path, before: ConfigKeys, now: ConfigKeys) -> ConfigError:
    """Return the error for a checkpoint of another configuration; each key that differs is a note of it."""
    error = ConfigError(
        f"{path}: belongs to another configuration; give another folder for this one, or change back what differs "
        "(a finished run goes on with more steps, and nothing else changed)"
    )
    for key in list_changed_keys(before, now) if before else ():
        error.add_note(describe_change(key, before, now))
    return error


def _read_archive(path: Path) -> io.BytesIO:
    """Return the content without its checksum. Raises `ModelError` if the two contradict each other."""
    content = path.read_bytes()
    archive, digest = content[:-_DIGEST_BYTES], content[-_DIGEST_BYTES:]
    if hashlib.sha256(archive).digest() != digest:
        advice = "it is damaged, cut off or of another version; put back a copy, or remove it to start again"
        raise ModelError(f"{path}: not the checkpoint that was saved, by its checksum: {advice}")
    return io.BytesIO(archive)


def divergence_advice(checkpoint: Path) -> str:
    """Return what to do after a loss or weights that are not finite, or have grown too large."""
    unchanged = f"{checkpoint} is unchanged; " if checkpoint.exists() else ""
    return f"{unchanged}lower learning_rate and start again in another folder"
