"""Weights files: what is saved is what is loaded, and what is no weights file is refused at no cost, in one line."""

from __future__ import annotations

import json
import os
import pickle
import struct
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import save_file
from torch import Tensor, nn

from tests.support.disks import limit_file_size, run_as_nobody
from wsisr.errors import ModelError, OutputError
from wsisr.models.architectures.families import TRUNKS
from wsisr.models.spec import ModelSpec
from wsisr.models.weights import build_network, load_network, save_weights, warm_start
from wsisr.models.weights_header import SPEC_KEY, hash_file, read_model_spec

SPEC = ModelSpec("masrgan", 2, 8, 1, 3, (0.5, 2.0))
HUGE = replace(SPEC, channels=1024, blocks=256)
"""A sound spec of twenty gigabytes of weights."""

SPECS = st.builds(
    ModelSpec,
    family=st.sampled_from([*TRUNKS]),
    scale=st.integers(1, 8),
    channels=st.integers(1, 16),
    blocks=st.integers(1, 3),
    window=st.integers(0, 4).map(lambda half: 2 * half + 1),
    input_mpp=st.tuples(st.floats(0.05, 1), st.floats(1, 20)),
)


def make_network(spec: ModelSpec = SPEC, seed: int = 0) -> nn.Module:
    torch.manual_seed(seed)
    made = build_network(spec)
    for parameter in made.parameters():
        nn.init.normal_(parameter, std=0.1)
    return made


def save_random_weights(path: Path, spec: ModelSpec = SPEC, seed: int = 0) -> Path:
    save_weights(path, spec, make_network(spec, seed).state_dict())
    return path


def write_safetensors(path: Path, tensors: dict[str, Tensor], spec: dict[str, Any] | str | None) -> Path:
    """Safetensors with any tensors and anything for a spec."""
    text = spec if isinstance(spec, str | None) else json.dumps(spec)
    save_file(tensors, path, metadata=None if text is None else {SPEC_KEY: text})
    return path


def catch_load_error(path: Path) -> str:
    with pytest.raises(ModelError) as error:
        load_network(path)
    line = str(error.value)
    assert line.startswith(f"{path}: ")
    assert "\n" not in line
    assert len(line) < len(str(path)) + 400
    return line


def are_equal(one: dict[str, Tensor], other: dict[str, Tensor]) -> bool:
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


@settings(max_examples=25)
@given(spec=SPECS)
def test_a_network_and_its_spec_come_back_as_they_were(
    spec: ModelSpec, tmp_path_factory: pytest.TempPathFactory
) -> None:
    path, made = tmp_path_factory.mktemp("weights") / "a.safetensors", make_network(spec)
    save_weights(path, spec, made.state_dict())
    found, loaded = load_network(path)
    assert found == read_model_spec(path) == spec
    assert are_equal(loaded.state_dict(), made.state_dict())
    assert not loaded.training
    assert list(path.parent.iterdir()) == [path]


def test_the_same_weights_are_the_same_bytes(tmp_path: Path) -> None:
    assert hash_file(save_random_weights(tmp_path / "a.safetensors")) == hash_file(
        save_random_weights(tmp_path / "b.safetensors")
    )


@pytest.mark.parametrize("kind", [torch.float16, torch.bfloat16])
def test_half_precision_is_loaded_as_fp32(tmp_path: Path, kind: torch.dtype) -> None:
    tensors = {name: tensor.to(kind) for name, tensor in make_network().state_dict().items()}
    _, loaded = load_network(write_safetensors(tmp_path / "a.safetensors", tensors, SPEC.to_json()))
    assert {tensor.dtype for tensor in loaded.state_dict().values()} == {torch.float32}
    assert are_equal(loaded.state_dict(), {name: tensor.float() for name, tensor in tensors.items()})


def test_a_network_outlives_its_file(tmp_path: Path) -> None:
    path = save_random_weights(tmp_path / "a.safetensors")
    _, loaded = load_network(path)
    path.write_bytes(bytes(path.stat().st_size))
    assert are_equal(loaded.state_dict(), make_network().state_dict())


class Trap:
    """An object that acts when it is unpickled."""

    def __init__(self, target: Path) -> None:
        self.target = target

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (str(self.target),)


def test_a_pickle_is_refused_and_not_executed(tmp_path: Path) -> None:
    path = tmp_path / "a.safetensors"
    path.write_bytes(pickle.dumps(Trap(tmp_path / "trapped")))
    assert "not a whole safetensors file" in catch_load_error(path)
    torch.save({"a": Trap(tmp_path / "trapped")}, path)
    assert "not a whole safetensors file" in catch_load_error(path)
    assert not (tmp_path / "trapped").exists()


def test_a_missing_file_is_refused(tmp_path: Path) -> None:
    assert "no such weights file" in catch_load_error(tmp_path / "none.safetensors")
    assert "no such weights file" in catch_load_error(tmp_path)


def test_a_file_that_may_not_be_read_is_refused(tmp_path: Path) -> None:
    path = save_random_weights(tmp_path / "a.safetensors")
    with run_as_nobody():
        assert "cannot be read (Permission denied)" in catch_load_error(path)


@pytest.mark.parametrize("share", [0.0, 0.001, 0.01, 0.3, 0.9999])
def test_a_truncated_file_is_refused(tmp_path: Path, share: float) -> None:
    path = save_random_weights(tmp_path / "a.safetensors")
    content = path.read_bytes()
    path.write_bytes(content[: int(share * len(content))])
    assert "not a whole safetensors file" in catch_load_error(path)


def write_raw_safetensors(path: Path, header: object, data: bytes = b"") -> Path:
    """A file that says anything in its header."""
    text = json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(text)) + text + data)
    return path


def describe_tensor(shape: list[int], size: int) -> dict[str, Any]:
    return {"dtype": "F32", "shape": shape, "data_offsets": [0, size]}


def test_a_header_that_promises_what_the_file_does_not_hold_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.safetensors"
    spec = {SPEC_KEY: SPEC.to_json()}
    for tensor in (describe_tensor([10**6, 10**6], 4 * 10**12), describe_tensor([2], 4)):
        header = {"__metadata__": spec, "head.weight": tensor}
        assert "not a whole safetensors file" in catch_load_error(write_raw_safetensors(path, header, b"1234"))
    assert "not a whole safetensors file" in catch_load_error(write_raw_safetensors(path, [], b"1234"))
    path.write_bytes(struct.pack("<Q", 2**62) + b"{}")
    assert "not a whole safetensors file" in catch_load_error(path)


def test_a_large_spec_takes_no_memory_before_the_file_is_known_to_hold_it(tmp_path: Path) -> None:
    path = write_safetensors(tmp_path / "a.safetensors", make_network().state_dict(), HUGE.to_json())
    assert "tensors do not fit the model spec: tail.weight, head.weight" in catch_load_error(path)


def test_safetensors_without_a_spec_are_refused(tmp_path: Path) -> None:
    assert "without a wsisr model spec" in catch_load_error(
        write_safetensors(tmp_path / "a.safetensors", make_network().state_dict(), None)
    )


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"family": "srgan"}, "unknown network family 'srgan'; known: masrgan"),
        ({"family": ["masrgan"]}, "family is not a name"),
        ({"scale": 0}, "scale = 0"),
        ({"scale": 10**30}, "scale = 1000"),
        ({"scale": 2.5}, "scale = 2.5"),
        ({"channels": -8}, "channels = -8"),
        ({"channels": "8"}, "channels = '8'"),
        ({"blocks": 10**9}, "blocks = 1000000000"),
        ({"window": 4}, "window = 4 must be odd"),
        ({"input_mpp": [0, 1]}, "no range of pixel sizes"),
        ({"input_mpp": [2, 1]}, "no range of pixel sizes"),
        ({"input_mpp": [float("nan"), 1]}, "no range of pixel sizes"),
        ({"input_mpp": [1, float("inf")]}, "no range of pixel sizes"),
        ({"input_mpp": [1]}, "not readable; it holds exactly family, scale"),
        ({"input_mpp": "fine"}, "not readable"),
        ({"depth": 3}, "not readable"),
        ({"trunk": "edsr"}, "trunk and magnifications belong to mmsrnet"),
        ({"trunk": ["edsr"]}, "family is not a name"),
        ({"magnifications": [5, 10]}, "trunk and magnifications belong to mmsrnet"),
        ({"family": "mmsrnet"}, "trunk and magnifications belong to mmsrnet, which needs both"),
        ({"family": "mmsrnet", "trunk": "mmsrnet", "magnifications": [5, 10]}, "unknown trunk 'mmsrnet'"),
        ({"family": "mmsrnet", "trunk": "edsr", "magnifications": [10, 5]}, "not 2 to 16 increasing numbers above 0"),
        ({"family": "mmsrnet", "trunk": "edsr", "magnifications": [10]}, "not 2 to 16 increasing numbers above 0"),
        ({"family": "mmsrnet", "trunk": "edsr", "magnifications": [5, float("nan")]}, "increasing numbers"),
        ({"family": "mmsrnet", "trunk": "edsr", "magnifications": "many"}, "not readable"),
    ],
)
def test_an_absurd_spec_is_refused(tmp_path: Path, change: dict[str, Any], reason: str) -> None:
    spec = json.loads(SPEC.to_json()) | change
    assert reason in catch_load_error(write_safetensors(tmp_path / "a.safetensors", make_network().state_dict(), spec))


@pytest.mark.parametrize("text", ["", "[]", "null", "{", "[" * 100_000, '{"family": "masrgan"}'])
def test_what_is_no_spec_is_refused(tmp_path: Path, text: str) -> None:
    assert "model spec" in catch_load_error(
        write_safetensors(tmp_path / "a.safetensors", make_network().state_dict(), text)
    )


def test_tensors_of_another_network_are_refused(tmp_path: Path) -> None:
    path, own = tmp_path / "a.safetensors", make_network().state_dict()
    less = {name: own[name] for name in list(own)[1:]}
    for tensors in (less, own | {"more": torch.zeros(1)}, own | {"head.bias": torch.zeros(9)}, {}):
        assert "tensors do not fit the model spec" in catch_load_error(write_safetensors(path, tensors, SPEC.to_json()))


def test_weights_that_are_no_numbers_are_refused(tmp_path: Path) -> None:
    path, own = tmp_path / "a.safetensors", make_network().state_dict()
    whole = {name: tensor.to(torch.int32) for name, tensor in own.items()}
    assert "tensors are not of F32, F16, BF16" in catch_load_error(write_safetensors(path, whole, SPEC.to_json()))
    own["head.bias"][0] = float("nan")
    assert "holds NaN or infinity in head.bias" in catch_load_error(write_safetensors(path, own, SPEC.to_json()))


def test_weights_that_do_not_fit_the_disk_leave_the_older_ones(tmp_path: Path) -> None:
    path = save_random_weights(tmp_path / "a.safetensors")
    with limit_file_size(5000), pytest.raises(OutputError, match="file too large"):
        save_random_weights(path, seed=1)
    assert are_equal(load_network(path)[1].state_dict(), make_network().state_dict())
    assert list(tmp_path.iterdir()) == [path]


def test_a_warm_start_takes_what_fits_and_names_the_rest(tmp_path: Path) -> None:
    donor = save_random_weights(tmp_path / "x2.safetensors", seed=1)
    larger = make_network(replace(SPEC, scale=4), seed=2)
    before = {name: tensor.clone() for name, tensor in larger.state_dict().items()}
    assert warm_start(larger, [donor]) == ["tail.bias", "tail.weight"]
    given = load_network(donor)[1].state_dict()
    for name, tensor in larger.state_dict().items():
        assert torch.equal(tensor, before[name] if name.startswith("tail") else given[name])


def test_a_warm_start_from_the_same_shape_is_a_copy(tmp_path: Path) -> None:
    donor, own = save_random_weights(tmp_path / "a.safetensors", seed=1), make_network(seed=2)
    assert warm_start(own, [donor]) == []
    assert are_equal(own.state_dict(), make_network(seed=1).state_dict())


def test_a_warm_start_from_several_is_their_mean(tmp_path: Path) -> None:
    donors = [save_random_weights(tmp_path / f"{seed}.safetensors", seed=seed) for seed in range(3)]
    own = make_network(seed=5)
    assert warm_start(own, donors) == []
    states = [make_network(seed=seed).state_dict() for seed in range(3)]
    for name, tensor in own.state_dict().items():
        torch.testing.assert_close(tensor, sum(state[name] for state in states) / 3)


def test_there_is_no_mean_of_unlike_networks(tmp_path: Path) -> None:
    donors = [
        save_random_weights(tmp_path / "a.safetensors"),
        save_random_weights(tmp_path / "b.safetensors", replace(SPEC, blocks=SPEC.blocks + 1)),
    ]
    with pytest.raises(ModelError, match=r"b\.safetensors: is not a network of the shape of .*a\.safetensors"):
        warm_start(make_network(), donors)


def test_a_network_can_be_the_start_of_a_trunk(tmp_path: Path) -> None:
    donor = save_random_weights(tmp_path / "a.safetensors", seed=1)
    joint = make_network(replace(SPEC, family="mmsrnet", trunk="masrgan", magnifications=(5.0, 10.0)), seed=2)
    assert all(name.startswith("branch.") for name in warm_start(joint, [donor]))
    given = load_network(donor)[1].state_dict()
    assert all(torch.equal(joint.state_dict()[f"trunk.{name}"], tensor) for name, tensor in given.items())


def test_a_trunk_can_be_the_start_of_a_network_alone(tmp_path: Path) -> None:
    spec = replace(SPEC, family="mmsrnet", trunk="masrgan", magnifications=(5.0, 10.0))
    donor, alone = save_random_weights(tmp_path / "a.safetensors", spec, seed=1), make_network(seed=2)
    assert warm_start(alone, [donor]) == []
    given = load_network(donor)[1].state_dict()
    assert all(torch.equal(given[f"trunk.{name}"], tensor) for name, tensor in alone.state_dict().items())


@pytest.mark.parametrize(
    ("mpp", "index"), [(2.0, 0), (1.1, 1), (0.5, 2), (0.36, 2), (0.25, None), (4.0, None), (0, None)]
)
def test_a_pitch_belongs_to_the_nearest_magnification(mpp: float, index: int | None) -> None:
    spec = replace(SPEC, family="mmsrnet", trunk="masrgan", magnifications=(5.0, 10.0, 20.0))
    assert spec.magnification_class(mpp) == index
    assert SPEC.magnification_class(mpp) is None


def test_a_warm_start_from_which_nothing_fits_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="none of its tensors fits"):
        warm_start(nn.Linear(2, 2), [save_random_weights(tmp_path / "a.safetensors")])
