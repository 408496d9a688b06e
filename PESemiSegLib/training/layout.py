"""How tensors and networks lie on the run's device, and in which precision it computes."""

from __future__ import annotations

from functools import cache

import numpy as np
import torch
from torch import Tensor, nn

from PESemiSegLib.inference.engines.select import has_bf16


def tensor_on(device: torch.device, array: np.ndarray) -> Tensor:
    """The array (B, C, H, W) as a tensor there, channels last, which convolutions read fastest.

    Volumes (B, C, z, y, x) keep their order.
    """
    order = torch.channels_last if array.ndim == 4 else torch.contiguous_format
    return torch.from_numpy(array).to(device, memory_format=order)


def module_on(device: torch.device, module: nn.Module) -> nn.Module:
    """The network, moved there; those of volumes keep their order."""
    if any(parameter.dim() == 5 for parameter in module.parameters()):
        return module.to(device)
    return module.to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]


@cache
def in_bfloat16(precision: str, device: str) -> bool:
    """Whether forward passes on this kind of device ("cpu", "cuda") run in bfloat16 under that setting."""
    automatic = precision == "auto" and device in ("cpu", "cuda")
    return precision == "bf16" or (automatic and has_bf16(device, "torch"))
