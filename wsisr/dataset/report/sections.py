"""The sections of a report on the dataset as a whole: head, questions, counts, measures, kernels and rejections."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from itertools import chain, islice, zip_longest

from wsisr.dataset.records import SPLITS, PatchRecord
from wsisr.dataset.report.charts import MeasureHistogram, render_histogram, render_kernels
from wsisr.dataset.report.contents import ReportContents, ReportedRelation
from wsisr.dataset.report.markup import Html, HtmlChild, html_element, shorten_text
from wsisr.dataset.report.pictures import data_uri, is_stored_picture
from wsisr.dataset.report.splits import describe_shared_cases, render_near_duplicates
from wsisr.dataset.statistics import count_by_split, count_patches, count_pixel_bytes, group_pairs
from wsisr.progress import format_count

MAX_REASONS, MAX_EXAMPLES = 20, 8
"""Rejection reasons that are listed, and pictures of each."""

MAX_EXAMPLE_CHARACTERS = 12_000
"""Largest such picture in base64; a larger one is not shown."""

MAX_ROWS = 300
"""Rows of a table; the rest is counted or left out."""

KIND_DESCRIPTIONS = {
    "pyramid": "both come from one slide, from levels of its pyramid",
    "captured": "they come from two captures of one specimen, which were registered to each other",
    "simulated": "the low resolution was computed from the high one",
}
"""Kind of pair to where its two images come from."""

REGISTRATION_NOTES = {
    "pyramid": "Pyramid pairs are used as the slide stores them: no pair was registered by itself.",
    "captured": "Captured pairs were registered one by one.",
    "simulated": "Simulated pairs need no registration.",
}
"""Kind of pair to how its pairs were registered."""

QUESTIONS = (
    (
        "Is the right tissue in it?",
        "The frames on each slide show where patches were taken. The network never sees tissue outside them: "
        "look for your structure, your stain, your artefact.",
    ),
    (
        "Do the two images show the same place?",
        "In the checkerboards, outlines of nuclei and fibres must run on from square to square; only their sharpness "
        "may change. A step at every border is a shift.",
    ),
    (
        "Is there a shift too small to see?",
        "In the difference pictures, uniform grey is agreement. A fine halo that is the same on all sides is blur and "
        "harmless. Bright on one side and dark on the other is a shift.",
    ),
    (
        "Which fields were left out, and was that fair?",
        "Each reason is counted and has examples. A reason that removes difficult but real tissue makes scores "
        "better than the network is.",
    ),
    (
        "Is the low resolution what a scanner gives?",
        "The measured blur is shown beside the area mean and beside bicubic, with which most networks are trained. "
        "If yours differs, those networks were trained for another microscope.",
    ),
)
"""Questions of a sceptical reader, most important first, and where the report answers them."""


def render_head(contents: ReportContents) -> Html:
    """Render what the dataset is, in plain words and six figures."""
    records = contents.records
    kinds = list(dict.fromkeys(record.kind for record in records))[:9]
    descriptions = "; or ".join(KIND_DESCRIPTIONS.get(kind, shorten_text(kind)) for kind in kinds)
    figures = [
        html_element("div", html_element("b", number), html_element("span", name))
        for number, name in _headline_figures(records)
    ]
    title = f"{format_count(len(records), 'pair')} from {format_count(len(contents.by_slide), 'slide')}"
    return html_element(
        "header",
        html_element("p", "wsisr, report of a dataset for training super-resolution", class_="eyebrow"),
        html_element("h1", title),
        html_element(
            "p",
            "Each pair shows one field of tissue twice: at low resolution, which is the input of the network, and at "
            f"high resolution, which is its target. Here, {descriptions or 'there are none'}. "
            "A network also learns the faults of these pairs. This page is for judging them by eye.",
            class_="lead",
        ),
        html_element("div", figures, class_="figures"),
        html_element("nav", [html_element("a", title, href=f"#{anchor}") for anchor, title in SECTION_TITLES.items()]),
    )


SECTION_TITLES = {
    "doubts": "What to look at",
    "counts": "Counts",
    "measures": "Measures",
    "kernels": "Blur",
    "left-out": "Left out",
    "slides": "Slides and pairs",
    "recipe": "How it was made",
}
"""HTML anchor of a section to its title."""


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


def render_section(anchor: str, *children: HtmlChild) -> Html:
    """Wrap children in the section of `SECTION_TITLES` with this anchor, below its title."""
    return html_element("section", html_element("h2", SECTION_TITLES[anchor]), *children, id=anchor)


def render_questions(contents: ReportContents) -> Html:
    """Render the questions to judge a dataset by, with their answers."""
    questions = [*QUESTIONS, ("Are training and validation separate?", describe_shared_cases(contents.records))]
    items = [html_element("li", html_element("b", question), " ", answer) for question, answer in questions]
    return render_section("doubts", html_element("ol", items, class_="doubts"))


def render_counts(contents: ReportContents) -> Html:
    """Render the number of pairs by kind, magnification, scale and split, and the near-duplicates."""
    groups = islice(group_pairs(contents.records).items(), MAX_ROWS)
    rows = [_render_count_row(labels, count_by_split(group)) for labels, group in groups]
    rows.append(_render_count_row(("all", "", ""), count_by_split(contents.records), class_="total"))
    header = [html_element("th", name) for name in ("kind", "high resolution", "scale")]
    header += [
        html_element("th", f"{split}: {unit}", class_="right")
        for split in SPLITS
        for unit in ("pairs", "patches", "slides")
    ]
    table = html_element("table", html_element("thead", html_element("tr", header)), html_element("tbody", rows))
    note = (
        "A patch is a field at high resolution; it has a pair for each scale. Magnification is a class of pixel size: "
        "40x is 0.25 um/px, 20x 0.5, 10x 1, 5x 2."
    )
    return render_section("counts", table, html_element("p", note, class_="note"), render_near_duplicates(contents))


def _render_count_row(labels: Sequence[str], counts: Sequence[int], class_: str | None = None) -> Html:
    label_cells = [html_element("td", shorten_text(label)) for label in labels]
    count_cells = [html_element("td", f"{count:,}", class_="right") for count in counts]
    return html_element("tr", label_cells, count_cells, class_=class_)


def render_measures(contents: ReportContents) -> Html:
    """Render histograms of the measures of each patch and of the relations of levels."""
    figures = [render_histogram(measure) for measure in _collect_measures(contents) if len(measure.values)]
    kinds = {record.kind for record in contents.records}
    notes = [note for kind, note in REGISTRATION_NOTES.items() if kind in kinds]
    return render_section(
        "measures", html_element("p", " ".join(notes)), html_element("div", figures, class_="grid four")
    )


def _collect_measures(contents: ReportContents) -> Iterator[MeasureHistogram]:
    records, relations = contents.records, contents.relations
    shifts = [math.hypot(*record.shift) for record in records if record.shift is not None]
    if shifts:
        meaning = "Distance of a registered pair from the map of the whole captures, in high-resolution px."
        yield MeasureHistogram("Shift", "px", meaning, shifts)
    else:
        meaning = "Measured shift between the two levels, in px of the finer level."
        yield MeasureHistogram("Shift of levels", "px", meaning, [relation.shift_px for relation in relations])
    errors = [record.residual for record in records if record.residual is not None]
    if errors:
        meaning = "Expected registration error of a pair, in high-resolution px."
        yield MeasureHistogram("Residual", "px", meaning, errors)
    else:
        meaning = "Median distance of the shifts of single fields from the shift of levels, in px of the finer level."
        yield MeasureHistogram("Residual of levels", "px", meaning, [relation.spread_px for relation in relations])
    meaning = "Share of contrast that is detail of 1 or 2 px; 0 is none."
    yield MeasureHistogram("Focus", "", meaning, _values_per_patch(contents, "focus"))
    tissue = [100 * share for share in _values_per_patch(contents, "tissue")]
    meaning = "Share of a patch that the tissue map calls tissue; the map prefers tissue where it is unsure."
    yield MeasureHistogram("Tissue", "%", meaning, tissue)


def _values_per_patch(contents: ReportContents, field: str) -> list[float]:
    """Return a field of the records once for each patch, regardless of its number of pairs."""
    values = {(record.shard, record.images["hr"]): float(getattr(record, field)) for record in contents.records}
    return list(values.values())


def render_kernel_section(contents: ReportContents) -> Html:
    """Render the measured filter kernels by scale, and the relations that were refused."""
    usable = [relation for relation in contents.relations if relation.refused is None]
    scales = sorted({relation.scale for relation in usable})
    figures = [render_kernels(scale, [each for each in usable if each.scale == scale]) for scale in scales]
    note = (
        "The weight of each fine pixel in a coarse one, measured by least squares. Horizontal axis: distance from the "
        "centre of the coarse pixel, in low-resolution px; vertical axis: 1 is the height of an area mean. A wider "
        "curve is a stronger blur; values below 0 are sharpening."
    )
    body: list[HtmlChild] = [html_element("p", note), html_element("div", figures, class_="grid three")]
    if not figures:
        body = [html_element("p", "This dataset keeps no measurement of how its low and its high resolution relate.")]
    refusals = [_render_refusal(relation) for relation in contents.relations if relation.refused is not None]
    return render_section("kernels", body, refusals[:20])


def _render_refusal(relation: ReportedRelation) -> Html:
    levels = f"levels {relation.fine} and {relation.coarse}"
    text = f"{shorten_text(relation.slide)}: {levels} {shorten_text(relation.refused)}; they gave no pairs."
    return html_element("p", text, class_="warning")


def render_rejections(contents: ReportContents) -> Html:
    """Render the reasons for leaving fields out, with counts and examples, and the slides that could not be used."""
    reasons = list(dict.fromkeys(reason for facts in contents.slides for reason in facts.rejected))
    patches = count_patches(contents.records)
    total = patches + sum(rejected.count for facts in contents.slides for rejected in facts.rejected.values())
    by_count = sorted(reasons, key=lambda reason: -_count_rejected(contents, reason))
    rows = [_render_reason(contents, reason, total) for reason in by_count[:MAX_REASONS]]
    names = ("reason", "fields", "of all fields", "examples")
    header = html_element("tr", [html_element("th", name) for name in names])
    table = html_element("table", html_element("thead", header), html_element("tbody", rows))
    note = html_element("p", f"Of {total:,} fields, {patches:,} became patches.")
    no_reasons = html_element("p", "This dataset records no field that was left out.")
    failures = [html_element("p", shorten_text(line), class_="warning") for line in _list_failures(contents)]
    failures_title = html_element("h4", "Slides that could not be used") if failures else ""
    return render_section("left-out", [note, table] if rows else no_reasons, failures_title, failures)


def _list_failures(contents: ReportContents) -> list[object]:
    failures = contents.header.get("failed", [])
    return failures[:MAX_ROWS] if isinstance(failures, list) else []


def _count_rejected(contents: ReportContents, reason: str) -> int:
    return sum(facts.rejected[reason].count for facts in contents.slides if reason in facts.rejected)


def _render_reason(contents: ReportContents, reason: str, total: int) -> Html:
    count = _count_rejected(contents, reason)
    share = 100 * count / max(total, 1)
    bar = html_element("div", html_element("i", style=f"width: {share:.1f}%"), class_="share")
    return html_element(
        "tr",
        html_element("td", shorten_text(reason)),
        html_element("td", f"{count:,}", class_="right"),
        html_element("td", f"{share:.1f} %", bar),
        html_element("td", html_element("div", _render_rejected_examples(contents, reason), class_="examples")),
    )


def _render_rejected_examples(contents: ReportContents, reason: str) -> list[Html]:
    """Render example pictures: the first of each slide, then the second, and so on."""
    by_slide = [
        [
            (facts.slide, content)
            for content in facts.rejected[reason].examples
            if is_stored_picture(content, MAX_EXAMPLE_CHARACTERS)
        ]
        for facts in contents.slides
        if reason in facts.rejected
    ]
    examples = [example for example in chain.from_iterable(zip_longest(*by_slide)) if example is not None]
    return [
        html_element(
            "img",
            src=data_uri(content),
            title=shorten_text(slide),
            alt=f"left out of {shorten_text(slide)}: {shorten_text(reason)}",
        )
        for slide, content in examples[:MAX_EXAMPLES]
    ]


def render_recipe(contents: ReportContents) -> Html:
    """Render the version and the options that the dataset was built with."""
    options = contents.header.get("recipe", {})
    options = list(options.items())[:MAX_ROWS] if isinstance(options, dict) else []
    version = shorten_text(contents.header.get("wsisr", "of an unknown version"))
    rows = [
        [html_element("dt", shorten_text(name).replace("_", " ")), html_element("dd", shorten_text(value))]
        for name, value in options
    ]
    note = "The same slides, options and version give the same bytes, including this page."
    return render_section("recipe", html_element("p", f"By wsisr {version}. {note}"), html_element("dl", rows))
