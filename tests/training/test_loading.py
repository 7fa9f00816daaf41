"""Batches ahead of training: the same by threads and by processes, and an error is what it was."""

from __future__ import annotations

import multiprocessing
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from tests.support.pairs import write_dataset
from wsisr.errors import DatasetError
from wsisr.training.config import DataConfig
from wsisr.training.loading import load_batches
from wsisr.training.sampler import BatchSampler

CPU = torch.device("cpu")


def make_sampler(dataset: Path, processes: int) -> BatchSampler:
    config = DataConfig(dataset, patch_px=8, batch=3, processes=processes)
    return BatchSampler(config, 2, seed=1, with_branch_input=True)


def test_batches_are_the_same_by_threads_and_by_processes_from_any_step(tmp_path: Path) -> None:
    dataset = write_dataset(tmp_path)
    threads, processes = (list(load_batches(make_sampler(dataset, count), range(2, 9), CPU)) for count in (0, 2))
    assert len(threads) == len(processes) == 7
    for one, other in zip(threads, processes, strict=True):
        assert torch.equal(one.low, other.low)
        assert torch.equal(one.high, other.high)
        assert one.branch_input is not None
        assert other.branch_input is not None
        assert torch.equal(one.branch_input, other.branch_input)
        assert one.mpp == other.mpp


def test_processes_at_work_end_quietly_when_nobody_wants_more(tmp_path: Path) -> None:
    with closing(load_batches(make_sampler(write_dataset(tmp_path), 2), range(1000), CPU)) as batches:
        next(batches)
    assert not multiprocessing.active_children()


def test_an_error_of_a_process_is_the_one_line_that_it_is_of_a_thread(tmp_path: Path) -> None:
    dataset = write_dataset(tmp_path)
    messages = []
    for count in (0, 1):
        sampler = make_sampler(dataset, count)
        sampler = BatchSampler(replace(sampler.config, kernels={"stored": 1.0}), 2, 1)
        (dataset / "shards" / "slide1.bin").unlink(missing_ok=True)
        with pytest.raises(DatasetError) as error, closing(load_batches(sampler, range(4), CPU)) as batches:
            list(batches)
        messages.append(str(error.value))
    assert messages[0] == messages[1]
    assert "\n" not in messages[0]
