"""The trust layer of one job: which calibration holds, the pass over slide and result, and the files."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from wsisr.files import is_zarr
from wsisr.models.catalog import find_weights_folder
from wsisr.models.upscaler import UpscalerInfo
from wsisr.progress import Progress
from wsisr.slides import SlideInfo, open_slide
from wsisr.slides.scanner import identify_scanner
from wsisr.tissue.map import BoolMask
from wsisr.upscaling.plan import UpscalePlan
from wsisr.upscaling.trust.belonging import RESULT_KEY, digest_result
from wsisr.upscaling.trust.features import CELL_PX
from wsisr.upscaling.trust.layer import bound_result, count_cells, write_doubtful_areas, write_trust_layer
from wsisr.upscaling.trust.outlines import outline_cells
from wsisr.upscaling.trust.predictor import TrustPredictor
from wsisr.upscaling.trust.summary import NOT_CALIBRATED, CellMaps, TrustFiles, TrustSaved, TrustSummary
from wsisr.upscaling.trust.zarr_labels import write_zarr_labels
from wsisr.version import __version__
from wsisr.writing import read_metadata

DOUBTFUL_PER_SCALE = 10
"""Grey levels, times the scale, from which on a bound is doubtful: at x4 hardly any bound is below those of x2."""

LEAST_DOUBTFUL_CELLS = 4
"""Cells of the smallest doubtful area that is drawn."""


def find_predictor(info: UpscalerInfo, mpp: float | None, folder: Path | None = None) -> TrustPredictor | str:
    """Return the calibration of an upscaler at a slide's pixel size, or why there is none, in words.

    Raises `ModelError` for a damaged file.
    """
    if info.weights is None:
        return f"{info.name} is no network"
    if mpp is None:
        return "the pixel size of the slide is not known"
    for path in sorted((folder or find_weights_folder()).glob("*.trust.json")):
        predictor = TrustPredictor.from_file(path, mpp)
        if predictor.calibration.weights_sha256 == info.weights.sha256:
            return predictor if not (reason := _find_mismatch(predictor, info)) else reason
    return f"{info.name} has no calibration"


def find_scanner_doubt(predictor: TrustPredictor, info: SlideInfo) -> str | None:
    """Return a warning if a slide's scanner is none of the calibration's; errors of another one may be larger."""
    model = identify_scanner(info.vendor, info.properties).get("scanner model")
    if model in predictor.calibration.scanners:
        return None
    scanner = f"the scanner {model} is" if model else "the scanner is not recorded, so perhaps it is"
    known = ", ".join(predictor.calibration.scanners) or "none that is known"
    return f"trust: {scanner} not among those of the calibration ({known}); the bounds may be too low"


def make_trust_layer(
    plan: UpscalePlan, result_path: Path, files: TrustFiles, predictor: TrustPredictor, *, overwrite: bool
) -> Iterator[Progress | TrustSaved]:
    """Bound the errors of a finished result and write both files; the last item says what was found."""
    size = count_cells(plan.region.size)
    cells = CellMaps.allocate(size.width, size.height)
    bounds = cells.bounds
    with open_slide(result_path, estimate=True) as result:
        yield from bound_result(plan.region, result, predictor, cells)
    tissue = _find_tissue_cells(plan, bounds.shape) & ~cells.is_glass
    bounds[~tissue] = NOT_CALIBRATED
    summary = TrustSummary.from_bounds(
        bounds, tissue, knows_scanner=find_scanner_doubt(predictor, plan.region.slide.info) is None
    )
    doubtful_from = DOUBTFUL_PER_SCALE * plan.scale
    doubtful = tissue & (bounds >= doubtful_from) & (bounds != NOT_CALIBRATED)
    polygons = outline_cells(doubtful, LEAST_DOUBTFUL_CELLS, CELL_PX * plan.scale)
    write_doubtful_areas(files.areas, polygons, doubtful_from, overwrite=overwrite)
    mpp = (plan.region.mpp or 0.0) * CELL_PX
    metadata = _build_metadata(plan, predictor, summary) | {RESULT_KEY: digest_result(read_metadata(result_path))}
    if is_zarr(result_path):
        write_zarr_labels(result_path, bounds, CELL_PX * plan.scale, metadata)
    write_trust_layer(files.layer, bounds, mpp, metadata, overwrite=overwrite)
    yield TrustSaved(files.layer, files.areas, len(polygons), summary)


def _find_mismatch(predictor: TrustPredictor, info: UpscalerInfo) -> str:
    """Return how an upscaler of the same weights, or a slide, differs from what was calibrated; empty if none does."""
    calibration = predictor.calibration
    if info.name != calibration.model or (info.weights and info.weights.blend) or not info.is_guarded:
        return f"{calibration.model} was calibrated as it is by default, with its guard and nothing blended"
    if not predictor.knows_pixel_size:
        least, largest = calibration.mpp
        return f"{predictor.mpp:.3g} um/px lies outside of the {least:.3g} to {largest:.3g} um/px that were calibrated"
    return ""


def _find_tissue_cells(plan: UpscalePlan, shape: tuple[int, ...]) -> BoolMask:
    """Return which cells of 8 x 8 px have their middle in a cell of the plan's that holds tissue."""
    mask = plan.background
    rows, columns = ((np.arange(count) * CELL_PX + CELL_PX // 2) // mask.cell_px for count in shape)
    height, width = mask.tissue.shape
    return np.asarray(mask.tissue[np.minimum(rows, height - 1)][:, np.minimum(columns, width - 1)])


def _build_metadata(plan: UpscalePlan, predictor: TrustPredictor, summary: TrustSummary) -> dict[str, str]:
    calibration = predictor.calibration
    return {
        "derived": "a bound of the error of a super-resolved result, not an observation; research use only",
        "software": f"wsisr {__version__}",
        "model": calibration.model,
        "weights sha256": calibration.weights_sha256,
        "calibration sha256": predictor.sha256,
        "calibration": f"{calibration.cells} cells of {len(calibration.cases)} cases; 9 of 10 bounds hold",
        "values": f"root mean square error in grey levels is at most this; {NOT_CALIBRATED} is unknown or no tissue",
        "cell": f"{CELL_PX} x {CELL_PX} px of the slide, {CELL_PX * plan.scale} of the result",
        "tissue": str(summary),
        **plan.region.build_metadata(),
    }
