"""Disks that refuse: a file that may not grow, a folder of somebody else."""

from __future__ import annotations

import os
import resource
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest


@contextmanager
def limit_file_size(size: int) -> Iterator[None]:
    """Within, writing fails once a file has so many bytes, as it does on a full disk."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@contextmanager
def make_readable_folder() -> Iterator[Path]:
    """A folder that everybody may read and only its owner may write to."""
    with TemporaryDirectory() as folder:
        Path(folder).chmod(0o755)
        yield Path(folder)


@contextmanager
def run_as_nobody() -> Iterator[None]:
    """Within, files are touched as a user who may do nothing."""
    if os.geteuid() != 0:
        pytest.skip("needs root to become somebody without permission")
    os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(0)
