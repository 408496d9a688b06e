"""Drives a module on the host from a script: events are worked off, every turn of the event loop is timed."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any


class Turns:
    """Lets the application work, and keeps how long each turn of its event loop held the user interface up.

    `wall_s` and `busy_s` are per turn: by the clock, and the processor time of this thread alone, which other
    programs on the computer do not lengthen.
    """

    def __init__(self) -> None:
        self.wall_s: list[float] = []
        self.busy_s: list[float] = []

    def take(self, act: Callable[[], Any]) -> Any:
        """One turn: what a click does, or the events that wait."""
        wall, busy = time.perf_counter(), time.thread_time()
        result = act()
        self.wall_s.append(time.perf_counter() - wall)
        self.busy_s.append(time.thread_time() - busy)
        return result

    def until(self, condition: Callable[[], bool], seconds: float = 600.0) -> None:
        """Turns until something has come about. Raises TimeoutError."""
        import slicer

        deadline = time.monotonic() + seconds
        while not condition():
            if time.monotonic() > deadline:
                raise TimeoutError("it has not come about")
            self.take(slicer.app.processEvents)
            time.sleep(0.002)
