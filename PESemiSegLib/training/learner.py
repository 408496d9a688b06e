"""A network with its optimiser and schedule: one guarded, clipped step at a time."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor, nn

from PESemiSegLib.errors import PESemiSegError
from PESemiSegLib.training import parallel
from PESemiSegLib.training.config import OptimiserConfig


class NonFiniteLoss(PESemiSegError):
    """A loss term or gradient became NaN or infinite; the weights are still those of before the step."""

    def __init__(self, term: str) -> None:
        super().__init__(
            f"The term {term} became NaN or infinite; lower the learning rate or check the data."
        )
        self.term = term


class Learner:
    """One player of the game: `module`, its optimiser, and the rate's schedule."""

    def __init__(self, name: str, module: nn.Module, config: OptimiserConfig) -> None:
        self.name, self.module, self.config = name, module, config
        self.optimiser = _build(module, config)

    def schedule(self, iteration: int, progress: float) -> float:
        """Set and return the rate for this iteration; progress within 0 to 1."""
        warm = min(1.0, (iteration + 1) / max(1, self.config.warmup_iterations))
        rate = self.config.lr * warm * self.config.factor(min(progress, 1.0))
        for group in self.optimiser.param_groups:
            group["lr"] = rate
        return rate

    def descend(self, terms: dict[str, Tensor]) -> float:
        """One step down the sum of the terms; returns the gradient's norm before clipping.

        Raises NonFiniteLoss, naming the term, before anything is changed.
        """
        broken = [term for term, value in terms.items() if not math.isfinite(float(value.detach()))]
        if broken and parallel.size() == 1:
            raise NonFiniteLoss(broken[0])
        self.optimiser.zero_grad(set_to_none=True)
        torch.stack(list(terms.values())).sum().backward()
        parallel.average(self.module)  # carries a NaN to the other processes, so that all stop
        limit = self.config.clip_norm or math.inf
        norm = float(nn.utils.clip_grad_norm_(self.module.parameters(), limit))
        if not math.isfinite(norm):
            raise NonFiniteLoss(broken[0] if broken else f"gradient of {' + '.join(terms)}")
        self.optimiser.step()
        return norm

    def state(self) -> tuple[dict[str, Tensor], dict[str, Any]]:
        """Tensors (weights, buffers, moments) and scalars (steps) that a checkpoint needs."""
        tensors = {f"module/{name}": value for name, value in self.module.state_dict().items()}
        scalars: dict[str, Any] = {}
        for index, entry in self.optimiser.state_dict()["state"].items():
            for name, value in entry.items():
                if isinstance(value, Tensor):
                    tensors[f"moment/{index}/{name}"] = value
                elif value is not None:
                    scalars[f"{index}/{name}"] = value
        return tensors, scalars

    def restore(self, tensors: dict[str, Tensor], scalars: dict[str, Any]) -> None:
        """The inverse of `state`, bit for bit, memory layout included."""
        weights = {n.removeprefix("module/"): v for n, v in tensors.items() if n.startswith("module/")}
        self.module.load_state_dict(weights)
        moments: dict[int, dict[str, Any]] = {}
        for name, value in [*tensors.items(), *((f"moment/{n}", v) for n, v in scalars.items())]:
            if name.startswith("moment/"):
                _, index, key = name.split("/", 2)
                moments.setdefault(int(index), {})[key] = value
        plain = self.optimiser.state_dict()
        self.optimiser.load_state_dict({"state": moments, "param_groups": plain["param_groups"]})
        for parameter, entry in self.optimiser.state.items():
            for key, value in entry.items():
                if isinstance(value, Tensor) and value.shape == parameter.shape and value.dim() == 4:
                    entry[key] = torch.empty_like(parameter).copy_(value)


def _build(module: nn.Module, config: OptimiserConfig) -> torch.optim.Optimizer:
    """Weight decay reaches convolutions only, not norms and biases."""
    groups: list[dict[str, Any]] = [
        {"params": [p for p in module.parameters() if p.dim() > 1], "weight_decay": config.weight_decay},
        {"params": [p for p in module.parameters() if p.dim() <= 1], "weight_decay": 0.0},
    ]
    if config.kind == "sgd":
        return torch.optim.SGD(groups, lr=config.lr, momentum=config.momentum)
    kind = torch.optim.AdamW if config.kind == "adamw" else torch.optim.Adam
    return kind(groups, lr=config.lr, betas=config.betas)
