"""A cluster of a few workers on this machine, for a module of tests."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from wsisr.cluster.place import ClusterPlace
from wsisr.cluster.session import ClusterSession, open_session


@contextmanager
def open_local_session(folder: Path, warned: list[str], workers: int = 2) -> Iterator[ClusterSession]:
    """Context: workers in a folder of their own, by default two; what the session warns of goes into a list."""
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        with open_session(ClusterPlace.parse(f"local:{workers}"), warn=warned.append) as opened:
            yield opened
