"""Small networks of every family, with weights far from their initial values, so that every weight has an effect."""

from __future__ import annotations

import torch
from torch import nn

from wsisr.models.architectures.families import FAMILIES
from wsisr.models.spec import CLASSIFYING_FAMILY, ModelSpec
from wsisr.models.weights import build_network

GLOBAL = ("rcan",)
"""Families that average over their whole input."""

LOCAL = tuple(family for family in FAMILIES if family not in GLOBAL)


def make_small_spec(family: str, scale: int = 2) -> ModelSpec:
    branch = ("span", (5.0, 10.0, 20.0)) if family == CLASSIFYING_FAMILY else ("", ())
    return ModelSpec(family, scale, 8, 2, 5, (0.5, 0.5), *branch)


def make_small_network(family: str, scale: int = 2) -> nn.Module:
    torch.manual_seed(0)
    network = build_network(make_small_spec(family, scale))
    for parameter in network.parameters():
        nn.init.normal_(parameter, std=min(0.2, (parameter.numel() / len(parameter)) ** -0.5))  # else sums run away
    return network.eval()
