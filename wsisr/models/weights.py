"""Weights files: safetensors, with the `ModelSpec` in the header. Nothing in them is ever executed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save
from torch import Tensor, nn

from wsisr.errors import ModelError
from wsisr.files import write_atomically
from wsisr.models.architectures.families import FAMILIES
from wsisr.models.spec import ModelSpec
from wsisr.models.weights_header import SPEC_KEY, open_safetensors, read_model_spec

STORED_DTYPES = ("F32", "F16", "BF16")
"""Types of numbers that a weights file may hold; in memory all are fp32."""


def build_network(spec: ModelSpec) -> nn.Module:
    """A network of that shape with fresh weights. Raises `ModelError` if there is no such family."""
    if spec.family not in FAMILIES:
        raise ModelError(f"unknown network family {spec.family!r}; known: {', '.join(FAMILIES)}")
    return FAMILIES[spec.family](spec)


def save_weights(path: Path, spec: ModelSpec, state: Mapping[str, Tensor]) -> None:
    """Writes a network's tensors and its spec, whole or not at all. Raises `OutputError` where the disk refuses."""
    tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in state.items()}
    write_atomically(path, [save(tensors, metadata={SPEC_KEY: spec.to_json()})])


def load_network(path: Path) -> tuple[ModelSpec, nn.Module]:
    """A network with the weights of a file, in evaluation mode, in fp32 on the CPU.

    Raises `ModelError` if the file is not safetensors, has no spec, or its tensors do not fit the spec. No memory is
    taken for a network before the file is known to hold all of it.
    """
    spec = read_model_spec(path)
    with open_safetensors(path, "pt") as file:
        _check_tensors(path, _list_tensor_shapes(path, spec), file)
        tensors = {name: file.get_tensor(name).float() for name in file.keys()}  # noqa: SIM118 - not a dict
        broken = sorted(name for name, tensor in tensors.items() if not tensor.isfinite().all())
        if broken:
            raise ModelError(f"{path}: holds values that are no numbers, in {_join_some(broken)}; copy it again")
        network = build_network(spec)
        network.load_state_dict(tensors)
    return spec, network.eval()


def load_blended_network(one: Path, other: Path, share: float) -> tuple[ModelSpec, nn.Module]:
    """A network whose every weight lies between those of two files of one shape, at `share` of the way to the other.

    The spec is that of the first. Raises `ModelError` where a file cannot be used or they are not of one shape.
    """
    if not 0 <= share <= 1:
        raise ModelError(f"{share:g} is not between two sets of weights; choose from 0 to 1")
    (spec, network), (_, target) = _load_networks_of_one_shape([one, other])
    aim = target.state_dict()
    network.load_state_dict({name: tensor.lerp(aim[name], share) for name, tensor in network.state_dict().items()})
    return spec, network


def warm_start(network: nn.Module, paths: Sequence[Path]) -> list[str]:
    """Copies from weights files all tensors whose name and shape fit; returns the names of those that did not.

    Of several files, which must be of one shape, it is the mean of the weights ("model soup", Wortsman et al., ICML
    2022). The weights of a network alone also fit the trunk of another, and those of a trunk fit a network alone.
    Raises `ModelError` if a file cannot be used or nothing in it fits.
    """
    donors = [donor.state_dict() for _, donor in _load_networks_of_one_shape(paths)]
    own = network.state_dict()
    given = {name: torch.stack([donor[name] for donor in donors]).mean(dim=0) for name in donors[0]}
    given |= {f"trunk.{name}": tensor for name, tensor in given.items()}
    given |= {name.removeprefix("trunk."): tensor for name, tensor in given.items()}
    fitting = {name: tensor for name, tensor in given.items() if name in own and own[name].shape == tensor.shape}
    if not fitting:
        raise ModelError(f"{paths[0]}: none of its tensors fits the network to train; start from other weights")
    network.load_state_dict(fitting, strict=False)
    return sorted(set(own) - set(fitting))


def _load_networks_of_one_shape(paths: Sequence[Path]) -> list[tuple[ModelSpec, nn.Module]]:
    """The networks of weights files. Raises `ModelError` where one is of another shape than the first."""
    networks = [load_network(path) for path in paths]
    shape = networks[0][0]
    for path, (spec, _) in zip(paths, networks, strict=True):
        if replace(spec, input_mpp=shape.input_mpp) != shape:
            raise ModelError(f"{path}: is not a network of the shape of {paths[0]}; nothing lies between them")
    return networks


def _list_tensor_shapes(path: Path, spec: ModelSpec) -> dict[str, tuple[int, ...]]:
    """Name of each tensor of a network to its shape, at no memory."""
    try:
        with torch.device("meta"):
            return {name: tuple(tensor.shape) for name, tensor in build_network(spec).state_dict().items()}
    except ModelError as error:
        raise ModelError(f"{path}: {error}") from error


def _check_tensors(path: Path, own: Mapping[str, tuple[int, ...]], file: Any) -> None:
    """Raises `ModelError` where the header tells of other tensors than the network has."""
    given = {name: file.get_slice(name) for name in file.keys()}  # noqa: SIM118 - not a dict
    shapes = {name: tuple(tensor.get_shape()) for name, tensor in given.items()}
    wrong = [name for name in own if shapes.get(name) != own[name]] + sorted(set(shapes) - set(own))
    if wrong:
        raise ModelError(f"{path}: tensors do not fit the model spec: {_join_some(wrong)}; these weights are not whole")
    other = [name for name in own if given[name].get_dtype() not in STORED_DTYPES]
    if other:
        raise ModelError(
            f"{path}: tensors are not of {', '.join(STORED_DTYPES)}: {_join_some(other)}; these weights cannot be used"
        )


def _join_some(names: list[str]) -> str:
    return ", ".join(name[:80] for name in names[:3]) + ", ..." * (len(names) > 3)
