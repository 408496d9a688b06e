"""Where tensors and networks lie: on the run's device, channels last, which convolutions read fastest."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn


def tensor_on(device: torch.device, array: np.ndarray) -> Tensor:
    """The array (B, C, H, W) as a tensor there."""
    return torch.from_numpy(array).to(device, memory_format=torch.channels_last)


def module_on(device: torch.device, module: nn.Module) -> nn.Module:
    """The network, moved there."""
    return module.to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
