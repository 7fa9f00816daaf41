"""The slides that a dataset is made from: each once, under a name of its own, in one split."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from wsisr.dataset.recipe import Recipe
from wsisr.dataset.records import SPLITS
from wsisr.errors import DatasetError, SlideError
from wsisr.files import is_zarr
from wsisr.slides.files import fingerprint_files, list_files_at

SLIDE_SUFFIXES = {".svs", ".tif", ".tiff", ".ndpi", ".scn", ".mrxs", ".vms", ".vmu", ".bif", ".svslide", ".qptiff"}
"""What is taken for a slide in a folder; a slide that is given by its own name may be called anything."""


@dataclass(frozen=True, slots=True)
class DatasetSlide:
    """One slide and its place in the dataset."""

    path: Path
    stem: str
    """Names the slide's groups: the file's own stem, with a number behind it if an earlier slide has the same."""
    case: str
    split: str

    @property
    def name(self) -> str:
        """What the manifest calls the slide."""
        return self.stem if self.path.is_dir() else f"{self.stem}{self.path.suffix}"

    @property
    def identity(self) -> dict[str, str]:
        """What pairs of its own levels depend on, besides the recipe, in words."""
        place = {"slide": str(self.path.resolve()), **self.file_state()}
        return {**place, "case": self.case, "split": self.split}

    def file_state(self) -> dict[str, str]:
        """Of all its files, which stands for their content."""
        try:
            return {"slide (path, age and size)": fingerprint_files(list_files_at(self.path))}
        except SlideError:
            return {}  # who opens it says so better


@dataclass(frozen=True, slots=True)
class CaseEntry:
    """What a table says of a slide."""

    name: str
    split: str | None


def read_case_table(path: Path) -> dict[str, CaseEntry]:
    """A CSV with the columns `slide` and `case`, and perhaps `split`: name of a slide, with suffix or without, to case.

    Raises `DatasetError` where it is something else, or has a case in two splits.
    """
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            rows = list(csv.DictReader(file))
        found = {row["slide"]: CaseEntry(row["case"], row.get("split") or None) for row in rows}
    except (OSError, KeyError, ValueError, csv.Error) as error:
        raise DatasetError(f"{path}: cannot be read as a CSV with the columns slide and case ({error!r})") from error
    splits: dict[str, str | None] = {}
    for case in found.values():
        if not case.name or case.split not in (None, *SPLITS):
            raise DatasetError(f"{path}: needs a case in each row, and no split but {' or '.join(SPLITS)}")
        if splits.setdefault(case.name, case.split) != case.split:
            raise DatasetError(f"{path}: case {case.name} is in two splits; a case belongs to one")
    return found


def assign_slides_by_table(
    slides: Iterable[Path], cases: Mapping[str, CaseEntry], recipe: Recipe
) -> list[DatasetSlide]:
    """Slides by path or by folder, with the cases and splits of a table; a case without a split is drawn by its hash.

    Raises `DatasetError` for a slide that is not in the table.
    """
    paths = _list_unique_slides(slides)
    found = [cases.get(path.name) or cases.get(path.stem) for path in paths]
    sources = []
    for path, stem, case in zip(paths, _unique_stems(paths), found, strict=True):
        if case is None:
            raise DatasetError(f"{path}: is not in the table of cases; add it there, or leave the slide out")
        sources.append(DatasetSlide(path, stem, case.name, case.split or recipe.assign_split(case.name)))
    return sources


def assign_slides(slides: Iterable[Path], held_out: Iterable[Path], recipe: Recipe) -> list[DatasetSlide]:
    """Slides by path or by folder. `held_out` is the validation split, and what is in it leaves the others.

    Without any held out, cases are split by hash. Raises `DatasetError` if a folder has no slide in it or if a case
    would be in both splits.
    """
    validation = _list_unique_slides(held_out)
    training = [
        path for path in _list_unique_slides(slides) if path.resolve() not in {other.resolve() for other in validation}
    ]
    shared = {recipe.derive_case(path) for path in training} & {recipe.derive_case(path) for path in validation}
    if shared:
        some = ", ".join(sorted(shared)[:3]) + ", ..." * (len(shared) > 3)
        raise DatasetError(f"in training and in validation both: case {some}; hold out all slides of a case")
    splits = ["train"] * len(training) + ["val"] * len(validation)
    paths = training + validation
    cases = [recipe.derive_case(path) for path in paths]
    if not validation:
        splits = [recipe.assign_split(case) for case in cases]
    return [DatasetSlide(*facts) for facts in zip(paths, _unique_stems(paths), cases, splits, strict=True)]


def _list_unique_slides(paths: Iterable[Path]) -> list[Path]:
    """Slides in the order given, those of a folder by name; one that comes twice counts once."""
    found: dict[Path, Path] = {}
    for path in paths:
        for slide in _list_slides(path):
            found.setdefault(slide.resolve(), slide)
    return list(found.values())


def _list_slides(path: Path) -> Sequence[Path]:
    try:
        if not path.is_dir() or _is_slide(path):
            return [path]
        children = sorted(path.iterdir())
    except OSError as error:
        raise DatasetError(f"{path}: cannot be looked into ({error.strerror}); give other slides") from error
    inside = [child for child in children if not child.name.startswith(".") and _looks_like_slide(child)]
    if not inside:
        raise DatasetError(f"{path}: no slide in this folder; give slides, or a folder that holds them")
    return inside


def _looks_like_slide(path: Path) -> bool:
    return _is_slide(path) if path.is_dir() else path.suffix.lower() in SLIDE_SUFFIXES


def _is_slide(folder: Path) -> bool:
    """An OME-Zarr, or a folder of DICOM files, as for `open_slide`."""
    return is_zarr(folder) or any(folder.glob("*.dcm"))


def _unique_stems(paths: Sequence[Path]) -> Iterator[str]:
    """A stem for each slide, no two alike, not even where upper and lower case are one."""
    taken: set[str] = set()
    for path in paths:
        own = path.name if path.is_dir() else path.stem
        stem, number = own, 1
        while stem.casefold() in taken:
            number += 1
            stem = f"{own}~{number}"
        taken.add(stem.casefold())
        yield stem
