"""Read the header of a weights file, without its tensors and without torch."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open

from wsisr.errors import ModelError, ModelNotFoundError, describe_error
from wsisr.models.spec import ModelSpec

SPEC_KEY = "wsisr.spec"
"""Key of the spec in the safetensors header; its value is JSON."""


def read_model_spec(path: Path) -> ModelSpec:
    """Read the spec in a weights file's header.

    Raises `ModelError` if there is no such file, it is not a whole safetensors file, or it has no valid wsisr spec.
    """
    with open_safetensors(path, "np") as file:
        metadata = file.metadata() or {}
    if SPEC_KEY not in metadata:
        raise ModelError(f"{path}: safetensors without a wsisr model spec; these weights are not wsisr's")
    try:
        return ModelSpec.from_json(metadata[SPEC_KEY])
    except ModelError as error:
        raise ModelError(f"{path}: {error}") from error
    except RecursionError as error:
        raise ModelError(f"{path}: model spec is not readable; its JSON is nested too deeply") from error


def is_third_party(path: Path) -> bool:
    """Return whether a safetensors file was not written by wsisr. Raises `ModelError` if it is not a whole one."""
    with open_safetensors(path, "np") as file:
        return SPEC_KEY not in (file.metadata() or {})


@contextmanager
def open_safetensors(path: Path, framework: str) -> Iterator[Any]:
    """Context: a memory-mapped safetensors file; `framework` is `np` or `pt`. Raises `ModelError` if it is cut."""
    try:
        if not path.is_file():
            raise ModelNotFoundError(f"{path}: no such weights file; `wsisr models` lists the shipped ones")
        with safe_open(path, framework=framework) as file:
            yield file
    except OSError as error:
        raise ModelError(
            f"{path}: cannot be read ({error.strerror or describe_error(error)}); give another file"
        ) from error
    except SafetensorError as error:
        raise ModelError(f"{path}: not a whole safetensors file ({describe_error(error)}); copy it again") from error


def hash_file(path: Path) -> str:
    """Return the hexadecimal SHA-256 digest of a file; only a buffer of it is in memory."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
