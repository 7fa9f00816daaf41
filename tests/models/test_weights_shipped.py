"""What the cards and recipes say of the shipped weights."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from wsisr.models.catalog import GAN_SUFFIX, Model, find_weights_folder, list_shipped_models
from wsisr.models.spec import ModelSpec
from wsisr.models.weights import load_network
from wsisr.models.weights_header import read_model_spec
from wsisr.training.loop import result_file
from wsisr.training.stages import TrainStage, read_recipe, stage_folder


@pytest.mark.parametrize("model", list_shipped_models(), ids=lambda model: model.name)
def test_a_recipe_makes_networks_of_the_shape_of_its_weights(model: Model) -> None:
    recipe = read_recipe(model.path.with_suffix(".toml"))
    made = recipe.stages[-1].config.network.build_spec(model.spec.input_mpp)
    assert replace(made, window=model.spec.window) == model.spec
    if "masrgan" in (made.family, made.trunk):
        assert made.window == model.spec.window


def test_each_model_has_one_recipe_and_each_recipe_is_of_a_model() -> None:
    names = {model.name for model in list_shipped_models()}
    assert {path.stem for path in find_weights_folder().glob("*.toml")} == names


@pytest.mark.parametrize("model", list_shipped_models(), ids=lambda model: model.name)
def test_a_recipe_says_in_which_precision_its_weights_are(model: Model) -> None:
    result = read_recipe(model.path.with_suffix(".toml")).stages[-1].config.result
    types = {tensor.dtype for tensor in load_file(model.path).values()}
    assert types == {torch.float16 if result.half else torch.float32}


def result_of(path: Path) -> ModelSpec:
    """Shape of the weights from which a stage starts: shipped ones, or the result of a stage of another recipe."""
    if path.exists():
        return read_model_spec(path)
    folder, stage, name = path.parts[-3:]
    assert path.parts[-4] == "runs"
    stages = {stage_folder(index): each for index, each in enumerate(read_recipe(recipe_of(folder)).stages)}
    assert name == result_file(stages[stage].config)
    return spec_of(stages[stage])


def recipe_of(name: str) -> Path:
    return find_weights_folder() / f"{name}.toml"


def spec_of(stage: TrainStage) -> ModelSpec:
    return stage.config.network.build_spec((1.0, 1.0))


@pytest.mark.parametrize("model", list_shipped_models(), ids=lambda model: model.name)
def test_what_a_stage_starts_from_is_a_network_that_it_can_start_from(model: Model) -> None:
    stages = read_recipe(model.path.with_suffix(".toml")).stages
    for stage in stages:
        network = stage.config.network
        donors = [spec_of(stages[index]) for index in stage.starts] or list(map(result_of, network.warm_start))
        for donor in donors:
            assert (donor.channels, donor.blocks) == (network.channels, network.blocks)
            family = "masrgan" if network.fold else network.trunk or network.family
            assert (donor.trunk or donor.family) == family


@pytest.mark.parametrize(
    "model",
    [each for each in list_shipped_models() if not each.name.endswith(GAN_SUFFIX)],
    ids=lambda model: model.name,
)
def test_a_card_tells_the_parameters_of_its_network(model: Model) -> None:
    card = model.path.with_suffix(".md").read_text(encoding="utf-8")
    _, network = load_network(model.path)
    assert f"{sum(each.numel() for each in network.parameters()):,} parameters" in card
