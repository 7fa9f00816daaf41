"""The pair of images that all tests of the page look at."""

from __future__ import annotations

import pytest

from tests.viewer.pictures import Pair, write_pair


@pytest.fixture(scope="session")
def pair(tmp_path_factory: pytest.TempPathFactory) -> Pair:
    return write_pair(tmp_path_factory.mktemp("pair"))
