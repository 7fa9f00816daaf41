"""Weights of others: only as safetensors, and only by a package that is not always there."""

from __future__ import annotations

import pickle
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from wsisr.errors import ModelError
from wsisr.models.loading import load_upscaler


@pytest.mark.parametrize("suffix", [".pth", ".pt", ".ckpt"])
def test_a_pickle_is_refused_by_its_name_and_never_opened(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"esrgan{suffix}"
    path.write_bytes(pickle.dumps({"weights": 1}))
    with pytest.raises(ModelError, match="a pickle, which could run any code; save its tensors as"):
        load_upscaler(path, scale=2, device="cpu")


def test_weights_of_no_known_network_are_one_line(tmp_path: Path) -> None:
    """Whichever of the two it is: spandrel is missing, or does not know them either."""
    path = tmp_path / "other.safetensors"
    save_file({"layer.weight": torch.zeros(3, 3)}, path)
    with pytest.raises(ModelError, match=r"other\.safetensors: n(ot|either) wsisr's weights") as error:
        load_upscaler(path, scale=2, device="cpu")
    assert "\n" not in str(error.value)


def test_what_is_cut_off_is_told_before_anything_else(tmp_path: Path) -> None:
    path = tmp_path / "other.safetensors"
    save_file({"layer.weight": torch.zeros(30, 30)}, path)
    path.write_bytes(path.read_bytes()[:-5])
    with pytest.raises(ModelError, match="not a whole safetensors file"):
        load_upscaler(path, scale=2, device="cpu")
