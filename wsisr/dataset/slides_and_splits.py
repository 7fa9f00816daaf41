"""The slides of a dataset: each once, under a unique name, in one split."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from wsisr.dataset.recipe import Recipe
from wsisr.dataset.records import SPLITS
from wsisr.errors import DatasetError, DatasetNotFoundError, SlideError
from wsisr.files import has_dicom_suffix, is_dicom, is_zarr
from wsisr.slides.files import fingerprint_files, list_files_at

SLIDE_SUFFIXES = {".svs", ".tif", ".tiff", ".ndpi", ".scn", ".mrxs", ".vms", ".vmu", ".bif", ".svslide", ".qptiff"}
"""Suffixes that count as slides within a folder; a slide given by its own path may have any name."""


@dataclass(frozen=True, slots=True)
class DatasetSlide:
    """A slide with its name, case and split in the dataset."""

    path: Path
    stem: str
    """Name of the slide's part: the stem of the file, with a number added if an earlier slide has the same."""
    case: str
    split: str

    @property
    def name(self) -> str:
        """Name of the slide in the manifest."""
        return self.stem if self.path.is_dir() else f"{self.stem}{self.path.suffix}"

    @property
    def identity(self) -> dict[str, str]:
        """Everything that pairs of this slide depend on besides the recipe, as text."""
        return {"slide": str(self.path.resolve()), **self.file_state(), "case": self.case, "split": self.split}

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

    Returns slide name to entry. Raises `DatasetError` if it is not such a CSV or a case is in two splits.
    """
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:  # spreadsheets write a byte order mark
            rows = list(csv.DictReader(file))
        entries = {row["slide"]: CaseEntry(row["case"], row.get("split") or None) for row in rows}
    except (OSError, KeyError, ValueError, csv.Error) as error:
        error_type = DatasetNotFoundError if isinstance(error, FileNotFoundError) else DatasetError
        raise error_type(f"{path}: cannot be read as a CSV with the columns slide and case ({error!r})") from error
    splits: dict[str, str | None] = {}
    for case in entries.values():
        if not case.name or case.split not in (None, *SPLITS):
            raise DatasetError(f"{path}: needs a case in each row, and no split but {' or '.join(SPLITS)}")
        if splits.setdefault(case.name, case.split) != case.split:
            raise DatasetError(f"{path}: case {case.name} is in two splits; a case belongs to one")
    return entries


def assign_slides_by_table(
    slides: Iterable[Path], cases: Mapping[str, CaseEntry], recipe: Recipe
) -> list[DatasetSlide]:
    """Assign slides, given by path or folder, to the cases and splits of a table; without a split, by hash.

    Raises `DatasetError` for a slide that is not in the table.
    """
    paths = _list_unique_slides(slides)
    assigned = []
    for path, stem in zip(paths, _unique_stems(paths), strict=True):
        case = cases.get(path.name) or cases.get(path.stem)
        if case is None:
            raise DatasetError(f"{path}: is not in the table of cases; add it there, or leave the slide out")
        assigned.append(DatasetSlide(path, stem, case.name, case.split or recipe.assign_split(case.name)))
    return assigned


def assign_slides(slides: Iterable[Path], held_out: Iterable[Path], recipe: Recipe) -> list[DatasetSlide]:
    """Assign slides, given by path or folder, to cases and splits. Slides in `held_out` are validation only.

    Without `held_out`, cases are split by hash. Raises `DatasetError` if a folder holds no slide or if a case would be
    in both splits.
    """
    validation = _list_unique_slides(held_out)
    training = [
        path for path in _list_unique_slides(slides) if path.resolve() not in {other.resolve() for other in validation}
    ]
    shared = {recipe.derive_case(path) for path in training} & {recipe.derive_case(path) for path in validation}
    if shared:
        names = ", ".join(sorted(shared)[:3]) + ", ..." * (len(shared) > 3)
        raise DatasetError(f"case {names} is in training and in validation; hold out all slides of a case")
    splits = ["train"] * len(training) + ["val"] * len(validation)
    paths = training + validation
    cases = [recipe.derive_case(path) for path in paths]
    if not validation:
        splits = [recipe.assign_split(case) for case in cases]
    return [DatasetSlide(*facts) for facts in zip(paths, _unique_stems(paths), cases, splits, strict=True)]


def _list_unique_slides(paths: Iterable[Path]) -> list[Path]:
    """List slides in the given order, those of a folder by name, each once."""
    unique: dict[Path, Path] = {}
    for path in paths:
        for slide in _list_slides(path):
            unique.setdefault(slide.resolve(), slide)
    return list(unique.values())


def _list_slides(path: Path) -> Sequence[Path]:
    try:
        if not path.is_dir() or _is_slide(path):
            return [path]
        children = sorted(path.iterdir())
    except OSError as error:
        raise DatasetError(f"{path}: cannot be looked into ({error.strerror}); give other slides") from error
    slides = [child for child in children if not child.name.startswith(".") and _looks_like_slide(child)]
    if not slides:
        raise DatasetError(f"{path}: no slide in this folder; give slides, or a folder that holds them")
    return slides


def _looks_like_slide(path: Path) -> bool:
    return _is_slide(path) if path.is_dir() else path.suffix.lower() in SLIDE_SUFFIXES


def _is_slide(folder: Path) -> bool:
    """Check for an OME-Zarr or a folder of DICOM files, which `open_slide` opens."""
    if is_zarr(folder):
        return True
    files = [path for path in folder.iterdir() if path.is_file()]
    holds_other_slides = any(path.suffix.lower() in SLIDE_SUFFIXES for path in files)
    return any(map(has_dicom_suffix, files)) or (not holds_other_slides and any(map(is_dicom, files)))


def _unique_stems(paths: Sequence[Path]) -> Iterator[str]:
    """Yield a unique stem for each slide, also on file systems that ignore case."""
    taken: set[str] = set()
    for path in paths:
        file_stem = path.name if path.is_dir() else path.stem
        stem, number = file_stem, 1
        while stem.casefold() in taken:
            number += 1
            stem = f"{file_stem}~{number}"
        taken.add(stem.casefold())
        yield stem
