"""Networks by name; one network a file."""

from collections.abc import Callable

from torch import nn

from wsisr.models.masrgan import MASRGAN
from wsisr.modelspec import ModelSpec

FAMILIES: dict[str, Callable[[ModelSpec], nn.Module]] = {"masrgan": MASRGAN}
