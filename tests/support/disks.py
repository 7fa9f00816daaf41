"""Disks that refuse: a limit on the size of files, a folder without write permission."""

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
    """Context: writing fails once a file has `size` bytes, as on a full disk."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@contextmanager
def make_readable_folder() -> Iterator[Path]:
    """Context: a folder that everybody may read and only its owner may write to."""
    with TemporaryDirectory() as folder:
        Path(folder).chmod(0o755)
        yield Path(folder)


@contextmanager
def run_as_nobody() -> Iterator[None]:
    """Context: files are accessed as the user nobody, who has no permissions."""
    if os.geteuid() != 0:
        pytest.skip("needs root to become somebody without permission")
    os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(0)
