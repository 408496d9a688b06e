"""Owns what every engine promises: slices in, probability and confidence out, in order."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from PESemiSegLib.inference.progress import Poll

Output = tuple[np.ndarray, np.ndarray]


@dataclass(frozen=True)
class EngineInfo:
    """What runs, for provenance and the log."""

    engine: str  # "openvino" or "torch"
    device: str  # "cpu", "cuda:0"
    device_name: str
    precision: str  # "fp32", "bf16", "fp16"
    version: str  # of the engine's library
    threads: int = 0  # CPU threads, 0 where it does not apply


class Engine(Protocol):
    """Runs segmenter and discriminator on one slice after the other."""

    @property
    def info(self) -> EngineInfo:
        """What runs."""
        ...

    def run(self, inputs: Iterable[np.ndarray], poll: Poll) -> Iterator[Output]:
        """Yield, for each input (C, H, W) float32 and in order, probability and confidence (H, W) float32.

        Of a model with several classes the probability is (classes, H, W), background first.
        `inputs` is consumed as needed, a few slices ahead at most. `poll` is called at least every 0.1 s and
        may raise, which stops the run.

        Raises:
            DeviceError: the memory does not suffice even for the smallest batch.
        """
        ...

    def close(self) -> None:
        """Give back the memory."""
        ...


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an exception of any engine means that memory ran out."""
    if isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError":
        return True
    text = str(error).lower()
    return isinstance(error, RuntimeError) and any(
        sign in text for sign in ("out of memory", "bad_alloc", "bad alloc", "can't allocate", "alloc_failed")
    )
