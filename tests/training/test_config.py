"""The TOML file of a run: what is read, what is refused, and what makes two runs the same."""

from __future__ import annotations

import hashlib
import json
import re
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest

from tests.support.samples import REPOSITORY
from wsisr.dataset.degradation import Degradation, DegradationRound
from wsisr.dataset.degradation_steps import Jpeg
from wsisr.errors import ConfigError
from wsisr.models.catalog import find_weights_folder
from wsisr.training.config import DATA_PRESETS, PYRAMID_KERNELS, TrainConfig
from wsisr.training.config_file import read_train_config
from wsisr.training.pixel_size_variation import PixelSizeVariation
from wsisr.training.stages import read_recipe
from wsisr.training.stain_augmentation import StainVariation

GOOD: dict[str, dict[str, Any]] = {
    "network": {"scale": 2},
    "data": {"dataset": "pairs"},
    "schedule": {"steps": 12},
}


def toml(value: object) -> str:
    if isinstance(value, dict):
        return "{ " + ", ".join(f"{key} = {toml(item)}" for key, item in value.items()) + " }"
    return f'"{value}"' if isinstance(value, str) else str(value).lower()


def write_recipe(path: Path, tables: dict[str, dict[str, Any]], top: str = "") -> Path:
    lines = [top]
    for name, table in tables.items():
        lines += [f"[{name}]", *(f"{key} = {toml(value)}" for key, value in table.items())]
    path.write_text("\n".join(lines))
    return path


def change_table(table: str, **values: Any) -> dict[str, dict[str, Any]]:
    return GOOD | {table: GOOD[table] | values}


def read_tables(folder: Path, tables: dict[str, dict[str, Any]] = GOOD, top: str = "") -> TrainConfig:
    folder.mkdir(exist_ok=True)
    return read_train_config(write_recipe(folder / "run.toml", tables, top))


def read_refusal(path: Path) -> str:
    with pytest.raises(ConfigError) as error:
        read_train_config(path)
    assert str(error.value).startswith(f"{path}")
    assert "\n" not in str(error.value)
    return str(error.value)


def test_every_shipped_recipe_can_be_read() -> None:
    recipes = sorted((REPOSITORY / "weights").glob("*.toml"))
    assert recipes
    for recipe in recipes:
        for stage in read_recipe(recipe).stages:
            assert f"-x{stage.config.network.scale}" in recipe.stem


def test_relative_paths_start_at_the_file(tmp_path: Path) -> None:
    tables = change_table("data", dataset="../pairs") | change_table("network", warm_start="x2.safetensors")
    tables["data"] = {"dataset": "../pairs"}
    parsed = read_tables(tmp_path / "recipes", tables)
    assert parsed.data.dataset == tmp_path / "pairs"
    assert parsed.network.warm_start == (tmp_path / "recipes" / "x2.safetensors",)


def test_a_warm_start_may_be_of_several_files(tmp_path: Path) -> None:
    parsed = read_tables(tmp_path, change_table("network", warm_start=["a.safetensors", "b.safetensors"]))
    assert parsed.network.warm_start == (tmp_path / "a.safetensors", tmp_path / "b.safetensors")


def test_a_mistyped_table_is_named_with_the_one_that_is_meant(tmp_path: Path) -> None:
    tables = {"dta" if name == "data" else name: values for name, values in GOOD.items()}
    refusal = read_refusal(write_recipe(tmp_path / "run.toml", tables))
    assert "unknown key 'dta'; known: " in refusal
    assert "did you mean 'data'?" in refusal


def test_a_whole_number_may_stand_for_a_fraction(tmp_path: Path) -> None:
    whole, fraction = (read_tables(tmp_path, change_table("schedule", learning_rate=rate)) for rate in (1, 1.0))
    assert whole.compute_digest() == fraction.compute_digest()


@pytest.mark.parametrize(
    ("table", "values", "reason"),
    [
        ("network", {"depth": 3}, r"[network]: unknown key 'depth'; known: scale, family"),
        ("network", {"scale": 3}, "scale = 3 is not one of 2, 4"),
        ("network", {"scale": "2"}, "scale = '2' is not a whole number"),
        ("network", {"scale": True}, "scale = True is not a whole number"),
        ("network", {"channels": 0}, "channels = 0 is not a whole number from 1"),
        ("network", {"window": 4}, "window = 4 must be odd"),
        ("network", {"family": 5}, "family = 5 is not a text in quotes"),
        ("network", {"warm_start": 1}, "warm_start = 1 is not a text in quotes"),
        ("network", {"warm_start": ["a", 1]}, "warm_start = 1 is not a text in quotes"),
        ("data", {"dataset": 5}, "dataset = 5 is not a text in quotes"),
        ("data", {"patch_px": 0}, "patch_px and batch must be at least 1"),
        ("data", {"processes": -1}, "processes at least 0"),
        ("data", {"batch": 1.5}, "batch = 1.5 is not a whole number"),
        ("data", {"kernels": {}}, "the shares of kernels must be"),
        ("data", {"kernels": {"area": 0}}, "the shares of kernels must be"),
        ("data", {"kernels": {"area": 1, "bicubic": -1}}, "the shares of kernels must be"),
        ("data", {"kernels": {"area": "much"}}, "kernels: area = 'much' is not a number"),
        ("data", {"kernels": {"area": float("inf")}}, "kernels: area = inf is not a number"),
        ("data", {"kernels": "area"}, "kernels = 'area' is not a table"),
        ("data", {"kernels": {"box": 1.0}}, "unknown kernel 'box'; known: area, bicubic"),
        ("data", {"stain_jitter": 2}, "stain_jitter must be from 0 to 1"),
        ("data", {"truth": {"share": 2}}, "a share must be from 0 to 1"),
        ("data", {"truth": {"jpg": {}}}, "truth: unknown key 'jpg'"),
        ("data", {"magnifications": [0]}, "magnifications of data must be above 0"),
        ("adversary", {"judge": "jury"}, "judge = jury is not one of unet, vgg"),
        ("adversary", {"head_start": -1}, "a head_start of at least 0"),
        ("network", {"magnifications": 5}, "magnifications = 5 is not a list of numbers"),
        ("network", {"magnifications": [5, "x"]}, "magnifications = 'x' is not a number"),
        ("network", {"trunk": "edsr"}, "trunk and magnifications belong to mmsrnet"),
        ("network", {"family": "mmsrnet"}, "needs"),
        ("schedule", {"accumulate": 3}, "accumulate = 3 does not divide the batch of 16"),
        ("schedule", {"accumulate": 0}, "accumulate = 0 does not divide"),
        ("schedule", {"trunk_rate": -1}, "trunk_rate must be at least 0"),
        ("loss", {"l2": 1}, "[loss]: unknown key 'l2'; known: l1, charbonnier"),
        ("loss", {"l1": -1}, "losses need weights of which none is below 0"),
        ("loss", {"l1": 0}, "losses need weights of which none is below 0 and one is above"),
        ("loss", {"classification": 1}, "the loss classification belongs to the family mmsrnet"),
        ("loss", {"perceptual": 1}, "the perceptual loss needs `features`"),
        ("loss", {"features": "a.safetensors"}, "`features` needs the perceptual loss"),
        ("adversary", {"channels": 0}, "the adversary needs 1 to 1024 channels"),
        ("schedule", {"steps": 0}, "steps, validate_every and save_every must be at least 1"),
        ("schedule", {"steps": 10**400}, "is not a whole number"),
        ("schedule", {"save_every": 0}, "steps, validate_every and save_every must be at least 1"),
        ("schedule", {"learning_rate": 0}, "learning_rate must be above 0"),
        ("schedule", {"learning_rate": float("nan")}, "learning_rate = nan is not a number"),
        ("schedule", {"warm_up": -1}, "warm_up at least 0"),
        ("schedule", {"ema": 1.0}, "ema must be at least 0 and below 1"),
    ],
)
def test_what_cannot_be_meant_is_one_line(tmp_path: Path, table: str, values: dict[str, Any], reason: str) -> None:
    path = write_recipe(tmp_path / "run.toml", GOOD | {table: GOOD.get(table, {}) | values})
    assert reason in read_refusal(path)


def test_a_branch_learns_without_pixels_only_on_a_trunk_at_rest(tmp_path: Path) -> None:
    network = {"scale": 2, "family": "mmsrnet", "trunk": "edsr", "magnifications": [10, 20]}
    alone = GOOD | {"network": network, "loss": {"l1": 0, "classification": 1}}
    path = write_recipe(tmp_path / "run.toml", alone)
    assert "classification alone would spoil the trunk's pixels; set trunk_rate = 0" in read_refusal(path)
    assert not read_tables(
        tmp_path / "at-rest", alone | {"schedule": {"steps": 12, "trunk_rate": 0}}
    ).loss.trains_pixels


@pytest.mark.parametrize("missing", ["network", "data", "schedule"])
def test_a_missing_table_is_named(tmp_path: Path, missing: str) -> None:
    tables = {name: table for name, table in GOOD.items() if name != missing}
    assert f"table [{missing}] is missing" in read_refusal(write_recipe(tmp_path / "run.toml", tables))
    assert f"table [{missing}] is missing" in read_refusal(
        write_recipe(tmp_path / "run.toml", tables, f"{missing} = 5")
    )


@pytest.mark.parametrize(("table", "key"), [("network", "scale"), ("data", "dataset"), ("schedule", "steps")])
def test_a_missing_key_is_named(tmp_path: Path, table: str, key: str) -> None:
    line = read_refusal(write_recipe(tmp_path / "run.toml", GOOD | {table: {}}))
    assert re.search(rf"\[{table}\]: a required key is missing: '{key}'$", line)


def test_what_is_not_toml_is_one_line(tmp_path: Path) -> None:
    path = tmp_path / "run.toml"
    assert "cannot be read (No such file" in read_refusal(path)
    path.write_text("scale = ")
    assert "not a TOML file" in read_refusal(path)
    path.write_bytes(b"\xff\xfe")
    assert "not a TOML file" in read_refusal(path)
    assert "cannot be read (Is a directory)" in read_refusal(tmp_path)


@pytest.mark.parametrize("top", ["seed = -1", "seed = 0.5", "steps = 5", "[extra]"])
def test_what_is_beside_the_tables_is_checked_too(tmp_path: Path, top: str) -> None:
    read_refusal(write_recipe(tmp_path / "run.toml", GOOD, top))


def test_the_digest_is_the_same_wherever_the_files_lie(tmp_path: Path) -> None:
    tables = {**GOOD, "network": {"scale": 2, "warm_start": "x2.safetensors"}}
    assert read_tables(tmp_path / "a", tables).compute_digest() == read_tables(tmp_path / "b", tables).compute_digest()


def test_the_digest_does_not_tell_how_often_a_run_saves_and_validates(tmp_path: Path) -> None:
    often = read_tables(tmp_path, change_table("schedule", save_every=1, validate_every=3))
    assert often.compute_digest() == read_tables(tmp_path).compute_digest()


@pytest.mark.parametrize(
    "tables",
    [
        GOOD | {"loss": {"charbonnier": 1}},
        GOOD | {"adversary": {"channels": 8}},
        change_table("data", stain_jitter=0.1),
        change_table("data", truth={"jpeg": {}}),
        change_table("schedule", accumulate=2),
        change_table("network", scale=4),
        change_table("network", channels=8),
        change_table("network", warm_start="x2.safetensors"),
        change_table("network", warm_start=["x2.safetensors", "x4.safetensors"]),
        change_table("data", batch=3),
        change_table("data", kernels={"area": 1.0}),
        change_table("data", kernels={"bicubic": 0.4, "area": 0.4, "pyramid": 0.2}),
        change_table("schedule", steps=13),
        change_table("schedule", learning_rate=0.5),
        change_table("schedule", ema=0.5),
    ],
)
def test_the_digest_tells_all_that_changes_the_weights(tmp_path: Path, tables: dict[str, dict[str, Any]]) -> None:
    assert read_tables(tmp_path, tables).compute_digest() != read_tables(tmp_path).compute_digest()


def test_the_digest_tells_the_seed(tmp_path: Path) -> None:
    parsed = read_tables(tmp_path)
    assert replace(parsed, seed=1).compute_digest() != parsed.compute_digest()


def test_a_degradation_stands_in_the_recipe_or_in_a_file_of_its_own(tmp_path: Path) -> None:
    kernels = {"kernels": {"degraded": 1.0}}
    (tmp_path / "scanner.toml").write_text("[first.jpeg]\nqualities = [40, 60]\n")
    by_name = read_tables(tmp_path, change_table("data", degradation="scanner.toml", **kernels))
    inline = read_tables(
        tmp_path, change_table("data", degradation={"first": {"jpeg": {"qualities": [40, 60]}}}, **kernels)
    )
    assert (
        by_name.data.degradation == inline.data.degradation == Degradation(first=DegradationRound(jpeg=Jpeg((40, 60))))
    )
    assert (
        by_name.compute_digest()
        == inline.compute_digest()
        != read_tables(tmp_path, change_table("data", **kernels)).compute_digest()
    )


def test_a_degradation_that_cannot_be_meant_is_refused(tmp_path: Path) -> None:
    tables = change_table("data", kernels={"degraded": 1.0}, degradation={"first": {"jpg": {}}})
    parsed = read_refusal(write_recipe(tmp_path / "run.toml", tables))
    assert "[data]: degradation: first: unknown key 'jpg'; known: lens, defocus, blur" in parsed
    unused = change_table("data", degradation={"first": {"jpeg": {}}})
    assert "which has no share" in read_refusal(write_recipe(tmp_path / "run.toml", unused))
    missing = write_recipe(
        tmp_path / "run.toml", change_table("data", kernels={"degraded": 1.0}, degradation="none.toml")
    )
    with pytest.raises(ConfigError, match=r"none\.toml: cannot be read"):
        read_train_config(missing)


def test_a_preset_is_the_values_that_the_table_does_not_have(tmp_path: Path) -> None:
    table = change_table("data", preset="archive", stain_jitter=0.1)
    table["data"].pop("kernels", None)
    parsed = read_tables(tmp_path, table).data
    assert parsed.kernels == DATA_PRESETS["archive"]["kernels"]
    assert parsed.stain_jitter == 0.1
    assert parsed.stain == StainVariation((0.1, 1.5), 0.5, 0.15)
    assert parsed.pixel_size == PixelSizeVariation(2.0, 0.3)
    assert parsed.truth is not None
    assert parsed.truth.share == 0.5
    refused = write_recipe(tmp_path / "run.toml", change_table("data", preset="archve"))
    assert "[data]: unknown preset 'archve'; known: archive" in read_refusal(refused)


@pytest.mark.parametrize(
    ("key", "value", "told"),
    [
        ("stain", {"density": [0, 1]}, "density must be above 0"),
        ("stain", {"mixing": 0.6}, "mixing from 0 to 0.5"),
        ("stain", {"fade": 0.6}, "unknown key 'fade'; known: density, density_share, mixing"),
        ("pixel_size", {"largest_factor": 0.5}, "largest_factor must be from 1 to 8"),
    ],
)
def test_a_variation_that_cannot_be_meant_is_refused(tmp_path: Path, key: str, value: Any, told: str) -> None:
    assert told in read_refusal(write_recipe(tmp_path / "run.toml", change_table("data", **{key: value})))


def test_a_run_that_was_begun_before_a_choice_was_there_goes_on(tmp_path: Path) -> None:
    """The digest is that of the values a recipe could have then."""
    parsed = read_tables(tmp_path, change_table("data", kernels={"area": 0.5, "scan": 0.5}))
    values = asdict(parsed)
    del values["data"]["dataset"], values["data"]["degradation"], values["data"]["truth"]
    del values["data"]["processes"], values["data"]["stain"], values["data"]["pixel_size"]
    del values["network"]["fold"], values["network"]["reparameterise"], values["result"]
    for key in ("save_every", "validate_every", "stop_after", "cuda_graphs"):
        del values["schedule"][key]
    assert parsed.compute_digest() == "cea2699459ffc491137267626091b7bd05b5863068a37a3755fec5a24d38bfc5"
    assert parsed.compute_digest() == hashlib.sha256(json.dumps(values).encode()).hexdigest()
    assert (
        read_tables(tmp_path).compute_digest()
        == read_tables(tmp_path, change_table("data", kernels=PYRAMID_KERNELS)).compute_digest()
    )


def test_weights_are_given_by_the_name_of_a_shipped_model_or_by_path(tmp_path: Path) -> None:
    named = read_tables(tmp_path, change_table("network", warm_start="mmsrnet-x2"))
    assert named.network.warm_start == (find_weights_folder() / "mmsrnet-x2.safetensors",)
    both = read_tables(tmp_path, change_table("network", warm_start=["masrgan-x2", "own.safetensors"]))
    assert [path.name for path in both.network.warm_start] == ["masrgan-x2.safetensors", "own.safetensors"]
    assert both.network.warm_start[1].parent == tmp_path.resolve()
    features = read_tables(tmp_path, GOOD | {"loss": {"perceptual": 0.1, "features": "mmsrnet-x2"}}).loss.features
    assert features == named.network.warm_start[0]


def test_a_name_that_no_model_has_is_refused_with_the_names_there_are(tmp_path: Path) -> None:
    refusal = read_refusal(write_recipe(tmp_path / "run.toml", change_table("network", warm_start="mmsrnet-2x")))
    assert "[network]: warm_start: no model is called 'mmsrnet-2x'; similar names: " in refusal
    refusal = read_refusal(write_recipe(tmp_path / "run.toml", change_table("network", warm_start="9" * 400)))
    assert f"no model is called '{'9' * 80}'; choose from " in refusal
    refusal = read_refusal(write_recipe(tmp_path / "run.toml", change_table("network", warm_start=["x"])))
    assert "choose from masrgan-x2-best, " in refusal
    (tmp_path / "x").touch()  # a file of that name is no slip of the pen: what is in it is said later
    assert read_tables(tmp_path, change_table("network", warm_start="x")).network.warm_start == (tmp_path / "x",)
