"""Evaluation of upscalers where the truth is known: scores on slides and on flat images, and their summary."""

from wsisr.evaluation.blocks import Sampling
from wsisr.evaluation.evaluate import evaluate_level, list_levels_to_evaluate
from wsisr.evaluation.example_patches import ExamplePatch
from wsisr.evaluation.flat_images import FlatProbe, measure_flat_images
from wsisr.evaluation.inputs import AS_STORED, EvaluationInput, list_inputs
from wsisr.evaluation.level_shift import list_stored_inputs, measure_level_shift
from wsisr.evaluation.nuclei import NucleusSegmenter, check_nuclei_extra
from wsisr.evaluation.nuclei_accumulator import NucleiOptions, check_nuclei_pixel_size
from wsisr.evaluation.nuclei_scores import NucleiComparison, NucleiScores, NucleiSummary
from wsisr.evaluation.report import build_json_report
from wsisr.evaluation.scores import (
    FlatScores,
    InputSummary,
    ScoreRow,
    Scores,
    ScoreSummary,
    compute_gain,
    summarise_rows,
)
from wsisr.models.back_projection import BackProjection

__all__ = [
    "AS_STORED",
    "BackProjection",
    "EvaluationInput",
    "ExamplePatch",
    "FlatProbe",
    "FlatScores",
    "InputSummary",
    "NucleiComparison",
    "NucleiOptions",
    "NucleiScores",
    "NucleiSummary",
    "NucleusSegmenter",
    "Sampling",
    "ScoreRow",
    "ScoreSummary",
    "Scores",
    "build_json_report",
    "check_nuclei_extra",
    "check_nuclei_pixel_size",
    "compute_gain",
    "evaluate_level",
    "list_inputs",
    "list_levels_to_evaluate",
    "list_stored_inputs",
    "measure_flat_images",
    "measure_level_shift",
    "summarise_rows",
]
