"""What every strategy's settings begin with: a check that speaks, and a term's start, ramp and weight."""

from __future__ import annotations

import math
from dataclasses import dataclass

from PESemiSegLib.errors import ConfigError


def require(condition: bool, message: str) -> None:
    """Raise ConfigError with the message unless the condition holds."""
    if not condition:
        raise ConfigError(f"Training settings: {message}.")


@dataclass(frozen=True)
class Scheduled:
    """When the term of the unlabelled crops begins and how it rises to its weight; shares of the run."""

    start: float = 0.1
    ramp: float = 0.1
    weight: float = 1.0

    def __post_init__(self) -> None:
        require(0 <= self.start <= 1 and 0 <= self.ramp <= 1, "start and ramp are shares of the run, 0 to 1")
        require(0 <= self.weight <= 100, "the weight of the unlabelled term must lie within 0 to 100")

    def factor(self, progress: float) -> float:
        """0 before the start, then weight * exp(-5 (1 - x)^2) while x goes from 0 to 1 over the ramp."""
        if progress < self.start:
            return 0.0
        x = 1.0 if self.ramp <= 0 else min(1.0, (progress - self.start) / self.ramp)
        return self.weight * math.exp(-5.0 * (1.0 - x) ** 2)
