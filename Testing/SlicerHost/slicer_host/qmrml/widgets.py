"""qMRMLWidget, qSlicerWidget and the small widgets around segmentations."""

from __future__ import annotations

from typing import Any

from PySide6 import QtCore, QtWidgets

from ..qt_rules import signals
from ..qt_rules.stand_in import computed, declared, stand_in


@stand_in
class qMRMLWidget(QtWidgets.QWidget):
    """A widget that hands its scene on; fires only when the scene changes."""

    _h_signals = ("mrmlSceneChanged(vtkMRMLScene*)",)

    def _h_setup(self) -> None:
        self._h_scene: Any = None

    def mrmlScene(self) -> Any:
        """The scene, or None."""
        return self._h_scene

    def setMRMLScene(self, scene: Any) -> None:
        """Set the scene."""
        _need_vtk(scene)
        if scene is not self._h_scene:
            self._h_scene = scene
            self._h_scene_set()
            signals.emit(self, "mrmlSceneChanged(vtkMRMLScene*)", scene)

    def _h_scene_set(self) -> None:
        """For widgets that list nodes."""


@stand_in
class qSlicerWidget(qMRMLWidget):
    """The same, under Slicer's own name."""


@stand_in
class qMRMLSegmentSelectorWidget(qMRMLWidget):
    """Segmentation and segment to choose from; the first segment is chosen by itself."""

    _h_signals = ("currentSegmentChanged(QString)", "currentNodeChanged(vtkMRMLNode*)")
    noneEnabled = declared("bool", False)
    multiSelection = declared("bool", False)

    def _h_setup(self) -> None:
        qMRMLWidget._h_setup(self)
        self._h_node, self._h_segment = None, ""

    def setCurrentNode(self, node: Any) -> None:
        """Choose the segmentation."""
        _need_vtk(node)
        self._h_node = node
        segmentation = node.GetSegmentation() if node is not None else None
        has_any = segmentation is not None and segmentation.GetNumberOfSegments() > 0
        self._h_segment = segmentation.GetNthSegmentID(0) if has_any else ""
        signals.emit(self, "currentNodeChanged(vtkMRMLNode*)", node)

    def currentNode(self) -> Any:
        """The chosen segmentation."""
        return self._h_node

    def currentNodeID(self) -> str:
        """Its ID; a method here, unlike on the node combo box."""
        return self._h_node.GetID() if self._h_node is not None else ""

    def currentSegmentID(self) -> str:
        """The chosen segment."""
        return self._h_segment

    def setCurrentSegmentID(self, identity: str) -> None:
        """Choose a segment."""
        if identity != self._h_segment:
            self._h_segment = identity
            signals.emit(self, "currentSegmentChanged(QString)", identity)


@stand_in
class qMRMLSegmentsTableView(qMRMLWidget):
    """A list of the segments of one segmentation."""

    _h_signals = ("selectionChanged(QItemSelection,QItemSelection)",)
    headerVisible = declared("bool", True)
    visibilityColumnVisible = declared("bool", True)
    opacityColumnVisible = declared("bool", True)
    colorColumnVisible = declared("bool", True)
    statusColumnVisible = declared("bool", True)
    readOnly = declared("bool", False)
    textFilter = declared("QString", "")

    def _h_setup(self) -> None:
        qMRMLWidget._h_setup(self)
        self._h_node, self._h_selected = None, ()

    def setSegmentationNode(self, node: Any) -> None:
        """Show this segmentation."""
        _need_vtk(node)
        self._h_node, self._h_selected = node, ()

    def segmentationNode(self) -> Any:
        """The segmentation shown."""
        return self._h_node

    def _h_ids(self) -> list[str]:
        if self._h_node is None:
            return []
        segmentation = self._h_node.GetSegmentation()
        return [segmentation.GetNthSegmentID(i) for i in range(segmentation.GetNumberOfSegments())]

    segmentCount = computed("int", lambda self: len(self._h_ids()))

    def segmentIDForRow(self, row: int) -> str:
        """Segment of a row."""
        return self._h_ids()[row]

    def selectedSegmentIDs(self) -> tuple[str, ...]:
        """The selected segments."""
        return tuple(self._h_selected)

    def setSelectedSegmentIDs(self, identities: Any) -> None:
        """Select segments."""
        chosen = tuple(i for i in self._h_ids() if i in tuple(identities))
        if chosen != self._h_selected:
            self._h_selected = chosen
            empty = QtCore.QItemSelection()
            signals.emit(self, "selectionChanged(QItemSelection,QItemSelection)", empty, empty)


def _need_vtk(value: Any) -> None:
    if value is not None and not hasattr(value, "IsA"):
        raise TypeError("method requires a VTK object")
