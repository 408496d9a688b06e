"""A scripted module as an extension ships it runs on the host unchanged, from start-up to the end."""

from typing import Any

import numpy as np
import pytest

OBLIQUE = np.array([[0.6, -0.8, 0.0, 11.0], [0.8, 0.6, 0.0, -7.0], [0.0, 0.0, 2.5, 31.0], [0, 0, 0, 1]])


def volume(affine: np.ndarray = OBLIQUE) -> tuple[Any, np.ndarray]:
    """A scalar volume with one bright block, and the array behind it."""
    import slicer

    values = np.zeros((10, 12, 14), np.float32)
    values[3:6, 4:8, 5:10] = 0.9
    return slicer.util.addVolumeFromArray(values, ijkToRAS=affine, name="CT"), values


def test_start_up_makes_no_panel_and_tells_the_module(example: Any) -> None:
    import slicer

    assert (example.title, example.categories, example.name) == (
        "Example",
        ("Segmentation",),
        "ExampleModule",
    )
    assert slicer.modules.ExampleModuleInstance.started
    assert not hasattr(slicer.modules, "ExampleModuleWidget")
    assert slicer.modules.examplemodule is example


def test_panel_marks_the_right_voxels_and_shows_it(example: Any) -> None:
    import slicer

    node, values = volume()
    slicer.util.selectModule("ExampleModule")
    assert slicer.util.selectedModule() == "ExampleModule"
    panel = slicer.modules.ExampleModuleWidget
    assert panel.entered == 1
    assert not panel.ui.applyButton.enabled
    assert panel.ui.applyButton.toolTip == "<p>Choose a volume first</p>"
    panel.ui.inputSelector.setCurrentNode(node)
    panel.ui.thresholdSlider.value = 0.8
    panel.ui.labelEdit.text = "bright block"
    panel.ui.applyButton.click()
    parameters = panel.logic.getParameters()
    assert panel.ui.statusLabel.text == "60 voxels"
    assert parameters.threshold == 0.8
    segmentation = parameters.segmentation
    assert segmentation.GetSegmentation().GetNthSegment(0).GetName() == "bright block"
    identity = segmentation.GetSegmentation().GetNthSegmentID(0)
    mask = slicer.util.arrayFromSegmentBinaryLabelmap(segmentation, identity, node)
    np.testing.assert_array_equal(mask > 0, values > 0.5)
    center = (OBLIQUE @ [7.0, 5.5, 4.0, 1.0])[:3]  # of the block, in RAS
    np.testing.assert_allclose(segmentation.GetSegmentCenterRAS(identity), center, atol=1.3)


def test_scene_close_rebinds_and_save_and_load_keep_the_state(example: Any, tmp_path: Any) -> None:
    import slicer

    node, _ = volume()
    slicer.util.selectModule("ExampleModule")
    panel = slicer.modules.ExampleModuleWidget
    panel.ui.inputSelector.setCurrentNode(node)
    panel.ui.thresholdSlider.value = 0.25
    panel.ui.applyButton.click()
    assert slicer.util.saveScene(str(tmp_path / "scene with ünicode.mrb"))
    slicer.mrmlScene.Clear(0)
    assert panel.ui.inputSelector.currentNode() is None
    assert not panel.ui.applyButton.enabled
    assert panel.logic.getParameters().threshold == 0.5
    slicer.util.loadScene(str(tmp_path / "scene with ünicode.mrb"))
    parameters = panel.logic.getParameters()
    assert parameters.threshold == 0.25
    assert parameters.inputVolume.GetName() == "CT"
    matrix = slicer.util.arrayFromVolume(parameters.inputVolume).shape
    assert matrix == (10, 12, 14)
    assert parameters.segmentation.GetSegmentation().GetNumberOfSegments() == 1


def test_reload_and_self_test(example: Any, host: Any) -> None:
    import slicer
    import slicer.testing

    before = slicer.util.getModuleWidget("ExampleModule")
    slicer.util.reloadScriptedModule("ExampleModule")
    after = slicer.util.getModuleWidget("ExampleModule")
    assert after is not before
    assert after is slicer.modules.ExampleModuleWidget
    slicer.selfTests["ExampleModule"]()
    slicer.testing.runUnitTest([], "ExampleModule.ExampleModuleTest")


def test_panel_without_main_window(example: Any, host: Any) -> None:
    import slicer

    with host.running_without_main_window():
        assert slicer.util.mainWindow() is None
        assert slicer.app.layoutManager() is None
        panel = slicer.util.getModuleWidget("ExampleModule")
        assert panel.ui.progressBar.value == -1
        with pytest.raises(RuntimeError, match="main window"):
            slicer.util.selectModule("ExampleModule")


def test_failing_slot_fails_the_test(example: Any, host: Any) -> None:
    import slicer

    panel = slicer.util.getModuleWidget("ExampleModule")
    panel.ui.applyButton.enabled = True
    with host.expected("NoneType"):
        panel.ui.applyButton.click()  # no volume: mark() raises in the slot


def test_module_folder_with_a_second_file_is_refused(host: Any, tmp_path: Any) -> None:
    (tmp_path / "Other.py").write_text("class Other: pass\n")
    (tmp_path / "helper.py").write_text("")
    with pytest.raises(RuntimeError, match=r"helper\.py"):
        host.load_module(tmp_path / "Other.py")
