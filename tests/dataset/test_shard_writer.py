"""A shard is whole or not there."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tests.support.disks import limit_file_size
from tests.support.pairs import read_files
from wsisr.dataset.shard_writer import open_shard_writer
from wsisr.errors import DatasetError, OutputError


@pytest.mark.parametrize("reason", [KeyboardInterrupt, DatasetError, ValueError])
def test_a_part_that_ends_early_leaves_nothing(tmp_path: Path, reason: type[BaseException]) -> None:
    def fail() -> None:
        with open_shard_writer(tmp_path, "a") as writer:
            writer.write_image(np.zeros((8, 8, 3), np.uint8))
            raise reason

    with pytest.raises(reason):
        fail()
    assert read_files(tmp_path) == {}


def test_a_full_disk_is_one_line_and_leaves_no_part(tmp_path: Path) -> None:
    with (
        limit_file_size(20_000),
        pytest.raises(OutputError, match="file too large"),
        open_shard_writer(tmp_path, "a") as writer,
    ):
        writer.write_image(np.zeros((128, 128, 3), np.uint8))
    assert read_files(tmp_path) == {}
