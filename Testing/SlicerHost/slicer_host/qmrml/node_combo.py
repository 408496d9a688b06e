"""qMRMLNodeComboBox on the real scene, with the application's own surprises about what is current."""

from __future__ import annotations

from typing import Any

from PySide6 import QtCore, QtWidgets

from ..qt_rules import signals
from ..qt_rules.stand_in import computed, declared, stand_in
from .widgets import _need_vtk

POINTER, TRUTH, IDENTITY = (
    "currentNodeChanged(vtkMRMLNode*)",
    "currentNodeChanged(bool)",
    "currentNodeIDChanged(QString)",
)


@stand_in
class qMRMLNodeComboBox(QtWidgets.QWidget):
    """A choice among the scene's nodes of some types."""

    _h_signals = (
        POINTER,
        TRUTH,
        IDENTITY,
        "nodeActivated(vtkMRMLNode*)",
        "nodeAdded(vtkMRMLNode*)",
        "nodeAddedByUser(vtkMRMLNode*)",
        "nodeAboutToBeRemoved(vtkMRMLNode*)",
    )
    addEnabled = declared("bool", True)
    removeEnabled = declared("bool", True)
    renameEnabled = declared("bool", False)
    editEnabled = declared("bool", False)
    baseName = declared("QString", "")
    noneDisplay = declared("QString", "None")
    selectNodeUponCreation = declared("bool", True)

    def _h_setup(self) -> None:
        self._h_scene, self._h_current, self._h_observers = None, None, []
        self._h_types, self._h_children, self._h_hidden, self._h_none = (), True, False, False
        self._h_attributes: list[tuple[str, str, str | None]] = []
        self._h_pending: Any = None
        row = QtWidgets.QHBoxLayout(self)
        row.setContentsMargins(0, 0, 0, 0)
        self._h_box = QtWidgets.QComboBox(self)
        row.addWidget(self._h_box)
        signals._original_connect(self._h_box, QtCore.SIGNAL("activated(int)"), self._h_clicked)
        self.enabled = False  # until there is a scene

    # what is listed

    def _h_fits(self, node: Any) -> bool:
        if node is None or (node.GetHideFromEditors() and not self._h_hidden):
            return False
        exact = node.GetClassName() in self._h_types
        if not exact and not (self._h_children and any(node.IsA(t) for t in self._h_types)):
            return False
        rules = [(k, v) for t, k, v in self._h_attributes if node.IsA(t)]
        return all(node.GetAttribute(k) is not None and v in (None, node.GetAttribute(k)) for k, v in rules)

    def _h_nodes(self) -> list[Any]:
        if self._h_scene is None:
            return []
        nodes = [self._h_scene.GetNthNode(i) for i in range(self._h_scene.GetNumberOfNodes())]
        return [node for node in nodes if self._h_fits(node)]

    def _h_relist(self) -> None:
        self._h_box.clear()
        if self._h_none:
            self._h_box.addItem(self.noneDisplay)
        for node in self._h_nodes():
            self._h_box.addItem(node.GetName() or "", node.GetID())
        shown = self._h_box.findData(self._h_current.GetID()) if self._h_current is not None else -1
        self._h_box.setCurrentIndex(shown if shown >= 0 or not self._h_none else 0)

    def _h_set_types(self, types: Any) -> None:
        self._h_types = tuple(types)
        self._h_refilter()

    def _h_set_flag(self, name: str, value: bool) -> None:
        setattr(self, name, value)
        self._h_refilter()

    def _h_refilter(self) -> None:
        """After a change of what is listed: keep the current node if it still fits, else the first."""
        nodes = self._h_nodes()
        if self._h_scene is not None and self._h_current not in nodes:
            self._h_change(None if self._h_none or not nodes else nodes[0])
        self._h_relist()

    nodeTypes = computed(
        "QStringList", lambda self: list(self._h_types), lambda self, v: self._h_set_types(v)
    )
    showChildNodeTypes = computed(
        "bool", lambda self: self._h_children, lambda self, v: self._h_set_flag("_h_children", v)
    )
    showHidden = computed(
        "bool", lambda self: self._h_hidden, lambda self, v: self._h_set_flag("_h_hidden", v)
    )
    noneEnabled = computed("bool", lambda self: self._h_none, lambda self, v: self._h_set_flag("_h_none", v))
    currentNodeID = computed(
        "QString",
        lambda self: self._h_current.GetID() if self._h_current is not None else "",
        lambda self, identity: self.setCurrentNodeID(identity),
    )

    def addAttribute(self, node_type: str, name: str, value: str | None = None) -> None:
        """List nodes of a type only when they have this attribute."""
        self._h_attributes.append((node_type, name, value))
        self._h_refilter()

    # the scene

    def mrmlScene(self) -> Any:
        """The scene, or None."""
        return self._h_scene

    def setMRMLScene(self, scene: Any) -> None:
        """Set the scene: emits None, then selects the first node unless none is allowed."""
        _need_vtk(scene)
        if scene is self._h_scene:
            return
        for observer in self._h_observers:
            self._h_scene.RemoveObserver(observer)
        self._h_scene, self._h_observers = scene, []
        self.enabled = scene is not None
        self._h_change(None, force=True)
        if scene is not None:
            self._h_observe(scene)
            nodes = self._h_nodes()
            first = (
                self._h_pending
                if self._h_pending in nodes
                else (nodes[0] if nodes and not self._h_none else None)
            )
            self._h_pending = None
            if first is not None:
                self._h_change(first)
        self._h_relist()

    def _h_observe(self, scene: Any) -> None:
        import vtk

        @vtk.calldata_type(vtk.VTK_OBJECT)
        def added(_caller: Any, _event: str, node: Any) -> None:
            if self._h_alive() and self._h_fits(node):
                self._h_relist()
                signals.emit(self, "nodeAdded(vtkMRMLNode*)", node)

        @vtk.calldata_type(vtk.VTK_OBJECT)
        def removed(_caller: Any, _event: str, node: Any) -> None:
            if self._h_alive() and node is self._h_current:
                self._h_lose(node)

        def closed(_caller: Any, _event: str) -> None:
            if self._h_alive():
                if self._h_current is not None:
                    self._h_change(None)
                self._h_relist()

        events = (
            (scene.NodeAddedEvent, added),
            (scene.NodeRemovedEvent, removed),
            (scene.EndCloseEvent, closed),
        )
        self._h_observers = [scene.AddObserver(event, function) for event, function in events]

    def _h_alive(self) -> bool:
        from shiboken6 import Shiboken

        return Shiboken.isValid(self)

    def _h_lose(self, node: Any) -> None:
        """The current node left the scene: a neighbour takes its place, also where none is allowed."""
        before = self._h_box_ids()
        position = before.index(node.GetID()) if node.GetID() in before else 0
        nodes = self._h_nodes()
        if self._h_scene.IsClosing():
            self._h_change(None)
        elif nodes:
            self._h_change(nodes[min(position, len(nodes) - 1)])
        elif self._h_none:
            self._h_change(None)
        else:
            self._h_current = None  # the application is silent here
        self._h_relist()

    def _h_box_ids(self) -> list[str]:
        every = [self._h_box.itemData(i) for i in range(self._h_box.count)]
        return [identity for identity in every if identity]

    # what is chosen

    def _h_change(self, node: Any, force: bool = False) -> None:
        if node is self._h_current and not force:
            return
        self._h_current = node
        identity = node.GetID() if node is not None else ""
        index = self._h_box.findData(identity)
        self._h_box.setCurrentIndex(index if node is not None else (0 if self._h_none else -1))
        signals.emit(self, POINTER, node)
        signals.emit(self, TRUTH, node is not None)
        signals.emit(self, IDENTITY, identity)
        if node is not None:
            signals.emit(self, "nodeActivated(vtkMRMLNode*)", node)

    def _h_clicked(self, index: int) -> None:
        identity = self._h_box.itemData(index)
        self._h_change(self._h_scene.GetNodeByID(identity) if identity else None)

    def currentNode(self) -> Any:
        """The chosen node, or None."""
        return self._h_current

    def setCurrentNode(self, node: Any) -> None:
        """Choose a node; one that is not listed means None."""
        _need_vtk(node)
        if self._h_scene is None:
            self._h_pending = node
            return
        if node is not None and node.GetID() not in self._h_box_ids():
            self._h_relist()
        self._h_change(node if node in self._h_nodes() else None)

    def setCurrentNodeID(self, identity: str | None) -> None:
        """Choose by ID; an unknown one means None."""
        if identity is not None and not isinstance(identity, str):
            raise TypeError("setCurrentNodeID takes text")
        self.setCurrentNode(self._h_scene.GetNodeByID(identity) if self._h_scene and identity else None)

    def setCurrentNodeIndex(self, index: int) -> None:
        """Choose by position."""
        self.setCurrentNode(self._h_nodes()[index])

    def nodeFromIndex(self, index: int) -> Any:
        """The node at a position."""
        return self._h_nodes()[index]

    def nodeCount(self) -> int:
        """How many nodes are listed."""
        return len(self._h_nodes())

    def addNode(self, node_type: str | None = None) -> Any:
        """Make a node as the user would, and choose it."""
        node_type = node_type or self._h_types[0]
        tag = node_type.removeprefix("vtkMRML").removesuffix("Node")
        name = self._h_scene.GenerateUniqueName(self.baseName or tag)
        node = self._h_scene.AddNewNodeByClass(node_type, name)
        if self.selectNodeUponCreation:
            self._h_change(node)
        signals.emit(self, "nodeAddedByUser(vtkMRMLNode*)", node)
        return node

    def removeCurrentNode(self) -> None:
        """Take the chosen node out of the scene."""
        if self._h_current is not None:
            self._h_scene.RemoveNode(self._h_current)
