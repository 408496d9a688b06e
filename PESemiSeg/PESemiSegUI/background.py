"""Owns work beside the user interface: on a thread, or on Qt's own in steps that leave Slicer its turns."""

import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import qt

_EVERY_MS = 30
_MOMENT_S = 0.02  # of the user interface's time, for one go


class Task:
    """One function that runs on a thread; it must touch neither Qt nor the scene.

    Args:
        work: what to do. done: gets its result, on the user interface's thread. failed: gets what either raised.
    """

    def __init__(
        self, work: Callable[[], Any], done: Callable[[Any], None], failed: Callable[[Exception], None]
    ):
        self._outcome: Any = (done, failed)  # as long as it is waited for
        self._result: Any = None
        self._error: Exception | None = None
        self._timer = qt.QTimer()
        self._timer.setInterval(_EVERY_MS)
        self._timer.connect("timeout()", self._look)
        self._thread = threading.Thread(target=self._run, args=(work,), name="pesemiseg-task", daemon=True)
        self._thread.start()
        self._timer.start()

    @property
    def active(self) -> bool:
        """Whether an outcome will still be handed over."""
        return self._outcome is not None

    def forget(self) -> None:
        """Hand nothing over any more; the thread ends by itself."""
        self._release()

    def _run(self, work: Callable[[], Any]) -> None:
        try:
            result, error = work(), None
        except Exception as raised:
            result, error = None, raised
        if self.active:
            self._result, self._error = result, error

    def _look(self) -> None:
        if self._outcome is None or self._thread.is_alive():
            return
        (done, failed), result, error = self._outcome, self._result, self._error
        self._release()
        if error is not None:
            failed(error)
            return
        try:
            done(result)
        except Exception as raised:  # a defect: whoever waits is told, and it is still seen
            failed(raised)
            raise

    def _release(self) -> None:
        """Hold nothing any more: the timer's connection keeps this object, and what it carries can be a scan."""
        self._outcome = self._result = self._error = None
        timer, self._timer = self._timer, None
        if timer is not None:
            timer.stop()
            timer.disconnect("timeout()", self._look)
            timer.deleteLater()


class Steps:
    """Work that must touch Qt or the scene, in steps: as many at a time as fit into a moment.

    Args:
        steps: each step takes some 10 ms at most. each: gets what every step yields. done: called at the end.
        failed: gets what a step raised.
    """

    def __init__(
        self,
        steps: Iterator[Any],
        each: Callable[[Any], None],
        done: Callable[[], None],
        failed: Callable[[Exception], None],
    ):
        self._steps: Iterator[Any] | None = steps
        self._each, self._done, self._failed = each, done, failed
        self._go()

    @property
    def active(self) -> bool:
        """Whether there is more to do."""
        return self._steps is not None

    def forget(self) -> None:
        """Do no more."""
        self._steps = None

    def _go(self) -> None:
        began, over, error = time.monotonic(), False, None
        try:
            while self._steps is not None and time.monotonic() - began < _MOMENT_S:
                self._each(next(self._steps))
        except StopIteration:
            over = True
        except Exception as raised:
            error = raised
        if self._steps is None:
            return  # forgotten meanwhile
        if error is not None:
            self._steps = None
            self._failed(error)
        elif over:
            self._steps = None
            self._done()
        else:
            qt.QTimer.singleShot(0, self._go)
