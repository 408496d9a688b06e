"""Base classes of scripted modules, written anew for the host with the application's names and behaviour."""

from __future__ import annotations

import logging
import unittest
from pathlib import Path
from typing import Any

__all__ = [
    "ScriptedLoadableModule",
    "ScriptedLoadableModuleLogic",
    "ScriptedLoadableModuleTest",
    "ScriptedLoadableModuleWidget",
]


def _resource(path: str, name: str) -> str:
    return str(Path(path).parent / "Resources" / name)


class ScriptedLoadableModule:
    """What a module says about itself."""

    def __init__(self, parent: Any) -> None:
        import slicer

        self.parent = parent
        self.moduleName = self.__class__.__name__
        parent.title = parent.title or self.moduleName
        slicer.selfTests[self.moduleName] = self.runTest

    def resourcePath(self, filename: str) -> str:
        """Absolute path of a file under Resources."""
        return _resource(self.parent.path, filename)

    def getDefaultModuleDocumentationLink(self, docPage: str | None = None) -> str:
        """A link to the documentation, as help text."""
        return (
            f'<p>For more information see the <a href="{docPage or self.moduleName}">documentation</a>.</p>'
        )

    def runTest(self, msec: int = 100, **_keywords: Any) -> None:
        """Run the module's self-test class."""
        import importlib

        module = importlib.import_module(self.moduleName)
        test = getattr(module, self.moduleName + "Test")()
        test.messageDelay = msec
        test.runTest()


class ScriptedLoadableModuleWidget:
    """The panel of a module."""

    def __init__(self, parent: Any = None) -> None:
        import qt
        import slicer

        self.moduleName = self.__class__.__name__.removesuffix("Widget")
        self.developerMode = slicer.util.settingsValue("Developer/DeveloperMode", False, slicer.util.toBool)
        if parent is None:
            self.parent = slicer.qMRMLWidget()
            self.parent.setLayout(qt.QVBoxLayout())
            self.parent.setMRMLScene(slicer.mrmlScene)
        else:
            self.parent = parent
        self.layout = self.parent.layout()
        slicer.app.moduleManager().connect(
            "moduleAboutToBeUnloaded(QString)", self._onModuleAboutToBeUnloaded
        )
        if hasattr(slicer.modules, self.moduleName.lower()):
            setattr(slicer.modules, self.moduleName + "Widget", self)
        if parent is None:
            self.setup()
            self.parent.show()

    def resourcePath(self, filename: str) -> str:
        """Absolute path of a file under Resources."""
        import slicer

        return _resource(slicer.util.modulePath(self.moduleName), filename)

    def setup(self) -> None:
        """Adds nothing outside developer mode."""
        self.setupDeveloperSection()

    def setupDeveloperSection(self) -> None:
        """The reload bar: refused, the host has no developer mode."""
        if self.developerMode:
            raise NotImplementedError("the host has no developer mode")

    def cleanup(self) -> None:
        """Called when the module goes."""

    def _onModuleAboutToBeUnloaded(self, moduleName: str) -> None:
        import slicer

        if moduleName == self.moduleName:
            self.cleanup()
            slicer.app.moduleManager().disconnect(
                "moduleAboutToBeUnloaded(QString)", self._onModuleAboutToBeUnloaded
            )

    def onReload(self) -> None:
        """Reload the module."""
        import slicer

        slicer.util.reloadScriptedModule(self.moduleName)

    def onReloadAndTest(self, **keywords: Any) -> None:
        """Reload, then run the self-test."""
        self.onReload()
        self.onTest(**keywords)

    def onTest(self, **keywords: Any) -> None:
        """Run the self-test."""
        import slicer

        slicer.selfTests[self.moduleName](**keywords)

    def onEditSource(self) -> None:
        """Refused: nobody edits in a test."""
        raise NotImplementedError("onEditSource")


class ScriptedLoadableModuleLogic:
    """What a module computes; knows the module's parameter node."""

    def __init__(self, parent: Any = None) -> None:
        self.moduleName = self.__class__.__name__.removesuffix("Logic")
        self.isSingletonParameterNode = True

    def getParameterNode(self) -> Any:
        """The module's parameter node; one for the scene, unless `isSingletonParameterNode` is off."""
        import slicer

        if self.isSingletonParameterNode:
            found = slicer.mrmlScene.GetSingletonNode(self.moduleName, "vtkMRMLScriptedModuleNode")
            return found or self.createParameterNode()
        found = self.getAllParameterNodes()
        return found[0] if found else self.createParameterNode()

    def getAllParameterNodes(self) -> list[Any]:
        """All of the module's parameter nodes."""
        import slicer

        nodes = slicer.util.getNodesByClass("vtkMRMLScriptedModuleNode")
        return [node for node in nodes if node.GetAttribute("ModuleName") == self.moduleName]

    def createParameterNode(self) -> Any:
        """Make a parameter node in the scene."""
        import slicer

        node = slicer.mrmlScene.CreateNodeByClass("vtkMRMLScriptedModuleNode")
        node.UnRegister(None)
        if self.isSingletonParameterNode:
            node.SetSingletonTag(self.moduleName)
        node.SetAttribute("ModuleName", self.moduleName)
        name = (
            self.moduleName
            if self.isSingletonParameterNode
            else slicer.mrmlScene.GenerateUniqueName(self.moduleName)
        )
        node.SetName(name)
        return slicer.mrmlScene.AddNode(node)


class ScriptedLoadableModuleTest(unittest.TestCase):
    """Base class of a module's self-test."""

    def __init__(self, *arguments: Any, **keywords: Any) -> None:
        super().__init__(*arguments, **keywords)
        self.enableScreenshots, self.screenshotScaleFactor = False, 1.0
        self.moduleTestNames = [name for name in dir(self) if name.startswith("test_")]

    def delayDisplay(self, message: str, requestedDelay: int | None = None, msec: int | None = None) -> None:
        """Log the message; no waiting in a test."""
        import slicer

        logging.info(message)
        slicer.app.processEvents()

    def takeScreenshot(self, name: str, description: str, type: int = -1) -> None:
        """Nothing unless screenshots are on, which the host refuses."""
        if self.enableScreenshots:
            raise NotImplementedError("screenshots of the annotation module")

    def runTest(self) -> None:
        """Run every method whose name contains "test", each between setUp and tearDown."""
        base = set(dir(ScriptedLoadableModuleTest))
        names = [n for n in dir(self) if "test" in n.lower() and n not in base and callable(getattr(self, n))]
        for name in names:
            self.setUp()
            getattr(self, name)()
            self.tearDown()
