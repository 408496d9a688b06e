"""Owns what PESemiSegTest does: results on the right voxels, verdicts, a cancel, a whole run.

Needs no network, no torch and no dialog. `test` is the running unittest case.
"""

import importlib.util
import json
import os
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import slicer
import vtk

from PESemiSegLib.jobs.folder import Job
from PESemiSegLib.jobs.interpreter import PYTHON_VARIABLE

from . import edits, findings, machine, scan_run, scene
from .job_monitor import JobMonitor, abandon
from .scan_run import News

_SHAPE = (10, 24, 30)  # k, j, i
_BOXES = {1: ((2, 5), (4, 9), (6, 12)), 2: ((6, 8), (12, 18), (20, 24))}
_FLIPPED = [[-0.8, 0, 0, 90], [0, -0.7, 0, 60], [0, 0, 2.5, -40], [0, 0, 0, 1]]
_OBLIQUE = [[0.6, -0.64, 0.0, 11], [0.64, 0.48, -1.0, -7], [0.48, 0.36, 1.5, 31], [0, 0, 0, 1]]


def geometry(test) -> None:
    """Every voxel of a result lies where the CT's voxel lies, whatever the volume's geometry."""
    for matrix, turned in ((_FLIPPED, False), (_OBLIQUE, False), (_OBLIQUE, True)):
        slicer.mrmlScene.Clear()
        volume = _volume(matrix)
        if turned:
            _transform(volume)
        with tempfile.TemporaryDirectory(prefix="pesemiseg-test-") as folder:
            labels = writeResult(Path(folder), matrix)
            node = scene.importResult(volume, Path(folder), "test")
            scene.setConfidence(node, scene.CONFIDENCE, np.load(Path(folder) / "confidence.npy"), matrix)
        for number in _BOXES:
            mask = slicer.util.arrayFromSegmentBinaryLabelmap(node, f"PE_{number}", volume)
            test.assertTrue(np.array_equal(mask > 0, labels == number))
        confidence = node.GetNodeReference(scene.CONFIDENCE)
        test.assertTrue(np.allclose(scene.ijkToRas(confidence), matrix))
        test.assertIs(node.GetParentTransformNode(), volume.GetParentTransformNode())
        test.assertIs(confidence.GetParentTransformNode(), volume.GetParentTransformNode())
        test.assertIs(scene.volumeOf(node), volume)
        stored = vtk.reference("")
        segment = node.GetSegmentation().GetSegment("PE_1")
        test.assertTrue(segment.GetTag(segment.GetTerminologyEntryTagName(), stored))
        test.assertIn("Embolus", str(stored))
        hierarchy = slicer.mrmlScene.GetSubjectHierarchyNode()
        items = [hierarchy.GetItemByDataNode(item) for item in (volume, node)]
        if all(items):
            test.assertEqual(*[hierarchy.GetItemParent(item) for item in items])


def review(test) -> None:
    """A verdict lives in the scene and the CSV; a new run keeps it, and keeps what the user drew."""
    volume = _volume(_FLIPPED)
    panel = slicer.util.getModuleWidget("PESemiSeg").shell.review
    with tempfile.TemporaryDirectory(prefix="pesemiseg-test-") as folder:
        writeResult(Path(folder), _FLIPPED)
        node = scene.importResult(volume, Path(folder), "test")
        panel.showResult(node)
        test.assertEqual(panel.ui.findingsTable.rowCount, 2)
        panel.select(1)
        rejected = panel.chosen().segment
        panel.reject()
        test.assertFalse(node.GetDisplayNode().GetSegmentVisibility(rejected))
        mask = slicer.util.arrayFromSegmentBinaryLabelmap(node, "PE_1", volume).copy()
        mask[0, 0, 0] = 1
        slicer.util.updateSegmentBinaryLabelmapFromArray(mask, node, "PE_1", volume)
        test.assertTrue(edits.isEdited(node, "PE_1"))
        test.assertFalse(edits.isEdited(node, "PE_2"))
        again = scene.importResult(volume, Path(folder), "test")
        test.assertIs(again, node)
        test.assertEqual(node.GetSegmentation().GetNumberOfSegments(), 3)
        kept = slicer.util.arrayFromSegmentBinaryLabelmap(node, "edited_PE_1", volume)
        test.assertTrue(np.array_equal(kept > 0, mask > 0))
        verdicts = {row.segment: row.verdict for row in scene.rowsOf(node)}
        test.assertEqual(verdicts[rejected], findings.REJECTED)
        findings.saveCsv(scene.rowsOf(node), Path(folder) / "findings.csv")
        test.assertIn("rejected", (Path(folder) / "findings.csv").read_text(encoding="utf-8"))


def cancel(test) -> None:
    """A stand-in job in another process counts, is asked to stop, and stops."""
    ends: list = []
    news: list = []
    monitor = JobMonitor(news.append, ends.append)
    job = Job.create("sleep", {"steps": 3000, "step_s": 0.02}, outlives=False)
    monitor.start(job)
    test.assertTrue(_until(lambda: any(seen.status.done for seen in news)))
    began = time.monotonic()
    monitor.cancel()
    test.assertTrue(_until(lambda: bool(ends)))
    test.assertEqual(ends[-1].state, "cancelled")
    test.assertLess(time.monotonic() - began, 10)  # 2 s where the computer has nothing else to do
    abandon(job)


def whyNoEngine() -> str:
    """Why no real run can be made here; empty where it can."""
    if machine.python() or os.environ.get(PYTHON_VARIABLE):
        return ""
    return "" if importlib.util.find_spec("openvino") else "OpenVINO is not installed in this Python"


def realRun(test, logic) -> None:
    """A small chest through the demo model in a process of its own, and back into the scene."""
    volume = slicer.util.addVolumeFromArray(_chest(), np.diag([3.0, 3.0, 5.0, 1.0]), "chest")
    news: list[News] = []
    run = logic.startSegmenting(volume, news.append, threads=1, threshold=0.05, min_lesion_mm3=0.0)
    last = (scan_run.FINISHED, scan_run.FAILED, scan_run.STOPPED)
    if not _until(lambda: bool(news) and news[-1].phase in last, 240):
        run.abandon()
        test.fail("the run did not end")
    test.assertEqual(news[-1].phase, scan_run.FINISHED, news[-1].message)
    test.assertIs(scene.volumeOf(news[-1].segmentation), volume)


def writeResult(folder: Path, matrix: list[list[float]]) -> np.ndarray:
    """The files of a finished segment job with two findings; returns its labels (k, j, i)."""
    labels = np.zeros(_SHAPE, np.uint8)
    rows, slices = [], []
    for number, box in _BOXES.items():
        labels[tuple(slice(*span) for span in box)] = number
        centre = [sum(span) / 2 - 0.5 for span in reversed(box)]
        r, a, s = (np.asarray(matrix) @ [*centre, 1.0])[:3]
        rows.append(_row(number, box, (-r, -a, s)))
        slices.append({"slice": box[0][0] + 1, "confidence": 0.3 * number, "lps_mm": [-r, -a, s]})
    np.save(folder / "labels.npy", labels)
    np.save(folder / "confidence.npy", labels.astype(np.float32) / 4)
    np.save(folder / "near.npy", labels.astype(np.float32) / 4)
    about = {"findings": rows, "slices": slices, "ijk_to_ras": matrix, "near_ijk_to_ras": matrix}
    (folder / "findings.json").write_text(json.dumps(about), encoding="utf-8")
    return labels


def _row(number: int, box: tuple, lps_mm: tuple) -> dict:
    left, posterior, superior = map(float, lps_mm)
    return {
        "id": number,
        "box_kji": [list(span) for span in box],
        "volume_mm3": 500.0 / number,
        "side": "left",
        "slice_first": box[0][0] + 1,
        "slice_last": box[0][1],
        "centroid_l_mm": left,
        "centroid_p_mm": posterior,
        "centroid_s_mm": superior,
        "longest_axis_mm": 9.0,
        "mean_probability": 0.9,
        "mean_confidence": 0.3 * number,
    }


def _volume(matrix: list[list[float]]) -> "slicer.vtkMRMLScalarVolumeNode":
    return slicer.util.addVolumeFromArray(np.zeros(_SHAPE, np.int16), np.asarray(matrix, float), "CT")


def _transform(volume: "slicer.vtkMRMLScalarVolumeNode") -> None:
    node = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLLinearTransformNode", "table tilt")
    turn = vtk.vtkTransform()
    turn.RotateX(12)
    turn.Translate(3, 4, 5)
    node.SetMatrixTransformToParent(turn.GetMatrix())
    volume.SetAndObserveTransformNodeID(node.GetID())


def _chest() -> np.ndarray:
    """(k, j, i) HU: a body, two lungs and a bright vessel."""
    zz, yy, xx = np.mgrid[:12, :64, :80]
    hu = np.full(zz.shape, -1000.0)
    hu[((yy - 32) / 28) ** 2 + ((xx - 40) / 38) ** 2 < 1] = 40
    for middle in (22, 58):
        hu[((yy - 30) / 18) ** 2 + ((xx - middle) / 12) ** 2 < 1] = -850
    hu[np.hypot(yy - 26, xx - 40) < 4 + zz / 6] = 350
    return (hu + np.random.default_rng(0).normal(0, 12, hu.shape)).astype(np.int16)


def _until(condition: Callable[[], bool], seconds: float = 60.0) -> bool:
    """Let Slicer work until something has come about; False where it does not in time."""
    deadline = time.monotonic() + seconds
    while not condition() and time.monotonic() < deadline:
        slicer.app.processEvents()
        time.sleep(0.01)
    return condition()
