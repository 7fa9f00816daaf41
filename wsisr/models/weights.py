"""Weights files: safetensors, with the `ModelSpec` in the header. Nothing in them is ever executed."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor, nn

from wsisr.errors import ModelError
from wsisr.models import FAMILIES
from wsisr.modelspec import ModelSpec

SPEC_KEY = "wsisr.spec"


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


def read_spec(path: Path) -> ModelSpec:
    """The spec in a weights file's header; the tensors are not read."""
    with _opened(path) as file:
        return _spec_of(path, file)


def load_network(path: Path) -> tuple[ModelSpec, nn.Module]:
    """A network with the weights of a file, in evaluation mode, in fp32 on the CPU.

    Raises `ModelError` if the file is not safetensors, has no spec, or its tensors do not fit the spec.
    """
    with _opened(path) as file:
        spec = _spec_of(path, file)
        network = build(spec)
        _refuse_misfit(path, network.state_dict(), {name: tuple(file.get_slice(name).get_shape()) for name in file.keys()})
        network.load_state_dict({name: file.get_tensor(name).float() for name in file.keys()})
    return spec, network.eval()


def sha256(path: Path) -> str:
    """Hexadecimal digest of a file, read in pieces."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def warm_start(network: nn.Module, path: Path) -> list[str]:
    """Copies from a weights file all tensors whose name and shape fit; returns the names of those that did not."""
    _, donor = load_network(path)
    own, given = network.state_dict(), donor.state_dict()
    fitting = {name: tensor for name, tensor in given.items() if name in own and own[name].shape == tensor.shape}
    network.load_state_dict(fitting, strict=False)
    return sorted(set(own) - set(fitting))


def _opened(path: Path) -> Any:
    if not path.is_file():
        raise ModelError(f"{path}: no such weights file; `wsisr models` lists the shipped ones")
    try:
        return safe_open(path, framework="pt")
    except (SafetensorError, OSError) as error:
        raise ModelError(f"{path}: not a whole safetensors file ({error})") from error


def _spec_of(path: Path, file: Any) -> ModelSpec:
    metadata = file.metadata() or {}
    if SPEC_KEY not in metadata:
        raise ModelError(f"{path}: safetensors without a wsisr model spec; these weights are not wsisr's")
    try:
        return ModelSpec.from_json(metadata[SPEC_KEY])
    except (ModelError, json.JSONDecodeError) as error:
        raise ModelError(f"{path}: {error}") from error


def _refuse_misfit(path: Path, own: Mapping[str, Tensor], given: Mapping[str, tuple[int, ...]]) -> None:
    wrong = [name for name in own if given.get(name) != tuple(own[name].shape)] + sorted(set(given) - set(own))
    if wrong:
        raise ModelError(f"{path}: tensors do not fit the model spec: {', '.join(wrong[:3])}{', ...' * (len(wrong) > 3)}")
