"""What the cards and recipes say of the shipped weights."""

from __future__ import annotations

from dataclasses import replace

import pytest

from wsisr.models.catalog import GAN_SUFFIX, Model, list_shipped_models
from wsisr.models.weights import load_network
from wsisr.training.config import read_train_config


@pytest.mark.parametrize("model", list_shipped_models(), ids=lambda model: model.name)
def test_a_recipe_makes_networks_of_the_shape_of_its_weights(model: Model) -> None:
    recipe = read_train_config(model.path.with_suffix(".toml"))
    made = recipe.network.build_spec(model.spec.input_mpp)
    assert replace(made, window=model.spec.window) == model.spec
    if "masrgan" in (made.family, made.trunk):
        assert made.window == model.spec.window


@pytest.mark.parametrize(
    "model",
    [each for each in list_shipped_models() if not each.name.endswith(GAN_SUFFIX)],
    ids=lambda model: model.name,
)
def test_a_card_tells_the_parameters_of_its_network(model: Model) -> None:
    card = model.path.with_suffix(".md").read_text(encoding="utf-8")
    _, network = load_network(model.path)
    assert f"{sum(each.numel() for each in network.parameters()):,} parameters" in card
