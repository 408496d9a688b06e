"""A small scripted module as an extension would ship it: a panel, a parameter node, one segmentation.

Marks the voxels above a threshold. It knows nothing of the test host.
"""

import logging
from typing import Annotated

import slicer
import vtk
from slicer.i18n import tr as _
from slicer.i18n import translate
from slicer.parameterNodeWrapper import WithinRange, parameterNodeWrapper
from slicer.ScriptedLoadableModule import (
    ScriptedLoadableModule,
    ScriptedLoadableModuleLogic,
    ScriptedLoadableModuleTest,
    ScriptedLoadableModuleWidget,
)
from slicer.util import VTKObservationMixin


class ExampleModule(ScriptedLoadableModule):
    """What the module says about itself."""

    def __init__(self, parent):
        ScriptedLoadableModule.__init__(self, parent)
        parent.title = _("Example")
        parent.categories = [translate("qSlicerAbstractCoreModule", "Segmentation")]
        parent.contributors = ["Nobody"]
        parent.helpText = _("Marks bright voxels.")
        self.started = False
        slicer.app.connect("startupCompleted()", self.onStarted)

    def onStarted(self):
        """Start-up is over."""
        self.started = True


@parameterNodeWrapper
class ExampleParameterNode:
    """The scene state of the module."""

    inputVolume: slicer.vtkMRMLScalarVolumeNode
    threshold: Annotated[float, WithinRange(0, 1)] = 0.5
    label: str = "bright"
    segmentation: slicer.vtkMRMLSegmentationNode


class ExampleModuleWidget(ScriptedLoadableModuleWidget, VTKObservationMixin):
    """The panel."""

    def __init__(self, parent=None):
        self.entered = 0
        VTKObservationMixin.__init__(self)
        ScriptedLoadableModuleWidget.__init__(self, parent)

    def setup(self):
        """Load the panel and connect it."""
        ScriptedLoadableModuleWidget.setup(self)
        self.logic = ExampleModuleLogic()
        widget = slicer.util.loadUI(self.resourcePath("UI/ExampleModule.ui"))
        self.layout.addWidget(widget)
        self.ui = slicer.util.childWidgetVariables(widget)
        widget.setMRMLScene(slicer.mrmlScene)
        self.addObserver(slicer.mrmlScene, slicer.mrmlScene.StartCloseEvent, self.onSceneStartClose)
        self.addObserver(slicer.mrmlScene, slicer.mrmlScene.EndCloseEvent, self.onSceneEndClose)
        self.ui.applyButton.connect("clicked(bool)", self.onApply)
        self.ui.inputSelector.connect("currentNodeChanged(vtkMRMLNode*)", self.onInput)
        self._node, self._tag = None, None
        self.connectNode()

    def enter(self):
        """The panel comes to the front."""
        self.entered += 1

    def exit(self):
        """The panel goes to the back."""

    def cleanup(self):
        """The module goes."""
        self.disconnectNode()
        self.removeObservers()

    def connectNode(self):
        """Bind the widgets to the parameter node."""
        self._node = self.logic.getParameters()
        self._tag = self._node.connectGui(self.ui)
        self.onInput(self._node.inputVolume)

    def disconnectNode(self):
        """Unbind them."""
        if self._node is not None:
            self._node.disconnectGui(self._tag)
            self._node = None

    def onSceneStartClose(self, caller, event):
        """The scene goes."""
        self.disconnectNode()

    def onSceneEndClose(self, caller, event):
        """A new scene begins."""
        self.connectNode()

    def onInput(self, node):
        """Without a volume nothing can be done; say so."""
        self.ui.applyButton.enabled = node is not None
        self.ui.applyButton.toolTip = _("Mark") if node is not None else _("Choose a volume first")

    def onApply(self, checked):
        """Mark, and say how much."""
        with slicer.util.tryWithErrorDisplay(_("Marking failed"), waitCursor=True):
            self.ui.progressBar.value = 0
            count = self.logic.mark(self._node)
            self.ui.progressBar.value = 100
            self.ui.statusLabel.text = _("{n} voxels").format(n=count)


class ExampleModuleLogic(ScriptedLoadableModuleLogic):
    """Arrays and nodes."""

    def getParameters(self):
        """The parameter node, wrapped."""
        return ExampleParameterNode(self.getParameterNode())

    def mark(self, parameters):
        """Put the voxels above the threshold into a segmentation; returns their number."""
        volume = parameters.inputVolume
        mask = (slicer.util.arrayFromVolume(volume) > parameters.threshold).astype("uint8")
        node = parameters.segmentation or slicer.mrmlScene.AddNewNodeByClass(
            "vtkMRMLSegmentationNode", "marks"
        )
        node.CreateDefaultDisplayNodes()
        node.SetReferenceImageGeometryParameterFromVolumeNode(volume)
        node.SetAndObserveTransformNodeID(volume.GetTransformNodeID())
        segment = node.GetSegmentation().GetSegmentIdBySegmentName(parameters.label)
        segment = segment or node.GetSegmentation().AddEmptySegment("", parameters.label, [1.0, 0.3, 0.1])
        slicer.util.updateSegmentBinaryLabelmapFromArray(mask, node, segment, volume)
        parameters.segmentation = node
        logging.info("marked")
        return int(mask.sum())


class ExampleModuleTest(ScriptedLoadableModuleTest):
    """The self-test."""

    def setUp(self):
        """An empty scene."""
        slicer.mrmlScene.Clear()

    def test_mark(self):
        """A cube of 8 voxels."""
        import numpy as np

        values = np.zeros((6, 7, 8), np.float32)
        values[2:4, 2:4, 2:4] = 1
        logic = ExampleModuleLogic()
        parameters = logic.getParameters()
        parameters.inputVolume = slicer.util.addVolumeFromArray(values)
        self.assertEqual(logic.mark(parameters), 8)
        self.assertIsInstance(parameters.segmentation.GetSegmentation(), vtk.vtkObject)
