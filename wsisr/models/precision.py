"""In which numbers a device computes best."""

from __future__ import annotations

import torch


def has_bf16(device: torch.device) -> bool:
    """Whether bf16 arithmetic pays on that device: a GPU that has it, or a CPU with AVX-512 BF16 or AMX."""
    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    return bool(torch.ops.mkldnn._is_mkldnn_bf16_supported())
