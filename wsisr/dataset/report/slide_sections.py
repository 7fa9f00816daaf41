"""The section of each slide in a report: its picture with the chosen patches, its facts, and a few of its pairs."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from wsisr.dataset.patch_selection import FLAT_CONTRAST, sample_evenly
from wsisr.dataset.records import ParameterValue, PatchRecord
from wsisr.dataset.report.charts import render_small_kernel
from wsisr.dataset.report.contents import ReportContents, ReportedRelation
from wsisr.dataset.report.markup import Html, HtmlChild, html_element, join_html, shorten_text
from wsisr.dataset.report.pictures import DIFFERENCE_GAIN, FRAME_COLOURS, PairViews, jpeg_data_uri, render_slide_map
from wsisr.dataset.report.sections import MAX_ROWS, render_section
from wsisr.dataset.shard_writer import SlideFacts
from wsisr.dataset.statistics import count_patches
from wsisr.progress import format_count

MAX_SLIDES = 40
"""Slides that are shown in full; of a larger dataset, evenly spaced ones."""

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


def render_slides(contents: ReportContents) -> Html:
    """Render a table of all slides, then a section for each; for only some of them if there are many."""
    shown = sample_evenly(contents.slides, MAX_SLIDES)
    pairs = render_example_pairs(contents, shown)
    sections = _take_within_budget(
        _render_slide(contents, facts, index, pairs[index]) for index, facts in enumerate(shown)
    )
    section_indices = {id(facts): index for index, facts in enumerate(shown[: len(sections)])}
    note = format_count(len(contents.slides), "slide")
    note += f", {len(sections)} of them below." if len(sections) < len(contents.slides) else "."
    table = _render_slide_table(contents, section_indices)
    return render_section("slides", html_element("p", note), table, sections)


def _take_within_budget(sections: Iterator[Html]) -> list[Html]:
    """Take sections up to the first that exceeds `SLIDES_BUDGET_BYTES` in total."""
    taken: list[Html] = []
    remaining = SLIDES_BUDGET_BYTES
    for section in sections:
        remaining -= len(section)
        if remaining < 0:
            break
        taken.append(section)
    return taken


def _render_slide_table(contents: ReportContents, section_indices: dict[int, int]) -> Html:
    names = ("slide", "case", "split", "kind", "size, px", "um/px", "pairs", "patches", "left out")
    cells = [html_element("th", name, class_="right" if column > 3 else None) for column, name in enumerate(names)]
    rows = [_render_slide_row(contents, facts, section_indices.get(id(facts))) for facts in contents.slides[:MAX_ROWS]]
    table = html_element("table", html_element("thead", html_element("tr", cells)), html_element("tbody", rows))
    more = len(contents.slides) - len(rows)
    rest = html_element("p", f"and {format_count(more, 'slide')} more", class_="note") if more else ""
    return join_html([table, rest])


def _render_slide_row(contents: ReportContents, facts: SlideFacts, section_index: int | None) -> Html:
    records = contents.by_slide.get(facts.slide, [])
    name: HtmlChild = shorten_text(facts.slide)
    if section_index is not None:
        name = html_element("a", name, href=f"#slide-{section_index}")
    counts = (len(records), count_patches(records), _count_left_out(facts))
    return html_element(
        "tr",
        html_element("td", name),
        [html_element("td", shorten_text(text)) for text in (facts.case, facts.split, facts.kind)],
        html_element("td", _format_size(facts), class_="right nowrap"),
        html_element("td", f"{facts.mpp:.4g}" if facts.mpp else "", class_="right"),
        [html_element("td", f"{count:,}", class_="right") for count in counts],
    )


def _count_left_out(facts: SlideFacts) -> int:
    return sum(rejected.count for rejected in facts.rejected.values())


def _format_size(facts: SlideFacts) -> str:
    return f"{facts.size[0]:,} x {facts.size[1]:,}" if facts.size[0] else ""


def _render_slide(contents: ReportContents, facts: SlideFacts, index: int, pairs: Sequence[Html]) -> Html:
    records = contents.by_slide.get(facts.slide, [])
    relations = [relation for relation in contents.relations if relation.slide == facts.slide]
    tags = [html_element("span", shorten_text(facts.split), class_="tag val" if facts.split == "val" else "tag")]
    tags += [html_element("span", shorten_text(text), class_="tag") for text in (facts.kind, f"case {facts.case}")]
    folded = html_element(
        "details",
        html_element("summary", f"{len(pairs)} of its pairs, side by side"),
        _render_pair_columns(),
        pairs,
        open="" if index < UNFOLDED_SLIDES else None,
    )
    return html_element(
        "article",
        html_element("header", html_element("h3", shorten_text(facts.slide)), tags),
        html_element(
            "div",
            _render_map(facts, records),
            html_element("div", _render_facts(facts, records), _render_relations(relations, facts.kind)),
            class_="look",
        ),
        folded if pairs else html_element("p", "This slide gave no pairs.", class_="note") if not records else "",
        class_="slide",
        id=f"slide-{index}",
    )


def _render_map(facts: SlideFacts, records: Sequence[PatchRecord]) -> Html:
    no_picture = html_element("p", "The dataset holds no picture of this slide.", class_="note")
    picture = render_slide_map(facts, records) or no_picture
    magnifications = sorted({record.magnification for record in records}, key=lambda magnification: magnification or 0)
    keys = [
        html_element(
            "span",
            html_element("i", class_="swatch", style=f"background: {FRAME_COLOURS[magnification]}"),
            f"{magnification}x" if magnification else "other pixel size",
        )
        for magnification in magnifications
        if magnification in FRAME_COLOURS
    ]
    return html_element("div", picture, html_element("p", keys, class_="keys"))


def _render_facts(facts: SlideFacts, records: Sequence[PatchRecord]) -> Html:
    entries = [
        ("pairs", f"{len(records):,}, of {count_patches(records):,} patches"),
        ("left out", format_count(_count_left_out(facts), "field")),
    ]
    if facts.size[0]:
        entries.insert(0, ("size", f"{_format_size(facts)} px of {facts.mpp:.4g} um"))
    reasons = sorted(facts.rejected.items(), key=lambda item: -item[1].count)[:MAX_FACTS]
    entries += [("", f"{rejected.count:,} {reason}") for reason, rejected in reasons]
    entries += list(facts.told.items())[:MAX_FACTS]
    return html_element(
        "dl",
        [[html_element("dt", shorten_text(name)), html_element("dd", shorten_text(value))] for name, value in entries],
    )


def _render_relations(relations: Sequence[ReportedRelation], kind: str) -> Html | str:
    if not relations:
        return ""
    names = ("levels", "downsample", "shift, px", "spread, px", "correlation", "closest to", "blur")
    header = html_element("tr", [html_element("th", name) for name in names])
    rows = [_render_relation(relation, kind) for relation in relations[:MAX_RELATIONS]]
    title = html_element("h4", "Measured position of low against high resolution, in px of the finer")
    return html_element("div", title, html_element("table", header, rows, class_="links"))


def _render_relation(relation: ReportedRelation, kind: str) -> Html:
    if kind == "captured":
        levels = "captures"
    elif relation.fine != relation.coarse:
        levels = f"{relation.fine} and {relation.coarse}"
    else:
        levels = f"level {relation.fine}, x{relation.scale}"
    psnr = f", {relation.psnr[relation.closest]:.1f} dB" if relation.closest in relation.psnr else ""
    texts = (
        levels,
        f"{relation.downsample:.5g}",
        f"{relation.shift_px:.3f}",
        f"{relation.spread_px:.3f}",
        f"{relation.correlation:.3f}",
        f"{shorten_text(relation.closest)}{psnr}",
    )
    cells = [html_element("td", text) for text in texts]
    return html_element("tr", cells, html_element("td", render_small_kernel(relation)))


def render_example_pairs(contents: ReportContents, shown: Sequence[SlideFacts]) -> list[list[Html]]:
    """Render a few pairs of each slide: the first of every slide, then the second, within `PAIRS_BUDGET_BYTES`."""
    examples = [_choose_examples(contents.by_slide.get(facts.slide, [])) for facts in shown]
    rendered: list[list[Html]] = [[] for _ in shown]
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


def _render_pair_columns() -> Html:
    names = ("low resolution", "high resolution", "checkerboard of both", f"difference, x{DIFFERENCE_GAIN}")
    return html_element(
        "div", html_element("span"), [html_element("span", name, class_="note") for name in names], class_="pair"
    )


def _render_pair(contents: ReportContents, record: PatchRecord, caption: str) -> Html:
    views = PairViews.from_record(contents.store, record)
    images = [
        html_element("img", src=jpeg_data_uri(views.low, 92), alt="low resolution", class_="low"),
        html_element("img", src=jpeg_data_uri(views.high), alt="high resolution", class_="high"),
        html_element("img", src=jpeg_data_uri(views.checkerboard), alt="checkerboard of both", class_="checkerboard"),
        html_element("img", src=jpeg_data_uri(views.difference, 92), alt="difference", class_="difference"),
    ]
    description = html_element("div", list(_describe_pair(record, caption, views.mean_difference)), class_="told")
    return html_element("div", description, images, class_="pair")


def _describe_pair(record: PatchRecord, caption: str, mean_difference: float) -> Iterator[Html]:
    yield html_element("b", f"x{record.scale}, {caption}")
    yield html_element("div", f"{record.mpp_lr:.4g} to {record.mpp_hr:.4g} um/px")
    yield html_element("div", f"at {record.box[0]:,}, {record.box[1]:,} px of level 0")
    if record.shift is not None:
        yield html_element("div", f"shifted by {record.shift[0]:+.2f}, {record.shift[1]:+.2f} px")
    if record.residual is not None:
        yield html_element("div", f"residual {record.residual:.3f} px")
    yield html_element("div", f"focus {record.focus:.2f}, tissue {100 * record.tissue:.0f} %")
    yield html_element("div", f"mean difference {mean_difference:.1f} grey levels")
    if record.parameters:
        yield html_element("div", "; ".join(_describe_parameters(record)), class_="parameters")


def _describe_parameters(record: PatchRecord) -> Iterator[str]:
    """Describe how the low resolution was captured or computed."""
    for name, value in list(record.parameters.items())[:MAX_PARAMETERS]:
        yield f"{shorten_text(name).replace('.', ' ').replace('_', ' ')} {_format_parameter(value)}"


def _format_parameter(value: ParameterValue) -> str:
    if not isinstance(value, float):
        return shorten_text(value)
    return f"{value:,.0f}" if 1000 <= abs(value) < 1e9 else f"{value:.3g}"
