"""Whole runs on the host with real workers: segment, stop, load, close the scene."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

OBLIQUE = np.array([[0.0, -2.9, 0.5, 80.0], [-3.0, 0.0, 0.0, 100.0], [0.0, 0.5, 4.9, -30.0], [0, 0, 0, 1]])
Until = Callable[..., bool]
MODULE = Path(__file__).resolve().parents[3] / "PESemiSeg" / "PESemiSeg.py"


def add(chest: np.ndarray, matrix: np.ndarray) -> Any:
    """The chest as a volume that is chosen in the Segment panel."""
    import slicer

    node = slicer.util.addVolumeFromArray(chest, matrix, "CT")
    slicer.modules.PESemiSegWidget.shell.segment.ui.inputSelector.setCurrentNode(node)
    return node


def fast(shell: Any) -> Any:
    """Settings for a small chest that leave marks; returns the Segment panel."""
    shell.segment.parameters.ownThreshold = True
    shell.segment.parameters.threshold = 0.05
    shell.segment.parameters.smallestMarkMm3 = 0.0
    return shell.segment


def idle(panel: Any) -> Callable[[], bool]:
    return lambda: not panel.running


def test_input_check_asks_then_the_result_lands_in_place(
    shell: Any, until: Until, chest: np.ndarray, tmp_path: Path
) -> None:
    import slicer
    from PESemiSegUI import scene, self_test

    from PESemiSegLib.jobs import runner

    pytest.importorskip("openvino")
    volume, panel = add(chest, OBLIQUE), fast(shell)
    self_test._transform(volume)
    panel.ui.segmentButton.click()
    assert panel.ui.segmentButton.text == "Cancel"
    assert until(idle(panel))
    assert not panel.ui.checkFrame.isHidden(), panel.ui.statusLabel.text
    assert "5 mm apart" in panel.ui.checkText.text or "4.9 mm apart" in panel.ui.checkText.text
    assert slicer.mrmlScene.GetNumberOfNodesByClass("vtkMRMLSegmentationNode") == 0
    panel.ui.runAnywayButton.click()
    assert until(idle(panel))
    node = shell.review.segmentation
    assert node is not None, panel.ui.statusLabel.text
    assert shell.ui.tabs.currentIndex == 1
    assert node.GetParentTransformNode() is volume.GetParentTransformNode()
    job = runner.find(node.GetAttribute(scene.JOB))
    expected = np.load(job.path("mask.npy"))
    assert expected.any()
    confidence = node.GetNodeReference(scene.CONFIDENCE)
    found = np.zeros_like(expected)
    for identity in node.GetSegmentation().GetSegmentIDs():
        found |= (slicer.util.arrayFromSegmentBinaryLabelmap(node, identity, confidence) > 0).astype(np.uint8)
    np.testing.assert_array_equal(found, expected)
    values = slicer.util.arrayFromVolume(confidence)
    np.testing.assert_array_equal(values, np.load(job.path("confidence.npy")))
    centre = np.argwhere(found).mean(axis=0)[::-1]  # tilted by 10 degrees, it is computed on an axial grid
    ras = np.asarray(scene.ijkToRas(confidence)) @ [*centre, 1.0]
    again = np.zeros_like(chest, np.uint8)
    for identity in node.GetSegmentation().GetSegmentIDs():
        again |= (slicer.util.arrayFromSegmentBinaryLabelmap(node, identity, volume) > 0).astype(np.uint8)
    own = OBLIQUE @ [*np.argwhere(again).mean(axis=0)[::-1], 1.0]
    np.testing.assert_allclose(own[:3], ras[:3], atol=2.5)  # half a voxel
    near = node.GetNodeReference(scene.NEAR)
    assert slicer.util.arrayFromVolume(near).max() <= values.max()
    assert not job.path("input.npy").exists()
    assert "CT" not in panel.report().split()


def test_cancel_stops_the_run_and_changes_nothing(shell: Any, until: Until, chest: np.ndarray) -> None:
    import slicer

    from PESemiSegLib.jobs import runner

    panel = fast(shell)
    add(chest, OBLIQUE)
    panel.start(strict=False)
    assert until(lambda: not panel.ui.progressBar.isHidden())
    panel.ui.segmentButton.click()
    assert until(idle(panel), 30)
    assert "Stopped" in panel.ui.statusLabel.text
    assert panel.ui.segmentButton.text == "Segment PE"
    assert panel.ui.segmentButton.enabled
    assert slicer.mrmlScene.GetNumberOfNodesByClass("vtkMRMLSegmentationNode") == 0
    assert until(lambda: runner.jobs() == [], 30)


def test_closing_the_scene_stops_the_run(shell: Any, until: Until, chest: np.ndarray) -> None:
    import slicer

    panel = fast(shell)
    add(chest, OBLIQUE)
    panel.start(strict=False)
    assert until(lambda: panel._run._monitor.active)
    job = panel._run._job
    slicer.util.selectModule("Data") if hasattr(slicer.modules, "data") else None
    slicer.mrmlScene.Clear(0)
    assert not panel.running
    assert "scene was closed" in panel.ui.statusLabel.text
    from PESemiSegLib.jobs.watch import look

    assert until(lambda: not job.folder.exists() or look(job).ended, 30)
    assert slicer.mrmlScene.GetNumberOfNodesByClass("vtkMRMLSegmentationNode") == 0


def test_a_lost_worker_that_still_lives_is_ended(shell: Any, until: Until) -> None:
    from dataclasses import replace

    from PESemiSegLib.jobs import runner
    from PESemiSegLib.jobs.folder import Job
    from PESemiSegLib.jobs.watch import look

    job = Job.create("sleep", {"steps": 10**6, "step_s": 0.02})
    watch = runner.start(job)
    assert until(lambda: watch.poll().status.done > 0, 30)
    shell.segment._run._job = job
    shell.segment._run._onEnd(replace(look(job), state="lost", message="it has not answered"))
    assert "has not answered" in shell.segment.ui.statusLabel.text
    assert until(lambda: not job.folder.exists(), 30)
    train, watch = shell.train, runner.submit("sleep", {"steps": 10**6, "step_s": 0.02})
    assert until(lambda: watch.poll().status.done > 0, 30)
    train._seen = replace(watch.poll(), state="lost")
    train._updateButtons()
    assert train.ui.cancelButton.enabled
    train.ui.cancelButton.click()
    assert until(lambda: train._seen.state == "cancelled", 30)


def test_a_worker_that_cannot_start_says_why(shell: Any, until: Until, chest: np.ndarray) -> None:
    from PESemiSegUI import machine

    from PESemiSegLib.jobs import runner

    panel = fast(shell)
    add(chest, OBLIQUE)
    machine.setValue("python", "/nowhere/python")
    panel.start(strict=False)
    assert until(idle(panel), 30)
    assert "python is not there" in panel.ui.statusLabel.text
    panel.load(__file__)
    assert "python is not there" in panel.ui.statusLabel.text
    assert until(lambda: runner.jobs() == [], 30)
    machine.setValue("python", "")


def test_load_a_file_and_a_folder_without_images(
    shell: Any, until: Until, chest: np.ndarray, tmp_path: Path
) -> None:
    import SimpleITK as sitk
    import slicer

    image = sitk.GetImageFromArray(chest)
    image.SetSpacing((3.0, 3.0, 5.0))
    image.SetOrigin((-120.0, -90.0, 20.0))
    sitk.WriteImage(image, str(tmp_path / "scan.nii.gz"))
    panel = shell.segment
    panel.load(str(tmp_path / "scan.nii.gz"))
    assert until(lambda: not panel._loader.active and panel.ui.inputSelector.currentNode() is not None)
    volume = panel.ui.inputSelector.currentNode()
    point = [0.0, 0.0, 0.0]
    import vtk

    matrix = vtk.vtkMatrix4x4()
    volume.GetIJKToRASMatrix(matrix)
    to_ras = slicer.util.arrayFromVTKMatrix(matrix)
    for k, j, i in ((0, 0, 0), (13, 63, 79), (7, 28, 58)):
        point = image.TransformIndexToPhysicalPoint((i, j, k))  # LPS
        back = np.linalg.solve(to_ras, [-point[0], -point[1], point[2], 1.0])[:3]
        ii, jj, kk = np.rint(back).astype(int)
        assert slicer.util.arrayFromVolume(volume)[kk, jj, ii] == chest[k, j, i]
    (tmp_path / "empty").mkdir()
    (tmp_path / "empty" / "notes.txt").write_text("no image")
    panel.load(str(tmp_path / "empty"))
    assert until(lambda: not panel._loader.active and "not read" in panel.ui.statusLabel.text)
    assert "no CT series" in panel.ui.statusLabel.text or "no DICOM" in panel.ui.statusLabel.text


def test_the_look_at_this_computer_fills_the_device_box(shell: Any, until: Until) -> None:
    shell.environment.probe()
    assert until(lambda: not shell.environment._monitor.active)
    assert shell.segment.ui.deviceCombo.findData("cpu") >= 0, shell.environment.ui.environmentStatus.text
    assert shell.environment.ui.environmentTable.rowCount >= 6


def test_models_come_and_go(shell: Any, until: Until, tmp_path: Path) -> None:
    import json
    import shutil

    from PESemiSegLib.models.archive import pack
    from PESemiSegLib.models.store import demo_folder

    copy = tmp_path / "copy"
    shutil.copytree(demo_folder(), copy)
    info = json.loads((copy / "model.json").read_text())
    (copy / "model.json").write_text(json.dumps(info | {"name": "other"}))
    pack(copy, tmp_path / "other.zip")
    panel = shell.models
    panel.take(tmp_path / "other.zip")
    assert until(lambda: "Imported other" in panel.ui.modelsStatus.text, 30), panel.ui.modelsStatus.text
    assert shell.segment.ui.modelCombo.findData("other") >= 0
    entry = next(entry for entry in panel._entries if entry.name == "other")
    panel.give(entry, tmp_path / "out.zip")
    assert until(lambda: (tmp_path / "out.zip").exists(), 30)
    panel.remove(entry)
    assert until(lambda: "Deleted" in panel.ui.modelsStatus.text, 30)
    assert shell.segment.ui.modelCombo.findData("other") < 0


def test_a_task_lets_go_of_what_it_carried(host: Any, until: Until) -> None:
    """Slicer's connections hold bound methods strongly: a task that stays must not hold a whole scan."""
    import gc
    import weakref

    host.load_module(MODULE)
    from PESemiSegUI.background import Task

    class Scan:
        pass

    given, made, kept = Scan(), [], []

    def work(scan: Any = given) -> Any:
        made.append(weakref.ref(found := Scan()))
        return found

    tasks = [Task(work, lambda found: kept.append(weakref.ref(found)), lambda error: None) for _ in range(2)]
    tasks[1].forget()
    assert until(lambda: len(kept) == 1 and len(made) == 2, 30)
    assert until(lambda: not any(task.active or task._thread.is_alive() for task in tasks), 30)
    held = [*made, *kept, weakref.ref(given)]
    del work, given
    gc.collect()
    assert [ref() for ref in held] == [None] * 4
    host.unload_module("PESemiSeg")


def test_of_two_series_with_one_label_the_second_can_be_read(
    shell: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    from types import SimpleNamespace

    from PESemiSegUI import loading

    shown: list[str] = []
    dialog = SimpleNamespace(
        setWindowTitle=lambda text: None,
        setLabelText=lambda text: None,
        setComboBoxItems=shown.extend,
        exec_=lambda: True,
        textValue=lambda: shown[1],
    )
    monkeypatch.setattr(loading.qt, "QInputDialog", lambda parent: dialog)
    label = "series 4: CT, axial, 200 slices of 512x512"
    assert loading.chooseSeries([{"label": label, "choice": choice} for choice in ("a", "b")]) == "b"


def test_what_cannot_be_used_says_so(shell: Any, chest: np.ndarray, monkeypatch: pytest.MonkeyPatch) -> None:
    """A model of another kind, a scene's model that is not here, and a computer on which nothing computes."""
    from PESemiSegUI import models

    panel, ui = shell.models, shell.models.ui
    monkeypatch.setattr(models.Entry, "identifies", True)
    panel.refresh()
    assert not ui.useButton.enabled
    assert "Identify PE" in ui.useButton.toolTip
    monkeypatch.setattr(models.Entry, "identifies", False)
    panel.refresh()
    assert ui.useButton.enabled
    shell.segment.chooseModel("elsewhere")
    assert "elsewhere is not on this list: demo is taken" in shell.segment.ui.modelMark.text
    shell.segment.chooseModel("demo")
    assert "elsewhere" not in shell.segment.ui.modelMark.text
    add(chest, OBLIQUE)
    shell.segment.setDevices({"devices": [{"device": "cpu", "usable": False, "why": "no openvino"}]})
    assert not shell.segment.ui.segmentButton.enabled
    assert "install the small set" in shell.segment.ui.segmentButton.toolTip
    shell.segment.setDevices({})
    assert shell.segment.ui.segmentButton.enabled
