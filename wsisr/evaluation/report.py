"""Scores as JSON for programs. Keys are stable; pixel sizes are in um/px, PSNR and gains in dB."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from wsisr.evaluation.flat_images import FlatProbe
from wsisr.evaluation.scores import (
    FlatScores,
    InputSummary,
    ScoreRow,
    Scores,
    ScoreSummary,
    derive_file_case,
    summarise_rows,
)
from wsisr.imaging.metrics import UNSCORED_BORDER_PX

JsonReport = dict[str, Any]


def build_json_report(
    rows: Sequence[ScoreRow],
    probes: Sequence[FlatProbe],
    derive_case: Callable[[Path], str] = derive_file_case,
) -> JsonReport:
    """Return one or more rows and the flat probes as JSON values; an infinite PSNR is null.

    Slides are named without their folder.
    """
    return {
        "border_px": UNSCORED_BORDER_PX,
        "rows": [_row_to_json(row, derive_case(row.slide)) for row in rows],
        "flat_probe": [_probe_to_json(probe) for probe in probes],
        "summary": _summary_to_json(summarise_rows(rows, derive_case)),
    }


def _row_to_json(row: ScoreRow, case: str) -> JsonReport:
    return {
        "slide": row.slide.name,
        "case": case,
        "level": row.level,
        "mpp_lr": row.mpp_lr,
        "mpp_hr": row.mpp_hr,
        "input": row.source.label,
        "kernel": row.source.kernel,
        "quality": row.source.quality,
        "density": row.source.density,
        "coarsening": row.source.coarsening,
        "input_level": row.source.stored_level,
        "pixels": row.pixels,
        "level_pixels": row.level_pixels,
        "gain": row.gain,
        "back_projection_gain": row.back_projection_gain,
        "model": _scores_to_json(row.model),
        "bicubic": _scores_to_json(row.bicubic),
        "back_projection": _scores_to_json(row.back_projection),
        "flat": None if row.flat is None else _flat_to_json(row.flat),
        "nuclei": None if row.nuclei is None else asdict(row.nuclei),
        "ring_correlation": None if row.rings is None else row.rings.to_json(),
    }


def _scores_to_json(scores: Scores) -> JsonReport:
    return {
        "psnr": _finite_or_none(scores.psnr),
        "ssim": scores.ssim,
        "consistency": scores.consistency_error,
        "texture": None if scores.texture is None else asdict(scores.texture) | {"detail": list(scores.texture.detail)},
    }


def _flat_to_json(flat: FlatScores) -> JsonReport:
    return {
        "cells": flat.cells,
        "cells_below": flat.cells_below,
        "model_psnr": _finite_or_none(flat.model_psnr),
        "bicubic_psnr": _finite_or_none(flat.bicubic_psnr),
        "gain": flat.gain,
    }


def _probe_to_json(probe: FlatProbe) -> JsonReport:
    return {
        "name": probe.name,
        "input": probe.source.label,
        "kernel": probe.source.kernel,
        "model_psnr": _finite_or_none(probe.model_psnr),
        "bicubic_psnr": _finite_or_none(probe.bicubic_psnr),
        "gain": probe.gain,
        "largest_error": probe.largest_error,
    }


def _summary_to_json(summary: ScoreSummary) -> JsonReport:
    return {
        "rows": summary.rows,
        "gain": summary.gain,
        "back_projection_gain": summary.back_projection_gain,
        "kernel_gains": summary.kernel_gains,
        "inputs": [_input_to_json(item) for item in summary.inputs],
        "model_ssim": summary.model_ssim,
        "bicubic_ssim": summary.bicubic_ssim,
        "consistency": summary.consistency_error,
        "worst_row": _worst_to_json(summary.worst) | {"kernel": summary.worst.source.kernel},
        "worst_slide": {"slide": summary.worst_slide.name, "gain": summary.worst_slide_gain},
        "flat_gain": summary.flat_gain,
        "model_texture": summary.model_texture,
        "bicubic_texture": summary.bicubic_texture,
    }


def _input_to_json(item: InputSummary) -> JsonReport:
    return {
        "input": item.label,
        "rows": item.rows,
        "cases": item.cases,
        "gain": item.gain,
        "interval_95": None if item.interval is None else list(item.interval),
        "back_projection_gain": item.back_projection_gain,
        "worst_row": _worst_to_json(item.worst),
        "flat_gain": item.flat_gain,
        "nuclei": None if item.nuclei is None else asdict(item.nuclei) | {"gap_closed": item.nuclei.gap_closed},
        "resolution_um": None if item.resolution is None else asdict(item.resolution),
    }


def _worst_to_json(row: ScoreRow) -> JsonReport:
    return {"slide": row.slide.name, "level": row.level, "input": row.source.label, "gain": row.gain}


def _finite_or_none(psnr: float) -> float | None:
    return psnr if math.isfinite(psnr) else None
