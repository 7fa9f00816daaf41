"""What the perceptual loss sees with."""

from __future__ import annotations

import pickle
from pathlib import Path

import pytest
import torch

from tests.support.networks import make_small_network, make_small_spec
from wsisr.errors import ConfigError, ModelError
from wsisr.models.weights import save_weights
from wsisr.training.features import VGG19Features, load_features
from wsisr.training.losses import perceptual_loss

CPU = torch.device("cpu")

VGG19_PARAMETERS = 20_024_384
"""Of the convolutions of VGG19."""


@pytest.fixture(scope="module")
def vgg19(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """As torchvision stores it: with classifying layers, which are not needed. Every weight is one number."""
    state = {name: tensor.mean().expand(tensor.shape) for name, tensor in VGG19Features().state_dict().items()}
    path = tmp_path_factory.mktemp("vgg") / "vgg19-0.pth"
    torch.save(state | {"classifier.0.weight": torch.zeros(1).expand(4096, 25088)}, path)
    return path


@pytest.mark.parametrize("zipped", [True, False], ids=["as today", "as torchvision did in 2017"])
def test_vgg19_sees_with_the_weights_of_its_file(vgg19: Path, tmp_path: Path, zipped: bool) -> None:
    path = tmp_path / "vgg19.pth"
    state = torch.load(vgg19, weights_only=True)
    torch.save(state, path, _use_new_zipfile_serialization=zipped)
    found = load_features(path, CPU)
    assert sum(parameter.numel() for parameter in found.parameters()) == VGG19_PARAMETERS
    assert all(torch.equal(tensor, state[name]) for name, tensor in found.state_dict().items())
    assert not any(parameter.requires_grad for parameter in found.parameters())
    assert found(torch.rand(2, 3, 32, 48)).shape == (2, 512, 2, 3)


def test_the_layers_are_those_of_torchvision() -> None:
    """Its names of the sixteen convolutions: the numbers are places among ReLUs and poolings."""
    places = [0, 2, 5, 7, 10, 12, 14, 16, 19, 21, 23, 25, 28, 30, 32, 34]
    assert [name for name in VGG19Features().state_dict() if name.endswith("weight")] == [
        f"features.{n}.weight" for n in places
    ]


def test_photographs_are_centred_as_the_weights_need_it() -> None:
    network = VGG19Features()
    network.features = torch.nn.Sequential()
    grey = torch.tensor([0.485, 0.456, 0.406]).view(1, 3, 1, 1).expand(1, 3, 16, 16)
    assert network(grey).abs().max() == 0
    assert network(grey + torch.tensor([0.229, 0.224, 0.225]).view(1, 3, 1, 1)).sub(1).abs().max() < 1e-6


def test_a_gradient_reaches_the_pixels_and_is_none_at_the_truth(vgg19: Path, tmp_path: Path) -> None:
    save_weights(tmp_path / "m.safetensors", make_small_spec("mmsrnet"), make_small_network("mmsrnet").state_dict())
    for path in (vgg19, tmp_path / "m.safetensors"):
        see, high = load_features(path, CPU), torch.rand(1, 3, 32, 32)
        enlarged = torch.rand_like(high).requires_grad_()
        perceptual_loss(see(enlarged), see(high)).backward()  # type: ignore[no-untyped-call]
        assert enlarged.grad is not None
        assert enlarged.grad.isfinite().all()
        assert perceptual_loss(see(high), see(high)) == 0


class Attack:
    def __reduce__(self) -> tuple[object, ...]:
        return Path.touch, (Path("attacked"),)


def test_what_is_no_vgg19_is_one_line_and_nothing_in_it_runs(
    vgg19: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    state = torch.load(vgg19, weights_only=True)
    broken = {name: torch.full_like(tensor, float("nan")) for name, tensor in state.items()}
    torch.save(Attack(), tmp_path / "attack.pth")
    (tmp_path / "pickle.pth").write_bytes(pickle.dumps(Attack()))
    (tmp_path / "cut.pth").write_bytes(vgg19.read_bytes()[:-200])
    (tmp_path / "empty.pth").touch()
    torch.save([1], tmp_path / "list.pth")
    torch.save({"features.0.weight": torch.zeros(1)}, tmp_path / "part.pth")
    torch.save(state | {"features.0.weight": torch.zeros(1)}, tmp_path / "misfit.pth")
    torch.save({name: tensor[:1].clone().expand(tensor.shape) for name, tensor in broken.items()}, tmp_path / "nan.pth")
    for name in ("attack", "pickle", "cut", "empty", "list", "part", "misfit", "nan", "absent"):
        with pytest.raises(ModelError, match=f"{name}.pth: .*; download its file again") as error:
            load_features(tmp_path / f"{name}.pth", CPU)
        assert "\n" not in str(error.value)
    assert not (tmp_path / "attacked").exists()
    save_weights(tmp_path / "span.safetensors", make_small_spec("span"), make_small_network("span").state_dict())
    with pytest.raises(ConfigError, match="not a classifier; give an mmsrnet's weights, or VGG19's"):
        load_features(tmp_path / "span.safetensors", CPU)
