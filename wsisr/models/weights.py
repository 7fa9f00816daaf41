"""Read and write weights files: safetensors with the `ModelSpec` in the header. Nothing in them is ever executed."""

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
"""Number types that a weights file may hold; in memory all weights are fp32."""


def build_network(spec: ModelSpec) -> nn.Module:
    """Build a network of that shape with initial weights. Raises `ModelError` if there is no such family."""
    if spec.family not in FAMILIES:
        raise ModelError(f"unknown network family {spec.family!r}; known: {', '.join(FAMILIES)}")
    return FAMILIES[spec.family](spec)


def save_weights(path: Path, spec: ModelSpec, state: Mapping[str, Tensor]) -> None:
    """Write a network's tensors and its spec, whole or not at all. Raises `OutputError` if writing fails."""
    tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in state.items()}
    write_atomically(path, [save(tensors, metadata={SPEC_KEY: spec.to_json()})])


def load_network(path: Path) -> tuple[ModelSpec, nn.Module]:
    """Load a network from a weights file, in evaluation mode, in fp32 on the CPU.

    Raises `ModelError` if the file is not safetensors, has no spec, or its tensors do not fit the spec. Memory is
    allocated only after the header has shown that the file holds the whole network.
    """
    spec = read_model_spec(path)
    with open_safetensors(path, "pt") as file:
        _check_tensors(path, _list_tensor_shapes(path, spec), file)
        tensors = {name: file.get_tensor(name).float() for name in file.keys()}  # noqa: SIM118 - not a dict
        not_finite = sorted(name for name, tensor in tensors.items() if not tensor.isfinite().all())
        if not_finite:
            raise ModelError(f"{path}: holds NaN or infinity in {_join_some(not_finite)}; copy it again")
        network = build_network(spec)
        network.load_state_dict(tensors)
    return spec, network.eval()


def load_blended_network(one: Path, other: Path, share: float) -> tuple[ModelSpec, nn.Module]:
    """Load a network whose weights are interpolated between two files of one shape, at `share` of the way to `other`.

    The spec is that of the first file. Raises `ModelError` if a file cannot be used or the shapes differ.
    """
    if not 0 <= share <= 1:
        raise ModelError(f"{share:g} is no fraction of the way between two sets of weights; choose from 0 to 1")
    (spec, network), (_, target) = _load_networks_of_one_shape([one, other])
    ends = target.state_dict()
    network.load_state_dict({name: tensor.lerp(ends[name], share) for name, tensor in network.state_dict().items()})
    return spec, network


def warm_start(network: nn.Module, paths: Sequence[Path]) -> list[str]:
    """Copy all tensors from weights files whose names and shapes fit; return the names of the network's other tensors.

    See `find_fitting_tensors`.
    """
    own = network.state_dict()
    fitting = find_fitting_tensors(own, paths)
    network.load_state_dict(fitting, strict=False)
    return sorted(set(own) - set(fitting))


def find_fitting_tensors(own: Mapping[str, Tensor], paths: Sequence[Path]) -> dict[str, Tensor]:
    """Return the tensors of weights files whose names and shapes fit tensors of a network, `own`.

    Several files must be of one shape; the mean of their weights is taken ("model soup", Wortsman et al., ICML 2022).
    Weights of a network also fit an MMSRNet with that network as its trunk, and the other way round.
    Raises `ModelError` if a file cannot be used or nothing in it fits.
    """
    donors = [donor.state_dict() for _, donor in _load_networks_of_one_shape(paths)]
    given = {name: torch.stack([donor[name] for donor in donors]).mean(dim=0) for name in donors[0]}
    given |= {f"trunk.{name}": tensor for name, tensor in given.items()}
    given |= {name.removeprefix("trunk."): tensor for name, tensor in given.items()}
    fitting = {name: tensor for name, tensor in given.items() if name in own and own[name].shape == tensor.shape}
    if not fitting:
        raise ModelError(f"{paths[0]}: none of its tensors fits the network to train; start from other weights")
    return fitting


def _load_networks_of_one_shape(paths: Sequence[Path]) -> list[tuple[ModelSpec, nn.Module]]:
    """Load the networks of weights files. Raises `ModelError` if one has another shape than the first."""
    networks = [load_network(path) for path in paths]
    first = networks[0][0]
    for path, (spec, _) in zip(paths, networks, strict=True):
        if replace(spec, input_mpp=first.input_mpp) != first:
            raise ModelError(f"{path}: is not a network of the shape of {paths[0]}; their weights cannot be blended")
    return networks


def _list_tensor_shapes(path: Path, spec: ModelSpec) -> dict[str, tuple[int, ...]]:
    """Return the shape of each tensor of a network by name, without allocating it."""
    try:
        with torch.device("meta"):
            return {name: tuple(tensor.shape) for name, tensor in build_network(spec).state_dict().items()}
    except ModelError as error:
        raise ModelError(f"{path}: {error}") from error


def _check_tensors(path: Path, expected: Mapping[str, tuple[int, ...]], file: Any) -> None:
    """Raise `ModelError` if the header lists other tensors than the network has."""
    slices = {name: file.get_slice(name) for name in file.keys()}  # noqa: SIM118 - not a dict
    shapes = {name: tuple(tensor.get_shape()) for name, tensor in slices.items()}
    wrong = [name for name in expected if shapes.get(name) != expected[name]] + sorted(set(shapes) - set(expected))
    if wrong:
        raise ModelError(f"{path}: tensors do not fit the model spec: {_join_some(wrong)}; these weights are not whole")
    wrong_type = [name for name in expected if slices[name].get_dtype() not in STORED_DTYPES]
    if wrong_type:
        kinds = ", ".join(STORED_DTYPES)
        raise ModelError(f"{path}: tensors are not of {kinds}: {_join_some(wrong_type)}; these weights cannot be used")


def _join_some(names: list[str]) -> str:
    """Join the first three names, cut to 80 characters: a file may hold any number of any length."""
    return ", ".join(name[:80] for name in names[:3]) + ", ..." * (len(names) > 3)
