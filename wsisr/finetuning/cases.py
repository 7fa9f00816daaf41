"""The slides of a finetuning: which of them can be used, and which cases are held out to judge by."""

from __future__ import annotations

import filecmp
import hashlib
from collections.abc import Generator, Sequence
from dataclasses import dataclass

from wsisr.dataset.recipe import Recipe
from wsisr.dataset.slides_and_splits import DatasetSlide, assign_slides
from wsisr.errors import DatasetError, SlideError
from wsisr.finetuning.request import FinetuneRequest
from wsisr.models.spec import ModelSpec
from wsisr.progress import Progress, format_count
from wsisr.slides import SlideInfo, open_slide
from wsisr.slides.listing import SlideEntry, list_slides
from wsisr.upscaling.finished import is_written_by_wsisr
from wsisr.upscaling.provenance import refuse_derived

CASES_FOR_INTERVAL = 3
"""Fewest held-out cases of which an interval says something: over two, Student's t is 12.7."""


@dataclass(frozen=True, slots=True)
class SlideSelection:
    """The slides that can be used, each with its case and split, and why others cannot."""

    slides: Sequence[DatasetSlide]
    refusals: Sequence[str]

    @property
    def held_out(self) -> list[DatasetSlide]:
        return [slide for slide in self.slides if slide.split == "val"]

    @property
    def case_counts(self) -> tuple[int, int]:
        """Numbers of cases to train on and to judge by."""
        train, val = ({slide.case for slide in self.slides if slide.split == split} for split in ("train", "val"))
        return len(train), len(val)


def select_slides(request: FinetuneRequest, spec: ModelSpec) -> Generator[Progress, None, SlideSelection]:
    """Open all slides, leave out what cannot be used, and hold out cases; yield progress and return the selection.

    `spec` is that of the model to start from. Raises a `WsisrError` if slides of fewer than two cases are left, or a
    held-out case is trained on, if only as a copy under another name.
    """
    recipe, judges = request.recipe, _list_entries(request.validation)
    entries, usable, refusals = [*_list_entries(request.slides), *judges], list[SlideEntry](), list[str]()
    for number, entry in enumerate(entries):
        yield Progress("look", number, len(entries))
        obstacle = find_obstacle(entry, spec, recipe)
        if obstacle is None:
            usable.append(entry)
        else:
            refusals.append(obstacle)
    cases = {entry.path: entry.case or recipe.derive_case(entry.path) for entry in usable}
    _require_two_cases(set(cases.values()), refusals)
    chosen = choose_held_out_cases(set(cases.values()))
    held_out = [entry for entry in usable if (entry in judges if judges else cases[entry.path] in chosen)]
    selection = SlideSelection(assign_slides(usable, held_out, recipe), refusals)
    if 0 in selection.case_counts:
        raise DatasetError("slides to train on and slides to judge by are needed; give slides of further cases")
    _refuse_copies(selection)
    return selection


def choose_held_out_cases(cases: set[str]) -> set[str]:
    """Return the cases to judge by: a quarter, but at least three of six and more, and one of fewer.

    Always the same ones of the same cases, in the order of a hash of their names.
    """
    count = max(CASES_FOR_INTERVAL, round(len(cases) / 4)) if len(cases) >= 2 * CASES_FOR_INTERVAL else 1
    return set(sorted(cases, key=lambda case: hashlib.sha256(case.encode()).digest())[:count])


def find_obstacle(entry: SlideEntry, spec: ModelSpec, recipe: Recipe) -> str | None:
    """Return why a slide cannot be trained on or judged by; None if it can."""
    try:
        with open_slide(entry.path, entry.mpp) as slide:
            refuse_derived(entry.path)
            find_finest_level(slide.info, spec, recipe)
    except SlideError as error:
        return str(error).replace(", or --allow-derived", "")
    return None


def find_finest_level(info: SlideInfo, spec: ModelSpec, recipe: Recipe) -> int:
    """Return the finest level that is a truth for the model: shrunk by its scale, it is of a pixel size it knows.

    Raises `SlideError` if there is none.
    """
    pixel_sizes = [mpp for index in range(len(info.levels)) if (mpp := info.level_mpp(index)) is not None]
    if not pixel_sizes:
        raise SlideError(f"{info.path}: pixel size is not recorded; give it in a table with the columns path and mpp")
    for index, mpp in enumerate(pixel_sizes):
        if mpp <= recipe.coarsest_mpp and spec.covers_mpp(mpp * spec.scale):
            return index
    finest, coarsest = (edge / spec.scale for edge in spec.input_mpp)
    raise SlideError(
        f"{info.path}: {pixel_sizes[0]:.3g} um/px, where x{spec.scale} is learned from "
        f"{finest:.3g} to {min(coarsest, recipe.coarsest_mpp):.3g} um/px; leave it out"
    )


def _list_entries(words: Sequence[object]) -> Sequence[SlideEntry]:
    return list_slides(map(str, words), is_written_by_wsisr).entries


def _refuse_copies(selection: SlideSelection) -> None:
    """Raise `DatasetError` if a file that judges is trained on under another name. Only files of one size are read."""
    by_size: dict[int, list[DatasetSlide]] = {}
    for slide in selection.slides:
        if slide.path.is_file():
            by_size.setdefault(slide.path.stat().st_size, []).append(slide)
    for alike in by_size.values():
        for judge in (slide for slide in alike if slide.split == "val"):
            for other in (slide for slide in alike if slide.split == "train"):
                if filecmp.cmp(judge.path, other.path, shallow=False):
                    raise DatasetError(
                        f"{judge.path}: is to judge, and {other.path} is a copy of it that is trained on; leave one out"
                    )


def _require_two_cases(cases: set[str], refusals: Sequence[str]) -> None:
    names = sorted(cases)
    if not names:
        raise DatasetError(refusals[0] if len(refusals) == 1 else f"no slide can be used; the first: {refusals[0]}")
    if len(names) == 1:
        left_out = (
            f" ({format_count(len(refusals), 'other')} cannot be used; the first: {refusals[0]})" if refusals else ""
        )
        raise DatasetError(
            f"all slides are of one case, {names[0]}{left_out}: a network must be judged on a case that it has not "
            "seen; give slides of another patient, or --case-pattern if file names begin otherwise"
        )
