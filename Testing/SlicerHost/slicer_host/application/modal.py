"""Dialogs that wait for a click: nobody does in a test, so they are closed and the test fails."""

from __future__ import annotations

import time

from PySide6 import QtCore, QtWidgets

from .. import watch
from ..qt_rules import signals

PATIENCE_S = 10.0
_opened: dict[int, float] = {}
_timer: QtCore.QTimer | None = None


def watch_modal_dialogs() -> None:
    """Look every half second for a dialog that has been waiting too long."""
    global _timer
    _timer = QtCore.QTimer()
    _timer.setInterval(500)
    signals._original_connect(_timer, QtCore.SIGNAL("timeout()"), _look)
    _timer.start()


def _look() -> None:
    dialog = QtWidgets.QApplication.activeModalWidget()
    if dialog is None:
        _opened.clear()
        return
    since = _opened.setdefault(id(dialog), time.monotonic())
    if time.monotonic() - since > PATIENCE_S:
        text = getattr(dialog, "text", "") or dialog.windowTitle
        watch.record(f"a {type(dialog).__name__} waited for a click for {PATIENCE_S:.0f} s: {text!r}")
        dialog.close()
