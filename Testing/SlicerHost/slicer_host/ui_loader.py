"""qt.QUiLoader: .ui files with the stand-ins' classes; connections made by the host's own rules.

Stricter than the application: an unknown class, property or connection raises, where the application drops
widgets silently or carries on.
"""

from __future__ import annotations

import xml.etree.ElementTree as ElementTree
from typing import Any

from PySide6 import QtCore, QtUiTools, QtWidgets

from .qt_rules import objects, signals
from .qt_rules.stand_in import stand_in

CLASSES: dict[str, type] = {}  # stand-ins by name; filled at start


class _Factory(QtUiTools.QUiLoader):
    """Makes the stand-ins that Qt does not know."""

    def createWidget(self, class_name: str, parent: Any = None, name: str = "") -> Any:
        if class_name not in CLASSES:
            return QtUiTools.QUiLoader.createWidget(self, class_name, parent, name)
        widget = CLASSES[class_name](parent)
        widget.setObjectName(name)
        return widget


def load(text: str) -> Any:
    """Build the widget of a .ui file; None for broken XML. Raises ValueError for what the host refuses."""
    try:
        root = ElementTree.fromstring(text)
    except ElementTree.ParseError:
        return None
    _check(root)
    connections = root.find("connections")
    if connections is not None:
        root.remove(connections)
    for section in root.findall("customwidgets"):
        root.remove(section)
    data = QtCore.QBuffer()
    data.setData(ElementTree.tostring(root))
    data.open(QtCore.QIODevice.OpenModeFlag.ReadOnly)
    loader = _Factory()
    widget = QtUiTools.QUiLoader.load(loader, data, None)
    for connection in connections if connections is not None else ():
        _connect(widget, connection)
    return widget


def _check(root: ElementTree.Element) -> None:
    """Every class must be one that is here, every property one of its class or marked as dynamic."""
    for element in root.iter("widget"):
        name = element.get("class", "")
        cls = CLASSES.get(name) or getattr(QtWidgets, name, None)
        if cls is None:
            raise ValueError(
                f"widget class {name} is not known here (the application would drop it silently)"
            )
        known = objects.properties_of(cls) | {"margin"}
        for entry in element.findall("property"):
            if entry.get("name") not in known and entry.get("stdset") != "0":
                raise ValueError(
                    f'{name} has no property {entry.get("name")!r}: typing error, or add stdset="0"'
                )


def _find(root: Any, name: str) -> Any:
    if root.objectName == name:
        return root
    found = QtCore.QObject.findChild(root, QtCore.QObject, name)
    if found is None:
        raise ValueError(f"connection with unknown object {name!r}")
    return found


def _connect(root: Any, connection: ElementTree.Element) -> None:
    sender, signal, receiver, slot = (
        connection.findtext(t, "") for t in ("sender", "signal", "receiver", "slot")
    )
    target = getattr(_find(root, receiver), slot.split("(")[0], None)
    if target is None:
        raise ValueError(f"connection to unknown slot {slot!r} of {receiver!r}")
    count = 0 if slot.endswith("()") else slot.count(",") + 1
    signals.connect(_find(root, sender), signal, lambda *values: target(*values[:count]))


@stand_in
class QUiLoader(QtCore.QObject):
    """What slicer.util.loadUI asks for."""

    def load(self, device: Any, parent: Any = None) -> Any:
        """The widget of an open file."""
        if parent is not None:
            raise NotImplementedError("a parent for a loaded .ui")
        return load(bytes(device.readAll().data()).decode())
