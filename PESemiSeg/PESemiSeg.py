"""PESemiSeg: marks pulmonary emboli in CT pulmonary angiograms. This file only wires; see PESemiSegUI."""

import os
import sys
import unittest

import slicer
from slicer.i18n import tr as _
from slicer.i18n import translate
from slicer.ScriptedLoadableModule import (
    ScriptedLoadableModule,
    ScriptedLoadableModuleLogic,
    ScriptedLoadableModuleTest,
    ScriptedLoadableModuleWidget,
)
from slicer.util import VTKObservationMixin

# Installed, the library lies beside this file. From a source tree it lies one folder up.
_SOURCE_TREE = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
if os.path.isfile(os.path.join(_SOURCE_TREE, "PESemiSegLib", "__init__.py")) and _SOURCE_TREE not in sys.path:
    sys.path.append(_SOURCE_TREE)

_HOME = "https://github.com/pesemiseg/SlicerPESemiSeg"


class PESemiSeg(ScriptedLoadableModule):
    """What the module says about itself."""

    def __init__(self, parent):
        ScriptedLoadableModule.__init__(self, parent)
        parent.title = _("PESemiSeg: pulmonary embolism")
        parent.categories = [translate("qSlicerAbstractCoreModule", "Segmentation")]
        parent.dependencies = []
        parent.contributors = ["PESemiSeg contributors"]
        parent.helpText = (
            _(
                "Marks pulmonary emboli in a CT pulmonary angiogram, shows how far the discriminator trusts each mark, "
                "and adapts the model to the scans of another hospital with few or no labels. Everything is computed on "
                "this computer. Research use only, not a medical device."
            )
            + f' <a href="{_HOME}">{_("Documentation")}</a>'
        )
        parent.acknowledgementText = _(
            "The method is that of Cheng et al., Feature-enhanced adversarial semi-supervised semantic segmentation "
            "network for pulmonary embolism annotation, Heliyon 9 (2023) e16060; please cite the paper. "
            "Licence: Apache-2.0. Research use only."
        )
        slicer.app.connect("startupCompleted()", self._onStartup)

    def _onStartup(self):
        """Offer the made-up patient among Slicer's sample data; nothing is made before it is asked for."""
        from PESemiSegUI import sample_data

        sample_data.register(self.resourcePath("Icons/PESemiSeg.png"))


class PESemiSegWidget(ScriptedLoadableModuleWidget, VTKObservationMixin):
    """The shell around the panels."""

    def __init__(self, parent=None):
        self.panels = ()
        self.logic = None
        VTKObservationMixin.__init__(self)
        ScriptedLoadableModuleWidget.__init__(self, parent)

    def setup(self):
        """Load the panels; no process, no network, no heavy import."""
        ScriptedLoadableModuleWidget.setup(self)
        from PESemiSegUI.shell import Shell

        self.logic = PESemiSegLogic()
        self.shell = Shell(self.resourcePath, self.layout)
        self.panels = self.shell.panels
        self.ui = self.shell.ui
        scene = slicer.mrmlScene
        self.addObserver(scene, scene.StartCloseEvent, self._onSceneStartClose)
        self.addObserver(scene, scene.EndCloseEvent, self._onSceneEndClose)
        self.addObserver(scene, scene.EndImportEvent, self._onSceneEndClose)
        self.shell.bind(self.logic.getParameters())

    def enter(self):
        """The module comes to the front."""
        self.shell.enter()

    def exit(self):
        """The module goes to the back; what runs goes on."""
        self.shell.exit()

    def cleanup(self):
        """The module goes, at the end of Slicer or for a reload."""
        self.removeObservers()
        if self.logic is not None:
            self.shell.cleanup()

    def onReload(self):
        """Reload the panels and the library too, which Slicer leaves as they were."""
        for name in [n for n in sys.modules if n.split(".")[0] in ("PESemiSegUI", "PESemiSegLib")]:
            del sys.modules[name]
        ScriptedLoadableModuleWidget.onReload(self)

    def _onSceneStartClose(self, caller, event):
        self.shell.sceneClosing()

    def _onSceneEndClose(self, caller, event):
        self.shell.bind(self.logic.getParameters())


class PESemiSegLogic(ScriptedLoadableModuleLogic):
    """What a script needs: the parameter node, and a run without the panel."""

    def getParameters(self):
        """The scene's parameter node, wrapped."""
        from PESemiSegUI.parameters import PESemiSegParameterNode

        return PESemiSegParameterNode(self.getParameterNode())

    def startSegmenting(self, volume, tell, model="demo", device="auto", **settings):
        """Segment a volume in the background; returns at once.

        Args:
            volume: a scalar volume node. tell: gets `scan_run.News`, the last one with the segmentation.
            settings: of `PESemiSegLib.inference.segment`.

        Returns the run, which can be cancelled. Raises PESemiSegError.
        """
        from PESemiSegUI.scan_run import Request
        from PESemiSegUI.segment_run import SegmentRun

        run = SegmentRun(tell)
        run.start(Request(volume, model, device, settings, strict=False))
        return run


class PESemiSegTest(ScriptedLoadableModuleTest):
    """The self-test: no network, no torch, no dialog; PESemiSegUI/self_test.py holds what it does."""

    def setUp(self):
        """An empty scene."""
        slicer.mrmlScene.Clear()

    def test_result_lands_on_the_right_voxels(self):
        """A result comes in under a flipped, oblique and transformed geometry."""
        from PESemiSegUI import self_test

        self_test.geometry(self)

    def test_review_keeps_verdicts_and_edits(self):
        """Verdicts go into the scene and the CSV; a new run keeps them and what the user drew."""
        from PESemiSegUI import self_test

        self_test.review(self)

    def test_job_is_stopped_within_two_seconds(self):
        """A job in another process tells its progress and heeds a cancel."""
        from PESemiSegUI import self_test

        self_test.cancel(self)

    def test_real_engine_where_it_is_installed(self):
        """A whole run with the demo model; left out where its engine is not installed."""
        from PESemiSegUI import self_test

        reason = self_test.whyNoEngine()
        if reason:
            raise unittest.SkipTest(reason)
        self_test.realRun(self, PESemiSegLogic())
