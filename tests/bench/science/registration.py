"""How well fields are registered where the truth is known, and whether wrong partners are refused.

    python -m tests.bench registration SLIDE ... [--fields 12] [--whole 8] [--seed 0] [--json FILE]

Fields of each slide are drawn twice from its finest level, off its grid, at 4:1 and at 2:1: shifted, turned up to 5
degrees, scaled by 0.97 to 1.03 around the ratio, blurred, recoloured, noised, stored as JPEG (`support.captures`).
Nothing but the nominal ratio is told to the registration. Error: mean distance of the patch's corners, in px of the
finer image. Wrong partners: a field of the same slide that does not overlap, and one of another slide.

Whole files: two captures of the middle of each slide, written as TIFF, each of its own part, the coarser turned by 0,
90, 180 or 270 degrees and up to 6 more, mirrored or not. Nothing is told but the pitch, 3 % off. Each is also offered
the finer capture of the slide before, which must be refused.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from tests.support.captures import FINE_PX, FieldSettings, RegisteredField, centre_map, render_scans, write_capture
from wsisr.dataset.alignment import NoCommonTissueError, align_captures
from wsisr.dataset.registration.acceptance import AcceptanceLimits, RegistrationFailure
from wsisr.dataset.registration.affine import Affine, mean_corner_distance
from wsisr.dataset.registration.matching import MapPrior, register_field
from wsisr.dataset.registration.refinement import FittedMap, RegistrationTarget
from wsisr.imaging.geometry import Box, Size
from wsisr.imaging.pixels import Rgb
from wsisr.slides import Slide, open_slide

DEGREES = (-4.5, -3.0, -1.5, 0.0, 1.5, 3.0, 4.5)
WHOLE_PX = 2032
"""Side of what is taken of a slide for whole files."""

TARGETS = {"median": 0.15, "p95": 0.5, "accepted": 0.95, "refused": 0.99}


@dataclass(frozen=True, slots=True)
class Trial:
    """One field of a slide offered to one finer image."""

    slide: str
    partner: str
    """`true`, `another field` or `another slide`."""
    registered: FittedMap | RegistrationFailure
    error_px: float


def draw_fields(fine: Rgb, setting: FieldSettings, count: int, random: np.random.Generator) -> list[RegisteredField]:
    """Draw fields with contrast; fewer than `count` if the slide is mostly glass."""
    fields = (setting.draw_field(fine, random) for _ in range(20 * count))
    return [field for field, _ in zip((field for field in fields if field), range(count), strict=False)]


def try_registration(
    low: RegisteredField, high: RegisteredField, setting: FieldSettings, labels: tuple[str, str]
) -> Trial:
    prior = centre_map(Affine.similarity(setting.ratio), len(low.low), (setting.high_px / 2, setting.high_px / 2))
    search_px = int(np.ceil(1.25 * setting.shift_px / setting.ratio))
    target = RegistrationTarget.prepare(high.high, setting.ratio)
    registered = register_field(low.low, target, MapPrior(prior, search_px, DEGREES), AcceptanceLimits())
    if isinstance(registered, RegistrationFailure):
        return Trial(*labels, registered, float("nan"))
    size = Size(len(low.low), len(low.low))
    return Trial(*labels, registered, mean_corner_distance(registered.map, high.truth, size))


def run_trials(slides: list[Path], setting: FieldSettings, count: int, random: np.random.Generator) -> Iterator[Trial]:
    before: list[RegisteredField] = []
    for path in slides:
        with open_slide(path) as slide:
            fields = draw_fields(slide.read(Box.from_size(slide.info.size), 0), setting, count, random)
        for field in fields:
            yield try_registration(field, field, setting, (path.stem, "true"))
            for other in fields:
                if np.abs(np.subtract(field.centre, other.centre)).max() > 1.2 * setting.high_px * FINE_PX:
                    yield try_registration(field, other, setting, (path.stem, "another field"))
                    break
            if before:
                yield try_registration(
                    field, before[int(random.integers(len(before)))], setting, (path.stem, "another slide")
                )
        before = fields


def summarise_trials(trials: list[Trial]) -> dict[str, object]:
    true = [trial for trial in trials if trial.partner == "true"]
    wrong = [trial for trial in trials if trial.partner != "true"]
    errors = [trial.error_px for trial in true if isinstance(trial.registered, FittedMap)]
    return {
        "true": len(true),
        "wrong": len(wrong),
        "slides": len({trial.slide for trial in true}),
        "median": float(np.median(errors)),
        "p95": float(np.percentile(errors, 95)),
        "largest": max(errors),
        "accepted": len(errors) / len(true),
        "refused": sum(isinstance(trial.registered, RegistrationFailure) for trial in wrong) / len(wrong),
        "true refused for": Counter(
            trial.registered for trial in true if isinstance(trial.registered, RegistrationFailure)
        ),
        "wrong refused for": Counter(
            trial.registered for trial in wrong if isinstance(trial.registered, RegistrationFailure)
        ),
    }


def format_summary(ratio: int, numbers: dict[str, object], each_ms: float) -> str:
    return (
        f"{ratio}:1  {numbers['true']} true, {numbers['wrong']} wrong partners, {numbers['slides']} slides  error px: "
        f"median {numbers['median']:.3f}, 95 % {numbers['p95']:.3f}, largest {numbers['largest']:.3f}  "
        f"accepted {numbers['accepted']:.1%}  refused {numbers['refused']:.1%}  {each_ms:.0f} ms each\n"
    )


@dataclass(frozen=True, slots=True)
class WholeFileTrial:
    """Two whole files offered to each other."""

    slide: str
    orientation: str
    same_specimen: bool
    """They show the same specimen."""
    error_px: float | None
    """None if no common tissue was found."""


def run_whole_file_trials(slides: list[Path], seed: int) -> Iterator[WholeFileTrial]:
    before: Path | None = None
    with tempfile.TemporaryDirectory() as name:
        for number, path in enumerate(slides):
            quarter, flip, ratio = 90 * (number % 4), number // 4 % 2 == 1, (2, 4)[number % 3 == 2]
            with open_slide(path) as slide:
                scans = render_scans(read_centre(slide), ratio, np.random.default_rng([seed, number]), quarter, flip)
            low = write_capture(Path(name) / f"{number}-low.tif", scans.low, ratio)
            high = write_capture(Path(name) / f"{number}-high.tif", scans.high, 1.0)
            orientation = f"{quarter} degrees{', mirrored' * flip}, {ratio}:1"
            for partner in (high, before):
                if partner is not None:
                    yield WholeFileTrial(
                        path.stem, orientation, partner is high, align_files(low, partner, ratio, scans.truth)
                    )
            before = high


def read_centre(slide: Slide) -> Rgb:
    """Read the centre of a slide's finest level, at most `WHOLE_PX` wide and high."""
    width, height = (min(side, WHOLE_PX) for side in (slide.info.size.width, slide.info.size.height))
    left, top = (slide.info.size.width - width) // 2, (slide.info.size.height - height) // 2
    return slide.read(Box(left, top, left + width, top + height), 0)


def align_files(low: Path, high: Path, ratio: int, truth: Affine) -> float | None:
    with open_slide(low) as coarse, open_slide(high) as fine:
        try:
            consensus = align_captures(coarse, fine)
        except NoCommonTissueError:
            return None
        return mean_corner_distance(consensus.map.rescale(ratio, 1.0), truth, coarse.info.size)


def summarise_whole_files(trials: list[WholeFileTrial]) -> dict[str, object]:
    errors = [each.error_px for each in trials if each.same_specimen and each.error_px is not None]
    wrong = [each for each in trials if not each.same_specimen]
    return {
        "true": sum(each.same_specimen for each in trials),
        "found": len(errors),
        "median": float(np.median(errors)),
        "largest": max(errors),
        "wrong": len(wrong),
        "wrong refused": sum(each.error_px is None for each in wrong),
        "files": [asdict(each) for each in trials],
    }


def meets_targets(numbers: dict[str, object]) -> bool:
    low = all(float(str(numbers[name])) <= TARGETS[name] for name in ("median", "p95"))
    return low and all(float(str(numbers[name])) >= TARGETS[name] for name in ("accepted", "refused"))


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("slides", nargs="+", type=Path)
    parser.add_argument("--fields", type=int, default=12, help="true partners per slide and ratio")
    parser.add_argument("--whole", type=int, default=8, help="slides of which whole files are made")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    results = {}
    for ratio in (4, 2):
        start = time.perf_counter()
        random = np.random.default_rng([options.seed, ratio])
        trials = list(run_trials(options.slides, FieldSettings(ratio), options.fields, random))
        results[f"{ratio}:1"] = summarise_trials(trials)
        sys.stdout.write(
            format_summary(ratio, results[f"{ratio}:1"], 1000 * (time.perf_counter() - start) / len(trials))
        )
        sys.stdout.flush()
    whole = (
        summarise_whole_files(list(run_whole_file_trials(options.slides[: options.whole], options.seed)))
        if options.whole
        else {}
    )
    if whole:
        results["whole files"] = whole
        sys.stdout.write(
            f"whole files: {whole['found']} of {whole['true']} found, corners off by {whole['median']:.3f} px in the "
            f"median, {whole['largest']:.3f} at the most; {whole['wrong refused']} of {whole['wrong']} wrong refused\n"
        )
    if options.json:
        options.json.parent.mkdir(parents=True, exist_ok=True)
        options.json.write_text(
            json.dumps({"targets": TARGETS, "seed": options.seed, "results": results}, indent=1) + "\n"
        )
    whole_passes = not whole or (whole["found"], whole["wrong refused"]) == (whole["true"], whole["wrong"])
    return 0 if whole_passes and all(meets_targets(results[ratio]) for ratio in ("4:1", "2:1")) else 1


if __name__ == "__main__":
    sys.exit(main())
