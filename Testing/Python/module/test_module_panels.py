"""The panels on the host: start-up, scenes, verdicts, overlay, disabled buttons, self-test."""

import csv
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

MODULE = Path(__file__).resolve().parents[3] / "PESemiSeg" / "PESemiSeg.py"
MATRIX = [[0.6, -0.64, 0.0, 11], [0.64, 0.48, -1.0, -7], [0.48, 0.36, 1.5, 31], [0, 0, 0, 1]]


def result(folder: Path, matrix: list = MATRIX) -> Any:
    """A volume with a result of two findings."""
    import slicer
    from PESemiSegUI import scene, self_test

    volume = slicer.util.addVolumeFromArray(
        np.zeros(self_test._SHAPE, np.int16), np.asarray(matrix, float), "CT"
    )
    volume.GetDisplayNode().SetAutoWindowLevel(0)
    folder.mkdir(exist_ok=True)
    self_test.writeResult(folder, matrix)
    return scene.importResult(volume, folder, "segment-000000000000")


def test_start_up_makes_no_panel_and_no_process(host: Any) -> None:
    import slicer

    before = set(sys.modules)
    host.load_module(MODULE)
    assert not hasattr(slicer.modules, "PESemiSegWidget")
    assert not {"torch", "openvino"} & (set(sys.modules) - before)
    host.unload_module("PESemiSeg")


def test_the_made_up_patient_is_among_the_sample_data(host: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    import SampleData
    import slicer

    SampleData.SampleDataLogic.sampleDataSourcesByCategory().pop("PESemiSeg", None)  # of other tests
    host.load_module(MODULE)
    (source,) = SampleData.SampleDataLogic.sampleDataSourcesByCategory("PESemiSeg")
    assert source.sampleDescription == "A made-up patient with emboli, computed on this computer"
    assert Path(source.thumbnailFileName).is_file()
    assert source.uris == [""]  # nothing is downloaded
    from PESemiSegUI.loading import Loader

    made: list[int] = []
    monkeypatch.setattr(Loader, "makeUp", lambda loader, seed: made.append(seed))
    assert source.customDownloader(source) == []
    assert made == [7]
    assert slicer.mrmlScene.GetNumberOfNodesByClass("vtkMRMLScalarVolumeNode") == 0
    host.unload_module("PESemiSeg")


def test_panel_without_main_window(host: Any) -> None:
    import slicer

    host.load_module(MODULE)
    with host.running_without_main_window():
        panel = slicer.util.getModuleWidget("PESemiSeg").shell
        panel.enter()
        panel.exit()
    host.unload_module("PESemiSeg")


def test_buttons_say_why_they_are_disabled(shell: Any) -> None:
    for panel in shell.panels:
        for name, widget in vars(panel.ui).items():
            if name.endswith("Button") and widget.className() == "QPushButton":
                assert widget.toolTip, name
    assert not shell.segment.ui.segmentButton.enabled
    assert "Choose a CT volume first" in shell.segment.ui.segmentButton.toolTip
    assert "never seen a real scan" in shell.segment.ui.modelMark.text


def test_every_page_fits_a_narrow_panel_whatever_things_are_called(shell: Any) -> None:
    """Slicer's panel scrolls sideways where a page is wider than it, and one page makes all as wide."""
    import slicer

    name = "Thorax with contrast agent, pulmonary angiogram 1.0 mm soft tissue kernel"
    volume = slicer.util.addVolumeFromArray(np.zeros((4, 8, 8), np.int16), np.eye(4), name)
    panel = shell.segment
    panel.ui.inputSelector.setCurrentNode(volume)
    panel.setDevices({"devices": [{"device": "cpu", "name": name, "usable": True, "bf16": False}]})
    panel.ui.modelCombo.addItem(64 * "m", "m")
    shell.train.ui.baseCombo.addItem(64 * "m", "m")
    slicer.app.processEvents()
    widths = {page.objectName: page.minimumSizeHint.width() for page in (p.widget for p in shell.panels)}
    assert max(widths.values()) <= 390, widths


def test_the_panel_hands_over_its_own_operating_point(shell: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    panel, asked = shell.segment, []
    monkeypatch.setattr(panel, "_begin", lambda request: asked.append(request.settings))
    own = panel.parameters
    panel.start()
    assert not {"threshold", "core_threshold", "min_lesion_mm3"} & set(asked[-1])
    tips = panel.ui.coreCheck
    assert "the model's own operating point" in tips.toolTip
    own.ownThreshold, own.threshold = True, 0.4
    panel.start()
    assert (asked[-1]["threshold"], "core_threshold" in asked[-1]) == (0.4, False)
    assert "no core" in tips.toolTip  # as `Settings.resolved` takes it
    own.ownCore, own.coreThreshold = True, 0.995
    panel.start()
    assert (asked[-1]["threshold"], asked[-1]["core_threshold"]) == (0.4, 0.995)
    own.coreThreshold = 0.8
    own.threshold = 0.9
    panel.start()
    assert asked[-1]["core_threshold"] == 0.9  # no lower than the edge
    assert panel.ui.coreSlider.enabled


def test_devices_and_precisions_are_those_of_this_computer(shell: Any) -> None:
    cpu = {"device": "cpu", "name": "Xeon", "usable": True, "bf16": False}
    gpu = {"device": "cuda:0", "name": "H200", "usable": True, "bf16": True, "memory_gib": 139}
    old = {"device": "cuda:1", "name": "K80", "usable": False, "why": "too old for this PyTorch"}
    panel = shell.segment

    def precisions() -> list[str]:
        box = panel.ui.precisionCombo
        return [box.itemData(index) for index in range(box.count)]

    panel.setDevices({"devices": [cpu]})
    assert precisions() == ["auto", "fp32"]
    panel.setDevices({"devices": [gpu, old, cpu]})
    assert precisions() == ["auto", "fp32", "bf16", "fp16"]
    panel.ui.deviceCombo.setCurrentIndex(panel.ui.deviceCombo.findData("cpu"))
    assert precisions() == ["auto", "fp32"]
    panel.ui.deviceCombo.setCurrentIndex(panel.ui.deviceCombo.findData("cuda:1"))
    assert "too old" in panel.ui.deviceNote.text
    assert not panel.ui.segmentButton.enabled
    panel.setDevices({})


def test_verdicts_and_navigation(shell: Any, tmp_path: Path) -> None:
    import slicer
    from PESemiSegUI import findings, scene

    node = result(tmp_path / "job")
    review = shell.review
    review.showResult(node)
    assert review.ui.findingsTable.rowCount == 2
    review.ui.findingsTable.sortItems(3)  # by confidence
    review.next()
    row = review.chosen()
    offsets = {n.GetName(): n.GetSliceOffset() for n in slicer.util.getNodesByClass("vtkMRMLSliceNode")}
    assert offsets["Red"] == pytest.approx(row.s_mm, abs=1e-3)
    assert offsets["Green"] == pytest.approx(row.a_mm, abs=1e-3)
    review.reject()
    assert {r.verdict for r in scene.rowsOf(node) if r.segment == row.segment} == {findings.REJECTED}
    assert "1 rejected" in review.ui.summaryLabel.text
    assert review.chosen().segment != row.segment  # on to the one without a verdict
    review.showLeastCertain()
    assert "0.30" in review.ui.reviewStatus.text
    from PESemiSegUI import export, reviewed

    export.saveFindings(node, tmp_path / "f.csv")
    with (tmp_path / "f.csv").open(newline="") as handle:
        assert sorted(line["verdict"] for line in csv.DictReader(handle)) == ["", "rejected"]
    reviewed.writer(node, tmp_path / "reviewed.nrrd")()
    mask = slicer.util.arrayFromVolume(slicer.util.loadLabelVolume(str(tmp_path / "reviewed.nrrd")))
    kept = {"PE_1": 1, "PE_2": 2}[next(r.segment for r in scene.rowsOf(node) if r.segment != row.segment)]
    labels = np.load(tmp_path / "job" / "labels.npy")
    np.testing.assert_array_equal(mask > 0, labels == kept)


def test_a_saved_scene_brings_the_review_back(shell: Any, tmp_path: Path) -> None:
    import slicer
    from PESemiSegUI import edits, scene

    node = result(tmp_path / "job")
    shell.review.showResult(node)
    shell.review.accept()
    shell.review.ui.opacitySlider.value = 0.7
    assert slicer.util.saveScene(str(tmp_path / "scene ü.mrb"))
    slicer.mrmlScene.Clear(0)
    assert shell.review.ui.findingsTable.rowCount == 0
    assert not shell.review.ui.acceptButton.enabled
    slicer.util.loadScene(str(tmp_path / "scene ü.mrb"))
    back = shell.review.segmentation
    assert back is not None
    assert [row.verdict for row in scene.rowsOf(back)].count("accepted") == 1
    assert shell.review.ui.findingsTable.rowCount == 2
    assert shell.review.ui.opacitySlider.value == pytest.approx(0.7)
    assert not edits.isEdited(back, "PE_1")


def test_overlay_is_drawn_and_taken_away(shell: Any, tmp_path: Path) -> None:
    import slicer

    node = result(tmp_path / "job", [[-1, 0, 0, 0], [0, -1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]])
    shell.review.ui.legendCheck.checked = False
    node.GetDisplayNode().SetVisibility(False)
    shell.review.showResult(node)
    slicer.util.resetSliceViews()
    shell.review.select(1)
    view = slicer.app.layoutManager().sliceWidget("Red").sliceView()
    with_map = view._h_picture().astype(int)
    shell.review.ui.overlayCheck.checked = False
    without = view._h_picture().astype(int)
    coloured = (with_map != without).any(axis=2)
    assert coloured.any()
    assert with_map[coloured].max(axis=0)[0] > with_map[coloured].max(axis=0)[1]  # reddish, not grey


def test_a_result_lies_under_the_transform_of_its_volume(shell: Any, tmp_path: Path) -> None:
    import slicer
    import vtk
    from PESemiSegUI import scene, self_test, views

    node = result(tmp_path / "job")
    volume = scene.volumeOf(node)
    self_test._transform(volume)
    row = scene.rowsOf(node)[0]
    world = np.asarray(views.toWorld(row.position, volume))
    to_world = vtk.vtkMatrix4x4()  # the node's own way to world is the reference
    volume.GetParentTransformNode().GetMatrixTransformToWorld(to_world)
    expected = slicer.util.arrayFromVTKMatrix(to_world) @ [*row.position, 1.0]
    np.testing.assert_allclose(world, expected[:3])


def test_a_result_joins_the_study_of_its_volume(shell: Any, tmp_path: Path) -> None:
    """DICOM export goes by the study; the items are made by the application when nodes come."""
    import slicer
    from PESemiSegUI import scene, self_test

    volume = slicer.util.addVolumeFromArray(np.zeros(self_test._SHAPE, np.int16), np.asarray(MATRIX), "CT")
    hierarchy = slicer.mrmlScene.GetSubjectHierarchyNode()
    patient = hierarchy.CreateSubjectItem(hierarchy.GetSceneItemID(), "patient")
    study = hierarchy.CreateStudyItem(patient, "study")
    hierarchy.SetItemParent(hierarchy.GetItemByDataNode(volume), study)
    (tmp_path / "job").mkdir()
    self_test.writeResult(tmp_path / "job", MATRIX)
    node = scene.importResult(volume, tmp_path / "job", "segment-000000000000")
    for other in (node, node.GetNodeReference(scene.NEAR), node.GetNodeReference(scene.FINDINGS)):
        assert hierarchy.GetItemParent(hierarchy.GetItemByDataNode(other)) == study, other.GetName()


def test_self_test_in_every_form(shell: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    import slicer
    import slicer.testing
    from PESemiSegUI import self_test

    monkeypatch.setattr(self_test, "whyNoEngine", lambda: "left to test_module_runs.py")
    slicer.testing.runUnitTest([], "PESemiSeg.PESemiSegTest")


def test_reload_brings_fresh_panels(shell: Any) -> None:
    import slicer

    old = sys.modules["PESemiSegUI.shell"]
    slicer.modules.PESemiSegWidget.onReload()
    assert slicer.modules.PESemiSegWidget.shell is not shell
    assert sys.modules["PESemiSegUI.shell"] is not old
