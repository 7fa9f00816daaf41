"""Batches ahead of training, made by threads of this process or by processes of their own."""

from __future__ import annotations

import multiprocessing
import signal
import threading
from collections.abc import Generator, Iterator
from contextlib import closing
from dataclasses import dataclass
from functools import cached_property
from itertools import takewhile
from typing import Any

import cv2
import torch
from torch.utils.data import DataLoader, Dataset

from wsisr.errors import WsisrError
from wsisr.parallel.cpu import count_usable_cores
from wsisr.parallel.pipeline import parallel_map
from wsisr.training.sampler import Batch, BatchSampler

PREFETCHED_BATCHES = 4
"""Batches that each thread or process is ahead."""


class BatchDataset(Dataset[Batch | WsisrError]):
    """The batches of a sampler by their step, for processes: each opens the dataset for itself."""

    def __init__(self, sampler: BatchSampler) -> None:
        self._arguments = sampler.config, sampler.scale, sampler.seed
        self._with_branch_input = sampler.with_branch_input

    @cached_property
    def _sampler(self) -> BatchSampler:
        return BatchSampler(*self._arguments, with_branch_input=self._with_branch_input)

    def __getitem__(self, step: int) -> Batch | WsisrError:
        """Return the batch of a step, or what is wrong: raised, it would reach the other process as a traceback."""
        try:
            return self._sampler.make_batch(step)
        except WsisrError as error:
            return error


def load_batches(sampler: BatchSampler, steps: range, device: torch.device) -> Generator[Batch, None, None]:
    """Yield the batch of each step, the same however they are made. Raises `DatasetError`."""
    if sampler.config.processes:
        yield from _load_by_processes(sampler, steps)
        return
    threads = count_loading_threads(device)
    with closing(parallel_map(sampler.make_batch, steps, PREFETCHED_BATCHES * threads, threads)) as batches:
        yield from batches


def count_loading_threads(device: torch.device) -> int:
    """Return the number of threads that make batches: all cores up to 16 for a GPU, one beside training on a CPU."""
    return min(16, count_usable_cores()) if device.type == "cuda" else 1


def _load_by_processes(sampler: BatchSampler, steps: range) -> Generator[Batch, None, None]:
    stopped = threading.Event()
    loader = DataLoader(
        BatchDataset(sampler),
        batch_size=None,
        sampler=_StepsUntilStopped(steps, stopped),
        num_workers=sampler.config.processes,
        prefetch_factor=PREFETCHED_BATCHES,
        collate_fn=_leave,
        worker_init_fn=_prepare_process,
        # Not a fork: this process may have threads, and has initialised the GPU.
        multiprocessing_context=multiprocessing.get_context("spawn"),
    )
    batches = iter(loader)
    try:
        for batch in batches:
            if isinstance(batch, WsisrError):
                raise batch
            yield batch
    except (GeneratorExit, WsisrError):
        # A process that ends while it sends a tensor can abort in torch's C++ code, and torch's handler of SIGCHLD
        # would raise that here, wherever this thread is by then: take what is on its way, a few batches a process.
        stopped.set()
        for _ in batches:
            pass
        raise


@dataclass(frozen=True)
class _StepsUntilStopped:
    """The steps, up to the moment at which nobody wants more of them."""

    steps: range
    stopped: threading.Event

    def __iter__(self) -> Iterator[int]:
        return takewhile(lambda _step: not self.stopped.is_set(), self.steps)


def _leave(batch: Any) -> Any:
    """Return a batch as it is, in place of what torch would make of it."""
    return batch


def _prepare_process(_number: int) -> None:
    """Let a request to stop reach the training process only: it ends after the step in hand, which needs a batch."""
    for name in ("SIGINT", "SIGHUP"):
        if hasattr(signal, name):
            signal.signal(getattr(signal, name), signal.SIG_IGN)
    torch.set_num_threads(1)
    cv2.setNumThreads(1)
