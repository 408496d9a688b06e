"""Random numbers that follow from seed, iteration and process alone: a resumed run draws the same."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch

from PESemiSegLib.training import parallel

_PRIME = 1_000_003
_OF_NETWORKS = 911  # a salt that no strategy has


def seed_of(seed: int, iteration: int, salt: int = 0) -> int:
    """What this process starts from in an iteration of the run with this seed."""
    return (((seed * _PRIME + iteration) * _PRIME + parallel.rank()) * _PRIME + salt) % 2**63


@contextmanager
def seeded(seed: int, iteration: int, device: torch.device) -> Iterator[None]:
    """Within, networks that draw by themselves (EfficientNet skips blocks) draw so, too.

    No checkpoint holds torch's own generators; they go on behind it as they were.
    """
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        torch.manual_seed(seed_of(seed, iteration, _OF_NETWORKS))
        yield
