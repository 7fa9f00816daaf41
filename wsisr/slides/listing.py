"""Listing the slides of a run: files, folders, patterns, lists and tables become one list of slides."""

from __future__ import annotations

import glob
import math
import os
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

from wsisr.errors import ConfigError, SlideError, SlideNotFoundError, describe_error
from wsisr.files import MIRAX_SUFFIX, VSI_SUFFIX, find_scan_folder, has_dicom_suffix, is_dicom, is_zarr
from wsisr.remote.path import is_url, make_path
from wsisr.slides.csv_table import CsvRow, read_csv_table, read_text_file
from wsisr.slides.pixel_size import is_plausible_mpp

SLIDE_SUFFIXES = {
    ".svs",
    ".tif",
    ".tiff",
    ".ndpi",
    ".scn",
    MIRAX_SUFFIX,
    ".vms",
    ".vmu",
    ".bif",
    ".svslide",
    ".qptiff",
    ".czi",
    VSI_SUFFIX,
}
"""Suffixes that count as slides within a folder; a slide given by its own path may have any name."""

PICTURE_SUFFIXES = (".png", ".jpg", ".jpeg")
"""Suffixes of plain pictures. Within a folder they do not count as slides: most are thumbnails."""

LIST_MARK = "@"
"""First character of the name of a list: `@slides.txt`."""

TABLE_SUFFIX = ".csv"

TABLE_COLUMNS = ("path", "mpp", "case", "output")
"""Columns of a table of slides; only the first is required."""

WORK_FOLDER_SUFFIX = ".wsisr-part"
"""End of the names of folders that hold unfinished work, which are never looked into."""

STAGE_PREFIX = "wsisr-stage-"
"""Beginning of the names of the folders of copies of slides (`wsisr.slides.staging`), which are none either."""

_STAGE_NAME = re.compile(re.escape(STAGE_PREFIX) + "[0-9a-f]{16}")


@dataclass(frozen=True, slots=True)
class SlideEntry:
    """One slide of a run, with what a table records of it."""

    path: Path
    mpp: float | None = None
    """Pixel size of level 0 in um/px."""
    case: str | None = None
    """Patient or specimen."""
    output: Path | None = None
    """Name or path of the slide's result."""
    origin: str = field(default="", compare=False)
    """Table and line that say it, as `slides.csv, line 2`; empty outside tables."""


@dataclass(frozen=True, slots=True)
class SlideList:
    """The slides of a run, in a stable order."""

    entries: tuple[SlideEntry, ...]
    is_single: bool
    """Whether one slide was named by its own path. A pattern, folder, list or table that holds one is a list."""
    left_out: tuple[Path, ...] = ()
    """Files in folders and matches of patterns that are results of wsisr."""
    unused_columns: tuple[str, ...] = ()
    """Columns of tables that say nothing to wsisr, each as `TABLE: COLUMN`."""

    @property
    def paths(self) -> list[Path]:
        return [entry.path for entry in self.entries]


def list_slides(words: Iterable[str | Path], is_result: Callable[[Path], bool] | None = None) -> SlideList:
    """List slides in the given order, those of a folder or pattern by name, each once.

    A word is the path of a slide; a folder, which stands for all slides in it and its folders; a pattern such as
    `scans/**/*.svs`; `@list.txt`, whose lines are such words; or a table `slides.csv` with the columns `path` and, if
    wanted, `mpp`, `case` and `output`. Relative paths in a list or a table start at its folder. A DICOM folder or an
    OME-Zarr is one slide. Slides of folders and patterns for which `is_result` is True are left out.

    Raises `SlideNotFoundError` for a folder or a pattern without slides, and `ConfigError` for a list or table that
    cannot be read, and for a slide with two pixel sizes or cases but one output. That a slide exists is not checked.
    """
    words = list(words)
    texts = [make_path(word) if is_url(word) else str(word) for word in words]
    scan = _Scan(is_result or (lambda _path: False))
    entries = [entry for text in texts for entry in scan.expand(text, Path())]
    unique: dict[tuple[str, Path | None], SlideEntry] = {}
    for entry in entries:
        first = unique.setdefault((os.path.abspath(entry.path), entry.output), entry)  # noqa: PTH100 - follows no links
        if (first.mpp, first.case) != (entry.mpp, entry.case):
            raise ConfigError(_describe_contradiction(first, entry))
    is_single = len(texts) == 1 and _is_path_of_slide(texts[0])
    left_out, unused_columns = tuple(dict.fromkeys(scan.left_out)), tuple(dict.fromkeys(scan.unused_columns))
    return SlideList(tuple(unique.values()), is_single, left_out, unused_columns)


def is_stage_folder(path: Path) -> bool:
    """Return whether a path is a folder of copies by its name; a link is none."""
    return _STAGE_NAME.fullmatch(path.name) is not None and path.is_dir() and not path.is_symlink()


def _describe_contradiction(first: SlideEntry, entry: SlideEntry) -> str:
    """Describe two entries of one slide and one output that differ in pixel size or case."""
    noun = "case" if first.mpp == entry.mpp else "mpp"
    value, other = (describe_error(ValueError(getattr(each, noun) or "none")) for each in (first, entry))
    origin, other_origin = (each.origin or "outside the table" for each in (first, entry))
    return (
        f"{entry.path}: has the {noun} {value} ({origin}) and the {noun} {other} ({other_origin}), but one output; "
        "leave one out, or name an output for each in the column output"
    )


def is_slide_folder(folder: Path) -> bool:
    """Return whether a folder is one slide: an OME-Zarr, or a folder of DICOM files without other slides."""
    if is_zarr(folder):
        return True
    files = [path for path in folder.iterdir() if path.is_file()]
    holds_other_slides = any(path.suffix.lower() in SLIDE_SUFFIXES for path in files)
    return any(map(has_dicom_suffix, files)) or (not holds_other_slides and any(map(is_dicom, files)))


def _is_path_of_slide(word: Path | str) -> bool:
    if isinstance(word, Path) or is_url(word):
        return True
    if _names_several(word):
        return False
    try:
        return not Path(word).is_dir() or is_slide_folder(Path(word))
    except OSError:
        return True


def _names_several(word: str) -> bool:
    """Return whether a word is a list, a table or a pattern. A path that exists is none, whatever its characters."""
    if Path(word).suffix.lower() == TABLE_SUFFIX:
        return True
    return not os.path.lexists(word) and (word.startswith(LIST_MARK) or glob.has_magic(word))


class _Scan:
    """Expands words into slides, and collects what it leaves out."""

    def __init__(self, is_result: Callable[[Path], bool]) -> None:
        self.left_out: list[Path] = []
        self.unused_columns: list[str] = []
        self._is_result = is_result

    def expand(self, word: Path | str, folder: Path, *, in_list: bool = False) -> Iterator[SlideEntry]:
        """Yield the slides that a word stands for, or the path of a URL; relative paths start at the folder."""
        if isinstance(word, Path) or is_url(word):
            yield SlideEntry(make_path(word))
            return
        path = folder / word
        if not os.path.lexists(path) and word.startswith(LIST_MARK) and not in_list:
            yield from self._expand_list(folder / word.removeprefix(LIST_MARK))
        elif path.suffix.lower() == TABLE_SUFFIX:
            table = read_slide_table(path)
            self.unused_columns += (f"{path}: {name}" for name in table.unused_columns)
            yield from table.entries
        elif not os.path.lexists(path) and glob.has_magic(word):
            yield from self._expand_pattern(word, folder)
        else:
            yield from (SlideEntry(slide) for slide in self._expand_path(path))

    def _expand_list(self, path: Path) -> Iterator[SlideEntry]:
        # `str.splitlines` would break at characters that names of files may hold.
        lines = (line.strip() for line in read_text_file(path, "a list of slides").split("\n"))
        words = [line for line in lines if line and not line.startswith("#")]
        if not words:
            raise ConfigError(f"{path}: no slide in this list; write the path of a slide on each line")
        for word in words:
            yield from self.expand(word, path.parent, in_list=True)

    def _expand_pattern(self, pattern: str, folder: Path) -> Iterator[SlideEntry]:
        matches = sorted(folder / name for name in glob.glob(pattern, root_dir=folder, recursive=True))  # noqa: PTH207
        if not matches:
            from wsisr.slides.missing import advise_on_pattern  # noqa: PLC0415 - which imports this

            advice = advise_on_pattern(folder / pattern)
            raise SlideNotFoundError(f"{folder / pattern}: no file has such a name; {advice}")
        slides = list(self._select_matches(matches, (folder / pattern).parent.parts))
        if not slides:
            raise SlideNotFoundError(
                f"{folder / pattern}: matches no slide, only results, unfinished work or folders; give slides"
            )
        yield from map(SlideEntry, slides)

    def _select_matches(self, matches: Sequence[Path], named: Sequence[str]) -> Iterator[Path]:
        """Yield the slides among the matches of a pattern; work is looked into where the pattern names its folder."""
        for path in matches:
            if any(_is_part_of_work(part) for part in (path, *path.parents) if part.name not in named) or _is_companion(
                path
            ):
                continue
            if path.is_dir() and not is_slide_folder(path):
                yield from self._list_folder(path)
            elif self._keep(path):
                yield path

    def _expand_path(self, path: Path) -> Sequence[Path]:
        with _translate_errors(path):
            if not path.is_dir() or is_slide_folder(path):
                return [path]
        slides = self._list_folder(path)
        if not slides:
            from wsisr.slides.missing import describe_folder_without_slides  # noqa: PLC0415 - which imports this

            with _translate_errors(path):
                words = describe_folder_without_slides(path, holds_results=bool(self.left_out))
            raise SlideNotFoundError(f"{path}: {words}")
        return slides

    def _list_folder(self, folder: Path) -> list[Path]:
        with _translate_errors(folder):
            return list(self._walk(folder, set()))

    def _walk(self, folder: Path, visited: set[tuple[int, int]]) -> Iterator[Path]:
        """Yield the slides of a folder and its folders by name; links are followed, each folder once."""
        status = folder.stat()
        if (status.st_dev, status.st_ino) in visited:
            return
        visited.add((status.st_dev, status.st_ino))
        for path in sorted(folder.iterdir()):
            if path.name.startswith(".") or _is_part_of_work(path) or _is_companion(path):
                continue
            if path.is_dir() and not is_slide_folder(path):
                yield from self._walk(path, visited)
            elif (path.is_dir() or path.suffix.lower() in SLIDE_SUFFIXES) and self._keep(path):
                yield path

    def _keep(self, path: Path) -> bool:
        """Return whether a path is no result; note it as left out if it is one."""
        if self._is_result(path):
            self.left_out.append(path)
            return False
        return True


@contextmanager
def _translate_errors(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise SlideError(f"{path}: cannot be looked into ({error.strerror}); give other slides") from error


def _is_part_of_work(path: Path) -> bool:
    return path.name.endswith(WORK_FOLDER_SUFFIX) or is_stage_folder(path)


def _is_companion(path: Path) -> bool:
    """Return whether a folder holds the pixels of the MIRAX slide or the Olympus VSI beside it."""
    slides = (path.with_name(path.name + MIRAX_SUFFIX), path.with_name(path.name[1:-1] + VSI_SUFFIX))
    return any(slide.is_file() and find_scan_folder(slide) == path for slide in slides)


@dataclass(frozen=True, slots=True)
class SlideTable:
    """The rows of a CSV of slides, and the names of its columns that are not used."""

    entries: tuple[SlideEntry, ...]
    unused_columns: tuple[str, ...]


def read_slide_table(path: Path) -> SlideTable:
    """Read a CSV with the column `path` and, if wanted, `mpp`, `case` and `output` (see `read_csv_table`).

    Relative slides start at the folder of the table. Raises `ConfigError`, with the line, for what cannot be meant.
    """
    required, optional = TABLE_COLUMNS[:1], TABLE_COLUMNS[1:]
    table = read_csv_table(path, "a table of slides", required, optional)
    entries = [_parse_row(row) for row in table.rows]
    if not entries:
        raise ConfigError(f"{path}: no slide in this table; give one on each line")
    return SlideTable(
        tuple(entry if is_url(entry.path) else replace(entry, path=path.parent / entry.path) for entry in entries),
        tuple(name for name in table.columns if name not in TABLE_COLUMNS),
    )


def _parse_row(row: CsvRow) -> SlideEntry:
    """Convert a row of a table; an empty cell is a value that is not given."""
    cells = row.cells
    if not cells["path"]:
        raise ConfigError(f"{row.origin}: has no path; give that of a slide")
    output = cells.get("output")
    return SlideEntry(
        make_path(cells["path"]),
        _parse_mpp(cells.get("mpp", ""), row.origin),
        row.get_text("case") or None,
        Path(output) if output else None,
        row.origin,
    )


def _parse_mpp(text: str, where: str) -> float | None:
    try:
        # A decimal comma is what comes with columns separated by semicolons.
        mpp = float(text.replace(",", ".")) if text else None
    except ValueError:
        mpp = math.nan
    if mpp is not None and not is_plausible_mpp(mpp):
        raise ConfigError(
            f"{where}: mpp {describe_error(ValueError(text))!r} is no pixel size; give um/px, such as 0.25"
        )
    return mpp
