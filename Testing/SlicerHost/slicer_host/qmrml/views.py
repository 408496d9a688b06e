"""Slice, 3D, plot and table views as widgets: thin frames around the offscreen views."""

from __future__ import annotations

from typing import Any

import numpy as np
from PySide6 import QtCore, QtGui, QtWidgets

from ..qt_rules.stand_in import computed, stand_in
from ..rendering import SliceView, ThreeDView, View


class _Picture(QtWidgets.QWidget):
    """Paints the last rendered picture of its view."""

    _h_cpp = True
    _h_view: View | None = None
    _h_node: Any = None

    def _h_setup(self) -> None:
        expanding = QtWidgets.QSizePolicy.Policy.Expanding
        self.setSizePolicy(expanding, expanding)
        self.setMinimumSize(160, 120)

    def renderWindow(self) -> Any:
        """The vtkRenderWindow."""
        self._h_open()
        return self._h_view.window  # type: ignore[union-attr]

    def _h_open(self) -> None:
        """Start the view's managers: at start-up, as in the application, for some miss what came before."""
        assert self._h_view is not None
        if self._h_view.window is None:
            self._h_view.open(self._h_node)

    def _h_picture(self) -> np.ndarray:
        """The view rendered now."""
        self._h_open()
        return self._h_view.picture()  # type: ignore[union-attr]

    def forceRender(self) -> None:
        """Render now."""
        self._h_picture()
        self.update()

    scheduleRender = forceRender

    def paintEvent(self, _event: QtGui.QPaintEvent) -> None:
        """Render at the widget's size and paint it."""
        self._h_open()
        self._h_view.size = (max(64, self.width), max(64, self.height))  # type: ignore[union-attr]
        pixels = np.ascontiguousarray(self._h_picture())
        rows, columns, _ = pixels.shape
        image = QtGui.QImage(pixels.data, columns, rows, 3 * columns, QtGui.QImage.Format.Format_RGB888)
        painter = QtGui.QPainter(self)
        painter.drawImage(QtCore.QPoint(0, 0), image)
        painter.end()


@stand_in
class qMRMLSliceView(_Picture):
    """The picture of a slice view."""

    _h_setup = _Picture._h_setup

    def mrmlSliceNode(self) -> Any:
        """The slice node."""
        return self._h_node


@stand_in
class qMRMLThreeDView(_Picture):
    """The picture of a 3D view."""

    _h_setup = _Picture._h_setup

    def mrmlViewNode(self) -> Any:
        """The view node."""
        return self._h_node

    def cameraNode(self) -> Any:
        """The camera of the view; made with the view's managers."""
        import slicer

        self._h_open()
        return slicer.modules.cameras.logic().GetViewActiveCameraNode(self._h_node)

    def resetFocalPoint(self) -> None:
        """Look at everything visible."""
        self._h_open()
        self._h_view.look_at_everything()  # type: ignore[union-attr]

    resetCamera = resetFocalPoint


@stand_in
class qMRMLSliderWidget(QtWidgets.QWidget):
    """The offset slider of a slice view; the host only names it."""


@stand_in
class qMRMLSliceControllerWidget(QtWidgets.QWidget):
    """The bar above a slice view."""

    def sliceOffsetSlider(self) -> qMRMLSliderWidget:
        """The offset slider."""
        return qMRMLSliderWidget(self)


@stand_in
class qMRMLThreeDViewControllerWidget(QtWidgets.QWidget):
    """The bar above a 3D view."""


@stand_in
class qMRMLSliceWidget(QtWidgets.QWidget):
    """A slice view with its logic."""

    def _h_build(self, node: Any, logic: Any, application: Any) -> None:
        self._h_node, self._h_logic = node, logic
        column = QtWidgets.QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 0)
        self._h_controller, self._h_picture = qMRMLSliceControllerWidget(self), qMRMLSliceView(self)
        self._h_picture._h_view, self._h_picture._h_node = SliceView(application, logic), node
        self._h_picture._h_open()
        column.addWidget(self._h_picture)

    def sliceLogic(self) -> Any:
        """The vtkMRMLSliceLogic."""
        return self._h_logic

    def mrmlSliceNode(self) -> Any:
        """The slice node."""
        return self._h_node

    def mrmlSliceCompositeNode(self) -> Any:
        """Which volumes the view shows."""
        return self._h_logic.GetSliceCompositeNode()

    def sliceView(self) -> qMRMLSliceView:
        """The picture."""
        return self._h_picture

    def sliceController(self) -> qMRMLSliceControllerWidget:
        """The bar."""
        return self._h_controller

    def fitSliceToBackground(self) -> None:
        """Show the whole background volume."""
        self._h_logic.FitSliceToBackground()


@stand_in
class qMRMLThreeDWidget(QtWidgets.QWidget):
    """A 3D view."""

    def _h_build(self, node: Any, application: Any) -> None:
        self._h_node = node
        column = QtWidgets.QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 0)
        self._h_controller, self._h_picture = qMRMLThreeDViewControllerWidget(self), qMRMLThreeDView(self)
        self._h_picture._h_view, self._h_picture._h_node = ThreeDView(application), node
        self._h_picture._h_open()
        column.addWidget(self._h_picture)

    def mrmlViewNode(self) -> Any:
        """The view node."""
        return self._h_node

    def threeDView(self) -> qMRMLThreeDView:
        """The picture."""
        return self._h_picture

    def threeDController(self) -> qMRMLThreeDViewControllerWidget:
        """The bar."""
        return self._h_controller


@stand_in
class qMRMLPlotWidget(QtWidgets.QWidget):
    """A plot view: the node only, no picture."""

    _h_node: Any = None

    def mrmlPlotViewNode(self) -> Any:
        """The plot view node."""
        return self._h_node


@stand_in
class qMRMLTableView(QtWidgets.QWidget):
    """The table inside a table view: the node only."""

    _h_node: Any = None

    def mrmlTableNode(self) -> Any:
        """The table shown."""
        return self._h_node.GetTableNode()


@stand_in
class qMRMLTableWidget(QtWidgets.QWidget):
    """A table view."""

    _h_node: Any = None

    def tableView(self) -> qMRMLTableView:
        """The table inside."""
        view = qMRMLTableView(self)
        view._h_node = self._h_node
        return view

    viewLabel = computed("QString", lambda self: self._h_node.GetLayoutLabel())
