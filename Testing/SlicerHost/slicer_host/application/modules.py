"""slicer.modules: C++ modules by their logics, scripted modules, and the module manager."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from typing import Any

from PySide6 import QtCore, QtGui, QtWidgets

from .. import watch
from ..qt_rules.stand_in import declared, stand_in


@stand_in
class qSlicerLoadableModule(QtCore.QObject):
    """A module written in C++, of which the host has the logic only."""

    _h_logic: Any = None
    name = declared("QString", "")
    title = declared("QString", "")
    hidden = declared("bool", False)
    path = declared("QString", "")

    def logic(self) -> Any:
        """The module's logic."""
        return self._h_logic

    def widgetRepresentation(self) -> Any:
        """Refused: the host has no C++ panels."""
        raise NotImplementedError(f"the host has no panel for module {self.name}")

    createNewWidgetRepresentation = widgetRepresentation


@stand_in
class qSlicerScriptedLoadableModule(QtCore.QObject):
    """The C++ part of a scripted module: what `parent` is in the module class."""

    _h_python: Any = None
    _h_widget: Any = None
    name = declared("QString", "")
    title = declared("QString", "")
    path = declared("QString", "")
    helpText = declared("QString", "")
    acknowledgementText = declared("QString", "")
    categories = declared("QStringList", [])
    contributors = declared("QStringList", [])
    dependencies = declared("QStringList", [])
    associatedNodeTypes = declared("QStringList", [])
    hidden = declared("bool", False)
    index = declared("int", -1)
    widgetRepresentationCreationEnabled = declared("bool", True)
    icon = declared("QIcon", QtGui.QIcon())

    def logic(self) -> Any:
        """A C++ logic, not the Python one."""
        import slicer

        if "_h_cpp_logic" not in self.__dict__:
            self._h_cpp_logic = slicer.vtkSlicerScriptedLoadableModuleLogic()
        return self._h_cpp_logic

    def widgetRepresentation(self) -> Any:
        """The module's panel, made at the first call."""
        if self._h_widget is None:
            self._h_widget = self.createNewWidgetRepresentation()
        return self._h_widget

    def createNewWidgetRepresentation(self) -> Any:
        """One more panel. A failing setup() is recorded; the panel stays half made, as in the application."""
        widget = qSlicerScriptedLoadableModuleWidget()
        widget._h_start(self)
        return widget


@stand_in
class qSlicerScriptedLoadableModuleWidget(QtWidgets.QWidget):
    """The C++ part of a module's panel: what `parent` is in the widget class."""

    _h_module: Any = None
    _h_python: Any = None
    _h_entered = False

    def _h_start(self, module: Any) -> None:
        self._h_module = module
        if self.layout() is None:
            QtWidgets.QVBoxLayout(self)
        self.reload()

    def reload(self) -> None:
        """Make the Python part again from the module as it is loaded now."""
        name = self._h_module.name
        try:
            self._h_python = getattr(sys.modules[name], name + "Widget")(self)
            self._h_python.setup()
        except Exception as error:
            watch.record_exception(error, f"setup of {name}Widget")

    def self(self) -> Any:
        """The Python part."""
        return self._h_python

    def mrmlScene(self) -> Any:
        """The scene."""
        import slicer

        return slicer.mrmlScene

    def enter(self) -> None:
        """The panel comes to the front."""
        self._h_entered = True
        self._h_call("enter")

    def exit(self) -> None:
        """The panel goes to the back."""
        self._h_entered = False
        self._h_call("exit")

    def _h_call(self, name: str) -> None:
        if hasattr(self._h_python, name):
            try:
                getattr(self._h_python, name)()
            except Exception as error:
                watch.record_exception(error, f"{name}() of {self._h_module.name}Widget")

    def isEntered(self) -> bool:
        """Whether the panel is in front."""
        return self._h_entered

    def setEditedNode(self, node: Any, role: str = "", context: str = "") -> bool:
        """Refused: the host does not model it."""
        raise NotImplementedError("setEditedNode")


@stand_in
class qSlicerModuleFactoryManager(QtCore.QObject):
    """Names of what is loaded."""

    _h_manager: Any = None

    def loadedModuleNames(self) -> list[str]:
        """Names of all modules."""
        return sorted(self._h_manager._h_modules)


@stand_in
class qSlicerModuleManager(QtCore.QObject):
    """Finds modules by name."""

    _h_signals = ("moduleAboutToBeUnloaded(QString)", "moduleLoaded(QString)")
    _h_current: Any = None

    def _h_setup(self) -> None:
        self._h_modules: dict[str, Any] = {}
        self._h_factory = qSlicerModuleFactoryManager(None)
        self._h_factory._h_manager = self

    def module(self, name: str) -> Any:
        """The module, or None."""
        return self._h_modules.get(name)

    def factoryManager(self) -> qSlicerModuleFactoryManager:
        """The factory manager."""
        return self._h_factory


def register(manager: qSlicerModuleManager, module: Any) -> None:
    """Make a module known as slicer.modules.<lower case> and slicer.moduleNames.<Name>."""
    import slicer

    manager._h_modules[module.name] = module
    setattr(slicer.modules, module.name.lower(), module)
    setattr(slicer.moduleNames, module.name, module.name)


def load_scripted(manager: qSlicerModuleManager, path: Path) -> Any:
    """Load one scripted module file as the application does at start-up.

    Raises:
        RuntimeError: for what the application refuses or trips over: another .py in the folder, no class of
            the file's name, an exception while the file or its module class runs.
    """
    import slicer

    strangers = sorted(p.name for p in path.parent.glob("*.py") if p != path)
    if strangers:
        raise RuntimeError(
            f"{', '.join(strangers)} beside {path.name}: every .py there is loaded as a module"
        )
    name = path.stem
    for folder in (path.parent.parent, path.parent):
        if str(folder) not in sys.path:
            sys.path.append(str(folder))
    parent = qSlicerScriptedLoadableModule()
    parent.path = str(path)
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None
    assert spec.loader is not None
    python = importlib.util.module_from_spec(spec)
    sys.modules[name] = python
    spec.loader.exec_module(python)
    if not hasattr(python, name):
        raise RuntimeError(f"class {name} was not found in file {path.name}")
    parent._h_python = getattr(python, name)(parent)
    parent.name = name
    setattr(slicer.modules, name + "Instance", parent._h_python)
    register(manager, parent)
    return parent


def unload(manager: qSlicerModuleManager, name: str) -> None:
    """What happens to a scripted module when the application ends: exit() if in front, then cleanup()."""
    import slicer

    from ..qt_rules import signals

    module = manager._h_modules.pop(name)
    widget = module._h_widget
    if widget is not None:
        if widget.isEntered():
            widget.exit()
        signals.emit(manager, "moduleAboutToBeUnloaded(QString)", name)
        widget.delete()
    for attribute in (name.lower(), name + "Instance", name + "Widget"):
        if hasattr(slicer.modules, attribute):
            delattr(slicer.modules, attribute)
    if hasattr(slicer.moduleNames, name):
        delattr(slicer.moduleNames, name)
    slicer.selfTests.pop(name, None)
    sys.modules.pop(name, None)
