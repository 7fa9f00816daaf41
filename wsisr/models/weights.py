"""Weights files: safetensors, with the `ModelSpec` in the header. Nothing in them is ever executed."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from safetensors import safe_open
from safetensors.torch import save
from torch import Tensor, nn

from wsisr.errors import ModelError
from wsisr.models.families import FAMILIES
from wsisr.models.headers import SPEC_KEY, spec_in
from wsisr.modelspec import ModelSpec


def build(spec: ModelSpec) -> nn.Module:
    """A network of that shape with fresh weights."""
    if spec.family not in FAMILIES:
        raise ModelError(f"unknown network family {spec.family!r}; known: {', '.join(FAMILIES)}")
    return FAMILIES[spec.family](spec)


def save_weights(path: Path, spec: ModelSpec, state: Mapping[str, Tensor]) -> None:
    """Writes a network's tensors and its spec, whole or not at all."""
    tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in state.items()}
    partial = path.with_name(path.name + ".partial")
    partial.write_bytes(save(tensors, metadata={SPEC_KEY: spec.to_json()}))
    partial.replace(path)


def load_network(path: Path) -> tuple[ModelSpec, nn.Module]:
    """A network with the weights of a file, in evaluation mode, in fp32 on the CPU.

    Raises `ModelError` if the file is not safetensors, has no spec, or its tensors do not fit the spec.
    """
    spec = spec_in(path)
    network = build(spec)
    with safe_open(path, framework="pt") as file:
        given = {name: tuple(file.get_slice(name).get_shape()) for name in file.keys()}  # noqa: SIM118 - not a dict
        _refuse_misfit(path, network.state_dict(), given)
        network.load_state_dict({name: file.get_tensor(name).float() for name in given})
    return spec, network.eval()


def warm_start(network: nn.Module, path: Path) -> list[str]:
    """Copies from a weights file all tensors whose name and shape fit; returns the names of those that did not."""
    _, donor = load_network(path)
    own, given = network.state_dict(), donor.state_dict()
    fitting = {name: tensor for name, tensor in given.items() if name in own and own[name].shape == tensor.shape}
    network.load_state_dict(fitting, strict=False)
    return sorted(set(own) - set(fitting))


def _refuse_misfit(path: Path, own: Mapping[str, Tensor], given: Mapping[str, tuple[int, ...]]) -> None:
    wrong = [name for name in own if given.get(name) != tuple(own[name].shape)] + sorted(set(given) - set(own))
    if wrong:
        raise ModelError(f"{path}: tensors do not fit the model spec: {', '.join(wrong[:3])}{', ...' * (len(wrong) > 3)}")
