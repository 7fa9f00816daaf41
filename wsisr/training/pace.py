"""The pace of a training: how many steps a second this machine makes."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import closing

import torch

from wsisr.training.config import TrainConfig
from wsisr.training.distributed import launch_fabric
from wsisr.training.loading import load_batches
from wsisr.training.sampler import BatchSampler
from wsisr.training.trainer import Trainer

WARM_UP_STEPS = 2
"""Steps before the clock starts: the first ones choose algorithms and fill caches."""

FEWEST_STEPS, MOST_STEPS = 3, 200


def measure_pace(
    config: TrainConfig, device: torch.device, limit_s: float, clock: Callable[[], float] = time.monotonic
) -> float:
    """Return steps/s of a training, measured for about `limit_s` on a network that is thrown away.

    Raises a `WsisrError` if the training could not begin either.
    """
    sampler = BatchSampler(config.data, config.network.scale, config.seed)
    fabric = launch_fabric(device, config.data.batch, config.schedule.accumulate)
    trainer = Trainer(config, config.network.build_spec((1.0, 1.0)), fabric)
    began, done = clock(), 0
    with closing(load_batches(sampler, range(WARM_UP_STEPS + MOST_STEPS), fabric.device)) as batches:
        for step, batch in enumerate(batches):
            if step == WARM_UP_STEPS:
                began = clock()
            trainer.train_batch(batch, step)
            done = step + 1 - WARM_UP_STEPS
            if done >= FEWEST_STEPS and clock() - began >= limit_s:
                break
    return done / max(clock() - began, 1e-3)
