"""Which model is taken where none is named, and what each is for."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from tests.support.networks import make_small_spec
from wsisr.errors import ModelError
from wsisr.models.catalog import (
    Model,
    choose_default_among,
    choose_default_model,
    choose_default_scale,
    derive_model_name,
    describe_purpose,
    find_model,
    list_shipped_models,
)
from wsisr.models.weights import load_blended_network, load_network


def make_model(folder: Path, name: str, pitches: tuple[float, float] = (0.5, 4.0)) -> Model:
    """There is a file of that name, but nothing in it: what is chosen is chosen by what is said of it."""
    path = folder / f"{name}.safetensors"
    path.touch()
    family = "mmsrnet" if name.startswith("mmsrnet") else "masrgan"
    return Model(name, path, replace(make_small_spec(family), input_mpp=pitches))


def make_models(folder: Path, *given: str) -> list[Model]:
    return [make_model(folder, name) for name in given]


def test_of_alike_models_the_one_that_warns_of_a_wrong_pitch_is_taken(tmp_path: Path) -> None:
    models = make_models(tmp_path, "masrgan-x2", "masrgan-x2-best", "masrgan-x2-fast", "masrgan-x2-gan", "mmsrnet-x2")
    assert [choose_default_among(order, 2, 1.0).name for order in (models, models[::-1])] == ["mmsrnet-x2"] * 2
    assert choose_default_among(models[:4], 2, None).name == "masrgan-x2"


def test_the_nearest_in_pitch_comes_before_that(tmp_path: Path) -> None:
    models = [make_model(tmp_path, "masrgan-x2", (0.25, 1.0)), make_model(tmp_path, "mmsrnet-x2", (2.0, 4.0))]
    assert [choose_default_among(models, 2, mpp).name for mpp in (0.5, 3.0)] == ["masrgan-x2", "mmsrnet-x2"]


def test_fast_best_and_crisp_ones_are_taken_by_name_only(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="no shipped model has scale 2"):
        choose_default_among(make_models(tmp_path, "masrgan-x2-best", "masrgan-x2-fast", "mmsrnet-x2-gan"), 2, 1.0)


def test_every_model_says_what_it_is_for_and_one_is_the_default(tmp_path: Path) -> None:
    models = make_models(tmp_path, "masrgan-x2", "masrgan-x2-best", "masrgan-x2-fast", "masrgan-x2-gan", "mmsrnet-x2")
    assert [describe_purpose(each, models) for each in models] == [
        "mix-attention, when named",
        "least error, for a GPU, when named",
        "speed on a CPU, when named",
        "--perception of masrgan-x2: crisp, less true",
        "the default; may warn of a wrong pixel size",
    ]


@pytest.mark.parametrize("scale", [2, 4])
def test_one_shipped_model_of_each_scale_is_the_default(scale: int) -> None:
    said = [describe_purpose(each, list_shipped_models()) for each in list_shipped_models() if each.spec.scale == scale]
    assert sum(words.startswith("the default") for words in said) == 1
    assert not choose_default_model(scale, None).is_opt_in


@pytest.mark.parametrize(
    ("mpp", "scale"), [(0.25, 2), (0.499, 2), (0.8, 2), (0.9, 4), (1.0, 4), (8.0, 4), (20.0, 4), (None, 4)]
)
def test_the_scale_goes_with_the_pitch_that_models_were_trained_on(mpp: float | None, scale: int) -> None:
    assert choose_default_scale(mpp) == scale
    if mpp and any(choose_default_model(each, mpp).spec.covers_mpp(mpp) for each in (2, 4)):
        assert choose_default_model(scale, mpp).spec.covers_mpp(mpp)


@pytest.mark.parametrize("model", list_shipped_models(), ids=lambda model: model.name)
def test_the_scale_of_a_model_that_is_named_is_its_own(model: Model) -> None:
    assert choose_default_scale(0.5, model.name) == model.spec.scale


@pytest.mark.parametrize(
    "model", [each for each in list_shipped_models() if each.gan_variant_path.is_file()], ids=lambda model: model.name
)
def test_a_shipped_twin_lies_a_part_of_the_way_from_its_model(model: Model) -> None:
    """Which asks that they are of one shape."""
    _, half = load_blended_network(model.path, model.gan_variant_path, 0.5)
    last = next(name for name in half.state_dict() if name.endswith("tail.weight"))
    ends = [load_network(path)[1].state_dict()[last] for path in (model.path, model.gan_variant_path)]
    assert not ends[0].equal(ends[1])
    assert (half.state_dict()[last] - (ends[0] + ends[1]) / 2).abs().max() < 1e-6


def test_a_typo_is_answered_with_names_like_it_and_anything_else_with_all() -> None:
    with pytest.raises(ModelError, match=r"no model is called 'mmsrnet-2x'; similar names: .*mmsrnet-x2, .*or give"):
        find_model("mmsrnet-2x")
    with pytest.raises(ModelError, match=r"; choose from masrgan-x2-best, .*, or give a"):
        find_model("x")


@pytest.mark.parametrize(
    ("file", "name"),
    [
        ("mine/best.safetensors", "mine"),
        ("mine/last.safetensors", "mine-last"),
        ("mine/stage-2/best.safetensors", "mine-stage-2"),
        ("mine/other.safetensors", "other"),
    ],
)
def test_weights_of_a_training_are_called_as_its_run_until_they_are_moved_away(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, file: str, name: str
) -> None:
    path = tmp_path / file
    path.parent.mkdir(parents=True)
    assert derive_model_name(path) == path.stem
    (path.parent / "metrics.jsonl").touch()
    assert derive_model_name(path) == name
    monkeypatch.chdir(path.parent)
    assert derive_model_name(Path(path.name)) == name
