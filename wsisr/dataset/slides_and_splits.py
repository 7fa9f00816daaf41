"""The slides of a dataset: each once, under a unique name, in one split."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from wsisr.dataset.case_names import DoubtfulCases, find_doubtful_cases, list_names
from wsisr.dataset.recipe import Recipe
from wsisr.dataset.records import SPLITS
from wsisr.errors import ConfigError, DatasetError, SlideError, describe_error
from wsisr.progress import format_count
from wsisr.slides.csv_table import read_csv_table
from wsisr.slides.files import fingerprint_files, list_files_at
from wsisr.slides.listing import SlideEntry


@dataclass(frozen=True, slots=True)
class DatasetSlide:
    """A slide with its name, case and split in the dataset."""

    path: Path
    stem: str
    """Name of the slide's part: the stem of the file, with a number added if an earlier slide has the same."""
    case: str
    split: str
    mpp: float | None = None
    """Pixel size of level 0 in um/px that counts before that of the file."""

    @property
    def name(self) -> str:
        """Name of the slide in the manifest."""
        suffix = "" if self.path.is_dir() else self.path.suffix.replace("\\", "_")
        return f"{self.stem}{suffix}".encode("utf-8", "replace").decode()

    @property
    def identity(self) -> dict[str, str]:
        """Everything that pairs of this slide depend on besides the recipe, as text."""
        given = {} if self.mpp is None else {"mpp": f"{self.mpp:.10g}"}
        return {"slide": str(self.path.resolve()), **self.file_state(), "case": self.case, "split": self.split, **given}

    def file_state(self) -> dict[str, str]:
        """Return age and size of all its files, which stand for their content."""
        try:
            return {"slide (path, age and size)": fingerprint_files(list_files_at(self.path))}
        except SlideError:
            return {}  # opening the slide fails too, with a better message


@dataclass(frozen=True, slots=True)
class CaseEntry:
    """Case and split of a slide in a table of cases; without a split, the recipe assigns one."""

    name: str
    split: str | None


def read_case_table(path: Path) -> dict[str, CaseEntry]:
    """Read a CSV with the columns `slide`, `case` and optionally `split`; slide names may lack their suffix.

    Returns slide name to entry. Raises `ConfigError` if it is not such a CSV or a slide or case is in two splits.
    """
    rows = read_csv_table(path, "a table of cases", ("slide", "case"), ("split",)).rows
    entries: dict[str, CaseEntry] = {}
    splits: dict[str, str | None] = {}
    for row in rows:
        slide, case = row.cells["slide"], CaseEntry(row.get_text("case"), row.get_text("split") or None)
        if not (slide and case.name):
            raise ConfigError(f"{row.origin}: has no {'case' if slide else 'slide'}; each row needs both")
        if case.split not in (None, *SPLITS):
            found = describe_error(ValueError(case.split))
            raise ConfigError(f"{row.origin}: there is no split {found}; write {' or '.join(SPLITS)}, or nothing")
        if entries.setdefault(slide, case) != case:
            raise ConfigError(f"{row.origin}: {slide} is of another case or split than above; a slide belongs to one")
        if splits.setdefault(case.name, case.split) != case.split:
            raise ConfigError(f"{row.origin}: case {case.name} is in two splits; a case belongs to one")
    return entries


def assign_slides_by_table(
    slides: Iterable[SlideEntry], cases: Mapping[str, CaseEntry], recipe: Recipe
) -> list[DatasetSlide]:
    """Assign slides to the cases and splits of a table; without a split, by hash.

    Raises `DatasetError` for a slide that is not in the table, or is in it with and without suffix as different cases.
    """
    entries = _drop_repeated(slides)
    names = {entry.path.name for entry in entries}
    assigned = []
    for entry, stem in zip(entries, _unique_stems(entries), strict=True):
        by_name, by_stem = cases.get(entry.path.name), cases.get(entry.path.stem)
        if by_name and by_stem and by_name != by_stem and entry.path.stem not in names:
            raise DatasetError(
                f"{entry.path}: the table of cases says something else of {entry.path.name} than of {entry.path.stem}; "
                "keep one of the rows"
            )
        case = by_name or by_stem
        if case is None:
            raise DatasetError(f"{entry.path}: is not in the table of cases; add it there, or leave the slide out")
        split = case.split or recipe.assign_split(case.name)
        assigned.append(DatasetSlide(entry.path, stem, case.name, split, entry.mpp))
    return assigned


def assign_slides(slides: Iterable[SlideEntry], held_out: Iterable[SlideEntry], recipe: Recipe) -> list[DatasetSlide]:
    """Assign slides to cases and splits. Slides in `held_out` are validation only.

    Without `held_out`, cases are split by hash. Raises `DatasetError` if a case would be in both splits.
    """

    def find_case(entry: SlideEntry) -> str:
        return entry.case or recipe.derive_case(entry.path)

    validation = _drop_repeated(held_out)
    held_out_paths = {entry.path.resolve() for entry in validation}
    training = [entry for entry in _drop_repeated(slides) if entry.path.resolve() not in held_out_paths]
    shared = set(map(find_case, training)) & set(map(find_case, validation))
    if shared:
        names = ", ".join(sorted(shared)[:3]) + ", ..." * (len(shared) > 3)
        raise DatasetError(f"case {names} is in training and in validation; hold out all slides of a case")
    splits = ["train"] * len(training) + ["val"] * len(validation)
    entries = training + validation
    cases = list(map(find_case, entries))
    if not validation:
        splits = [recipe.assign_split(case) for case in cases]
    return [
        DatasetSlide(entry.path, stem, case, split, entry.mpp)
        for entry, stem, case, split in zip(entries, _unique_stems(entries), cases, splits, strict=True)
    ]


def describe_cases(slides: Sequence[DatasetSlide], recipe: Recipe) -> str:
    """Return which cases are trained on and which are held out, and whether file names tell."""
    by_name = all(slide.case == recipe.derive_case(slide.path) for slide in slides)
    count = format_count(len({slide.case for slide in slides}), "case")
    text = f"{format_count(len(slides), 'slide')} of {count}{' by their file names' * by_name}"
    for split, purpose in zip(SPLITS, ("train", "validate"), strict=True):
        names = list_names({slide.case for slide in slides if slide.split == split})
        text += f"; to {purpose} on: {names}" if names else ""
    return text


def find_doubt(slides: Sequence[DatasetSlide], recipe: Recipe) -> DoubtfulCases | None:
    """Return cases of both splits that could be one patient's by their names; None where a pattern tells cases."""
    if recipe.case_pattern is not None:
        return None
    named = [slide for slide in slides if slide.case == recipe.derive_case(slide.path)]
    train, val = ({slide.case for slide in named if slide.split == split} for split in SPLITS)
    return find_doubtful_cases(train, val)


def _drop_repeated(entries: Iterable[SlideEntry]) -> list[SlideEntry]:
    """Return each slide once, also one that is given under two names."""
    unique: dict[Path, SlideEntry] = {}
    for entry in entries:
        unique.setdefault(entry.path.resolve(), entry)
    return list(unique.values())


def _make_safe_name(name: str) -> str:
    """Return a name that can name a shard: no leading point, and nothing that is no text or that a system forbids."""
    readable = name.encode("utf-8", "replace").decode()
    return re.sub(r"^\.|[/\\\0-\x1f\x7f]", "_", readable) or "_"


def _unique_stems(entries: Sequence[SlideEntry]) -> Iterator[str]:
    """Yield a unique stem for each slide, also on file systems that ignore case."""
    taken: set[str] = set()
    for path in (entry.path for entry in entries):
        file_stem = _make_safe_name(path.name if path.is_dir() else path.stem)
        stem, number = file_stem, 1
        while stem.casefold() in taken:
            number += 1
            stem = f"{file_stem}~{number}"
        taken.add(stem.casefold())
        yield stem
