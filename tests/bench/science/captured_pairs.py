"""Whether captures that were registered teach a network what perfectly aligned truth would.

    python -m tests.bench captured_pairs SLIDE ... --dev SLIDE ... [--steps 500] [--runs FOLDER] [--json FILE]

A coarser capture of each slide is rendered through an optical blur, noise and JPEG that no training of wsisr uses, at
an offset, an angle and a scale of its own, and `wsisr build-dataset captured` pairs it with the slide. Four networks
are then trained x2 on the same fields, crops and steps:

    registered     the pairs of build-dataset captured
    aligned        the slide's own pixels, and a low resolution of the same blur, noise and JPEG laid on them exactly
    bicubic        the slide's own pixels, shrunk by Pillow's bicubic, as networks usually are trained
    unregistered   the same captures, each field laid on the slide by whole pixels: right in its middle, but neither
                   turned nor stretched

They are scored on held-out slides, seen through the same blur, JPEG and other noise. What is finished stays in --runs:
other slides need another folder. Five slides of 2032 px take some five minutes of CPU time.
"""

from __future__ import annotations

import argparse
import json
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from statistics import mean

import numpy as np
import torch
from msgspec.structs import replace

from tests.support.captures import CaptureFlaws, render_capture, write_capture
from tests.support.pairs import write_manifest
from wsisr.dataset.reader import MANIFEST, SHARDS, PatchStore
from wsisr.dataset.records import PatchRecord
from wsisr.dataset.registration.affine import Affine, mean_corner_distance
from wsisr.dataset.shard_writer import ShardWriter, open_shard_writer
from wsisr.imaging.geometry import Box, Size
from wsisr.imaging.metrics import UNSCORED_BORDER_PX, mean_squared_error, psnr_from_error
from wsisr.imaging.pixels import Rgb
from wsisr.models.loading import load_upscaler
from wsisr.models.upscaler import Resampling, Upscaler
from wsisr.slides import open_slide
from wsisr.training.config import DataConfig, NetworkConfig, ScheduleConfig, TrainConfig
from wsisr.training.loop import LAST_WEIGHTS_FILE, TrainingRun

SCALE = 2

HIDDEN = CaptureFlaws(blur_px=0.55, noise=2.5, quality=85)
"""Degradation of the coarser captures and of the test pairs; with the footprint of a pixel, a blur of 0.71 px."""

TURN, STRETCH = 2.5, 0.02
"""Largest angle in degrees, and share by which a capture's scale is off."""

SCORED_PX = 1024
"""Side of the scored centre of each held-out slide."""

KINDS = {"registered": "stored", "aligned": "stored", "bicubic": "bicubic", "unregistered": "stored"}
"""Network to the kernel of its training; `stored` is the low resolution in the dataset."""

MAX_LOSS_DB = 0.2
"""dB by which registered pairs may be worse than aligned ones."""


@dataclass(frozen=True)
class Specimen:
    """A slide, and the coarser capture that is made of it."""

    path: Path
    number: int
    folder: Path

    @property
    def low_path(self) -> Path:
        return self.folder / "captures" / f"{self.path.stem}_low.tif"

    @cached_property
    def fine(self) -> Rgb:
        with open_slide(self.path) as slide:
            return slide.read(Box.from_size(slide.info.size), 0)

    @cached_property
    def mpp(self) -> float:
        with open_slide(self.path) as slide:
            assert slide.info.mpp is not None
            return slide.info.mpp

    def make_generator(self, purpose: int) -> np.random.Generator:
        return np.random.default_rng([self.number, purpose])

    @cached_property
    def truth(self) -> Affine:
        """From px of the coarser capture to px of the slide: the slide's middle in the capture's, a little off."""
        random, size = self.make_generator(0), self.low_size
        turn = Affine.similarity(SCALE * random.uniform(1 - STRETCH, 1 + STRETCH), random.uniform(-TURN, TURN))
        middle = turn(np.array([[size.width / 2, size.height / 2]]))[0]
        off = np.array(self.fine.shape[1::-1]) / 2 - middle + random.uniform(-20, 20, 2)
        return turn.translate(float(off[0]), float(off[1]))

    @property
    def low_size(self) -> Size:
        height, width = self.fine.shape[:2]
        return Size(round(0.9 * width / SCALE), round(0.9 * height / SCALE))

    def write_low(self) -> Path:
        """Write the coarser capture if it does not exist yet, and return its path."""
        if not self.low_path.exists():
            self.low_path.parent.mkdir(parents=True, exist_ok=True)
            pixels = render_capture(self.fine, self.truth, self.low_size, HIDDEN, self.make_generator(1))
            write_capture(self.low_path, pixels, self.mpp * SCALE)
        return self.low_path

    @cached_property
    def aligned(self) -> Rgb:
        """The slide through the hidden optics, on its own pixel grid."""
        return render_low(self.fine, self.make_generator(2))


def render_low(fine: Rgb, random: np.random.Generator) -> Rgb:
    """Render (h*2, w*2, 3) through the hidden optics, as (h, w, 3)."""
    return render_capture(
        fine, Affine.similarity(SCALE), Size(fine.shape[1] // SCALE, fine.shape[0] // SCALE), HIDDEN, random
    )


def build_registered(specimens: Sequence[Specimen], folder: Path, patch_px: int) -> PatchStore:
    """Build the pairs of all captures as one dataset; 8 pairs are for validation, which a run needs."""
    records: list[PatchRecord] = []
    (folder / SHARDS).mkdir(parents=True, exist_ok=True)
    for specimen in specimens:
        captured = folder.parent / "captured" / specimen.path.stem
        if not captured.exists():
            command = ["captured", specimen.write_low(), specimen.path, "-o", captured, "--val-share", 0, "--quiet"]
            options = [*command, "--patch-px", patch_px, "--most-patches", 10_000, "--jobs", 1]
            subprocess.run([sys.executable, "-m", "wsisr", "build-dataset", *map(str, options)], check=True)
        shutil.copytree(captured / SHARDS, folder / SHARDS, dirs_exist_ok=True)
        records += PatchStore(captured).records
    validation = [replace(record, split="val") for record in records[-8:]]
    write_manifest(folder, [*(replace(record, split="train") for record in records[:-8]), *validation])
    return PatchStore(folder)


def write_other_datasets(specimens: Sequence[Specimen], of: PatchStore, folder: Path) -> None:
    """Write the fields of the registered pairs as two more datasets, perfectly aligned and not registered."""
    written: dict[str, list[PatchRecord]] = {"aligned": [], "unregistered": []}
    for specimen in specimens:
        of_specimen = [record for record in of.records if record.shard == f"{specimen.path.stem}.bin"]
        for name, records in written.items():
            with open_shard_writer(folder / name, specimen.path.stem) as writer:
                pairs = (getattr(OtherPairs(specimen, of), name)(record) for record in of_specimen)
                records += [store_pair(writer, record, *pair) for record, pair in zip(of_specimen, pairs, strict=True)]
    for name, records in written.items():
        write_manifest(folder / name, records)


def store_pair(writer: ShardWriter, record: PatchRecord, high: Rgb, low: Rgb) -> PatchRecord:
    return replace(record, shard=writer.shard, images={"hr": writer.write_image(high), "lr": writer.write_image(low)})


@dataclass(frozen=True, slots=True)
class OtherPairs:
    """High and low resolution of the field of a registered pair, made in other ways."""

    specimen: Specimen
    store: PatchStore

    def aligned(self, record: PatchRecord) -> tuple[Rgb, Rgb]:
        """On the slide's own grid, so neither is resampled; turned by the capture's small angle against the other."""
        fine = self._by_whole_pixels(record)
        box = Box(*(edge // SCALE for edge in (fine.left, fine.top, fine.right, fine.bottom)))
        fine = box * SCALE
        return self.specimen.fine[fine.rows, fine.columns], self.specimen.aligned[box.rows, box.columns]

    def unregistered(self, record: PatchRecord) -> tuple[Rgb, Rgb]:
        box = self._by_whole_pixels(record)
        return self.specimen.fine[box.rows, box.columns], self.store.read_low(record)

    def error_px(self, record: PatchRecord) -> float:
        """Of the unregistered pair: mean distance of its corners from where they belong, in px of the slide."""
        box = self._by_whole_pixels(record)
        by_whole_pixels = Affine.similarity(SCALE).translate(box.left, box.top)
        side = record.side // SCALE
        return mean_corner_distance(
            by_whole_pixels, self.specimen.truth.shift_origin(*self._corner(record)), Size(side, side)
        )

    def _by_whole_pixels(self, record: PatchRecord) -> Box:
        x, y = self.specimen.truth(self._centre(record))[0] - record.side / 2
        height, width = self.specimen.fine.shape[:2]
        left, top = (int(np.clip(round(at), 0, end - record.side)) for at, end in ((x, width), (y, height)))
        return Box(left, top, left + record.side, top + record.side)

    def _corner(self, record: PatchRecord) -> tuple[float, float]:
        return float(str(record.parameters["low left"])), float(str(record.parameters["low top"]))

    def _centre(self, record: PatchRecord) -> np.ndarray:
        return np.array([self._corner(record)]) + record.side / SCALE / 2


def train_network(name: str, folder: Path, options: argparse.Namespace) -> Upscaler:
    """Train a network to its end, resuming a run that was stopped, and load it."""
    dataset = folder / ("aligned" if name == "bicubic" else name)
    steps = options.steps
    schedule = ScheduleConfig(
        steps, learning_rate=2e-3, warm_up=steps // 20, ema=0.99, validate_every=steps, save_every=50
    )
    shape = NetworkConfig(SCALE, options.family, options.channels, options.blocks)
    config = TrainConfig(shape, DataConfig(dataset, options.crop_px, 8, {KINDS[name]: 1.0}), schedule)
    run = folder / f"{name}-{options.family}-{options.channels}-{options.blocks}-{options.steps}"
    if not (run / LAST_WEIGHTS_FILE).exists():
        for report in TrainingRun(config, run, torch.device("cpu")):
            if report.step % 100 == 0:
                sys.stderr.write(f"{name}: step {report.step} of {report.steps}, loss {report.loss:.4f}\n")
    return load_upscaler(run / LAST_WEIGHTS_FILE, scale=SCALE, device="cpu")


def read_windows(slides: Sequence[Path]) -> Iterator[tuple[Rgb, Rgb]]:
    """Read the centre of each held-out slide, and render the same through the hidden optics."""
    for number, path in enumerate(slides):
        with open_slide(path) as slide:
            left, top = ((side - SCORED_PX) // 2 for side in (slide.info.size.width, slide.info.size.height))
            high = slide.read(Box(left, top, left + SCORED_PX, top + SCORED_PX), 0)
        yield high, render_low(high, np.random.default_rng([number, 3]))


def score_network(upscaler: Upscaler, pairs: Sequence[tuple[Rgb, Rgb]]) -> float:
    """Return the PSNR in dB, mean over slides."""
    inner = slice(UNSCORED_BORDER_PX, -UNSCORED_BORDER_PX)
    errors = [
        mean_squared_error(upscaler(low[None].copy())[0][inner, inner], high[inner, inner]) for high, low in pairs
    ]
    return mean(psnr_from_error(error) for error in errors)


def build_datasets(options: argparse.Namespace) -> dict[str, float]:
    """Build all datasets; return the number of pairs, and the median error of the unregistered ones."""
    specimens = [Specimen(path, number, options.runs) for number, path in enumerate(options.slides)]
    registered = options.runs / "registered"
    if not (options.runs / "unregistered" / MANIFEST).exists():
        write_other_datasets(specimens, build_registered(specimens, registered, options.patch_px), options.runs)
    store = PatchStore(registered)
    by_shard = {f"{specimen.path.stem}.bin": OtherPairs(specimen, store) for specimen in specimens}
    errors = [by_shard[record.shard].error_px(record) for record in store.records]
    return {"pairs": len(errors), "unregistered_error_px": float(np.median(errors))}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("slides", nargs="+", type=Path)
    parser.add_argument("--dev", nargs="+", type=Path, required=True, help="held-out slides that are scored")
    parser.add_argument("--steps", type=int, default=500)
    parser.add_argument("--family", default="edsr")
    parser.add_argument("--channels", type=int, default=24)
    parser.add_argument("--blocks", type=int, default=4)
    parser.add_argument("--crop-px", type=int, default=32, help="side of a low-resolution crop")
    parser.add_argument("--patch-px", type=int, default=192, help="side of a pair's high resolution")
    parser.add_argument("--runs", type=Path, default=Path("runs/realpairs"))
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    facts = build_datasets(options)
    sys.stdout.write(f"{facts['pairs']} pairs; unregistered ones lie {facts['unregistered_error_px']:.2f} px off\n")
    pairs = list(read_windows(options.dev))
    scores = {"no network, bicubic": score_network(Resampling("bicubic", SCALE), pairs)}
    for name in KINDS:
        scores[name] = score_network(train_network(name, options.runs, options), pairs)
    for name, psnr_db in scores.items():
        sys.stdout.write(f"{name:20} {psnr_db:.2f} dB\n")
    shown = {
        "within 0.2 dB of aligned": scores["registered"] >= scores["aligned"] - MAX_LOSS_DB,
        "above bicubic": scores["registered"] > scores["bicubic"],
        "above unregistered": scores["registered"] > scores["unregistered"],
    }
    sys.stdout.write("".join(f"registered {claim}: {'yes' if holds else 'NO'}\n" for claim, holds in shown.items()))
    if options.json:
        settings = {"steps": options.steps, "hidden": asdict(HIDDEN), **facts}
        options.json.write_text(json.dumps({"psnr_db": scores, "shown": shown, **settings}, indent=1) + "\n")
    return 0 if all(shown.values()) else 1


if __name__ == "__main__":
    sys.exit(main())
