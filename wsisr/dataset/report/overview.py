"""The sections of a report on the dataset as a whole: head, counts, measures, kernels, rejections, splits, recipe."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from itertools import chain, islice, zip_longest
from typing import Any

from wsisr.dataset.records import SPLITS, PatchRecord
from wsisr.dataset.report.contents import ReportContents
from wsisr.dataset.report.kernels import render_kernels
from wsisr.dataset.statistics import count_by_split, count_patches, count_pixel_bytes, group_pairs
from wsisr.imaging.pixels import shrink_to_size
from wsisr.progress import format_count
from wsisr.reports.charts import Histogram, render_histogram
from wsisr.reports.pictures import encode_data_uri, is_base64_jpeg, make_data_uri

MAX_KINDS = 9
"""Kinds of pairs that the head describes."""

MAX_REASONS, MAX_EXAMPLES = 20, 8
"""Rejection reasons that are listed, and pictures of each."""

MAX_EXAMPLE_CHARACTERS = 12_000
"""Largest such picture in base64; a larger one is not shown."""

MAX_ROWS = 300
"""Rows of a table; the rest is left out."""

MAX_REFUSALS = 20
"""Refused relations that are listed."""

MAX_SHARED_CASES = 5
"""Cases of both splits that are named."""

MAX_NEAR_DUPLICATES = 6
"""Near-duplicates that are shown."""

NEAR_DUPLICATE_PX = 144


def summarise_dataset(contents: ReportContents) -> dict[str, object]:
    """Return the values that `dataset/report.html` needs for all sections but that on slides."""
    records = contents.records
    options = contents.header.get("recipe", {})
    failures = contents.header.get("failed", [])
    relations = [(facts.slide, relation) for facts in contents.slides for relation in facts.relations]
    return {
        "title": f"{format_count(len(records), 'pair')} from {format_count(len(contents.by_slide), 'slide')}",
        "pair_count": len(records),
        "patch_count": count_patches(records),
        "kinds": list(dict.fromkeys(record.kind for record in records))[:MAX_KINDS],
        "all_kinds": {record.kind for record in records},
        "figures": list(_headline_figures(records)),
        "shared_cases": _find_shared_cases(records)[:MAX_SHARED_CASES],
        "has_all_splits": set(SPLITS) <= {record.split for record in records},
        "near_duplicates": _collect_near_duplicates(contents),
        "splits": SPLITS,
        "count_rows": [(*group, count_by_split(of)) for group, of in islice(group_pairs(records).items(), MAX_ROWS)],
        "total_counts": count_by_split(records),
        "histograms": [render_histogram(measure) for measure in _collect_measures(contents) if len(measure.values)],
        "kernel_figures": _render_kernel_figures(contents),
        "refusals": [(slide, each) for slide, each in relations if each.refused is not None][:MAX_REFUSALS],
        "reasons": _collect_reasons(contents),
        "field_count": count_patches(records) + sum(_count_rejected_by_reason(contents).values()),
        "failures": failures[:MAX_ROWS] if isinstance(failures, list) else [],
        "version": contents.header.get("wsisr", "of an unknown version"),
        "recipe": dict(islice(options.items(), MAX_ROWS)) if isinstance(options, dict) else {},
    }


def _headline_figures(records: Sequence[PatchRecord]) -> Iterator[tuple[str, str]]:
    yield f"{len(records):,}", "pairs"
    yield f"{count_patches(records):,}", "patches at high resolution"
    yield f"{len({record.case for record in records}):,}", "cases"
    yield _format_range([record.mpp_hr for record in records]), "um/px at high resolution"
    yield _format_range([record.mpp_lr for record in records]), "um/px at low resolution"
    yield f"{count_pixel_bytes(records) / 1e6:,.0f} MB", "of pixels"


def _format_range(values: Sequence[float]) -> str:
    ends = dict.fromkeys(f"{end:.3g}" for end in (min(values, default=0), max(values, default=0)))
    return " to ".join(ends)


def _find_shared_cases(records: Sequence[PatchRecord]) -> list[str]:
    """Return the cases that are in every split."""
    return sorted(set.intersection(*({record.case for record in records if record.split == split} for split in SPLITS)))


def _collect_near_duplicates(contents: ReportContents) -> tuple[object, list[list[Any]]] | None:
    """Return the number of near-duplicates across the splits that the header states, and examples; None without one."""
    summary = contents.header.get("look_alikes")
    if not isinstance(summary, dict):
        return None
    examples = summary.get("examples", [])
    examples = examples[:MAX_NEAR_DUPLICATES] if isinstance(examples, list) else []
    return summary.get("pairs", 0), [_show_near_duplicate(contents, example) for example in examples]


def _show_near_duplicate(contents: ReportContents, example: Any) -> list[tuple[str, str | None, str | None]]:
    """Return the slide, the split and the picture of each patch of a near-duplicate; None for an unknown patch."""
    is_complete = isinstance(example, dict) and set(SPLITS) <= set(example)
    locations = [example[split] for split in SPLITS] if is_complete else []
    return [_show_patch(contents, location) for location in locations if isinstance(location, dict)]


def _show_patch(contents: ReportContents, location: Mapping[str, Any]) -> tuple[str, str | None, str | None]:
    slide, box = str(location.get("slide")), location.get("box")
    records = [record for record in contents.by_slide.get(slide, []) if [*record.box] == box]
    if not records:
        return slide, None, None
    image = shrink_to_size(contents.store.read_high(records[0]), NEAR_DUPLICATE_PX, NEAR_DUPLICATE_PX)
    return slide, records[0].split, encode_data_uri(image)


def _collect_measures(contents: ReportContents) -> Iterator[Histogram]:
    """Yield the measures of each patch and of the relations of levels."""
    records, relations = contents.records, contents.relations
    shifts = [math.hypot(*record.shift) for record in records if record.shift is not None]
    if shifts:
        meaning = "Distance of a registered pair from the map of the whole captures, in high-resolution px."
        yield Histogram("Shift", "px", meaning, shifts)
    else:
        meaning = "Measured shift between the two levels, in px of the finer level."
        yield Histogram("Shift of levels", "px", meaning, [math.hypot(*relation.shift) for relation in relations])
    errors = [record.residual for record in records if record.residual is not None]
    if errors:
        meaning = "Expected registration error of a pair, in high-resolution px."
        yield Histogram("Residual", "px", meaning, errors)
    else:
        meaning = "Median distance of the shifts of single fields from the shift of levels, in px of the finer level."
        yield Histogram("Residual of levels", "px", meaning, [relation.spread for relation in relations])
    meaning = "Share of contrast that is detail of 1 or 2 px; 0 is none."
    yield Histogram("Focus", "", meaning, _values_per_patch(contents, "focus"))
    tissue = [100 * share for share in _values_per_patch(contents, "tissue")]
    meaning = "Share of a patch that the tissue map calls tissue; the map prefers tissue where it is unsure."
    yield Histogram("Tissue", "%", meaning, tissue)


def _values_per_patch(contents: ReportContents, field: str) -> list[float]:
    """Return a field of the records once for each patch, regardless of its number of pairs."""
    values = {(record.shard, record.images["hr"]): float(getattr(record, field)) for record in contents.records}
    return list(values.values())


def _render_kernel_figures(contents: ReportContents) -> list[str]:
    usable = [relation for relation in contents.relations if relation.refused is None]
    scales = sorted({relation.scale for relation in usable})
    return [render_kernels(scale, [each for each in usable if each.scale == scale]) for scale in scales]


def _count_rejected_by_reason(contents: ReportContents) -> dict[str, int]:
    """Return the number of fields left out for each reason, over all slides."""
    counts: dict[str, int] = {}
    for facts in contents.slides:
        for reason, rejected in facts.rejected.items():
            counts[reason] = counts.get(reason, 0) + rejected.count
    return counts


def _collect_reasons(contents: ReportContents) -> list[tuple[str, int, list[tuple[str, str]]]]:
    """Return the most frequent reasons for leaving fields out, with their counts and examples."""
    counts = _count_rejected_by_reason(contents)
    reasons = sorted(counts, key=lambda reason: -counts[reason])[:MAX_REASONS]
    return [(reason, counts[reason], _collect_examples(contents, reason)) for reason in reasons]


def _collect_examples(contents: ReportContents, reason: str) -> list[tuple[str, str]]:
    """Return slides and example pictures: the first of each slide, then the second, and so on."""
    by_slide = [
        [
            (facts.slide, make_data_uri(content))
            for content in facts.rejected[reason].examples
            if is_base64_jpeg(content, MAX_EXAMPLE_CHARACTERS)
        ]
        for facts in contents.slides
        if reason in facts.rejected
    ]
    examples = [example for example in chain.from_iterable(zip_longest(*by_slide)) if example is not None]
    return examples[:MAX_EXAMPLES]
