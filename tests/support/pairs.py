"""Small slides of known pixels and pixel size, and small datasets built from them."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
import pytest
from msgspec.structs import replace

from tests.support.samples import make_noise, write_ome_pyramid
from wsisr.dataset.builder import DEFAULT_OPTIONS, BuildOptions, DatasetBuilder
from wsisr.dataset.pyramid import plan_pyramid_dataset
from wsisr.dataset.reader import MANIFEST, PatchStore
from wsisr.dataset.recipe import Recipe
from wsisr.dataset.records import PatchRecord
from wsisr.dataset.shard_writer import open_shard_writer
from wsisr.dataset.slides_and_splits import assign_slides
from wsisr.errors import WsisrError
from wsisr.imaging.geometry import Size
from wsisr.imaging.pixels import Rgb, enlarge_image, shrink_image
from wsisr.slides.listing import list_slides

RECIPE = Recipe(patch_px=64)
SMALL = Size(192, 128)


def write_slide(
    path: Path, size: Size = SMALL, factors: Sequence[int] = (2, 4), *, mpp: float | None = 0.5, seed: int = 0
) -> Path:
    """Write a pyramid of noise whose coarser levels are the area mean of the finest."""
    finest = make_noise(size, seed)
    levels = [finest]
    for factor in factors:
        width, height = size.width // factor, size.height // factor
        levels.append(shrink_image(finest[: height * factor, : width * factor], factor, "area"))
    return write_levels(path, levels, mpp)


def write_blank_slide(path: Path) -> Path:
    """Write a pyramid without tissue."""
    return write_levels(path, [np.full((side, side, 3), 240, np.uint8) for side in (128, 64)], 0.5)


def write_levels(path: Path, levels: Sequence[Rgb], mpp: float | None) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    return write_ome_pyramid(path, levels, {} if mpp is None else {"PhysicalSizeX": mpp, "PhysicalSizeY": mpp})


def make_builder(
    folder: Path,
    slides: Iterable[Path],
    held_out: Iterable[Path] = (),
    recipe: Recipe = RECIPE,
    options: BuildOptions = DEFAULT_OPTIONS,
) -> DatasetBuilder:
    """Return the builder of a dataset of pyramid pairs, which has not begun."""
    return DatasetBuilder(
        plan_pyramid_dataset(
            assign_slides(list_slides(slides).entries, list_slides(held_out).entries, recipe), folder, recipe, options
        )
    )


def build_small_dataset(
    folder: Path,
    slides: Iterable[Path],
    held_out: Iterable[Path] = (),
    recipe: Recipe = RECIPE,
    options: BuildOptions = DEFAULT_OPTIONS,
) -> PatchStore:
    """Build a whole dataset and open it."""
    deque(make_builder(folder, slides, held_out, recipe, options))
    return PatchStore(folder)


def get_build_refusal(folder: Path, *slides: Path, recipe: Recipe = RECIPE) -> str:
    """Return the one line with which a build is refused; it must change no file."""
    before = read_files(folder.parent)
    with pytest.raises(WsisrError) as error:
        build_small_dataset(folder, slides, recipe=recipe)
    assert read_files(folder.parent) == before
    assert "\n" not in str(error.value)
    return str(error.value)


def interrupt_build(folder: Path, slides: Sequence[Path], after: int) -> None:
    """Begin a build and leave it when `after` slides are done."""
    steps = iter(make_builder(folder, slides))
    for progress in steps:
        if progress.done == after:
            steps.close()


def read_files(folder: Path) -> dict[str, bytes]:
    """Map the relative path of every file in a folder to its content."""
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def write_dataset(folder: Path, *, side: int = 64, seed: int = 0, mpps: Sequence[float] = (0.5, 0.5, 0.5)) -> Path:
    """Write two training slides and one for validation, four patches of blurred noise each, which can be learned."""
    records: list[PatchRecord] = []
    for number, (split, mpp) in enumerate(zip(("train", "train", "val"), mpps, strict=True)):
        with open_shard_writer(folder, f"slide{number}") as writer:
            for index in range(4):
                high = enlarge_image(make_noise(Size(side // 4, side // 4), seed + 10 * number + index), 4, "bicubic")
                high_span = writer.write_image(high)
                for scale in (2, 4):
                    images = {"hr": high_span, "lr": writer.write_image(shrink_image(high, scale, "area"))}
                    record = make_record(f"slide{number}", split=split, scale=scale, side=side, left=side * index)
                    record = replace(record, mpp_hr=mpp, mpp_lr=mpp * scale, shard=writer.shard, images=images)
                    records.append(record)
    write_manifest(folder, records)
    return folder


def make_record(name: str, *, split: str = "train", scale: int = 2, side: int = 64, left: int = 0) -> PatchRecord:
    """Return a manifest row without pixels."""
    return PatchRecord(
        slide=f"{name}.svs",
        case=name,
        split=split,
        kind="pyramid",
        scale=scale,
        level=0,
        box=(left, 0, left + side, side),
        mpp_hr=0.5,
        mpp_lr=0.5 * scale,
        magnification=20,
        contrast=40.0,
        focus=0.5,
        tissue=1.0,
        fingerprint="0" * 16,
        side=side,
        shard=f"{name}.bin",
        images={"hr": (0, 3), "lr": (3, 3)},
    )


def write_manifest(folder: Path, records: Iterable[PatchRecord]) -> None:
    (folder / MANIFEST).write_text("".join(f"{each.to_json()}\n" for each in records))
