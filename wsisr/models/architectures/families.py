"""The network families by name; each is in a file of its own."""

from collections.abc import Callable
from functools import partial

from torch import nn

from wsisr.errors import ModelError
from wsisr.models.architectures.attention import ChannelAttention, NoAttention, SequentialAttention, SpatialAttention
from wsisr.models.architectures.edsr import EDSR
from wsisr.models.architectures.half_resolution import HalfResolution
from wsisr.models.architectures.masrgan import MASRGAN
from wsisr.models.architectures.mmsrnet import MMSRNet
from wsisr.models.architectures.rcan import RCAN
from wsisr.models.architectures.span import SPAN
from wsisr.models.architectures.srresnet import SRResNet
from wsisr.models.architectures.trunk import Trunk
from wsisr.models.spec import HALF_RESOLUTION_FAMILY, ModelSpec

TRUNKS: dict[str, Callable[[ModelSpec], Trunk]] = {
    "masrgan": MASRGAN,
    "masrgan-none": partial(MASRGAN, attention=NoAttention),
    "masrgan-channel": partial(MASRGAN, attention=ChannelAttention),
    "masrgan-spatial": partial(MASRGAN, attention=SpatialAttention),
    "masrgan-sequential": partial(MASRGAN, attention=SequentialAttention),
    HALF_RESOLUTION_FAMILY: HalfResolution,
    "srresnet": SRResNet,
    "edsr": EDSR,
    "rcan": RCAN,
    "span": SPAN,
}


def build_mmsrnet(spec: ModelSpec) -> MMSRNet:
    """Build an MMSRNet on any other family as its trunk. Raises `ModelError` if there is no such trunk."""
    if spec.trunk not in TRUNKS:
        raise ModelError(f"unknown trunk {spec.trunk!r} for mmsrnet; known: {', '.join(TRUNKS)}")
    return MMSRNet(spec, TRUNKS[spec.trunk](spec))


FAMILIES: dict[str, Callable[[ModelSpec], nn.Module]] = {**TRUNKS, "mmsrnet": build_mmsrnet}
