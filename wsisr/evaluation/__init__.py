"""How good an upscaler is where the truth is known: scores on slides, on flat ground, and what they add up to."""

from wsisr.evaluation.blocks import Sampling
from wsisr.evaluation.evaluate import evaluate_level, list_levels_to_evaluate
from wsisr.evaluation.flat_images import FlatProbe, measure_flat_images
from wsisr.evaluation.report import build_json_report
from wsisr.evaluation.scores import FlatScores, ScoreRow, Scores, ScoreSummary, compute_gain, summarise_rows
from wsisr.models.back_projection import BackProjection

__all__ = [
    "BackProjection",
    "FlatScores",
    "FlatProbe",
    "ScoreRow",
    "Sampling",
    "Scores",
    "ScoreSummary",
    "build_json_report",
    "evaluate_level",
    "measure_flat_images",
    "compute_gain",
    "list_levels_to_evaluate",
    "summarise_rows",
]
