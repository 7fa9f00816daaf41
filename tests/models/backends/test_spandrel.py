"""Weights of others: only as safetensors, and only by a package that is not always there."""

from __future__ import annotations

import pickle
from importlib import import_module
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from tests.models.contract import UpscalerContract
from wsisr.errors import ModelError
from wsisr.models.loading import load_upscaler
from wsisr.models.upscaler import Upscaler


class TestSpandrelNetworks(UpscalerContract):
    """A small ESRGAN of random weights, where spandrel is installed and fits the build of torch."""

    tolerance = 1

    @pytest.fixture(scope="class", params=[2, 4])
    @classmethod
    def upscaler(cls, request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Upscaler:
        try:
            esrgan = import_module("spandrel.architectures.ESRGAN.__arch.RRDB")
        except (ImportError, RuntimeError) as error:  # torchvision raises the latter beside another build of torch
            pytest.skip(f"spandrel cannot be imported: {error}")
        torch.manual_seed(0)
        network = esrgan.RRDBNet(num_filters=8, num_blocks=1, scale=request.param)
        # Near the nearest neighbour outside the residual blocks, which add little: random weights show no picture.
        for name, module in network.named_modules():
            if isinstance(module, torch.nn.Conv2d):
                torch.nn.init.normal_(module.weight, std=0.01)
                with torch.no_grad():
                    module.weight[[0, 1, 2], [0, 1, 2], 1, 1] += 0.0 if ".sub." in name else 1.0
        path = tmp_path_factory.mktemp("weights") / "esrgan.safetensors"
        save_file({name: tensor.contiguous() for name, tensor in network.state_dict().items()}, path)
        return load_upscaler(path, scale=request.param, device="cpu", precision="fp32")


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
