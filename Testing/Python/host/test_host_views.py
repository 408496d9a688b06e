"""Slice and 3D views render offscreen with the application's displayable managers, in the right places."""

from typing import Any

import numpy as np
import pytest

FLIPPED = np.diag([-0.8, -0.8, 2.0, 1.0])


@pytest.fixture
def scan(host: Any) -> dict[str, Any]:
    """A CT with a bright ball, its segmentation and a confidence map, shown in the slice views."""
    import slicer

    z, y, x = np.ogrid[:40, :64, :64]
    ball = (z - 20) ** 2 * 6.25 + (y - 24) ** 2 + (x - 40) ** 2 < 12**2
    affine = FLIPPED.copy()
    affine[:3, 3] = [25.6, 25.6, -40.0]
    ct = slicer.util.addVolumeFromArray(np.where(ball, 300, -100).astype(np.int16), affine, "CT")
    sure = slicer.util.addVolumeFromArray(ball.astype(np.float32) * 0.9, affine, "confidence")
    display = sure.GetDisplayNode()
    display.SetAndObserveColorNodeID("vtkMRMLColorTableNodeWarm1")
    display.AutoWindowLevelOff()
    display.SetWindowLevelMinMax(0, 1)
    display.SetApplyThreshold(1)
    display.SetThreshold(0.3, 1)
    marks = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLSegmentationNode", "marks")
    marks.CreateDefaultDisplayNodes()
    marks.SetReferenceImageGeometryParameterFromVolumeNode(ct)
    segment = marks.GetSegmentation().AddEmptySegment("m", "m", [0.0, 1.0, 0.0])
    slicer.util.updateSegmentBinaryLabelmapFromArray(ball.astype(np.uint8), marks, segment, ct)
    slicer.util.setSliceViewerLayers(background=ct, foreground=None, fit=True)
    center = affine @ [40, 24, 20, 1]
    slicer.vtkMRMLSliceNode.JumpAllSlices(
        slicer.mrmlScene, *center[:3], slicer.vtkMRMLSliceNode.CenteredJumpSlice
    )
    return {"ct": ct, "confidence": sure, "marks": marks, "center": center[:3]}


def picture(name: str) -> np.ndarray:
    """A slice view rendered: uint8 (240, 240, 3)."""
    import slicer
    import slicer_host

    return slicer_host.picture(slicer.app.layoutManager().sliceWidget(name).sliceView(), 240, 240)


def test_slice_jumped_to_shows_the_ball_in_the_middle(scan: dict[str, Any]) -> None:
    scan["marks"].GetDisplayNode().SetVisibility(False)
    for name in ("Red", "Green", "Yellow"):
        bright = picture(name).mean(axis=2) > 180
        rows, columns = np.nonzero(bright)
        assert rows.size > 100, name
        assert abs(rows.mean() - 119.5) < 6, name
        assert abs(columns.mean() - 119.5) < 6, name


def test_segmentation_is_outlined_and_confidence_coloured(scan: dict[str, Any]) -> None:
    import slicer

    red = picture("Red").astype(int)
    green = (red[..., 1] > red[..., 0] + 60) & (red[..., 1] > red[..., 2] + 60)
    assert green.sum() > 40
    scan["marks"].GetDisplayNode().SetVisibility(False)
    slicer.util.setSliceViewerLayers(foreground=scan["confidence"], foregroundOpacity=1.0)
    coloured = picture("Red").astype(int)
    assert coloured[120, 120, 0] > coloured[120, 120, 2] + 60  # warm inside
    corner = coloured[100:140, 20:40]
    assert (np.ptp(corner, axis=2) < 12).all()  # grey outside, below the threshold


def test_surface_in_3d(scan: dict[str, Any], host: Any) -> None:
    import slicer

    scan["marks"].CreateClosedSurfaceRepresentation()
    view = slicer.app.layoutManager().threeDWidget(0).threeDView()
    view.resetFocalPoint()
    image = host.picture(view).astype(int)
    green = (image[..., 1] > image[..., 0] + 40) & (image[..., 1] > image[..., 2] + 40)
    assert green.sum() > 200
    assert view.cameraNode().GetClassName() == "vtkMRMLCameraNode"


def test_colour_legend_shows(scan: dict[str, Any]) -> None:
    import slicer

    slicer.util.setSliceViewerLayers(foreground=scan["confidence"], foregroundOpacity=0.5)
    before = picture("Red")
    slicer.modules.colors.logic().AddDefaultColorLegendDisplayNode(scan["confidence"])
    changed = np.abs(picture("Red").astype(int) - before).max(axis=2) > 40
    assert 200 < changed.sum() < changed.size / 4
    assert np.nonzero(changed)[1].min() > 120  # on the right side


def test_same_picture_twice_and_pictures_in_the_main_window(scan: dict[str, Any]) -> None:
    import slicer

    np.testing.assert_array_equal(picture("Red"), picture("Red"))
    window = slicer.util.mainWindow()
    window.show()
    slicer.app.processEvents()
    grabbed = window.grab().toImage()
    assert grabbed.width() > 800
    colours = {grabbed.pixelColor(x, y).name() for x in range(450, 1200, 40) for y in range(60, 700, 40)}
    assert len(colours) > 5
    window.hide()


def test_layouts_make_and_keep_views(host: Any) -> None:
    import slicer

    manager = slicer.app.layoutManager()
    red = manager.sliceWidget("Red")
    manager.setLayout(slicer.vtkMRMLLayoutNode.SlicerLayoutConventionalPlotView)
    assert manager.plotViewCount == 1
    manager.setLayout(slicer.vtkMRMLLayoutNode.SlicerLayoutFourUpView)
    assert manager.sliceWidget("Red") is red
    assert manager.sliceWidget("Nope") is None
    assert manager.threeDWidget(9) is None
