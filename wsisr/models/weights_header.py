"""Read the header of a weights file, without its tensors and without torch.

Headers and digests are cached for the process, so that each version of a file is read once, whoever asks.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from typing import Any, TypeAlias

from safetensors import SafetensorError, safe_open

from wsisr.errors import ModelError, ModelNotFoundError, describe_error
from wsisr.models.spec import ModelSpec

SPEC_KEY = "wsisr.spec"
"""Key of the spec in the safetensors header; its value is JSON."""

FileVersion: TypeAlias = tuple[int, ...]
"""What changes with a file's content: device, inode, size, times of the last change of content and of metadata."""


def read_model_spec(path: Path) -> ModelSpec:
    """Read the spec in a weights file's header.

    Raises `ModelError` if there is no such file, it is not a whole safetensors file, or it has no valid wsisr spec.
    """
    text = _read_spec_text(path, _file_version(path))
    if text is None:
        raise ModelError(f"{path}: safetensors without a wsisr model spec; these weights are not wsisr's")
    try:
        return ModelSpec.from_json(text)
    except ModelError as error:
        raise ModelError(f"{path}: {error}") from error


def is_third_party(path: Path) -> bool:
    """Return whether a safetensors file was not written by wsisr. Raises `ModelError` if it is not a whole one."""
    return _read_spec_text(path, _file_version(path)) is None


@lru_cache(maxsize=256)
def _read_spec_text(path: Path, _version: FileVersion | None) -> str | None:
    with open_safetensors(path, "np") as file:
        text: str | None = (file.metadata() or {}).get(SPEC_KEY)
        return text


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
    return _hash_version(path, _file_version(path))


@lru_cache(maxsize=256)
def _hash_version(path: Path, _version: FileVersion | None) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _file_version(path: Path) -> FileVersion | None:
    """Return what tells one version of a file from the next; None if there is no such file."""
    try:
        stat = path.stat()
    except OSError:
        return None
    return stat.st_dev, stat.st_ino, stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns
