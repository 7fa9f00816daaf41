"""The slides in a report: a table of all, and for each its picture with the chosen patches, facts and pairs."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

from markupsafe import Markup

from wsisr.dataset.level_relation import LevelRelation
from wsisr.dataset.patch_selection import FLAT_CONTRAST, sample_evenly
from wsisr.dataset.records import ParameterValue, PatchRecord
from wsisr.dataset.report.contents import ReportContents
from wsisr.dataset.report.kernels import render_small_kernel
from wsisr.dataset.report.pictures import DIFFERENCE_GAIN, FRAME_COLOURS, PairViews, render_slide_map
from wsisr.dataset.slide_facts import SlideFacts
from wsisr.dataset.statistics import count_patches
from wsisr.progress import format_count
from wsisr.reports.pictures import encode_data_uri
from wsisr.reports.templating import render_template

MAX_SLIDES = 40
"""Slides that are shown in full; of a larger dataset, evenly spaced ones."""

MAX_TABLE_SLIDES = 300
"""Slides that are listed in the table; the rest is counted."""

MAX_RELATIONS = 12
"""Relations shown for a slide."""

MAX_FACTS = 20
"""Rejection reasons, and other facts, listed for a slide."""

MAX_PARAMETERS = 12
"""Parameters listed for a pair."""

SLIDES_BUDGET_BYTES, PAIRS_BUDGET_BYTES = 5_000_000, 3_000_000
"""HTML of all slide sections, and of the pairs within them; what exceeds it is not shown."""

UNFOLDED_SLIDES = 3
"""The first slides, whose pairs are visible without a click."""


def summarise_slides(contents: ReportContents) -> dict[str, object]:
    """Return the values that `dataset/report.html` needs for the section on slides."""
    shown = sample_evenly(contents.slides, MAX_SLIDES)
    pairs = _render_example_pairs(contents, shown)
    articles = _take_within_budget(
        _render_slide(contents, facts, index, pairs[index]) for index, facts in enumerate(shown)
    )
    anchors = {id(facts): f"slide-{index}" for index, facts in enumerate(shown[: len(articles)])}
    listed = contents.slides[:MAX_TABLE_SLIDES]
    rows = [(facts, anchors.get(id(facts)), _format_size(facts), _count_columns(contents, facts)) for facts in listed]
    return {
        "slide_count": len(contents.slides),
        "slide_rows": rows,
        "slide_articles": articles,
    }


def _take_within_budget(articles: Iterator[Markup]) -> list[Markup]:
    """Take articles up to the first that exceeds `SLIDES_BUDGET_BYTES` in total."""
    taken: list[Markup] = []
    remaining = SLIDES_BUDGET_BYTES
    for article in articles:
        remaining -= len(article)
        if remaining < 0:
            break
        taken.append(article)
    return taken


def _count_columns(contents: ReportContents, facts: SlideFacts) -> tuple[int, int, int]:
    """Return the number of pairs, of patches, and of fields left out."""
    records = contents.by_slide.get(facts.slide, [])
    return len(records), count_patches(records), _count_left_out(facts)


def _count_left_out(facts: SlideFacts) -> int:
    return sum(rejected.count for rejected in facts.rejected.values())


def _format_size(facts: SlideFacts) -> str:
    return f"{facts.size[0]:,} x {facts.size[1]:,}" if facts.size[0] else ""


def _render_slide(contents: ReportContents, facts: SlideFacts, index: int, pairs: Sequence[Markup]) -> Markup:
    records = contents.by_slide.get(facts.slide, [])
    relations = facts.relations[:MAX_RELATIONS]
    magnifications = sorted({record.magnification for record in records}, key=lambda magnification: magnification or 0)
    return render_template(
        "dataset/slide.html",
        anchor=f"slide-{index}",
        is_open=index < UNFOLDED_SLIDES,
        facts=facts,
        slide_map=render_slide_map(facts, records),
        colours={magnification: FRAME_COLOURS.get(magnification) for magnification in magnifications},
        entries=_list_facts(facts, records),
        relations=[
            (_name_levels(each, facts.kind), math.hypot(*each.shift), each, render_small_kernel(each))
            for each in relations
        ],
        has_records=bool(records),
        pairs=pairs,
        difference_gain=DIFFERENCE_GAIN,
    )


def _list_facts(facts: SlideFacts, records: Sequence[PatchRecord]) -> list[tuple[str, str]]:
    size = [("size", f"{_format_size(facts)} px of {facts.mpp:.4g} um")] if facts.size[0] else []
    reasons = sorted(facts.rejected.items(), key=lambda item: -item[1].count)[:MAX_FACTS]
    return [
        *size,
        ("pairs", f"{len(records):,}, of {count_patches(records):,} patches"),
        ("left out", format_count(_count_left_out(facts), "field")),
        *(("", f"{rejected.count:,} {reason}") for reason, rejected in reasons),
        *list(facts.told.items())[:MAX_FACTS],
    ]


def _name_levels(relation: LevelRelation, kind: str) -> str:
    if kind == "captured":
        return "captures"
    if relation.fine != relation.coarse:
        return f"{relation.fine} and {relation.coarse}"
    return f"level {relation.fine}, x{relation.scale}"


def _render_example_pairs(contents: ReportContents, shown: Sequence[SlideFacts]) -> list[list[Markup]]:
    """Render a few pairs of each slide: the first of every slide, then the second, within `PAIRS_BUDGET_BYTES`."""
    examples = [_choose_examples(contents.by_slide.get(facts.slide, [])) for facts in shown]
    rendered: list[list[Markup]] = [[] for _ in shown]
    remaining = PAIRS_BUDGET_BYTES
    for rank in range(max(map(len, examples), default=0)):
        for index in (index for index, of_slide in enumerate(examples) if rank < len(of_slide)):
            pair = _render_pair(contents, *examples[index][rank])
            remaining -= len(pair)
            if remaining < 0:
                return rendered
            rendered[index].append(pair)
    return rendered


def _choose_examples(records: Sequence[PatchRecord]) -> list[tuple[PatchRecord, str]]:
    """Choose the median pair of each scale, then the worst pair of each; return them with a caption."""
    usable = [each for each in records if each.contrast >= FLAT_CONTRAST and each.side % each.scale == 0] or records
    scales = sorted({record.scale for record in usable})
    by_scale = [[record for record in usable if record.scale == scale] for scale in scales]
    ordinary = [(sorted(group, key=_badness)[len(group) // 2], "an ordinary pair") for group in by_scale]
    worst = [(max(group, key=_badness), _describe_worst(group[0])) for group in by_scale if len(group) > 1]
    return ordinary + worst


def _badness(record: PatchRecord) -> float:
    """Return the registration error of a pair, or its lack of focus if it was not registered."""
    return record.residual if record.residual is not None else -record.focus


def _describe_worst(record: PatchRecord) -> str:
    return "the largest residual" if record.residual is not None else "the weakest focus"


def _render_pair(contents: ReportContents, record: PatchRecord, caption: str) -> Markup:
    views = PairViews.from_record(contents.store, record)
    parameters = list(record.parameters.items())[:MAX_PARAMETERS]
    return render_template(
        "dataset/pair.html",
        record=record,
        caption=caption,
        mean_difference=views.mean_difference,
        parameters=[(name, _format_parameter(value)) for name, value in parameters],
        pictures=[
            ("low", "low resolution", encode_data_uri(views.low, 92)),
            ("high", "high resolution", encode_data_uri(views.high)),
            ("checkerboard", "checkerboard of both", encode_data_uri(views.checkerboard)),
            ("difference", "difference", encode_data_uri(views.difference, 92)),
        ],
    )


def _format_parameter(value: ParameterValue) -> ParameterValue:
    if not isinstance(value, float):
        return value
    return f"{value:,.0f}" if 1000 <= abs(value) < 1e9 else f"{value:.3g}"
