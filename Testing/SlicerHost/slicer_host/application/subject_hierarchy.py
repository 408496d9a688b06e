"""The subject hierarchy: nodes that the Data module shows get an item, as the application's plugins do it.

The hierarchy itself is the application's own; only the plugins, which are Qt, are not in the wheel.
"""

from __future__ import annotations

from typing import Any

SHOWN = (
    *("vtkMRMLVolumeNode", "vtkMRMLSegmentationNode", "vtkMRMLModelNode", "vtkMRMLMarkupsNode"),
    *("vtkMRMLTransformNode", "vtkMRMLTableNode", "vtkMRMLTextNode", "vtkMRMLPlotSeriesNode"),
    *("vtkMRMLPlotChartNode", "vtkMRMLSequenceNode"),
)


class SubjectHierarchy:
    """Watches a scene; hold on to it for as long as the scene lives."""

    def __init__(self, scene: Any) -> None:
        import vtk

        self._scene = scene

        @vtk.calldata_type(vtk.VTK_OBJECT)
        def added(_scene: Any, _event: str, node: Any) -> None:
            self._add(node)

        @vtk.calldata_type(vtk.VTK_OBJECT)
        def removed(_scene: Any, _event: str, node: Any) -> None:
            self._remove(node)

        def imported(_scene: Any, _event: str) -> None:
            for index in range(scene.GetNumberOfNodes()):
                self._add(scene.GetNthNode(index))

        def closing(_scene: Any, _event: str) -> None:
            hierarchy = scene.GetSubjectHierarchyNode()
            if hierarchy is not None:
                hierarchy.RemoveAllItems(False)

        scene.AddObserver(scene.StartCloseEvent, closing)
        scene.AddObserver(scene.NodeAddedEvent, added)
        scene.AddObserver(scene.NodeAboutToBeRemovedEvent, removed)
        scene.AddObserver(scene.EndImportEvent, imported)  # a scene's own items come in first

    def _add(self, node: Any) -> None:
        scene = self._scene
        if scene.IsImporting() or scene.IsClosing() or node.GetHideFromEditors():
            return
        if any(node.IsA(name) for name in SHOWN):
            hierarchy = scene.GetSubjectHierarchyNode()
            if hierarchy is not None and not hierarchy.GetItemByDataNode(node):
                hierarchy.CreateItem(hierarchy.GetSceneItemID(), node)

    def _remove(self, node: Any) -> None:
        if self._scene.IsClosing() or node.IsA("vtkMRMLSubjectHierarchyNode"):
            return
        hierarchy = self._scene.GetSubjectHierarchyNode()
        item = hierarchy.GetItemByDataNode(node) if hierarchy is not None else 0
        if item:
            hierarchy.RemoveItem(item, False, False)
