"""The running average of the segmenter's weights, which is steadier than the weights of any one step."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn


class WeightAverage:
    """Exponential mean of parameters with `decay` (0 = none: the module itself); buffers are copied.

    Early on the decay is (1 + n) / (10 + n), so that the random start is soon forgotten.
    """

    def __init__(self, module: nn.Module, decay: float) -> None:
        self._module, self._decay = module, decay
        self._mean = copy.deepcopy(module) if decay > 0 else module

    @torch.no_grad()
    def update(self, iteration: int) -> None:
        """Take in the module's present weights; iteration counts from 1."""
        if self._decay <= 0:
            return
        decay = min(self._decay, (1.0 + iteration) / (10.0 + iteration))
        means: list[Tensor] = list(self._mean.parameters())
        news: list[Tensor] = list(self._module.parameters())
        torch._foreach_lerp_(means, news, 1.0 - decay)
        for mean, new in zip(self._mean.buffers(), self._module.buffers(), strict=True):
            mean.copy_(new)

    @contextmanager
    def applied(self) -> Iterator[nn.Module]:
        """The module with averaged weights, in evaluation mode for the time of the context."""
        self._mean.eval()
        try:
            yield self._mean
        finally:
            self._mean.train()

    def state(self) -> dict[str, Tensor]:
        """Averaged weights; empty where nothing is averaged."""
        return dict(self._mean.state_dict()) if self._decay > 0 else {}

    def restore(self, state: dict[str, Tensor]) -> None:
        """The inverse of `state`."""
        if self._decay > 0:
            self._mean.load_state_dict(state)
