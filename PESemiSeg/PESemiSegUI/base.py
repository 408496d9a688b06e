"""Owns what every panel is: a .ui file, its widgets, and the moments at which the module calls it."""

import slicer

from .background import Task

AMBER = "color: #1d1d1d; background-color: #f2b134; border-radius: 3px; padding: 3px;"  # of what must be read


class Panel:
    """One page of the module.

    Args:
        path: of the .ui file. page: the widget that the panel is put into.
    """

    def __init__(self, path: str, page):
        self.widget = slicer.util.loadUI(path)
        page.layout().addWidget(self.widget)
        self.ui = slicer.util.childWidgetVariables(self.widget)
        self.widget.setMRMLScene(slicer.mrmlScene)
        self.parameters = None
        self._tag = None
        self._task: Task | None = None  # what runs on a thread for this page, one at a time

    def bind(self, parameters) -> None:
        """A scene begins: connect the widgets to its parameter node, and show its state."""
        self.unbind()
        self.parameters = parameters
        self._tag = parameters.connectGui(self.ui)
        self.refresh()

    def unbind(self) -> None:
        """The scene goes."""
        if self.parameters is not None:
            self.parameters.disconnectGui(self._tag)
            self.parameters = None

    def refresh(self) -> None:
        """Show what the scene and this computer hold now."""

    def enter(self) -> None:
        """The module comes to the front."""

    def exit(self) -> None:
        """The module goes to the back."""

    def cleanup(self) -> None:
        """The module goes: stop timers, decide the fate of running jobs."""
        if self._task is not None:
            self._task.forget()
        self.unbind()


def setEnabled(widget, why: str, tip: str) -> None:
    """Enable a button where nothing speaks against it; else its tool tip says what does."""
    widget.enabled = not why
    widget.toolTip = why or tip
