"""Owns what the views show: the CT with the confidence over it, its legend, and where they look."""

import slicer
import vtk
from slicer.i18n import tr as _

EMBOLI_WINDOW = (600.0, 200.0)  # width and level at which emboli are looked for
_COLOUR_NODE = "PESemiSeg confidence"
# The report's colours: dark violet for no trust, over red and orange, to pale yellow for full trust.
_COLOURS = ((0.0, (56, 24, 90)), (0.35, (178, 42, 90)), (0.65, (245, 125, 21)), (1.0, (252, 255, 164)))


def colourNode() -> "slicer.vtkMRMLProceduralColorNode":
    """The colours of confidence 0 to 1; one node in the scene."""
    node = slicer.mrmlScene.GetFirstNodeByName(_COLOUR_NODE)
    if node is None:
        node = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLProceduralColorNode", _COLOUR_NODE)
        node.SetAttribute("Category", "PESemiSeg")
        colours = vtk.vtkDiscretizableColorTransferFunction()
        for value, rgb in _COLOURS:
            colours.AddRGBPoint(value, *(part / 255 for part in rgb))
        node.SetAndObserveColorTransferFunction(colours)
        node.SetType(slicer.vtkMRMLColorNode.User)
    return node


def showOverlay(
    volume: "slicer.vtkMRMLScalarVolumeNode",
    confidence: "slicer.vtkMRMLScalarVolumeNode | None",
    *,
    opacity: float,
    threshold: float,
    legend: bool,
) -> None:
    """Put the CT in the background and the confidence, from `threshold` on, over it; None takes it away."""
    if confidence is None:
        slicer.util.setSliceViewerLayers(background=volume, foreground=None)
        return
    if confidence.GetDisplayNode() is None:
        confidence.CreateDefaultDisplayNodes()
    display = confidence.GetDisplayNode()
    blocked = display.StartModify()
    display.SetAutoWindowLevel(0)
    display.SetWindowLevelMinMax(0.0, 1.0)
    display.SetAndObserveColorNodeID(colourNode().GetID())
    display.SetInterpolate(0)
    display.SetAutoThreshold(0)
    display.SetThreshold(max(threshold, 1e-6), 1.0)  # 0 is where nothing was computed
    display.SetApplyThreshold(1)
    display.EndModify(blocked)
    slicer.util.setSliceViewerLayers(background=volume, foreground=confidence, foregroundOpacity=opacity)
    showLegend(confidence, legend)


def showEmboliWindow(volume: "slicer.vtkMRMLScalarVolumeNode") -> None:
    """Show a CT as a radiologist looks for emboli."""
    if volume.GetDisplayNode() is None:
        volume.CreateDefaultDisplayNodes()
    display = volume.GetDisplayNode()
    display.SetAutoWindowLevel(0)
    display.SetWindowLevel(*EMBOLI_WINDOW)


def showLegend(confidence: "slicer.vtkMRMLScalarVolumeNode", visible: bool) -> None:
    """The colour legend of a confidence volume, small enough for a slice view."""
    logic = slicer.modules.colors.logic()
    node = logic.GetColorLegendDisplayNode(confidence)
    if node is None and not visible:
        return
    if node is None:
        node = logic.AddDefaultColorLegendDisplayNode(confidence)
        node.SetTitleText(_("Confidence"))
        node.SetLabelFormat("%.2f")
        node.SetSize(0.1, 0.35)
        node.GetTitleTextProperty().SetFontSize(10)
        node.GetLabelTextProperty().SetFontSize(10)
    node.SetVisibility(visible)


def lookAt(
    position_ras: "tuple[float, float, float]", volume: "slicer.vtkMRMLTransformableNode | None"
) -> None:
    """Centre every slice view and the 3D view on a point given in the volume's own coordinates, RAS mm."""
    r, a, s = toWorld(position_ras, volume)
    slicer.vtkMRMLSliceNode.JumpAllSlices(
        slicer.mrmlScene, r, a, s, slicer.vtkMRMLSliceNode.CenteredJumpSlice
    )
    crosshair = slicer.mrmlScene.GetFirstNodeByClass("vtkMRMLCrosshairNode")
    if crosshair is not None:
        crosshair.SetCrosshairRAS(r, a, s)
    for camera in slicer.util.getNodesByClass("vtkMRMLCameraNode"):
        shift = [new - old for new, old in zip((r, a, s), camera.GetFocalPoint(), strict=True)]
        camera.SetPosition(*(old + by for old, by in zip(camera.GetPosition(), shift, strict=True)))
        camera.SetFocalPoint(r, a, s)
        camera.ResetClippingRange()


def toWorld(
    position_ras: "tuple[float, float, float]", volume: "slicer.vtkMRMLTransformableNode | None"
) -> tuple[float, float, float]:
    """A point of the volume as the views see it: its parent transform applied."""
    parent = volume.GetParentTransformNode() if volume is not None else None
    if parent is None:
        return tuple(position_ras)
    transform = vtk.vtkGeneralTransform()
    parent.GetTransformToWorld(transform)
    return tuple(transform.TransformPoint(position_ras))
