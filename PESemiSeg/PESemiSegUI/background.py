"""Owns short work beside the user interface: a function on a thread, its outcome handed over on Qt's own."""

import threading
from collections.abc import Callable
from typing import Any

import qt

_EVERY_MS = 30


class Task:
    """One function that runs on a thread; it must touch neither Qt nor the scene.

    Args:
        work: what to do. done: gets its result, on the user interface's thread. failed: gets what it raised.
    """

    def __init__(
        self, work: Callable[[], Any], done: Callable[[Any], None], failed: Callable[[Exception], None]
    ):
        self._work, self._done, self._failed = work, done, failed
        self._result: Any = None
        self._error: Exception | None = None
        self._timer = qt.QTimer()
        self._timer.setInterval(_EVERY_MS)
        self._timer.connect("timeout()", self._look)
        self._thread = threading.Thread(target=self._run, name="pesemiseg-task", daemon=True)
        self._thread.start()
        self._timer.start()

    @property
    def active(self) -> bool:
        """Whether an outcome will still be handed over."""
        return self._timer.active

    def forget(self) -> None:
        """Hand nothing over any more; the thread ends by itself."""
        self._timer.stop()

    def _run(self) -> None:
        try:
            self._result = self._work()
        except Exception as error:
            self._error = error

    def _look(self) -> None:
        if self._thread.is_alive():
            return
        self._timer.stop()
        if self._error is None:
            self._done(self._result)
        else:
            self._failed(self._error)
