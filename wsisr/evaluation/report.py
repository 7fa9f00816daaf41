"""Scores as JSON for programs: keys are stable, pitches are in um/px, PSNR and gains in dB; see `as_json`."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from wsisr.evaluation.flat_images import Probe
from wsisr.evaluation.scores import Flat, Row, Scores, summary
from wsisr.imaging.metrics import UNSCORED_BORDER_PX

Facts = dict[str, Any]


def as_json(rows: Sequence[Row], probes: Sequence[Probe]) -> Facts:
    """What at least one row and the flat probe hold, in values that JSON has: an infinite PSNR is null.

    Slides are named without their folder.
    """
    return {
        "border_px": UNSCORED_BORDER_PX,
        "rows": [_row(row) for row in rows],
        "flat_probe": [_probe(probe) for probe in probes],
        "summary": _summary(rows),
    }


def _row(row: Row) -> Facts:
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
        "model": _scores(row.model),
        "bicubic": _scores(row.bicubic),
        "back_projection": _scores(row.back_projection),
        "flat": None if row.flat is None else _flat(row.flat),
    }


def _scores(scores: Scores) -> Facts:
    return {
        "psnr": _finite(scores.psnr),
        "ssim": scores.ssim,
        "consistency": scores.consistency,
        "texture": None if scores.texture is None else asdict(scores.texture) | {"detail": list(scores.texture.detail)},
    }


def _flat(flat: Flat) -> Facts:
    return {
        "cells": flat.cells,
        "cells_below": flat.cells_below,
        "model_psnr": _finite(flat.model_psnr),
        "bicubic_psnr": _finite(flat.bicubic_psnr),
        "gain": flat.gain,
    }


def _probe(probe: Probe) -> Facts:
    return {
        "name": probe.name,
        "kernel": probe.kernel,
        "model_psnr": _finite(probe.model_psnr),
        "bicubic_psnr": _finite(probe.bicubic_psnr),
        "gain": probe.gain,
        "largest_error": probe.largest_error,
    }


def _summary(rows: Sequence[Row]) -> Facts:
    told = summary(rows)
    worst = {"slide": told.worst.slide.name, "level": told.worst.level, "kernel": told.worst.kernel}
    return {
        "rows": told.rows,
        "gain": told.gain,
        "back_projection_gain": told.back_projection_gain,
        "kernel_gains": told.kernel_gains,
        "model_ssim": told.model_ssim,
        "bicubic_ssim": told.bicubic_ssim,
        "consistency": told.consistency,
        "worst_row": worst | {"gain": told.worst.gain},
        "worst_slide": {"slide": told.worst_slide.name, "gain": told.worst_slide_gain},
        "flat_gain": told.flat_gain,
        "model_texture": told.model_texture,
        "bicubic_texture": told.bicubic_texture,
    }


def _finite(psnr: float) -> float | None:
    return psnr if math.isfinite(psnr) else None
