"""A scripted module for the probes that ask one of the application's own; counts voxels and nothing else."""

import slicer
from slicer.ScriptedLoadableModule import (
    ScriptedLoadableModule,
    ScriptedLoadableModuleLogic,
    ScriptedLoadableModuleTest,
    ScriptedLoadableModuleWidget,
)

PLUGIN = "LabelmapSegmentStatisticsPlugin"


class SegmentStatistics(ScriptedLoadableModule):
    """The module."""

    def __init__(self, parent):
        ScriptedLoadableModule.__init__(self, parent)
        parent.title = "Segment Statistics"
        parent.categories = ["Quantification"]


class SegmentStatisticsWidget(ScriptedLoadableModuleWidget):
    """An empty panel."""

    def setup(self):
        """Only a logic."""
        ScriptedLoadableModuleWidget.setup(self)
        self.logic = SegmentStatisticsLogic()


class SegmentStatisticsLogic(ScriptedLoadableModuleLogic):
    """Voxel count and volume of each segment."""

    def __init__(self, parent=None):
        ScriptedLoadableModuleLogic.__init__(self, parent)
        self.statistics = {}

    def computeStatistics(self):
        """Of the segmentation that the parameter node names."""
        node = slicer.mrmlScene.GetNodeByID(self.getParameterNode().GetParameter("Segmentation"))
        segmentation = node.GetSegmentation()
        for index in range(segmentation.GetNumberOfSegments()):
            name = segmentation.GetNthSegmentID(index)
            count = int((slicer.util.arrayFromSegmentBinaryLabelmap(node, name) > 0).sum())
            self.statistics[name, f"{PLUGIN}.voxel_count"] = count
            self.statistics[name, f"{PLUGIN}.volume_mm3"] = float(count)  # the probe's voxels are 1 mm3

    def getStatistics(self):
        """{(segment, measurement): value}."""
        return self.statistics


class SegmentStatisticsTest(ScriptedLoadableModuleTest):
    """Nothing to test."""
