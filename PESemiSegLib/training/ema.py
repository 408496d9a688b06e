"""The running average of the segmenter's weights, which is steadier than the weights of any one step."""

from __future__ import annotations

import copy
import itertools
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn


class WeightAverage:
    """Exponential mean, with `decay`, of parameters and norms' running statistics (0 = the module itself).

    Statistics of the last few crops do not suit weights of the last few hundred, so both are averaged. Early
    on the decay is (1 + n) / (10 + n), so that the random start is soon forgotten.
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
        means, news = list(self._mean.state_dict().values()), list(self._module.state_dict().values())
        real = [value.is_floating_point() for value in means]
        torch._foreach_lerp_(
            list(itertools.compress(means, real)), list(itertools.compress(news, real)), 1.0 - decay
        )
        for mean, new, averaged in zip(means, news, real, strict=True):
            if not averaged:  # the norms' counts of batches
                mean.copy_(new)

    @contextmanager
    def applied(self) -> Iterator[nn.Module]:
        """The module with averaged weights, in evaluation mode for the time of the context."""
        was = self._mean.training
        self._mean.eval()
        try:
            yield self._mean
        finally:
            self._mean.train(was)  # a context within another one leaves that as it is

    def state(self) -> dict[str, Tensor]:
        """Averaged weights; empty where nothing is averaged."""
        return dict(self._mean.state_dict()) if self._decay > 0 else {}

    def restore(self, state: dict[str, Tensor]) -> None:
        """The inverse of `state`."""
        if self._decay > 0:
            self._mean.load_state_dict(state)
