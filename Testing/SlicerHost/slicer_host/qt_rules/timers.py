"""Single shots: `QTimer.singleShot(ms, callable)` keeps its callable and reports its exceptions."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from PySide6 import QtCore

from . import signals

_waiting: set[QtCore.QTimer] = set()


def single_shot(milliseconds: int, function: Callable[[], Any]) -> None:
    """Call `function` once, `milliseconds` from now."""
    if not callable(function):
        raise TypeError("QTimer.singleShot takes milliseconds and a callable")
    timer = QtCore.QTimer()
    _waiting.add(timer)

    def fire() -> None:
        _waiting.discard(timer)
        function()

    timer.setSingleShot(True)
    signals.connect(timer, "timeout()", fire)
    timer.start(int(milliseconds))


def cancel_all() -> None:
    """Forget single shots that have not fired (at the end of a test)."""
    for timer in list(_waiting):
        timer.stop()
    _waiting.clear()


def install() -> None:
    """Put the function in place of PySide's."""
    QtCore.QTimer.singleShot = staticmethod(single_shot)  # type: ignore[method-assign, assignment]
