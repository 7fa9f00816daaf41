"""Each version of a weights file is read once, and one network serves the upscaler and the classifier."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from tests.models.contract import make_tiles
from tests.support.networks import make_small_network, make_small_spec
from wsisr.imaging.pixels import RgbBatch
from wsisr.models.architectures.mmsrnet import MMSRNet
from wsisr.models.backends.classifier import TorchMagnificationClassifier
from wsisr.models.backends.torch import TorchUpscaler
from wsisr.models.loading import load_magnification_classifier, load_upscaler
from wsisr.models.magnification import ClassProbabilities
from wsisr.models.upscaler import Upscaler
from wsisr.models.weights import load_network, save_weights
from wsisr.models.weights_header import hash_file, read_model_spec

CPU = torch.device("cpu")
TILES = make_tiles(3, 24, 20)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    save_weights(tmp_path / "joint.safetensors", make_small_spec("mmsrnet"), make_small_network("mmsrnet").state_dict())
    return tmp_path / "joint.safetensors"


def enlarge_alone(path: Path, precision: str) -> RgbBatch:
    """Enlarge the tiles with a network of which nobody else knows."""
    return TorchUpscaler("alone", load_network(path)[1], CPU, precision)(TILES)


def classify_alone(path: Path) -> ClassProbabilities:
    network = load_network(path)[1]
    assert isinstance(network, MMSRNet)
    return TorchMagnificationClassifier(network, CPU)(TILES)


def classify(path: Path) -> ClassProbabilities:
    classifier = load_magnification_classifier(path, scale=2, device="cpu")
    assert classifier is not None
    return classifier(TILES)


def load(path: Path, precision: str = "fp32") -> Upscaler:
    return load_upscaler(path, scale=2, device="cpu", precision=precision)


@pytest.mark.parametrize("precision", ["bf16", "fp32"])
@pytest.mark.parametrize("classifier_first", [False, True])
def test_sharing_a_network_changes_neither_pixels_nor_probabilities(
    path: Path, precision: str, classifier_first: bool
) -> None:
    before = classify(path) if classifier_first else None
    upscaler = load(path, precision)
    enlarged, probabilities = upscaler(TILES), classify(path)
    np.testing.assert_array_equal(enlarged, enlarge_alone(path, precision))
    np.testing.assert_array_equal(probabilities, classify_alone(path))
    np.testing.assert_array_equal(upscaler(TILES), enlarged)
    if before is not None:
        np.testing.assert_array_equal(before, probabilities)


def test_upscaler_and_classifier_hold_one_network(path: Path) -> None:
    upscaler, classifier = load(path), load_magnification_classifier(path, scale=2, device="cpu")
    assert isinstance(classifier, TorchMagnificationClassifier)
    assert upscaler.network.network is classifier.network  # type: ignore[attr-defined]
    assert load(path, "bf16").network.network is classifier.network  # type: ignore[attr-defined]


def test_perception_blends_the_upscaler_and_not_the_classifier(path: Path) -> None:
    variant = {name: tensor * 1.5 for name, tensor in make_small_network("mmsrnet").state_dict().items()}
    save_weights(path.with_name("joint-gan.safetensors"), make_small_spec("mmsrnet"), variant)
    crisp = load_upscaler(path, scale=2, device="cpu", precision="fp32", perception=1.0)
    assert (crisp(TILES) != load(path)(TILES)).any()
    np.testing.assert_array_equal(classify(path), classify_alone(path))
    np.testing.assert_array_equal(load(path)(TILES), enlarge_alone(path, "fp32"))


def test_weights_that_were_replaced_are_loaded_anew(path: Path) -> None:
    first, digest = load(path), hash_file(path)
    before = first(TILES)
    state = {name: tensor * 1.5 for name, tensor in make_small_network("mmsrnet").state_dict().items()}
    save_weights(path, replace(make_small_spec("mmsrnet"), input_mpp=(1.0, 2.0)), state)
    second = load(path)
    assert hash_file(path) != digest
    assert first.info.weights != second.info.weights
    assert second.info.weights is not None
    assert second.info.weights.sha256 == hash_file(path)
    assert second.info.weights.spec == read_model_spec(path)
    np.testing.assert_array_equal(second(TILES), enlarge_alone(path, "fp32"))
    np.testing.assert_array_equal(classify(path), classify_alone(path))
    np.testing.assert_array_equal(first(TILES), before)


def test_a_file_that_is_overwritten_in_place_is_read_again(path: Path) -> None:
    """It keeps its size, and the clock of the file system may not have ticked since: its time is set."""
    spec, digest, stat = read_model_spec(path), hash_file(path), path.stat()
    content = path.read_bytes()
    changed = content.replace(rb"[0.5, 0.5]", rb"[0.5, 0.9]")
    assert len(changed) == len(content)
    path.write_bytes(changed)
    os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns + 1))
    assert read_model_spec(path) == replace(spec, input_mpp=(0.5, 0.9))
    assert hash_file(path) != digest
