"""Path line with history, and the settings class."""

from __future__ import annotations

import os
from typing import Any

from PySide6 import QtCore, QtWidgets

from ..qt_rules import signals
from ..qt_rules.settings import QSettings
from ..qt_rules.stand_in import computed, declared, stand_in


class ctkSettings(QSettings):
    """The application's settings object."""

    _h_cpp = True


@stand_in
class ctkPathLineEdit(QtWidgets.QWidget):
    """One path, not normalised. Setting the key of its history brings the last path back."""

    _h_signals = ("currentPathChanged(QString)", "validInputChanged(bool)")
    Dirs, Files, Drives, NoSymLinks, Readable, Writable, Executable = 1, 2, 4, 8, 16, 32, 64
    Hidden, System = 256, 512
    filters = declared("int", 24663)
    options = declared("int", 0)
    nameFilters = declared("QStringList", [])
    showHistoryButton = declared("bool", True)
    showBrowseButton = declared("bool", True)
    label = declared("QString", "")
    sizeAdjustPolicy = declared("int", 2)
    minimumContentsLength = declared("int", 0)

    def _h_setup(self) -> None:
        self._h_path, self._h_key, self._h_valid = "", "", False
        row = QtWidgets.QHBoxLayout(self)
        row.setContentsMargins(0, 0, 0, 0)
        self._h_combo = QtWidgets.QComboBox(self)
        self._h_combo.setEditable(True)
        row.addWidget(self._h_combo)
        signals._original_connect(
            self._h_combo, QtCore.SIGNAL("editTextChanged(QString)"), lambda text: self._h_put(text)
        )

    def _h_put(self, path: str) -> None:
        if path == self._h_path:
            return
        self._h_path = path
        if self._h_combo.currentText != path:
            self._h_combo.setEditText(path)
        signals.emit(self, "currentPathChanged(QString)", path)
        valid = bool(self.filters & 3) and os.path.exists(path)
        if path and valid and not self._h_valid:
            self._h_valid = True
            signals.emit(self, "validInputChanged(bool)", True)

    def _h_settings_key(self) -> str:
        return f"ctkPathLineEdit/{self._h_key}"

    def _h_set_key(self, key: str) -> None:
        self._h_key = key
        self.retrieveHistory()

    currentPath = computed("QString", lambda self: self._h_path, lambda self, path: self._h_put(path))
    settingKey = computed("QString", lambda self: self._h_key, lambda self, key: self._h_set_key(key))

    def setCurrentPath(self, path: str) -> None:
        """Set the path."""
        self.currentPath = path

    def comboBox(self) -> QtWidgets.QComboBox:
        """The combo box inside."""
        return self._h_combo

    def addCurrentPathToHistory(self) -> None:
        """Put the path on top of the history, and into the settings when there is a key."""
        path = self._h_path
        known = [self._h_combo.itemText(i) for i in range(self._h_combo.count)]
        history = [path, *(item for item in known if item != path)]
        self._h_fill(history, path)
        if self._h_key:
            QSettings().setValue(self._h_settings_key(), history)

    def retrieveHistory(self) -> None:
        """Bring the history back from the settings."""
        stored: Any = QSettings().value(self._h_settings_key()) if self._h_key else None
        if stored:
            history = list(stored) if isinstance(stored, tuple) else [stored]
            self._h_fill(history, history[0])
            self._h_put(history[0])

    def _h_fill(self, history: list[str], path: str) -> None:
        blocked = self._h_combo.blockSignals(True)
        self._h_combo.clear()
        self._h_combo.addItems(history)
        self._h_combo.setEditText(path)
        self._h_combo.blockSignals(blocked)
