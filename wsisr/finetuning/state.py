"""What a finetuning remembers in its folder: what it was begun with, and how long it has trained."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path

from wsisr.dataset.slides_and_splits import DatasetSlide
from wsisr.errors import ConfigError, OutputError, describe_error
from wsisr.files import remove_path, translate_disk_errors, write_atomically
from wsisr.finetuning.cases import SlideSelection
from wsisr.finetuning.recipe_file import PAIRS_FOLDER, RECIPE_FILE, RUN_FOLDER
from wsisr.finetuning.request import FinetuneRequest
from wsisr.models.catalog import Model
from wsisr.models.weights_header import hash_file
from wsisr.progress import format_count
from wsisr.training.config_keys import describe_change, list_changed_keys

STATE_FILE, REPORT_FILE = "finetune.json", "report.json"

MOST_NOTES = 10


@dataclass(slots=True)
class FinetuneState:
    """The state of a finetuning; its fields are the keys of the file."""

    identity: Mapping[str, str]
    """Everything that the pairs and the training depend on besides the time, as text."""
    minutes: float
    """Time that the steps are planned for."""
    steps: int = 0
    """Steps of the training; 0 before they are planned."""
    stop_after: int = 0
    """Step after which the time was up; 0 if it was not."""
    trained_s: float = 0.0
    """Time spent in training so far, in all runs of the command."""
    failures: list[str] = field(default_factory=list)
    """Why slides gave no pairs."""

    def save(self, folder: Path) -> None:
        write_atomically(folder / STATE_FILE, [json.dumps(asdict(self), indent=2).encode() + b"\n"])


def open_state(request: FinetuneRequest, start: Model, selection: SlideSelection) -> FinetuneState:
    """Create the folder of a finetuning, or read the state of the one in it, whose time may be prolonged.

    Raises `OutputError` for a folder that holds something else, `ConfigError` for a finetuning of other slides or
    options, which the notes of the error tell.
    """
    folder, identity = request.folder, describe_identity(request, start, selection)
    with translate_disk_errors(folder):
        is_ours = (folder / STATE_FILE).is_file()
        if folder.exists() and not is_ours and (not folder.is_dir() or any(folder.iterdir())):
            raise OutputError(f"{folder}: exists already, and is no finetuning; give another folder")
        if is_ours and request.overwrite:
            _clear_folder(request)
            is_ours = False
        folder.mkdir(parents=True, exist_ok=True)
    if is_ours:
        state = _read_state(folder)
        _check_identity(folder, state.identity, identity)
        return state
    state = FinetuneState(identity, request.minutes)
    state.save(folder)
    return state


def describe_identity(request: FinetuneRequest, start: Model, selection: SlideSelection) -> dict[str, str]:
    """Return what a finetuning depends on besides its time, as text by its name."""
    slides = {f"slide {slide.path}": _describe_slide(slide) for slide in selection.slides}
    sizes = {name: str(getattr(request, name)) for name in ("scale", "patch_px", "crop_px", "batch")}
    return {**sizes, "model to start from": f"{start.name} ({hash_file(start.path)[:12]})", **slides}


def _describe_slide(slide: DatasetSlide) -> str:
    given = "" if slide.mpp is None else f", {slide.mpp:g} um/px"
    return f"{slide.split}, case {slide.case}{given}, {' '.join(slide.file_state().values())}"


def _check_identity(folder: Path, before: Mapping[str, str], now: Mapping[str, str]) -> None:
    changed = list_changed_keys(before, now)
    if not changed:
        return
    error = ConfigError(
        f"{folder}: holds a finetuning of other slides or options; give another folder with -o, or --overwrite"
    )
    for key in changed[:MOST_NOTES]:
        error.add_note(describe_change(key, before, now))
    if len(changed) > MOST_NOTES:
        error.add_note(f"and {format_count(len(changed) - MOST_NOTES, 'other difference')}")
    raise error


def _read_state(folder: Path) -> FinetuneState:
    path = folder / STATE_FILE
    try:
        values = json.loads(path.read_bytes())
        identity = {str(key): str(value) for key, value in dict(values["identity"]).items()}
        steps, stop_after = (int(values[key]) for key in ("steps", "stop_after"))
        minutes, trained_s = (float(values[key]) for key in ("minutes", "trained_s"))
        return FinetuneState(identity, minutes, steps, stop_after, trained_s, list(map(str, values["failures"])))
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read ({error.strerror}); give another folder") from error
    except (ValueError, TypeError, KeyError, RecursionError) as error:
        raise ConfigError(
            f"{path}: not the state of a finetuning ({describe_error(error)}); begin again with --overwrite"
        ) from error


def _clear_folder(request: FinetuneRequest) -> None:
    """Remove what a finetuning writes, the state last, and leave everything else."""
    names = (PAIRS_FOLDER, f"{PAIRS_FOLDER}.wsisr-part", RUN_FOLDER, RECIPE_FILE, REPORT_FILE, STATE_FILE)
    for path in (request.weights_path, *(request.folder / name for name in names)):
        remove_path(path)
