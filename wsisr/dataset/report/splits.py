"""The separation of training and validation: shared cases, and near-duplicate patches across the splits."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from wsisr.dataset.records import SPLITS, PatchRecord
from wsisr.dataset.report.contents import ReportContents
from wsisr.dataset.report.markup import Html, HtmlChild, html_element, shorten_text
from wsisr.dataset.report.pictures import jpeg_data_uri
from wsisr.imaging.pixels import resize_image

MAX_NEAR_DUPLICATES = 6
"""Near-duplicates that are shown."""

NEAR_DUPLICATE_PX = 144


def describe_shared_cases(records: Sequence[PatchRecord]) -> str:
    """Describe which cases are in both splits, in one or two sentences."""
    cases = [{record.case for record in records if record.split == split} for split in SPLITS]
    shared = sorted(set.intersection(*cases))
    if shared:
        names = ", ".join(map(shorten_text, shared[:5]))
        return f"These cases are in both: {names}. Scores on this validation split will be too high."
    if not all(cases):
        return "One of the splits has no cases in this dataset."
    return "No case is in both, so no network is validated on tissue of a patient it was trained on."


def render_near_duplicates(contents: ReportContents) -> list[HtmlChild]:
    """Render the near-duplicates that the header lists, with examples; empty if the header has no such entry."""
    summary = contents.header.get("look_alikes")
    if not isinstance(summary, dict):
        return []
    count = summary.get("pairs", 0)
    title = html_element("h4", "Near-duplicate patches in training and validation")
    if not count:
        return [title, html_element("p", "None were found. Patches were compared by fingerprint across all slides.")]
    warning = (
        f"{shorten_text(count)} pairs of patches look alike: one specimen may be in both splits, under two names. "
        "The closest:"
    )
    examples = summary.get("examples", [])
    examples = examples[:MAX_NEAR_DUPLICATES] if isinstance(examples, list) else []
    figures = [_render_near_duplicate(contents, example) for example in examples]
    return [title, html_element("p", warning, class_="warning"), html_element("div", figures, class_="grid three")]


def _render_near_duplicate(contents: ReportContents, example: Any) -> Html:
    is_complete = isinstance(example, dict) and set(SPLITS) <= set(example)
    locations = [example[split] for split in SPLITS] if is_complete else []
    patches = [_render_patch(contents, location) for location in locations if isinstance(location, dict)]
    return html_element("figure", html_element("div", patches, class_="alike"))


def _render_patch(contents: ReportContents, location: Mapping[str, Any]) -> Html:
    slide, box = str(location.get("slide")), location.get("box")
    records = [record for record in contents.by_slide.get(slide, []) if [*record.box] == box]
    if not records:
        return html_element("span", shorten_text(slide), class_="note")
    image = resize_image(contents.store.read_high(records[0]), NEAR_DUPLICATE_PX, NEAR_DUPLICATE_PX, "area")
    caption = html_element("figcaption", f"{records[0].split}: {shorten_text(slide)}")
    return html_element(
        "figure", html_element("img", src=jpeg_data_uri(image), alt=f"a patch of {shorten_text(slide)}"), caption
    )
