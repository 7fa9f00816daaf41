"""Several recipes at once, on a GPU that there is for minutes: `python -m tests.bench gputrain RECIPE... -o OUT`.

`wsisr train` tells a GPU what to do kernel by kernel, which for networks of this size takes several times as long as
doing it. Here a whole step is recorded once, as a CUDA graph, and played again. Samples come of the same code, by
processes; they lie on the GPU, in a pool in which the newest take the place of the oldest, so that each is seen a few
times where the GPU is faster than the cores. Recipes of the same data share a pool. The learning rate follows the
recipe's schedule, stretched over the time there is; how many steps that were is said at the end.

Of each recipe OUT gets RECIPE.safetensors, the moving average, the same after each third, and RECIPE-half.safetensors,
which is the first in half precision. It needs torch, numpy, Pillow, safetensors and lightning, and no installation: it
is run in the checkout. On a CPU it is for trying it out.
"""

from __future__ import annotations

import argparse
import queue
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, IterableDataset, get_worker_info

sys.path.insert(0, str(Path(__file__).parents[3]))

from wsisr.imaging.pixels import RgbBatch
from wsisr.models.weights import build_network, save_weights, warm_start
from wsisr.training.config import TrainConfig, read_train_config
from wsisr.training.objective import Objective
from wsisr.training.optimiser import scheduled_learning_rate
from wsisr.training.sampler import Batch, BatchSampler

CHUNK = 32
"""Pairs that a process makes at a time."""

TELL_EVERY_S = 15

Pairs = tuple[RgbBatch, RgbBatch]
"""Low and high resolution, (n, h, w, 3) each."""


class Samples(IterableDataset[Pairs]):
    """Pairs of a recipe without end, chunk by chunk; no two processes make the same."""

    def __init__(self, config: TrainConfig) -> None:
        self.config = config

    def __iter__(self) -> Iterator[Pairs]:
        own = get_worker_info()
        step, stride = (own.id, own.num_workers) if own else (0, 1)
        batches = BatchSampler(self.config.data, self.config.network.scale, self.config.seed)
        while True:
            lows, highs = zip(*(batches.make_pair(step, sample) for sample in range(CHUNK)), strict=True)
            yield np.stack(lows), np.stack(highs)
            step += stride


class Pool:
    """The newest pairs, on the device."""

    def __init__(self, config: TrainConfig, pairs: int, processes: int) -> None:
        """Starts the processes, which must be before the GPU is first used."""
        loader = DataLoader(
            Samples(config), batch_size=None, num_workers=processes, prefetch_factor=4, collate_fn=lambda pair: pair
        )
        self._made: queue.Queue[Pairs] = queue.Queue(8)
        self._source = iter(loader)
        self._place, self.count, self.pairs = 0, 0, pairs

    def start(self, device: torch.device) -> None:
        """Fills it once."""
        threading.Thread(target=self._receive, daemon=True).start()
        self.device = device
        low, high = self._made.get()
        self.low, self.high = (
            torch.empty((self.pairs, *each.shape[1:]), dtype=torch.uint8, device=device) for each in (low, high)
        )
        while self.count < self.pairs:
            self._put(*self._made.get())

    def renew(self) -> None:
        """Takes a chunk where there is one."""
        if not self._made.empty():
            self._put(*self._made.get())

    def _receive(self) -> None:
        for pairs in self._source:
            self._made.put(pairs)

    def _put(self, *pair: RgbBatch) -> None:
        place = slice(self._place, self._place + CHUNK)
        for there, here in zip((self.low, self.high), pair, strict=True):
            pixels = torch.from_numpy(here)
            there[place].copy_(pixels.pin_memory() if there.is_cuda else pixels, non_blocking=True)
        self._place = (self._place + CHUNK) % self.pairs
        self.count += CHUNK


class Learner:
    """One recipe's network."""

    def __init__(self, recipe: Path, config: TrainConfig, pool: Pool, device: torch.device) -> None:
        self.name, self.config, self.pool, self.device = recipe.stem, config, pool, device
        pitches = [
            record.mpp_lr
            for records in BatchSampler(config.data, config.network.scale, 0).records_by_slide
            for record in records
        ]
        self.spec = config.network.build_spec((round(min(pitches), 4), round(max(pitches), 4)))
        torch.manual_seed(config.seed)
        network = build_network(self.spec)
        if config.network.warm_start:
            warm_start(network, config.network.warm_start)
        self.network = network.to(device).train()
        self.objective = Objective(config.loss, self.spec, device)
        self.rate = torch.zeros((), device=device)
        parameters, graphed = self.network.parameters(), device.type == "cuda"
        self.optimiser = torch.optim.AdamW(
            parameters, self.rate, weight_decay=0.0, fused=graphed, capturable=graphed, foreach=False
        )
        self.average = {name: tensor.clone() for name, tensor in self.network.state_dict().items()}
        self.pace, self.cost = (torch.zeros((), device=device) for _ in range(2))
        self.steps = self.told_of = 0

    def learn(self, share: float) -> None:
        """One step, after that share of the time."""
        schedule = self.config.schedule
        decay = min(schedule.ema, (1 + self.steps) / (10 + self.steps))
        self.rate.fill_(scheduled_learning_rate(int(share * schedule.steps), schedule))
        self.pace.fill_(1 - decay)
        self._play()
        self.steps += 1

    def record(self) -> None:
        """The step as a graph."""
        self._play: Callable[[], None] = self._step
        if self.device.type != "cuda":
            return
        side = torch.cuda.Stream()  # type: ignore[no-untyped-call]
        side.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(side):
            for _ in range(4):  # of no length: the rate is 0
                self._step()
        torch.cuda.current_stream().wait_stream(side)
        self.optimiser.zero_grad(set_to_none=True)
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            self._step()
        self._play = graph.replay

    def told(self) -> str:
        """Mean cost since it was last asked for."""
        cost = float(self.cost) / max(1, self.steps - self.told_of)
        self.told_of = self.steps
        self.cost.zero_()
        return f"{self.name} {self.steps} steps, loss {cost:.5f}"

    def save(self, path: Path, dtype: torch.dtype = torch.float32) -> None:
        save_weights(path, self.spec, {name: tensor.to(dtype) for name, tensor in self.average.items()})

    def _step(self) -> None:
        chosen = torch.randint(self.pool.pairs, (self.config.data.batch,), device=self.device)
        low, high = (_pixels(images[chosen]) for images in (self.pool.low, self.pool.high))
        with torch.autocast(self.device.type, torch.bfloat16):
            enlarged = self.network(low)
        terms = self.objective(Batch(low, high, ()), enlarged, None)
        cost = torch.stack(list(terms.values())).sum()
        self.optimiser.zero_grad(set_to_none=True)
        cost.backward()  # type: ignore[no-untyped-call]
        self.optimiser.step()
        self.cost += cost.detach()
        for name, tensor in self.network.state_dict().items():
            self.average[name].lerp_(tensor, self.pace)


def _pixels(images: Tensor) -> Tensor:
    """(n, h, w, 3) to (n, 3, h, w), channels last as they are."""
    return images.permute(0, 3, 1, 2).float().div_(255)


@dataclass(frozen=True, slots=True)
class Lease:
    """The time there is."""

    began: float
    seconds: float

    @property
    def share(self) -> float:
        return (time.monotonic() - self.began) / self.seconds


def train(learners: list[Learner], pools: list[Pool], lease: Lease, out: Path) -> None:
    saved, told = 0, time.monotonic()
    while (share := lease.share) < 1:
        for pool in pools:
            pool.renew()
        for learner in learners:
            learner.learn(share)
        if learners[0].steps % 50 == 0 and learners[0].device.type == "cuda":
            torch.cuda.synchronize()  # the queue of what is to be played is without end otherwise
        if time.monotonic() - told > TELL_EVERY_S:
            told = time.monotonic()
            made = ", ".join(f"{pool.count} pairs" for pool in pools)
            print(f"{share:.0%}: {'; '.join(map(Learner.told, learners))}; {made}", flush=True)  # noqa: T201
        if int(3 * share) > saved:
            saved = int(3 * share)
            for learner in learners:
                learner.save(out / f"{learner.name}-{saved}.safetensors")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("recipes", type=Path, nargs="+")
    parser.add_argument("-o", "--out", type=Path, required=True, help="folder for the weights")
    parser.add_argument("--minutes", type=float, default=7.0)
    parser.add_argument("--processes", type=int, default=2, help="that make samples, for each pool")
    parser.add_argument("--pairs", type=int, default=8192, help="that a pool holds")
    asked = parser.parse_args()
    asked.out.mkdir(parents=True, exist_ok=True)
    configs = [read_train_config(recipe) for recipe in asked.recipes]
    pools: dict[str, Pool] = {}
    for config in configs:
        key = f"{config.network.scale} {config.data}"
        if key not in pools:
            pools[key] = Pool(config, asked.pairs, asked.processes)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    torch.backends.cudnn.benchmark = True
    for pool in pools.values():
        pool.start(device)
    learners = []
    for recipe, config in zip(asked.recipes, configs, strict=True):
        learners.append(Learner(recipe, config, pools[f"{config.network.scale} {config.data}"], device))
        learners[-1].record()
    train(learners, list(pools.values()), Lease(time.monotonic(), 60 * asked.minutes), asked.out)
    for learner in learners:
        learner.save(asked.out / f"{learner.name}.safetensors")
        learner.save(asked.out / f"{learner.name}-half.safetensors", torch.float16)
        print(learner.told(), f"of {learner.config.data.batch} in {asked.minutes:g} min", flush=True)  # noqa: T201


if __name__ == "__main__":
    main()
