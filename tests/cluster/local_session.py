"""A cluster of two workers on this machine, for a module of tests."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from wsisr.cluster.place import ClusterPlace
from wsisr.cluster.session import ClusterSession, open_session


@contextmanager
def open_local_session(folder: Path, warned: list[str]) -> Iterator[ClusterSession]:
    """Context: two workers in a folder of their own; what the session warns of goes into a list."""
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        with open_session(ClusterPlace.parse("local:2"), warn=warned.append) as opened:
            yield opened
