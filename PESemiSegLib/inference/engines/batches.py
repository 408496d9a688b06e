"""Owns the running of inputs in batches of one fixed size, smaller when memory runs out."""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor

import numpy as np

from PESemiSegLib.errors import DeviceError
from PESemiSegLib.inference.engines.base import Output, is_out_of_memory
from PESemiSegLib.inference.progress import Poll, wait_for

log = logging.getLogger(__name__)

Forward = Callable[[np.ndarray], Output]


def run_in_batches(
    inputs: Iterable[np.ndarray],
    batch: int,
    forward: Forward,
    poll: Poll,
    *,
    advice: str,
    free: Callable[[], None] = lambda: None,
) -> Iterator[Output]:
    """Yield the output for every input, in order.

    `forward` maps a batch of inputs (batch, ...) to arrays (batch, ...) and always sees full batches, of
    which the last is filled up with its last input. It runs on a thread of its own, so that the next batch
    is prepared meanwhile and `poll`, which may raise to stop, is called every 0.1 s. When memory runs out,
    `free` is called and the same inputs are run again with half the batch.

    Raises:
        DeviceError: memory runs out with one input; the message ends with `advice`.
    """
    source = iter(inputs)
    waiting: deque[np.ndarray] = deque()
    with _Worker(forward) as worker:
        while True:
            while len(waiting) < batch and (item := next(source, None)) is not None:
                waiting.append(item)
            if not waiting:
                return
            job = worker.start(_stacked(waiting, batch))
            # Two batches deep: while one is computed, prepare the next.
            while len(waiting) < 2 * batch and not job.done() and (item := next(source, None)) is not None:
                waiting.append(item)
            try:
                outputs = wait_for(job, poll)
            except (RuntimeError, MemoryError) as error:
                if not is_out_of_memory(error):
                    raise
                job, error = None, None  # type: ignore[assignment]  # they hold the failed tensors
                free()
                if batch == 1:
                    raise DeviceError(f"memory ran out on a single input; {advice}") from None
                batch //= 2
                log.warning("memory ran out; going on with batches of %d", batch)
                continue
            for n in range(min(batch, len(waiting))):
                waiting.popleft()
                yield tuple(output[n] for output in outputs)


def _stacked(waiting: deque[np.ndarray], batch: int) -> np.ndarray:
    """The first `batch` inputs as (batch, ...), the last one repeated where there are fewer."""
    first = [waiting[min(n, len(waiting) - 1)] for n in range(batch)]
    return np.stack(first)


class _Worker:
    """One thread that runs `forward`; on leaving, a running batch ends by itself and is dropped."""

    def __init__(self, forward: Forward) -> None:
        self._forward = forward
        self._pool = ThreadPoolExecutor(1, thread_name_prefix="pesemiseg-engine")

    def __enter__(self) -> _Worker:
        return self

    def start(self, stacked: np.ndarray) -> Future[Output]:
        return self._pool.submit(self._forward, stacked)

    def __exit__(self, *exc: object) -> None:
        self._pool.shutdown(wait=False, cancel_futures=True)
