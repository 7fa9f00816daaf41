"""What a weights file says of itself, read without its tensors and without torch."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open

from wsisr.errors import ModelError, describe_error
from wsisr.models.spec import ModelSpec

SPEC_KEY = "wsisr.spec"
"""Key of the safetensors header under which the spec lies, as JSON."""


def read_model_spec(path: Path) -> ModelSpec:
    """The spec in a weights file's header.

    Raises `ModelError` if there is no such file, it is not a whole safetensors file, or holds no sound wsisr spec.
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
        raise ModelError(f"{path}: model spec is not readable; it is nested without end") from error


def is_third_party(path: Path) -> bool:
    """Whether a file is sound safetensors of somebody else's. Raises `ModelError` where it is not sound."""
    with open_safetensors(path, "np") as file:
        return SPEC_KEY not in (file.metadata() or {})


@contextmanager
def open_safetensors(path: Path, framework: str) -> Iterator[Any]:
    """A safetensors file, mapped; `framework` is `np` or `pt`. Raises `ModelError` where it is not a whole one."""
    try:
        if not path.is_file():
            raise ModelError(f"{path}: no such weights file; `wsisr models` lists the shipped ones")
        with safe_open(path, framework=framework) as file:
            yield file
    except OSError as error:
        raise ModelError(
            f"{path}: cannot be read ({error.strerror or describe_error(error)}); give another file"
        ) from error
    except SafetensorError as error:
        raise ModelError(f"{path}: not a whole safetensors file ({describe_error(error)}); copy it again") from error


def hash_file(path: Path) -> str:
    """Hexadecimal digest of a file, read in pieces."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
