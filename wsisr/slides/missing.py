"""Slides that are not there: what was probably meant, by what lies beside them."""

from __future__ import annotations

import glob
from collections import Counter
from collections.abc import Sequence
from difflib import get_close_matches
from itertools import islice
from pathlib import Path

from wsisr.errors import SlideNotFoundError
from wsisr.remote.path import is_url
from wsisr.slides.listing import PICTURE_SUFFIXES, SLIDE_SUFFIXES, WORK_FOLDER_SUFFIX, is_stage_folder
from wsisr.slides.unrecognised import describe_format_without_reader, describe_inner_folder

MOST_NAMES = 10_000
"""Names of a folder that are looked at."""

_READ_SUFFIXES = {*SLIDE_SUFFIXES, *PICTURE_SUFFIXES, ".dcm"}


def refuse_missing_slide(path: Path) -> None:
    """Raise `SlideNotFoundError` if nothing is at a path. Whatever else is wrong with it, a reader knows more about."""
    if is_url(path):
        return
    try:
        path.stat()
    except FileNotFoundError as error:
        raise SlideNotFoundError(describe_missing_slide(path, error)) from error
    except OSError:
        return


def describe_missing_slide(path: Path, error: FileNotFoundError) -> str:
    """Return that there is nothing at a path, and what to give in its place."""
    advice = "give the path of a slide" if is_url(path) else _advise_on_missing_slide(path)
    return f"{path}: cannot be opened ({error.strerror}); {advice}"


def advise_on_missing_file(path: Path) -> str:
    """Return the files of similar names and the same suffix beside a path that does not exist, as a question; or
    nothing."""
    try:
        names = [other.name for other in islice(path.parent.iterdir(), MOST_NAMES) if other.suffix == path.suffix]
    except OSError:
        return ""
    similar = get_close_matches(path.name, names, n=2)
    return f"did you mean {' or '.join(str(path.with_name(name)) for name in similar)}?" if similar else ""


def _advise_on_missing_slide(path: Path) -> str:
    """Return what to give in place of a path that does not exist: similar names of slides and folders beside it."""
    missing = next((parent for parent in reversed(path.parents) if not parent.exists()), path)
    known = _list_names(missing.parent, folders_only=missing != path)
    similar = get_close_matches(missing.name.lower(), list(known), n=2)
    names = " or ".join(str(missing.with_name(known[name])) for name in similar)
    if missing != path:
        return f"there is no folder {missing}" + (f"; did you mean {names}?" if names else "; give the path of a slide")
    return f"did you mean {names}?" if names else "give the path of a slide"


def advise_on_pattern(pattern: Path) -> str:
    """Return what to give in place of a pattern that matches nothing: what the names of slides in its folder end in."""
    folder = next(parent for parent in pattern.parents if not glob.has_magic(str(parent)))
    if not folder.exists():
        return _advise_on_missing_slide(folder / pattern.name)
    names = _list_names(folder, folders_only=False)
    counts = Counter(suffix for name in names if (suffix := Path(name).suffix) in _READ_SUFFIXES)
    suffixes = ", ".join(f"{count} {suffix}" for suffix, count in counts.most_common(3))
    return f"there are {suffixes} in {folder}; give other slides" if suffixes else "give other slides"


def describe_folder_without_slides(folder: Path, *, holds_results: bool) -> str:
    """Return what a folder is that holds no slide, and what to give instead. Raises `OSError`."""
    inner = describe_inner_folder(folder)
    files = sorted(path for path in folder.iterdir() if path.is_file())
    results = ", only results of wsisr" if holds_results else ""
    return inner or f"no slide in this folder{results}; {_advise_on_files(folder, files)}"


def _advise_on_files(folder: Path, files: Sequence[Path]) -> str:
    """Return what to give instead of a folder whose files are no slides that are read."""
    suffixes = sorted({path.suffix for path in files if path.suffix.lower() in PICTURE_SUFFIXES})
    if suffixes:
        pictures = " ".join(f"'{folder}/*{suffix}'" for suffix in suffixes)
        return f"to take its pictures, give {pictures}"
    unread = ((path, describe_format_without_reader(path)) for path in files)
    words = next((f"{path.name} {words}" for path, words in unread if words), None)
    return words or "give slides, or a folder that holds them"


def _list_names(folder: Path, *, folders_only: bool) -> dict[str, str]:
    """Return the names in a folder that may be read as slides or folders of them, by the same in small letters."""
    try:
        paths = sorted(islice(folder.iterdir(), MOST_NAMES))
        return {path.name.lower(): path.name for path in paths if _may_be_meant(path, folders_only=folders_only)}
    except OSError:
        return {}


def _may_be_meant(path: Path, *, folders_only: bool) -> bool:
    if path.is_dir():
        hidden = path.name.startswith(".") or path.name.endswith(WORK_FOLDER_SUFFIX)
        return not (hidden or is_stage_folder(path))
    return not folders_only and path.suffix.lower() in _READ_SUFFIXES
