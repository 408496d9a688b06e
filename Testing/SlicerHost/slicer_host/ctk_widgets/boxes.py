"""Combo box with a default text, message box with "don't show again", fitted text."""

from __future__ import annotations

from PySide6 import QtWidgets

from ..qt_rules.stand_in import declared, stand_in


@stand_in
class ctkComboBox(QtWidgets.QComboBox):
    """A combo box that can show a text while nothing is chosen."""

    defaultText = declared("QString", "")
    forceDefault = declared("bool", False)


@stand_in
class ctkMessageBox(QtWidgets.QMessageBox):
    """A message box that can remember an answer."""

    dontShowAgainVisible = declared("bool", False)
    dontShowAgain = declared("bool", False)
    dontShowAgainSettingsKey = declared("QString", "")


@stand_in
class ctkFittedTextBrowser(QtWidgets.QTextBrowser):
    """A text as high as its contents."""

    collapsed = declared("bool", True)
    collapsible = declared("bool", True)
