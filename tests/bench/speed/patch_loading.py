"""How fast patches come beside how fast they are learned: `python -m tests.bench patch_loading DATASET`.

First each codec of a store: patches/s of both images of a pair, decoded, and kB of a pair. Then batches of training by
kernel and, in brackets, by preset, patches/s; then steps of masrgan (0.4 M parameters, 48 px, batch 16), patches/s, on
a GPU if there is one. All on one thread of the CPU. Loading runs in a thread beside the steps: it holds nothing up
where its number is larger.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable
from pathlib import Path

import torch

from wsisr.config import parse_table
from wsisr.dataset.codecs import PATCH_CODECS, decode_patch
from wsisr.dataset.reader import PatchStore
from wsisr.dataset.records import PatchRecord
from wsisr.training.config import DATA_PRESETS, DataConfig, NetworkConfig, ScheduleConfig, TrainConfig
from wsisr.training.config_file import resolve_data_names
from wsisr.training.distributed import launch_fabric
from wsisr.training.sampler import BatchSampler
from wsisr.training.trainer import Trainer

SCALE, BATCH = 2, 16
KERNELS = ("stored", "area", "bicubic", "scan", "archive", "degraded")


def per_second(count: int, work: Callable[[], object]) -> float:
    began = time.perf_counter()
    work()
    return count / (time.perf_counter() - began)


def stored(store: PatchStore, records: list[PatchRecord], codec: str) -> str:
    """A row: both images of each pair."""
    content = [
        [PATCH_CODECS[codec](image) for image in (store.read_high(each), store.read_low(each))] for each in records
    ]
    size = sum(len(image) for pair in content for image in pair) / len(content) / 1000

    def read() -> None:
        for record, (high, low) in zip(records, content, strict=True):
            decode_patch(memoryview(high), codec, record.side).copy()
            decode_patch(memoryview(low), codec, record.side // record.scale).copy()

    return f"{codec:10} {per_second(len(records), read):12.0f} {size:10.1f}"


def batched(name: str, data: DataConfig, steps: int) -> str:
    batches = BatchSampler(data, SCALE, 0)
    return f"{name:10} {per_second(steps * BATCH, lambda: list(map(batches.make_batch, range(steps)))):12.0f}"


def learned(dataset: Path, steps: int) -> str:
    network, data = NetworkConfig(SCALE), DataConfig(dataset, batch=BATCH)
    config = TrainConfig(network, data, ScheduleConfig(steps))
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    learner = Trainer(config, network.build_spec((0.5, 4.0)), launch_fabric(device, BATCH, 1))
    first, *batches = map(BatchSampler(data, SCALE, 0).make_batch, range(steps + 1))
    learner.train_batch(first, 0)

    def learn() -> None:
        for step, batch in enumerate(batches, 1):
            learner.train_batch(batch, step)

    return f"{device.type:10} {per_second(steps * BATCH, learn):12.0f}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("dataset", type=Path)
    parser.add_argument("--steps", type=int, default=10)
    asked = parser.parse_args()
    torch.set_num_threads(1)
    store = PatchStore(asked.dataset)
    records = store.select_pairs("train", SCALE)
    few = list(records[:: max(1, len(records) // 200)])
    sys.stdout.write(f"{'codec':10} {'patches/s':>12} {'kB':>10}\n")
    for codec in PATCH_CODECS:
        sys.stdout.write(f"{stored(store, few, codec)}\n")
    sys.stdout.write(f"\n{'kernel':10} {'patches/s':>12}\n")
    for kernel in KERNELS:
        data = DataConfig(asked.dataset, batch=BATCH, kernels={kernel: 1.0})
        sys.stdout.write(f"{batched(kernel, data, asked.steps)}\n")
    for name in DATA_PRESETS:
        table = resolve_data_names({"preset": name, "dataset": str(asked.dataset), "batch": BATCH}, name, Path())
        sys.stdout.write(f"{batched(f'({name})', parse_table(DataConfig, table, name, Path()), asked.steps)}\n")
    sys.stdout.write(f"\n{'training':10} {'patches/s':>12}\n{learned(asked.dataset, asked.steps)}\n")


if __name__ == "__main__":
    main()
