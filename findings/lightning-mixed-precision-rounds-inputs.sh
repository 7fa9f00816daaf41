#!/usr/bin/env bash
# lightning-fabric 2.6.6: precision="bf16-mixed" is torch.autocast, one would think, in which a network sees its inputs in
# float32 and only chosen operations compute in bfloat16. It also rounds every floating-point input of the network to
# bfloat16: of 256 grey levels 8 bits of mantissa leave 0.5 of one near white, also where a layer would have been computed
# in float32, such as a skip connection. "16-mixed" does the same in float16. With torch.autocast inputs stay as they are.
#
# Seen: grey levels 0 to 255 through a module that returns its input: off by at most 0.496 levels; with torch.autocast by 0
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet numpy==2.4.6 torch==2.13.0 lightning-fabric==2.6.6
cd "$folder"
"$folder/venv/bin/python" - <<'PYTHON'
import lightning_fabric
import torch
from lightning_fabric import Fabric


class Same(torch.nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.weight = torch.nn.Parameter(torch.zeros(1))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x.float()


levels = torch.arange(256) / 255
fabric = Fabric(accelerator="cpu", devices=1, precision="bf16-mixed")
model = fabric.setup(Same())
seen = 255 * (model(levels) - levels).abs().max().item()
with torch.autocast("cpu", torch.bfloat16):
    plain = 255 * (Same()(levels) - levels).abs().max().item()
print(f"lightning-fabric {lightning_fabric.__version__}: off by at most {seen:.3f} grey levels; torch.autocast: {plain:.3f}")
assert seen > 0.4
assert plain == 0
PYTHON
