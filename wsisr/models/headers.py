"""What a weights file says of itself, read without its tensors and without torch."""

from __future__ import annotations

import hashlib
from pathlib import Path

from safetensors import SafetensorError, safe_open

from wsisr.errors import ModelError
from wsisr.modelspec import ModelSpec

SPEC_KEY = "wsisr.spec"
"""Key of the safetensors header under which the spec lies, as JSON."""


def spec_in(path: Path) -> ModelSpec:
    """The spec in a weights file's header.

    Raises `ModelError` if there is no such file, it is not a whole safetensors file, or holds no wsisr spec.
    """
    if not path.is_file():
        raise ModelError(f"{path}: no such weights file; `wsisr models` lists the shipped ones")
    try:
        with safe_open(path, framework="np") as file:
            metadata = file.metadata() or {}
    except (SafetensorError, OSError) as error:
        raise ModelError(f"{path}: not a whole safetensors file ({error}); copy it again") from error
    if SPEC_KEY not in metadata:
        raise ModelError(f"{path}: safetensors without a wsisr model spec; these weights are not wsisr's")
    try:
        return ModelSpec.from_json(metadata[SPEC_KEY])
    except ModelError as error:
        raise ModelError(f"{path}: {error}") from error


def sha256(path: Path) -> str:
    """Hexadecimal digest of a file, read in pieces."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
