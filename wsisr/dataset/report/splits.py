"""Whether training and validation are apart: cases in both, and patches that look alike across them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from wsisr.dataset.records import SPLITS, PatchRecord
from wsisr.dataset.report.contents import Contents
from wsisr.dataset.report.markup import Child, Html, element, words
from wsisr.dataset.report.pictures import jpeg
from wsisr.imaging.pixels import resize

EXAMPLES = 6
"""Look-alikes that are shown."""

EXAMPLE_PX = 144


def cases_in_both(records: Sequence[PatchRecord]) -> str:
    """What to say of them."""
    cases = [{record.case for record in records if record.split == split} for split in SPLITS]
    both = sorted(set.intersection(*cases))
    if both:
        return f"These cases are in both: {', '.join(map(words, both[:5]))}. Scores on such a split flatter."
    if not all(cases):
        return "One of them has no case at all in this dataset."
    return "No case is in both, so no patient is judged by a network that was trained on the same tissue."


def look_alikes(contents: Contents) -> list[Child]:
    """What the header tells of patches that look alike across the splits, with examples; nothing where it is silent."""
    told = contents.header.get("look_alikes")
    if not isinstance(told, dict):
        return []
    number = told.get("pairs", 0)
    title = element("h4", "Patches that look alike in training and in validation")
    if not number:
        return [
            title,
            element("p", "None were found. They were sought by fingerprint, whatever their slides are called."),
        ]
    warning = (
        f"{words(number)} pairs of patches look alike: the same specimen may be in both, under two names. The closest:"
    )
    examples = told.get("examples", [])
    shown = [_example(contents, each) for each in examples[:EXAMPLES]] if isinstance(examples, list) else []
    return [title, element("p", warning, class_="warning"), element("div", shown, class_="grid three")]


def _example(contents: Contents, told: Any) -> Html:
    both = [told[split] for split in SPLITS] if isinstance(told, dict) and set(SPLITS) <= set(told) else []
    found = [_picture(contents, place) for place in both if isinstance(place, dict)]
    return element("figure", element("div", found, class_="alike"))


def _picture(contents: Contents, place: Mapping[str, Any]) -> Html:
    slide, box = str(place.get("slide")), place.get("box")
    records = [each for each in contents.by_slide.get(slide, []) if [*each.box] == box]
    if not records:
        return element("span", words(slide), class_="note")
    image = resize(contents.store.high(records[0]), EXAMPLE_PX, EXAMPLE_PX, "area")
    caption = element("figcaption", f"{records[0].split}: {words(slide)}")
    return element("figure", element("img", src=jpeg(image), alt=f"a patch of {words(slide)}"), caption)
