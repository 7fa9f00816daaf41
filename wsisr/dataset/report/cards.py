"""What a report says of each slide: its picture with the patches on it, its facts, and a few of its pairs."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from wsisr.dataset.patch_selection import FLAT_CONTRAST, spread
from wsisr.dataset.records import Parameter, PatchRecord
from wsisr.dataset.report.charts import small_kernel
from wsisr.dataset.report.contents import Contents, Link
from wsisr.dataset.report.markup import Child, Html, element, joined, words
from wsisr.dataset.report.pictures import AMPLIFIED, COLOURS, Views, drawn, jpeg
from wsisr.dataset.report.sections import MOST_ROWS, section
from wsisr.dataset.shard_writer import SlideFacts
from wsisr.dataset.statistics import patches
from wsisr.progress import counted

MOST_CARDS = 40
"""Slides that are shown in full; of more, as many evenly spaced."""

MOST_LINKS = 12
MOST_TOLD = 20
"""Of a slide."""

MOST_PARAMETERS = 12
"""Of a pair."""

CARD_BYTES, PAIR_BYTES = 5_000_000, 3_000_000
"""Of all cards, and of the pairs among them; what does not fit is not shown."""

OPEN = 3
"""Slides whose pairs are not folded away."""


def slides(contents: Contents) -> Html:
    """A table of all slides, and a card for each, or for some of very many."""
    shown = spread(contents.slides, MOST_CARDS)
    pictures = pairs_shown(contents, shown)
    cards = _fitting(_card(contents, facts, number, pictures[number]) for number, facts in enumerate(shown))
    numbers = {id(facts): number for number, facts in enumerate(shown[: len(cards)])}
    note = counted(len(contents.slides), "slide")
    note += f", {len(cards)} of them below." if len(cards) < len(contents.slides) else "."
    return section("slides", element("p", note), _index(contents, numbers), cards)


def _fitting(cards: Iterator[Html]) -> list[Html]:
    found, left = [], CARD_BYTES
    for card in cards:
        left -= len(card)
        if left < 0:
            break
        found.append(card)
    return found


def _index(contents: Contents, numbers: dict[int, int]) -> Html:
    names = ("slide", "case", "split", "kind", "size, px", "um/px", "pairs", "patches", "left out")
    header = element("tr", [element("th", each, class_="right" if n > 3 else None) for n, each in enumerate(names)])
    rows = [_entry(contents, facts, numbers.get(id(facts))) for facts in contents.slides[:MOST_ROWS]]
    more = len(contents.slides) - len(rows)
    rest = element("p", f"and {counted(more, 'slide')} more", class_="note") if more else ""
    return joined([element("table", element("thead", header), element("tbody", rows)), rest])


def _entry(contents: Contents, facts: SlideFacts, number: int | None) -> Html:
    records = contents.by_slide.get(facts.slide, [])
    name: Child = words(facts.slide)
    if number is not None:
        name = element("a", name, href=f"#slide-{number}")
    numbers_own = (len(records), patches(records), sum(each.count for each in facts.rejected.values()))
    return element(
        "tr",
        element("td", name),
        [element("td", words(each)) for each in (facts.case, facts.split, facts.kind)],
        element("td", _size(facts), class_="right nowrap"),
        element("td", f"{facts.mpp:.4g}" if facts.mpp else "", class_="right"),
        [element("td", f"{each:,}", class_="right") for each in numbers_own],
    )


def _size(facts: SlideFacts) -> str:
    return f"{facts.size[0]:,} x {facts.size[1]:,}" if facts.size[0] else ""


def _card(contents: Contents, facts: SlideFacts, number: int, pictures: Sequence[Html]) -> Html:
    records = contents.by_slide.get(facts.slide, [])
    links = [link for link in contents.links if link.slide == facts.slide]
    tags = [element("span", words(facts.split), class_="tag val" if facts.split == "val" else "tag")]
    tags += [element("span", words(each), class_="tag") for each in (facts.kind, f"case {facts.case}")]
    folded = element(
        "details",
        element("summary", f"{len(pictures)} of its pairs, side by side"),
        _columns(),
        pictures,
        open="" if number < OPEN else None,
    )
    return element(
        "article",
        element("header", element("h3", words(facts.slide)), tags),
        element(
            "div",
            _map(facts, records),
            element("div", _facts(facts, records), _links(links, facts.kind)),
            class_="look",
        ),
        folded if pictures else element("p", "It gave no pair.", class_="note") if not records else "",
        class_="slide",
        id=f"slide-{number}",
    )


def _map(facts: SlideFacts, records: Sequence[PatchRecord]) -> Html:
    picture = drawn(facts, records) or element("p", "No picture of this slide is kept.", class_="note")
    classes = sorted({record.magnification for record in records}, key=lambda each: each or 0)
    keys = [
        element(
            "span",
            element("i", class_="swatch", style=f"background: {COLOURS[each]}"),
            f"{each}x" if each else "other pitch",
        )
        for each in classes
        if each in COLOURS
    ]
    return element("div", picture, element("p", keys, class_="keys"))


def _facts(facts: SlideFacts, records: Sequence[PatchRecord]) -> Html:
    left = sum(each.count for each in facts.rejected.values())
    told = [
        ("pairs", f"{len(records):,}, of {patches(records):,} patches"),
        ("left out", counted(left, "field")),
    ]
    if facts.size[0]:
        told.insert(0, ("size", f"{_size(facts)} px of {facts.mpp:.4g} um"))
    reasons = sorted(facts.rejected.items(), key=lambda each: -each[1].count)[:MOST_TOLD]
    told += [("", f"{found.count:,} {reason}") for reason, found in reasons]
    told += list(facts.told.items())[:MOST_TOLD]
    return element("dl", [[element("dt", words(name)), element("dd", words(value))] for name, value in told])


def _links(links: Sequence[Link], kind: str) -> Html | str:
    if not links:
        return ""
    names = ("levels", "downsample", "shift, px", "spread, px", "correlation", "closest to", "blur")
    header = element("tr", [element("th", each) for each in names])
    rows = [_link(each, kind) for each in links[:MOST_LINKS]]
    title = element("h4", "How high and low resolution were found to lie to each other, in px of the finer")
    return element("div", title, element("table", header, rows, class_="links"))


def _link(link: Link, kind: str) -> Html:
    best = f", {link.psnr[link.closest]:.1f} dB" if link.closest in link.psnr else ""
    levels = f"{link.fine} and {link.coarse}" if link.fine != link.coarse else f"level {link.fine}, x{link.scale}"
    levels = "captures" if kind == "captured" else levels
    told = (
        levels,
        f"{link.downsample:.5g}",
        f"{link.shift_px:.3f}",
        f"{link.spread_px:.3f}",
        f"{link.correlation:.3f}",
    )
    cells = [element("td", each) for each in (*told, f"{words(link.closest)}{best}")]
    return element("tr", cells, element("td", small_kernel(link)))


def pairs_shown(contents: Contents, shown: Sequence[SlideFacts]) -> list[list[Html]]:
    """Pairs of each slide: one of each scale, then a second, as long as there is room for all slides' first."""
    chosen = [_chosen(contents.by_slide.get(facts.slide, [])) for facts in shown]
    found: list[dict[int, Html]] = [{} for _ in shown]
    left = PAIR_BYTES
    for place in range(max(map(len, chosen), default=0)):
        for number, each in enumerate(chosen):
            if place < len(each):
                picture = _pair(contents, *each[place])
                left -= len(picture)
                if left < 0:
                    return [[*own.values()] for own in found]
                found[number][place] = picture
    return [[*own.values()] for own in found]


def _chosen(records: Sequence[PatchRecord]) -> list[tuple[PatchRecord, str]]:
    """An ordinary pair of each scale, then the most doubtful of each, with what it is."""
    usable = [each for each in records if each.contrast >= FLAT_CONTRAST and each.side % each.scale == 0] or records
    by_scale = [[each for each in usable if each.scale == scale] for scale in sorted({each.scale for each in usable})]
    ordinary = [(sorted(own, key=_doubt)[len(own) // 2], "an ordinary pair") for own in by_scale]
    worst = [(max(own, key=_doubt), _worst(own[0])) for own in by_scale if len(own) > 1]
    return ordinary + worst


def _doubt(record: PatchRecord) -> float:
    return record.residual if record.residual is not None else -record.focus


def _worst(record: PatchRecord) -> str:
    return "the largest residual of all" if record.residual is not None else "the weakest focus of all"


def _columns() -> Html:
    names = ("low resolution", "high resolution", "checkerboard of both", f"difference, x{AMPLIFIED}")
    return element("div", element("span"), [element("span", each, class_="note") for each in names], class_="pair")


def _pair(contents: Contents, record: PatchRecord, which: str) -> Html:
    views = Views.of(contents.store, record)
    images = [
        element("img", src=jpeg(views.low, 92), alt="low resolution", class_="low"),
        element("img", src=jpeg(views.high), alt="high resolution", class_="high"),
        element("img", src=jpeg(views.checkerboard), alt="checkerboard of both", class_="checkerboard"),
        element("img", src=jpeg(views.difference, 92), alt="difference", class_="difference"),
    ]
    told = element("div", list(_told(record, which, views.apart)), class_="told")
    return element("div", told, images, class_="pair")


def _told(record: PatchRecord, which: str, apart: float) -> Iterator[Html]:
    yield element("b", f"x{record.scale}, {which}")
    yield element("div", f"{record.mpp_lr:.4g} to {record.mpp_hr:.4g} um/px")
    yield element("div", f"at {record.box[0]:,}, {record.box[1]:,} px of level 0")
    if record.shift is not None:
        yield element("div", f"moved by {record.shift[0]:+.2f}, {record.shift[1]:+.2f} px")
    if record.residual is not None:
        yield element("div", f"residual {record.residual:.3f} px")
    yield element("div", f"focus {record.focus:.2f}, tissue {100 * record.tissue:.0f} %")
    yield element("div", f"{apart:.1f} grey levels apart")
    if record.parameters:
        yield element("div", "; ".join(_parameters(record)), class_="parameters")


def _parameters(record: PatchRecord) -> Iterator[str]:
    """How the low resolution was captured or computed, in words."""
    for name, value in list(record.parameters.items())[:MOST_PARAMETERS]:
        yield f"{words(name).replace('.', ' ').replace('_', ' ')} {_short(value)}"


def _short(value: Parameter) -> str:
    if not isinstance(value, float):
        return words(value)
    return f"{value:,.0f}" if 1000 <= abs(value) < 1e9 else f"{value:.3g}"
