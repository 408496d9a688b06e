"""slicer.app.layoutManager(): views as the real layout logic asks for them."""

from __future__ import annotations

from typing import Any

from PySide6 import QtCore, QtWidgets

from ..qmrml import views
from ..qt_rules.stand_in import computed, stand_in
from ..qt_rules.values import accept

FOUR_UP = 3


@stand_in
class qSlicerLayoutManager(QtCore.QObject):
    """Makes one widget per view node and arranges those of the current layout."""

    def _h_open(self, scene: Any, application: Any) -> None:
        """Start with the four-up layout."""
        import slicer

        self._h_application, self._h_scene = application, scene
        self._h_widgets: dict[str, Any] = {}
        self._h_frame = QtWidgets.QWidget()
        self._h_grid = QtWidgets.QGridLayout(self._h_frame)
        self._h_grid.setContentsMargins(0, 0, 0, 0)
        self._h_logic = slicer.vtkMRMLLayoutLogic()
        self._h_logic.SetMRMLScene(scene)
        self._h_logic.GetLayoutNode().AddObserver("ModifiedEvent", lambda *_: self._h_refresh())
        self.setLayout(FOUR_UP)

    def _h_shown(self, node_class: str) -> list[Any]:
        nodes = self._h_logic.GetViewNodes()
        found = [nodes.GetItemAsObject(i) for i in range(nodes.GetNumberOfItems())]
        return [node for node in found if node.IsA(node_class)]

    def _h_refresh(self) -> None:
        """Widgets for new view nodes; the frame shows those of the layout."""
        shown = self._h_shown("vtkMRMLAbstractViewNode")
        for node in shown:
            if node.GetID() not in self._h_widgets:
                self._h_widgets[node.GetID()] = self._h_make(node)
        for widget in self._h_widgets.values():
            self._h_grid.removeWidget(widget)
            widget.hide()
        for position, node in enumerate(shown):
            widget = self._h_widgets[node.GetID()]
            self._h_grid.addWidget(widget, position // 2, position % 2)
            widget.show()
            node.SetMappedInLayout(1)

    def _h_make(self, node: Any) -> Any:
        if node.IsA("vtkMRMLSliceNode"):
            return self._h_make_slice(node)
        if node.IsA("vtkMRMLViewNode"):
            widget = views.qMRMLThreeDWidget()
            widget._h_build(node, self._h_application)
            return widget
        plain = views.qMRMLPlotWidget if node.IsA("vtkMRMLPlotViewNode") else views.qMRMLTableWidget
        widget = plain()
        widget._h_node = node
        return widget

    def _h_make_slice(self, node: Any) -> Any:
        import slicer

        logic = slicer.vtkMRMLSliceLogic()
        logic.SetMRMLApplicationLogic(self._h_application)
        self._h_application.GetSliceLogics().AddItem(logic)
        logic.SetMRMLScene(self._h_scene)
        logic.SetSliceNode(node)
        widget = views.qMRMLSliceWidget()
        widget._h_build(node, logic, self._h_application)
        return widget

    layout = computed(
        "int",
        lambda self: self._h_logic.GetLayoutNode().GetViewArrangement(),
        lambda self, identity: self.setLayout(identity),
    )
    threeDViewCount = computed("int", lambda self: len(self._h_shown("vtkMRMLViewNode")))
    plotViewCount = computed("int", lambda self: len(self._h_shown("vtkMRMLPlotViewNode")))
    tableViewCount = computed("int", lambda self: len(self._h_shown("vtkMRMLTableViewNode")))

    def setLayout(self, identity: int) -> None:
        """Choose a layout by its number."""
        self._h_logic.GetLayoutNode().SetViewArrangement(accept("int", identity))
        self._h_refresh()

    def layoutLogic(self) -> Any:
        """The vtkMRMLLayoutLogic."""
        return self._h_logic

    def mrmlScene(self) -> Any:
        """The scene."""
        return self._h_scene

    def mrmlSliceLogics(self) -> Any:
        """The slice logics of all slice views."""
        return self._h_application.GetSliceLogics()

    def sliceViewNames(self) -> tuple[str, ...]:
        """Names of the slice views shown, in no order to rely on."""
        return tuple(node.GetLayoutName() for node in self._h_shown("vtkMRMLSliceNode"))

    def sliceWidget(self, name: str) -> Any:
        """The slice view with this name, or None."""
        every = [w for w in self._h_widgets.values() if w.className() == "qMRMLSliceWidget"]
        return next((w for w in every if w.mrmlSliceNode().GetLayoutName() == name), None)

    def _h_nth(self, node_class: str, index: int) -> Any:
        nodes = self._h_shown(node_class)
        return self._h_widgets[nodes[index].GetID()] if 0 <= index < len(nodes) else None

    def threeDWidget(self, index: int) -> Any:
        """The nth 3D view, or None."""
        return self._h_nth("vtkMRMLViewNode", index)

    def plotWidget(self, index: int) -> Any:
        """The nth plot view, or None."""
        return self._h_nth("vtkMRMLPlotViewNode", index)

    def tableWidget(self, index: int) -> Any:
        """The nth table view, or None."""
        return self._h_nth("vtkMRMLTableViewNode", index)

    def resetSliceViews(self) -> None:
        """Show the whole background volume in each slice view."""
        for name in self.sliceViewNames():
            self.sliceWidget(name).sliceLogic().FitSliceToBackground()

    def resetThreeDViews(self) -> None:
        """Look at everything visible."""
        for index in range(self.threeDViewCount):
            self.threeDWidget(index).threeDView().resetFocalPoint()

    def viewport(self) -> QtWidgets.QWidget:
        """The frame around the views."""
        return self._h_frame
