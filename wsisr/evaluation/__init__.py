"""How good an upscaler is where the truth is known: scores on slides, on flat ground, and what they add up to."""

from wsisr.evaluation.blocks import Sampling
from wsisr.evaluation.evaluate import evaluate, levels_to_evaluate
from wsisr.evaluation.flat_images import Probe, flat_probe
from wsisr.evaluation.report import as_json
from wsisr.evaluation.scores import Flat, Row, Scores, Summary, gain, summary
from wsisr.models.back_projection import BackProjection

__all__ = [
    "BackProjection",
    "Flat",
    "Probe",
    "Row",
    "Sampling",
    "Scores",
    "Summary",
    "as_json",
    "evaluate",
    "flat_probe",
    "gain",
    "levels_to_evaluate",
    "summary",
]
