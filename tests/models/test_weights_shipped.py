"""What the cards say of the shipped weights."""

from __future__ import annotations

import torch

from wsisr.models.catalog import find
from wsisr.models.weights import load_network


def test_the_default_x2_enlarges_as_masrgan_x2_does() -> None:
    _, alone = load_network(find("masrgan-x2").path)
    _, joint = load_network(find("mmsrnet-x2").path)
    trunk = joint.state_dict()
    for name, tensor in alone.state_dict().items():
        assert torch.equal(trunk[f"trunk.{name}"], tensor)
