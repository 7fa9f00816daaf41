"""Scores as JSON for programs. Keys are stable; pixel sizes are in um/px, PSNR and gains in dB."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from wsisr.evaluation.flat_images import FlatProbe
from wsisr.evaluation.scores import FlatScores, ScoreRow, Scores, summarise_rows
from wsisr.imaging.metrics import UNSCORED_BORDER_PX

JsonReport = dict[str, Any]


def build_json_report(rows: Sequence[ScoreRow], probes: Sequence[FlatProbe]) -> JsonReport:
    """Return one or more rows and the flat probes as JSON values; an infinite PSNR is null.

    Slides are named without their folder.
    """
    return {
        "border_px": UNSCORED_BORDER_PX,
        "rows": [_row_to_json(row) for row in rows],
        "flat_probe": [_probe_to_json(probe) for probe in probes],
        "summary": _summary_to_json(rows),
    }


def _row_to_json(row: ScoreRow) -> JsonReport:
    return {
        "slide": row.slide.name,
        "level": row.level,
        "mpp_lr": row.mpp_lr,
        "mpp_hr": row.mpp_hr,
        "kernel": row.kernel,
        "quality": row.quality,
        "pixels": row.pixels,
        "level_pixels": row.level_pixels,
        "gain": row.gain,
        "back_projection_gain": row.back_projection_gain,
        "model": _scores_to_json(row.model),
        "bicubic": _scores_to_json(row.bicubic),
        "back_projection": _scores_to_json(row.back_projection),
        "flat": None if row.flat is None else _flat_to_json(row.flat),
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
        "kernel": probe.kernel,
        "model_psnr": _finite_or_none(probe.model_psnr),
        "bicubic_psnr": _finite_or_none(probe.bicubic_psnr),
        "gain": probe.gain,
        "largest_error": probe.largest_error,
    }


def _summary_to_json(rows: Sequence[ScoreRow]) -> JsonReport:
    summary = summarise_rows(rows)
    worst = {"slide": summary.worst.slide.name, "level": summary.worst.level, "kernel": summary.worst.kernel}
    return {
        "rows": summary.rows,
        "gain": summary.gain,
        "back_projection_gain": summary.back_projection_gain,
        "kernel_gains": summary.kernel_gains,
        "model_ssim": summary.model_ssim,
        "bicubic_ssim": summary.bicubic_ssim,
        "consistency": summary.consistency_error,
        "worst_row": worst | {"gain": summary.worst.gain},
        "worst_slide": {"slide": summary.worst_slide.name, "gain": summary.worst_slide_gain},
        "flat_gain": summary.flat_gain,
        "model_texture": summary.model_texture,
        "bicubic_texture": summary.bicubic_texture,
    }


def _finite_or_none(psnr: float) -> float | None:
    return psnr if math.isfinite(psnr) else None
