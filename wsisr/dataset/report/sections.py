"""What a report says of a dataset as a whole: head, doubts, counts, measures, kernels, what was left out."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import chain, islice, zip_longest

from wsisr.dataset.records import SPLITS, PatchRecord
from wsisr.dataset.report.charts import Measure, histogram, kernels
from wsisr.dataset.report.contents import Contents, Link
from wsisr.dataset.report.markup import Child, Html, element, words
from wsisr.dataset.report.pictures import inline, is_picture
from wsisr.dataset.report.splits import cases_in_both, look_alikes
from wsisr.dataset.statistics import by_class, bytes_of, counts, patches
from wsisr.progress import counted

MOST_REASONS, MOST_EXAMPLES = 20, 8
"""For which fields were left out, and pictures of one."""

EXAMPLE_CHARACTERS = 12_000
"""Of such a picture in base64, at the most."""

MOST_ROWS = 300
"""Of a table."""

KINDS = {
    "pyramid": "both come from one slide, from levels of its pyramid",
    "captured": "they come from two captures of one specimen, which were registered to each other",
    "simulated": "the low resolution was computed from the high one",
}
"""Where the two images of a pair come from."""
MOVED = {
    "pyramid": "Levels of one slide lie on each other as they are: nothing was moved pair by pair.",
    "captured": "Captures were registered: every pair was moved by itself.",
    "simulated": "What was computed lies where it was computed from.",
}
"""What registration did to pairs of a kind."""

QUESTIONS = (
    (
        "Is the right tissue in it?",
        "The frames on each slide show where patches were taken. What is not framed, the network never saw: "
        "look for your structure, your stain, your artefact.",
    ),
    (
        "Do the two images show the same place?",
        "In the checkerboards, outlines of nuclei and fibres must run on from square to square; only their sharpness "
        "may change. A step at every border is a shift.",
    ),
    (
        "Is there a shift too small to see?",
        "In the difference pictures, even grey is agreement. A fine halo that is alike on all sides is blur, and "
        "harmless. Bright on one side and dark on the other is a shift.",
    ),
    (
        "What was left out, and was that fair?",
        "Reasons are counted, with examples. A reason that takes away what is hard but real makes scores look better "
        "than the network is.",
    ),
    (
        "Is the low resolution what a scanner gives?",
        "The measured blur stands beside the mean over squares and beside bicubic, by which most networks are trained. "
        "If yours differs, theirs were trained for another microscope.",
    ),
)
"""And what answers them."""


def head(contents: Contents) -> Html:
    """What the dataset is, in plain words and six numbers."""
    records = contents.records
    kinds = [KINDS.get(kind, words(kind)) for kind in dict.fromkeys(record.kind for record in records)][:9]
    title = f"{counted(len(records), 'pair')} from {counted(len(contents.by_slide), 'slide')}"
    return element(
        "header",
        element("p", "wsisr, report of a dataset for training super-resolution", class_="eyebrow"),
        element("h1", title),
        element(
            "p",
            "Each pair shows one field of tissue twice: at low resolution, as the network will see it, and at high "
            f"resolution, as it should have looked. Here, {'; or '.join(kinds) or 'there are none'}. "
            "A network learns whatever these pairs teach, their faults too. This page is for judging them by eye.",
            class_="lead",
        ),
        element("div", [element("div", element("b", number), element("span", name)) for number, name in _key(records)],
                class_="figures"),
        element("nav", [element("a", name, href=f"#{place}") for place, name in PLACES.items()]),
    )  # fmt: skip


PLACES = {
    "doubts": "What to look at",
    "counts": "Counts",
    "measures": "Measures",
    "kernels": "Blur",
    "left-out": "Left out",
    "slides": "Slides and pairs",
    "recipe": "How it was made",
}
"""Anchors, and what they are called."""


def _key(records: Sequence[PatchRecord]) -> Iterator[tuple[str, str]]:
    yield f"{len(records):,}", "pairs"
    yield f"{patches(records):,}", "patches at high resolution"
    yield f"{len({record.case for record in records}):,}", "cases"
    yield _range([record.mpp_hr for record in records]), "um/px at high resolution"
    yield _range([record.mpp_lr for record in records]), "um/px at low resolution"
    yield f"{bytes_of(records) / 1e6:,.0f} MB", "of pixels"


def _range(values: Sequence[float]) -> str:
    ends = dict.fromkeys(f"{each:.3g}" for each in (min(values, default=0), max(values, default=0)))
    return " to ".join(ends)


def section(place: str, *children: Child) -> Html:
    return element("section", element("h2", PLACES[place]), *children, id=place)


def doubts(contents: Contents) -> Html:
    """Where a sceptical reader finds what, in the order of what matters."""
    found = [*QUESTIONS, ("Are training and validation apart?", cases_in_both(contents.records))]
    return section("doubts", element("ol", [element("li", element("b", q), " ", a) for q, a in found], class_="doubts"))


def table(contents: Contents) -> Html:
    """Pairs by kind, magnification and scale, and by split."""
    names = [f"{split}: {each}" for split in SPLITS for each in ("pairs", "patches", "slides")]
    rows = [_row(key, counts(group)) for key, group in islice(by_class(contents.records).items(), MOST_ROWS)]
    rows.append(_row(("all", "", ""), counts(contents.records), class_="total"))
    header = [element("th", each) for each in ("kind", "high resolution", "scale")]
    header += [element("th", each, class_="right") for each in names]
    shown = element("table", element("thead", element("tr", header)), element("tbody", rows))
    note = (
        "A patch is a field at high resolution; it has a pair for each scale. Magnification is a class of pixel pitch: "
    )
    told = element("p", note, "40x is 0.25 um/px, 20x 0.5, 10x 1, 5x 2.", class_="note")
    return section("counts", shown, told, look_alikes(contents))


def _row(words_first: Sequence[str], numbers: Sequence[int], class_: str | None = None) -> Html:
    cells = [element("td", words(each)) for each in words_first]
    return element("tr", cells, [element("td", f"{each:,}", class_="right") for each in numbers], class_=class_)


def measured(contents: Contents) -> Html:
    """Histograms of what is known of each pair, and of the levels."""
    figures = [histogram(measure) for measure in _measures(contents) if len(measure.values)]
    kinds = {record.kind for record in contents.records}
    notes = [note for kind, note in MOVED.items() if kind in kinds]
    return section("measures", element("p", " ".join(notes)), element("div", figures, class_="grid four"))


def _measures(contents: Contents) -> Iterator[Measure]:
    records, links = contents.records, contents.links
    shifts = [(each.shift[0] ** 2 + each.shift[1] ** 2) ** 0.5 for each in records if each.shift is not None]
    fine = "px"
    if shifts:
        yield Measure(
            "Shift",
            fine,
            "High-resolution px by which a pair was moved from where the captures as wholes have it.",
            shifts,
        )
    else:
        yield Measure(
            "Shift of levels",
            fine,
            "Between low and high resolution of a level, in px of the finer, as measured.",
            [link.shift_px for link in links],
        )
    errors = [each.residual for each in records if each.residual is not None]
    if errors:
        yield Measure("Residual", fine, "Error to be expected of a pair's place, in high-resolution px.", errors)
    else:
        spreads = [link.spread_px for link in links]
        yield Measure(
            "Residual of levels",
            fine,
            "By which fields of a level differ in that, in px of the finer.",
            spreads,
        )
    yield Measure("Focus", "", "Share of contrast that is detail of 1 or 2 px; 0 is none.", _once(contents, "focus"))
    tissue = [100 * share for share in _once(contents, "tissue")]
    yield Measure("Tissue", "%", "Share of a patch, by the tissue map, which errs towards tissue.", tissue)


def _once(contents: Contents, name: str) -> list[float]:
    """A measure of each patch, however many pairs it has."""
    return [*{(each.shard, each.images["hr"]): float(getattr(each, name)) for each in contents.records}.values()]


def blurs(contents: Contents) -> Html:
    """Kernels by scale."""
    usable = [link for link in contents.links if link.refused is None]
    scales = sorted({link.scale for link in usable})
    figures = [kernels(scale, [link for link in usable if link.scale == scale]) for scale in scales]
    note = (
        "How much each fine pixel adds to a coarse one, measured by least squares. Across: px of the low resolution "
        "from the middle of one; up: 1 is the height of an area mean. A wider curve is a stronger blur, dips below 0 "
        "are sharpening."
    )
    shown: list[Child] = [element("p", note), element("div", figures, class_="grid three")]
    if not figures:
        shown = [element("p", "This dataset keeps no measurement of how its low and its high resolution relate.")]
    refused = [_refused(link) for link in contents.links if link.refused is not None]
    return section("kernels", shown, refused[:20])


def _refused(link: Link) -> Html:
    told = f"{words(link.slide)}: levels {link.fine} and {link.coarse} {words(link.refused)}; they gave no pairs."
    return element("p", told, class_="warning")


def left_out(contents: Contents) -> Html:
    """Reasons with their numbers and a few examples, of as many slides as can be."""
    reasons = list(dict.fromkeys(reason for facts in contents.slides for reason in facts.rejected))
    total = patches(contents.records) + sum(
        found.count for facts in contents.slides for found in facts.rejected.values()
    )
    by_count = sorted(reasons, key=lambda reason: -_count(contents, reason))
    rows = [_reason(contents, reason, total) for reason in by_count[:MOST_REASONS]]
    header = element("tr", [element("th", each) for each in ("reason", "fields", "of all fields", "examples")])
    shown = element("table", element("thead", header), element("tbody", rows))
    note = f"Of {total:,} fields, {patches(contents.records):,} became patches."
    nothing = element("p", "Nothing was left out, as far as this dataset tells.")
    failed = [element("p", words(each), class_="warning") for each in _failed(contents)]
    told = [element("h4", "Slides that could not be used"), failed] if failed else []
    return section("left-out", [element("p", note), shown] if rows else nothing, told)


def _failed(contents: Contents) -> list[object]:
    failed = contents.header.get("failed", [])
    return failed[:MOST_ROWS] if isinstance(failed, list) else []


def _count(contents: Contents, reason: str) -> int:
    return sum(facts.rejected[reason].count for facts in contents.slides if reason in facts.rejected)


def _reason(contents: Contents, reason: str, total: int) -> Html:
    count = _count(contents, reason)
    share = 100 * count / max(total, 1)
    bar = element("div", element("i", style=f"width: {share:.1f}%"), class_="share")
    return element(
        "tr",
        element("td", words(reason)),
        element("td", f"{count:,}", class_="right"),
        element("td", f"{share:.1f} %", bar),
        element("td", element("div", _examples(contents, reason), class_="examples")),
    )


def _examples(contents: Contents, reason: str) -> list[Html]:
    """The first of each slide, then the second, and so on."""
    own = [
        [
            (facts.slide, content)
            for content in facts.rejected[reason].examples
            if is_picture(content, EXAMPLE_CHARACTERS)
        ]
        for facts in contents.slides
        if reason in facts.rejected
    ]
    found = [each for each in chain.from_iterable(zip_longest(*own)) if each is not None]
    return [
        element("img", src=inline(content), title=words(slide), alt=f"left out of {words(slide)}: {words(reason)}")
        for slide, content in found[:MOST_EXAMPLES]
    ]


def recipe(contents: Contents) -> Html:
    """Options it was made with."""
    found = contents.header.get("recipe", {})
    values = list(found.items())[:MOST_ROWS] if isinstance(found, dict) else []
    version = words(contents.header.get("wsisr", "of an unknown version"))
    rows = [[element("dt", words(name).replace("_", " ")), element("dd", words(value))] for name, value in values]
    note = "The same slides, options and version give the same bytes, this page included."
    return section("recipe", element("p", f"By wsisr {version}. {note}"), element("dl", rows))
