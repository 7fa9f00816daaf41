"""The request of a finetuning: every option with its default, for the command line and for Python."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import KW_ONLY, dataclass
from pathlib import Path

from wsisr.dataset.recipe import Recipe
from wsisr.errors import OptionError, OutputError
from wsisr.models.catalog import list_model_names
from wsisr.models.spec import SCALES

DEFAULT_MINUTES = 10.0

MOST_PATCHES = 300
"""Patches from one level of one slide: a few minutes of training see no more of many slides."""


@dataclass(frozen=True, slots=True)
class FinetuneRequest:
    """What to finetune on which slides. The options are those of `wsisr finetune`, under the same names.

    Raises `OptionError` for options that no slides can fulfil, `OutputError` for a folder that has no usable name.
    """

    slides: Sequence[Path | str]
    """Slides, folders, patterns, lists and tables, as `wsisr.slides.listing.list_slides` takes them."""
    _: KW_ONLY
    output: Path | str | None = None
    """Folder to write, whose name becomes that of the model; `finetuned-x2` by default, with the scale in it."""
    minutes: float = DEFAULT_MINUTES
    """Time to train. Making pairs before it and evaluating after it come on top."""
    scale: int = 2
    validation: Sequence[Path | str] = ()
    """Slides that only judge; by default a quarter of the cases, see `choose_held_out_cases`."""
    case_pattern: str | None = None
    """Regular expression for the part of a file name that names the patient or specimen; None goes by the conventions
    of `wsisr.dataset.case_names`."""
    device: str = "auto"
    jobs: int = 1
    """Slides from which pairs are made at a time."""
    overwrite: bool = False
    """Begin again in a folder that an earlier finetuning has written."""
    patch_px: int = 192
    """Side of the stored patches at high resolution."""
    crop_px: int = 48
    """Side of a training crop at low resolution."""
    batch: int = 16

    def __post_init__(self) -> None:
        if self.scale not in SCALES:
            raise OptionError(f"choose {' or '.join(map(str, SCALES))}", option="--scale")
        if not 0 < self.minutes < 1e6:
            raise OptionError("give a number above 0", option="--minutes")
        if not self.name or self.name in list_model_names():
            raise OutputError(f"{self.folder}: names the model, and cannot be called so; give another folder")

    @property
    def folder(self) -> Path:
        return Path(self.output or f"finetuned-x{self.scale}")

    @property
    def name(self) -> str:
        """Name of the model."""
        return self.folder.resolve().name

    @property
    def weights_path(self) -> Path:
        return self.folder / f"{self.name}.safetensors"

    @property
    def recipe(self) -> Recipe:
        """How patches are selected. Raises `ConfigError` for a pattern that is no regular expression."""
        return Recipe(self.patch_px, most_patches=MOST_PATCHES, case_pattern=self.case_pattern)
