"""Whether a result follows its slide: nuclei planted and erased in the truth before the input is made of it.

    python -m tests.bench planted SLIDE... --scale 2 [--model NAME] [--count 40] [--json FILE]

In a field of each slide, nuclei of the slide itself are planted in tissue that has none, and others are covered with
tissue. The input is made of that truth as `wsisr evaluate` makes it (`as stored`). Nuclei are found in truth and result
as `wsisr evaluate --nuclei` finds them, with one threshold. Asked of bicubic and of the model:

- recall: of the planted nuclei that are found in the truth, how many are found in the result (centroids within 3 um);
- answer: how much of the planted haematoxylin appears, as the result with them minus the result without, over the same
  of the truth: 1 is all (median);
- ghosts: of the erased nuclei that the truth shows no more, how many the result still shows;
- invented per mm2: nuclei of the result more than 3 um from all nuclei of the truth, per area of such tissue.
"""

from __future__ import annotations

import argparse
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean

import numpy as np

from tests.bench.result_tables import Row, report
from tests.support.planting import ChangedTruth, Field, change_truth, find_tissue_pixels, measure_clearance
from wsisr.evaluation import AS_STORED, Sampling
from wsisr.evaluation.nuclei import HaematoxylinSegmenter, Labels, measure_haematoxylin
from wsisr.evaluation.nuclei_matching import MATCHED_UM, Nuclei, Points, match_points
from wsisr.evaluation.scores import derive_file_case
from wsisr.imaging.geometry import Box, Size
from wsisr.imaging.pixels import Rgb
from wsisr.models.corrections import add_corrections
from wsisr.models.loading import load_upscaler
from wsisr.models.upscaler import Resampling, Upscaler
from wsisr.slides import open_slide

FIELD_PX = 1024
"""Side of the field in px of the truth."""

BORDER_UM = 8.0
"""Nothing is counted so near to the field's edge."""

UNITS_MM2 = 1e6


@dataclass(frozen=True)
class Follower:
    """What is asked of one upscaler in one field, as counts that add up over fields."""

    planted: int
    recalled: int
    erased: int
    ghosts: int
    invented: int
    clear_mm2: float
    answers: tuple[float, ...]


def read_field(path: Path) -> tuple[Rgb, float]:
    """Read a field at the place of the block that `wsisr evaluate` would measure alone, and the pixel size."""
    with open_slide(path) as slide:
        size, mpp = slide.info.levels[0].size, slide.info.level_mpp(0)
        if mpp is None:
            raise SystemExit(f"{path}: pixel size is not recorded")
        side = min(FIELD_PX, size.width // 4 * 4, size.height // 4 * 4)
        (block,) = Sampling(512, 1).choose_blocks(Size(size.width // 2, size.height // 2), 2, 0)
        left = min(block.core.left * 2, size.width - side)
        top = min(block.core.top * 2, size.height - side)
        return slide.read(Box(left, top, left + side, top + side), 0), mpp


def enlarge_as_stored(truth: Rgb, upscaler: Upscaler) -> Rgb:
    result: Rgb = upscaler(AS_STORED.make_low(truth, upscaler.info.scale)[None].copy())[0]
    return result


def count_field(field: Field, changed: ChangedTruth, segment: HaematoxylinSegmenter, upscaler: Upscaler) -> Follower:
    """Ask one upscaler in one field."""
    truth_labels = segment(changed.image, field.mpp)
    result = enlarge_as_stored(changed.image, upscaler)
    labels = segment(result, field.mpp)
    in_truth, in_result = (list_centroids(each, field.mpp) for each in (truth_labels, labels))
    planted = changed.planted[is_near(changed.planted, in_truth)]
    erased = changed.erased[~is_near(changed.erased, in_truth)]
    clear = find_clear_tissue(changed.image, truth_labels, field.mpp)
    spots = np.floor(in_result / field.mpp).astype(int)
    before = enlarge_as_stored(field.image, upscaler)
    return Follower(
        planted=len(planted),
        recalled=int(is_near(planted, in_result).sum()),
        erased=len(erased),
        ghosts=int(is_near(erased, in_result).sum()),
        invented=int(clear[spots[:, 1], spots[:, 0]].sum()),
        clear_mm2=float(clear.sum() * field.mpp**2 / UNITS_MM2),
        answers=tuple(measure_answers(field, changed, planted, (before, result))),
    )


def list_centroids(labels: Labels, mpp: float) -> Points:
    return Nuclei.from_labels(labels, Box(0, 0, labels.shape[1], labels.shape[0]), (0, 0), mpp).centroids


def is_near(points: Points, nuclei: Points) -> np.ndarray[tuple[int], np.dtype[np.bool_]]:
    """Whether each point has a nucleus of its own within 3 um."""
    found = np.zeros(len(points), bool)
    found[match_points(points, nuclei)[:, 0]] = True
    return found


def find_clear_tissue(image: Rgb, labels: Labels, mpp: float) -> np.ndarray[tuple[int, int], np.dtype[np.bool_]]:
    """Where tissue is more than 3 um from every nucleus and not at the field's edge."""
    clear = find_tissue_pixels(image, mpp) & (measure_clearance(labels > 0, mpp) > MATCHED_UM)
    border = round(BORDER_UM / mpp)
    inner = np.zeros_like(clear)
    inner[border:-border, border:-border] = clear[border:-border, border:-border]
    return inner


def measure_answers(field: Field, changed: ChangedTruth, planted: Points, results: tuple[Rgb, Rgb]) -> Iterator[float]:
    """How much of each planted nucleus' haematoxylin appears between two results, without and with it."""
    stains = [measure_haematoxylin(image, field.mpp) for image in (field.image, changed.image, *results)]
    for x, y in np.floor(planted / field.mpp).astype(int).tolist():
        square = field.cut_square((x, y))
        before, after, result_before, result_after = (stain[square] for stain in stains)
        weights = np.clip(after - before, 0, None)
        if weights.sum() > 0:
            yield float((weights * (result_after - result_before)).sum() / (weights * (after - before)).sum())


def summarise(slide: str, upscaler: str, parts: Sequence[Follower]) -> Row:
    planted, erased = sum(part.planted for part in parts), sum(part.erased for part in parts)
    answers = [answer for part in parts for answer in part.answers]
    return {
        "slide": slide,
        "upscaler": upscaler,
        "planted": planted,
        "recall": sum(part.recalled for part in parts) / max(1, planted),
        "answer": float(np.median(answers)) if answers else float("nan"),
        "erased": erased,
        "ghosts": sum(part.ghosts for part in parts) / max(1, erased),
        "invented per mm2": sum(part.invented for part in parts) / max(1e-9, sum(part.clear_mm2 for part in parts)),
    }


def average_cases(rows: Sequence[Row], upscaler: str) -> Row:
    """Mean over cases of the mean over each case's slides."""
    cases: dict[str, list[Row]] = defaultdict(list)
    for row in rows:
        if row["upscaler"] == upscaler:
            cases[derive_file_case(Path(str(row["slide"])))].append(row)
    keys = ("recall", "answer", "ghosts", "invented per mm2")
    means = {key: fmean(fmean(float(row[key]) for row in of_case) for of_case in cases.values()) for key in keys}
    totals = {
        key: sum(float(row[key]) for of_case in cases.values() for row in of_case) for key in ("planted", "erased")
    }
    first = {"slide": f"mean of {len(cases)} cases", "upscaler": upscaler}
    return {key: (first | means | totals)[key] for key in rows[0]}


def main() -> None:
    parser = argparse.ArgumentParser(description="Whether a result follows its slide: planted and erased nuclei.")
    parser.add_argument("slides", type=Path, nargs="+")
    parser.add_argument("--scale", type=int, default=2)
    parser.add_argument("--model")
    parser.add_argument("--count", type=int, default=40)
    parser.add_argument("--json", type=Path)
    asked = parser.parse_args()
    model = add_corrections(load_upscaler(asked.model, scale=asked.scale, device="cpu"), guard=True, consistency=False)
    rows: list[Row] = []
    for path in asked.slides:
        image, mpp = read_field(path)
        segment = HaematoxylinSegmenter.from_parts([(image, Box(0, 0, image.shape[1], image.shape[0]))], mpp)
        field = Field(image, segment(image, mpp), mpp)
        changed = change_truth(field, asked.count, np.random.default_rng(0))
        for upscaler in (Resampling("bicubic", asked.scale), model):
            rows.append(summarise(path.stem, upscaler.info.name, [count_field(field, changed, segment, upscaler)]))
    report(
        [*rows, *(average_cases(rows, name) for name in ("bicubic", model.info.name))], asked.json, scale=asked.scale
    )


if __name__ == "__main__":
    main()
