"""The bound of a result's error: fitted, calibrated by split conformal, and its coverage on cases left out.

    python -m tests.bench trust --fit TRAIN/*.svs --calibrate DEV/*.svs --scale 2 [--other SLIDE...]
        [--scanners MODEL...] [--write weights/NAME.trust.json] [--json FILE]

Truth, input (`as stored`) and result as in `wsisr evaluate`, the result stored as JPEG of quality 90 as `upscale`
does; levels 0 and 1, one block of each. The regression is fitted to the slides of --fit. Each case of --calibrate is
then shown with a factor from the other cases: coverage (0.9 is wanted), the median bound, and the rank correlation of
predicted and true error over cells of 8 x 8 px of a level, beside two plain predictions: contrast of the slide, and
distance of the result from bicubic. --other slides are shown with the factor of all cases, which --write stores.
The means are those of the slides of --calibrate.
"""

from __future__ import annotations

import argparse
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import fmean

import imagecodecs
import msgspec
import numpy as np
from scipy.stats import spearmanr

from tests.bench.result_tables import Row, report
from wsisr.evaluation import AS_STORED, Sampling
from wsisr.evaluation.pairs import LevelPair
from wsisr.evaluation.scores import derive_file_case
from wsisr.imaging.pixels import Rgb
from wsisr.models.corrections import add_corrections
from wsisr.models.loading import load_upscaler
from wsisr.models.upscaler import Upscaler
from wsisr.slides import open_slide
from wsisr.upscaling.trust.features import (
    CELL_PX,
    FEATURE_NAMES,
    FLOOR,
    CellFeatures,
    CellPlane,
    find_light_cells,
    measure_cell_errors,
    measure_cell_features,
)
from wsisr.upscaling.trust.predictor import Calibration, find_conformal_rank, fit_coefficients, predict_logarithms

LEVELS = (0, 1)

BLOCK_PX = 256
"""Side of the block that is taken from a level, in px of the input."""


@dataclass(frozen=True)
class Cells:
    """Cells of tissue of a level."""

    slide: str
    case: str
    mpp: float
    features: CellFeatures
    errors: CellPlane


def read_cells(path: Path, upscaler: Upscaler) -> Iterator[Cells]:
    """Yield the cells of each level that has tissue."""
    scale, halo = upscaler.info.scale, upscaler.info.receptive_field + CELL_PX
    with open_slide(path, estimate=True) as slide:
        for level in LEVELS[: len(slide.info.levels)]:
            pair = LevelPair.from_slide(slide, level, scale, AS_STORED)
            for block in Sampling(BLOCK_PX, 1).choose_blocks(pair.low_size, scale, halo, upscaler.info.cell_px):
                truth = pair.read_block(block)
                high = store_as_jpeg(upscaler(truth.low[None])[0])
                core = block.core.relative_to(block.input_box)
                whole = core.width // CELL_PX * CELL_PX, core.height // CELL_PX * CELL_PX
                low_part = np.s_[core.top : core.top + whole[1], core.left : core.left + whole[0]]
                high_part = tuple(slice(each.start * scale, each.stop * scale) for each in low_part)
                features = measure_cell_features(truth.low[low_part], high[high_part])
                errors = measure_cell_errors(high[high_part], truth.high[high_part], scale)
                mpp = (pair.truth.mpp or 0.0) * scale
                is_tissue = ~find_light_cells(features)
                yield Cells(path.stem, derive_file_case(path), mpp, features[is_tissue], errors[is_tissue])


def store_as_jpeg(image: Rgb) -> Rgb:
    stored: Rgb = imagecodecs.jpeg8_decode(imagecodecs.jpeg8_encode(image, level=90, subsampling="444"))
    return stored


def join_features(parts: Sequence[Cells]) -> CellFeatures:
    return np.concatenate([part.features for part in parts])


def join_errors(parts: Sequence[Cells]) -> CellPlane:
    return np.concatenate([part.errors for part in parts])


def fit_to(parts: Sequence[Cells]) -> tuple[float, ...]:
    pixel_sizes = np.concatenate([np.full(len(part.errors), part.mpp, np.float32) for part in parts])
    return fit_coefficients(join_features(parts), pixel_sizes, join_errors(parts))


def predict_parts(parts: Sequence[Cells], coefficients: Sequence[float]) -> CellPlane:
    """The logarithm of each cell's expected error."""
    return np.concatenate([predict_logarithms(part.features, part.mpp, coefficients) for part in parts])


def measure_excess(parts: Sequence[Cells], coefficients: Sequence[float]) -> CellPlane:
    """How far, as a logarithm, each cell's error lies above the prediction."""
    return np.asarray(np.log(join_errors(parts) + FLOOR) - predict_parts(parts, coefficients), np.float32)


def find_factor(parts: Sequence[Cells], coefficients: Sequence[float]) -> float:
    """The factor's logarithm: each case counts by as many cells, those of the smallest one."""
    cases: dict[str, list[Cells]] = defaultdict(list)
    for part in parts:
        cases[part.case].append(part)
    excess = [measure_excess(of_case, coefficients) for of_case in cases.values()]
    count = min(map(len, excess))
    random = np.random.default_rng(0)
    values = np.sort(np.concatenate([random.choice(each, count, replace=False) for each in excess]))
    rank = find_conformal_rank(len(values))
    if rank is None:
        raise SystemExit("too few cells to calibrate")
    return float(values[rank - 1])


def show_slide(parts: Sequence[Cells], coefficients: Sequence[float], factor: float) -> Row:
    """Coverage and correlations of one slide."""
    errors, predicted = join_errors(parts), predict_parts(parts, coefficients)
    return {
        "slide": parts[0].slide,
        "cells": len(errors),
        "median error": float(np.median(errors)),
        "median bound": float(np.exp(np.median(predicted) + factor) - FLOOR),
        "coverage": float(np.mean(np.log(errors + FLOOR) <= predicted + factor)),
        "correlation": correlate(parts, lambda part: predict_parts([part], coefficients)),
        "of contrast": correlate(parts, lambda part: part.features[:, FEATURE_NAMES.index("contrast")]),
        "of distance": correlate(parts, lambda part: part.features[:, FEATURE_NAMES.index("distance")]),
    }


def correlate(parts: Sequence[Cells], predict: Callable[[Cells], CellPlane]) -> float:
    """Mean over levels of the rank correlation with the errors: between levels any measure of blur would do."""
    return fmean(float(spearmanr(predict(part), part.errors).statistic) for part in parts)


def show_slides(parts: Sequence[Cells], others: Sequence[Cells], coefficients: Sequence[float]) -> Iterator[Row]:
    """A row for each slide that calibrates, with the factor of the other cases, and for each of the others."""
    for slide in dict.fromkeys(part.slide for part in parts):
        own = [part for part in parts if part.slide == slide]
        rest = [part for part in parts if part.case != own[0].case]
        yield show_slide(own, coefficients, find_factor(rest, coefficients))
    factor = find_factor(parts, coefficients)
    for slide in dict.fromkeys(part.slide for part in others):
        yield show_slide([part for part in others if part.slide == slide], coefficients, factor)


def build_calibration(
    parts: Sequence[Cells], coefficients: tuple[float, ...], upscaler: Upscaler, scanners: Sequence[str]
) -> Calibration:
    least, largest = np.percentile(join_features(parts), (0.5, 99.5), axis=0).round(4).tolist()
    weights = upscaler.info.weights
    if weights is None:
        raise SystemExit("a filter has no weights to be calibrated for")
    return Calibration(
        model=upscaler.info.name,
        weights_sha256=weights.sha256,
        scale=upscaler.info.scale,
        coefficients=tuple(round(each, 6) for each in coefficients),
        factor_logarithm=round(find_factor(parts, coefficients), 6),
        cells=len(join_errors(parts)),
        cases=tuple(dict.fromkeys(part.case for part in parts)),
        scanners=tuple(scanners),
        mpp=(min(part.mpp for part in parts), max(part.mpp for part in parts)),
        least=tuple(least),
        largest=tuple(largest),
    )


def main() -> None:
    parser = argparse.ArgumentParser(description="The bound of a result's error, and its coverage.")
    parser.add_argument("--fit", type=Path, nargs="+", required=True)
    parser.add_argument("--calibrate", type=Path, nargs="+", required=True)
    parser.add_argument("--other", type=Path, nargs="*", default=[])
    parser.add_argument("--scale", type=int, default=2)
    parser.add_argument("--model")
    parser.add_argument("--scanners", nargs="*", default=[])
    parser.add_argument("--write", type=Path)
    parser.add_argument("--json", type=Path)
    asked = parser.parse_args()
    upscaler = add_corrections(
        load_upscaler(asked.model, scale=asked.scale, device="cpu"), guard=True, consistency=False
    )
    fitted, calibrated, others = (
        [cells for path in paths for cells in read_cells(path, upscaler) if len(cells.errors)]
        for paths in (asked.fit, asked.calibrate, asked.other)
    )
    coefficients = fit_to(fitted)
    rows = list(show_slides(calibrated, others, coefficients))
    shown = rows[: len({cells.slide for cells in calibrated})]
    names = ("coverage", "correlation", "of contrast", "of distance")
    means = {name: fmean(float(row[name]) for row in shown) for name in names}
    report(rows, asked.json, scale=asked.scale, **means)
    if asked.write:
        calibration = build_calibration(calibrated, coefficients, upscaler, asked.scanners)
        asked.write.write_bytes(msgspec.json.format(msgspec.json.encode(asdict(calibration)), indent=2) + b"\n")


if __name__ == "__main__":
    main()
