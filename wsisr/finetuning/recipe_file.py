"""The recipe of a finetuning, as a file that `wsisr train` reads, too."""

from __future__ import annotations

import tomllib

from wsisr.files import write_atomically
from wsisr.finetuning.request import FinetuneRequest
from wsisr.models.catalog import Model
from wsisr.training.config import TrainConfig
from wsisr.training.config_file import parse_train_config

RECIPE_FILE, PAIRS_FOLDER, RUN_FOLDER = "recipe.toml", "dataset", "run"

LEARNING_RATE = 3e-5
"""Small, for the shipped weights are near their best: docs/training.md has the measurement."""

TEMPLATE = """\
# Written by `wsisr finetune`; it is the recipe of the training in the folder `run`.
[network]
scale = {scale}
family = "{family}"
channels = {channels}
blocks = {blocks}
window = {window}
warm_start = "{start}"

[data]
dataset = "{dataset}"
patch_px = {crop_px}
batch = {batch}
kernels = {{ archive = 0.55, area = 0.15, bicubic = 0.15, stored = 0.15 }}

[schedule]
steps = {steps}
stop_after = {stop_after}
learning_rate = {rate}
warm_up = 20
ema = 0.99
validate_every = {validate_every}

[result]                           # no validation chooses: the cases that judge are held out
weights = "last"
"""


def write_recipe(request: FinetuneRequest, start: Model, steps: int, stop_after: int) -> TrainConfig:
    """Write the recipe into the folder of a finetuning, and return it. Raises `OutputError`."""
    text = format_recipe(request, start, steps, stop_after)
    write_atomically(request.folder / RECIPE_FILE, [text.encode()])
    return parse_recipe(request, text)


def parse_recipe(request: FinetuneRequest, text: str) -> TrainConfig:
    """Parse the recipe that lies, or is to lie, in the folder of a finetuning."""
    path = request.folder / RECIPE_FILE
    return parse_train_config(tomllib.loads(text), str(path), path.parent)


def format_recipe(request: FinetuneRequest, start: Model, steps: int, stop_after: int = 0) -> str:
    """Return the recipe as TOML.

    A network that classifies magnifications is trained without that branch, for its classes need slides of all of them.
    """
    spec = start.spec
    return TEMPLATE.format(
        scale=spec.scale,
        family=spec.trunk or spec.family,
        channels=spec.channels,
        blocks=spec.blocks,
        window=spec.window,
        start=start.name,
        dataset=PAIRS_FOLDER,
        crop_px=request.crop_px,
        batch=request.batch,
        steps=steps,
        stop_after=stop_after,
        rate=LEARNING_RATE,
        validate_every=max(1, -(-steps // 4)),
    )
