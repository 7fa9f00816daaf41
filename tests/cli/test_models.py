"""What a model adds to `wsisr upscale`: a second opinion on the pitch, and a choice between true and crisp."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import tifffile
import torch
from typer.testing import CliRunner, Result

from tests.support.networks import make_small_network, make_small_spec
from tests.support.samples import make_noise, write_tiff
from wsisr.cli.app import app
from wsisr.errors import ModelError, OptionError
from wsisr.imaging.geometry import Size
from wsisr.models.architectures.mmsrnet import MMSRNet
from wsisr.models.loading import load_upscaler
from wsisr.models.weights import load_blended_network, load_network, save_weights
from wsisr.writing import read_metadata

PITCHED = {"resolution": (20000, 20000), "resolutionunit": "CENTIMETER", "photometric": "rgb", "metadata": None}
"""0.5 um/px, which is 20x."""


@pytest.fixture
def slide(tmp_path: Path) -> Path:
    return write_tiff(tmp_path / "slide.tif", make_noise(Size(400, 400)), **PITCHED)


def upscaled(slide: Path, model: Path, *options: str) -> Result:
    arguments = ["upscale", str(slide), "--scale", "2", "--model", str(model), "--tissue", "none", "--device", "cpu"]
    output = ["-o", str(slide.with_name("out.tif")), "--overwrite"]
    return CliRunner(env={"COLUMNS": "300"}).invoke(app, [*arguments, *output, *options], catch_exceptions=False)


def seeing(path: Path, index: int) -> Path:
    """Weights whose branch sees one magnification only, of 5x, 10x and 20x."""
    network = make_small_network("mmsrnet")
    assert isinstance(network, MMSRNet)
    with torch.no_grad():
        network.branch.last.weight.zero_()
        network.branch.last.bias.copy_(10 * torch.eye(3)[index])
    save_weights(path, make_small_spec("mmsrnet"), network.state_dict())
    return path


def test_a_pixel_size_that_contradicts_the_tissue_is_warned_of_in_terminal_and_file(slide: Path) -> None:
    words = "the tissue looks like 5x (100 % likely), its 0.5 um/px stand for 20x (0 %); if the pitch is wrong, give"
    done = upscaled(slide, seeing(slide.with_name("a.safetensors"), 0))
    assert words in done.stderr
    assert words in read_metadata(slide.with_name("out.tif"))["source remarks"]
    for options, warned in ((("--dry-run",), True), (("--dry-run", "--region", "0,0,300,300"), False)):
        repeated = upscaled(slide, slide.with_name("a.safetensors"), *options)
        assert "dry run" in repeated.stdout
        assert (words in repeated.stderr) == warned


def test_a_pixel_size_that_fits_the_tissue_is_not_warned_of(slide: Path) -> None:
    done = upscaled(slide, seeing(slide.with_name("a.safetensors"), 2))
    assert "looks like" not in done.stderr
    assert "source remarks" not in read_metadata(slide.with_name("out.tif"))


@pytest.fixture
def twins(tmp_path: Path) -> Path:
    """A model and its twin of the same shape; the path of the first."""
    path = tmp_path / "x2.safetensors"
    save_weights(path, make_small_spec("edsr"), make_small_network("edsr").state_dict())
    other = {name: -tensor for name, tensor in make_small_network("edsr").state_dict().items()}
    save_weights(tmp_path / "x2-gan.safetensors", make_small_spec("edsr"), other)
    return path


def test_perception_interpolates_between_two_sets_of_weights(twins: Path) -> None:
    one, other = (load_network(path)[1].state_dict() for path in (twins, twins.with_name("x2-gan.safetensors")))
    for share in (0.0, 0.25, 1.0):
        _, between = load_blended_network(twins, twins.with_name("x2-gan.safetensors"), share)
        for name, tensor in between.state_dict().items():
            assert torch.allclose(tensor, (1 - share) * one[name] + share * other[name], atol=1e-7)


def test_the_file_records_the_perception(slide: Path, twins: Path) -> None:
    upscaled(slide, twins)
    plain = tifffile.imread(slide.with_name("out.tif"))
    assert "perception" not in read_metadata(slide.with_name("out.tif"))
    done = upscaled(slide, twins, "--perception", "0.5")
    crisp = tifffile.imread(slide.with_name("out.tif"))
    assert "x2, 0.5 of the way to x2-gan, on" in done.stdout
    assert read_metadata(slide.with_name("out.tif"))["perception"].startswith("0.5 of the way to x2-gan, sha256 ")
    assert np.abs(plain.astype(int) - crisp).max() > 1


def test_a_crisp_model_is_named_as_such(twins: Path) -> None:
    plain, crisp = (load_upscaler(twins, scale=2, device="cpu", perception=share) for share in (0.0, 0.25))
    assert str(plain.info) == "x2"
    assert str(crisp.info) == "x2, 0.25 of the way to x2-gan"


def test_perception_without_a_model_uses_the_default(slide: Path, tmp_path: Path) -> None:
    options = ["--region", "10,10,30,20", "--device", "cpu"]
    for name, more in (("plain.png", []), ("crisp.png", ["--perception", "1"])):
        written = str(tmp_path / name)
        done = CliRunner().invoke(app, ["preview", str(slide), *options, *more, "-o", written], catch_exceptions=False)
        assert "written, enlarged by 2" in done.stderr
    assert (tmp_path / "plain.png").read_bytes() != (tmp_path / "crisp.png").read_bytes()


def test_perception_without_a_gan_variant_is_one_line(twins: Path) -> None:
    for model in ("bicubic", "model.onnx", "masrgan-x2-fast"):
        with pytest.raises(OptionError, match="has no GAN variant"):
            load_upscaler(model, scale=2, device="cpu", perception=0.5)
    with pytest.raises(ModelError, match="choose from 0 to 1"):
        load_upscaler(twins, scale=2, device="cpu", perception=2.0)
    save_weights(
        twins.with_name("x2-gan.safetensors"), make_small_spec("span"), make_small_network("span").state_dict()
    )
    with pytest.raises(ModelError, match="is not a network of the shape of"):
        load_upscaler(twins, scale=2, device="cpu", perception=0.5)
