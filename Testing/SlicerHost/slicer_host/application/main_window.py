"""The main window: module panel on the left, views on the right, module selector, status bar."""

from __future__ import annotations

from typing import Any

from PySide6 import QtWidgets

from ..qt_rules.stand_in import computed, stand_in


@stand_in
class qSlicerModuleSelectorToolBar(QtWidgets.QWidget):
    """Chooses the module whose panel is in front."""

    _h_window: Any = None
    _h_selected = ""

    selectedModule = computed("QString", lambda self: self._h_selected)

    def selectModule(self, name: str) -> None:
        """Bring a module's panel to the front.

        An unknown name does nothing. A scripted module without categories cannot be shown: nothing happens
        either, but its name counts as selected.
        """
        manager = self._h_window._h_manager
        module = manager.module(name)
        if module is None or name == self._h_selected:
            return
        self._h_window._h_leave()
        self._h_selected = name
        if module.className() == "qSlicerScriptedLoadableModule" and module.categories:
            self._h_window._h_show(module.widgetRepresentation())


@stand_in
class qSlicerAppMainWindow(QtWidgets.QMainWindow):
    """The main window."""

    def _h_open(self, manager: Any, views: QtWidgets.QWidget) -> None:
        """Arrange the window."""
        self._h_manager, self._h_front = manager, None
        self.objectName = "qSlicerMainWindow"
        self.windowTitle = "Slicer host"
        self._h_selector = qSlicerModuleSelectorToolBar()
        self._h_selector._h_window = self
        self._h_panel = QtWidgets.QScrollArea()
        self._h_panel.setWidgetResizable(True)
        self._h_panel.setMinimumWidth(420)
        splitter = QtWidgets.QSplitter()
        splitter.addWidget(self._h_panel)
        splitter.addWidget(views)
        self.setCentralWidget(splitter)
        splitter.setStretchFactor(0, 0)
        splitter.setStretchFactor(1, 1)
        self.statusBar()
        self.resize(1280, 840)
        splitter.setSizes([460, 820])

    def moduleSelector(self) -> qSlicerModuleSelectorToolBar:
        """The module selector."""
        return self._h_selector

    def _h_leave(self) -> None:
        if self._h_front is not None:
            self._h_front.exit()
            self._h_panel.takeWidget()
            self._h_front.setParent(None)
            self._h_front = None

    def _h_show(self, widget: Any) -> None:
        self._h_front = widget
        self._h_panel.setWidget(widget)
        widget.show()
        widget.enter()
