"""Draws batches ahead in one background thread, in order, so that the network never waits for the disk."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable
from typing import Generic, TypeVar

T = TypeVar("T")


class Prefetcher(Generic[T]):
    """Yields `make(first)`, `make(first + 1)`, ... up to `last` exclusive; use as a context manager."""

    def __init__(self, make: Callable[[int], T], first: int, last: int, depth: int = 4) -> None:
        self._queue: queue.Queue[tuple[T | None, BaseException | None]] = queue.Queue(depth)
        self._stop = threading.Event()
        self._count = last - first
        self._thread = threading.Thread(target=self._fill, args=(make, first, last), daemon=True)
        self._thread.start()

    def __enter__(self) -> Prefetcher[T]:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __iter__(self) -> Prefetcher[T]:
        return self

    def __next__(self) -> T:
        if self._count <= 0:
            raise StopIteration
        self._count -= 1
        item, error = self._queue.get()
        if error is not None:
            self.close()
            raise error
        assert item is not None
        return item

    def close(self) -> None:
        """Stop drawing ahead and wait for the thread."""
        self._stop.set()
        self._thread.join()

    def _fill(self, make: Callable[[int], T], first: int, last: int) -> None:
        try:
            for iteration in range(first, last):
                self._put(make(iteration), None)
                if self._stop.is_set():
                    return
        except BaseException as error:  # handed to the reader, who raises it
            self._put(None, error)

    def _put(self, item: T | None, error: BaseException | None) -> None:
        while not self._stop.is_set():
            try:
                self._queue.put((item, error), timeout=0.05)
                return
            except queue.Full:
                continue
