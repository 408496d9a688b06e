"""Where tensors and networks lie: on the run's device, channels last, which convolutions read fastest."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn


def tensor_on(device: torch.device, array: np.ndarray) -> Tensor:
    """The array (B, C, H, W) as a tensor there; volumes (B, C, z, y, x) keep their order."""
    order = torch.channels_last if array.ndim == 4 else torch.contiguous_format
    return torch.from_numpy(array).to(device, memory_format=order)


def module_on(device: torch.device, module: nn.Module) -> nn.Module:
    """The network, moved there; those of volumes keep their order."""
    if any(parameter.dim() == 5 for parameter in module.parameters()):
        return module.to(device)
    return module.to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
