"""Owns what every engine promises: slices or windows in, what the networks say out, in order."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from PESemiSegLib.errors import DeviceError
from PESemiSegLib.inference.progress import Poll

Output = tuple[np.ndarray, ...]
"""What the networks say of one input, float32.

Of a segmenter: probability (H, W), or (classes, H, W) with background first, and confidence (H, W), or,
without the discriminator, the probability alone.
Of an identifier: probability (z, y, x); the shares (2,) of "normal" and "PE"; and the Grad-CAM map, in
log-odds of PE, on the cells (z/32, y/32, x/32) of the deepest map.
"""


@dataclass(frozen=True)
class EngineInfo:
    """What runs, for provenance and the log."""

    engine: str  # "openvino" or "torch"
    device: str  # "cpu", "cuda:0"
    device_name: str
    precision: str  # "fp32", "bf16", "fp16"
    version: str  # of the engine's library
    threads: int = 0  # CPU threads, 0 where it does not apply


def numbers(outputs: Iterable[Output], info: EngineInfo) -> Iterator[Output]:
    """The outputs, as long as they are numbers: not-a-number would pass for "nothing was found".

    Raises DeviceError.
    """
    for output in outputs:
        if not all(np.isfinite(part).all() for part in output):
            advice = "get the model again" if info.precision == "fp32" else "use --precision fp32"
            raise DeviceError(
                f"the model gives no number for a part of the scan in {info.precision}; {advice}"
            )
        yield output


class Engine(Protocol):
    """Runs a package's networks on one slice, or one window, after the other."""

    @property
    def info(self) -> EngineInfo:
        """What runs."""
        ...

    def run(self, inputs: Iterable[np.ndarray], poll: Poll) -> Iterator[Output]:
        """Yield the output for each input, (C, H, W) or (C, z, y, x) float32, in order.

        `inputs` is consumed as needed, a few ahead at most. `poll` is called at least every 0.1 s and
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
