"""Call specification: a function, and the items that workers call it with, where whole slides are shared."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, fields, is_dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

from wsisr.cluster.job_spec import ModelDescription, ModelRequest
from wsisr.cluster.packing import PackableSpec
from wsisr.errors import SlideError, WsisrError
from wsisr.slides.files import fingerprint_files, list_files_at


@dataclass(frozen=True, slots=True)
class CallSpec(PackableSpec):
    """What a worker must know to call a function with any of the items, and whether it is a worker like the others."""

    job: str
    """Name of the job, unique among all runs."""
    function: Callable[[Any], Any]
    """A function of a module; its results can be pickled."""
    items: tuple[Any, ...]
    """With absolute paths."""
    fingerprints: tuple[str, ...]
    """Of the files of each item, as the process sees them that started the run."""
    request: ModelRequest
    model: ModelDescription


class CallResult(NamedTuple):
    """What a worker sends back for an item."""

    number: int
    value: Any
    error: WsisrError | None
    """Why the function has no value for this item, on no worker."""


def make_item_absolute(value: Any) -> Any:
    """Return the same item, a nested dataclass, with absolute paths: workers run in other folders."""
    if isinstance(value, Path):
        return value.absolute()
    if type(value) is tuple:
        return tuple(map(make_item_absolute, value))
    if is_dataclass(value) and not isinstance(value, type):
        names = [field.name for field in fields(value) if field.init]
        return replace(value, **{name: make_item_absolute(getattr(value, name)) for name in names})
    return value


def list_paths(value: Any) -> Iterator[Path]:
    """Yield all paths of an item."""
    if isinstance(value, Path):
        yield value
    elif type(value) is tuple:
        for part in value:
            yield from list_paths(part)
    elif is_dataclass(value) and not isinstance(value, type):
        for field in fields(value):
            yield from list_paths(getattr(value, field.name))


def fingerprint_item(item: Any) -> str:
    """Return text that changes with the size or date of any file that an item names; empty for a missing one.

    A slide that is missing everywhere is an error of that slide, which whoever opens it explains best.
    """
    return " ".join(map(_fingerprint_slide, list_paths(item)))


def _fingerprint_slide(path: Path) -> str:
    try:
        return fingerprint_files(list_files_at(path))
    except SlideError:
        return ""
