"""Slices that show up while a volume is being segmented: on the right voxels, quickly, gone at any end."""

import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

MATRIX = [[0.6, -0.64, 0.0, 11], [0.64, 0.48, -1.0, -7], [0.48, 0.36, 1.5, 31], [0, 0, 0, 1]]
SHAPE = (30, 80, 70)


def slab(folder: Path, start_ijk: list[int], array: np.ndarray) -> dict[str, Any]:
    """A slab as the worker hands it out."""
    name = f"{start_ijk[2]:05d}.npy"
    np.save(folder / name, array.astype(np.uint8))
    return {"kind": "slab", "file": name, "start_ijk": start_ijk, "ijk_to_ras": MATRIX}


@pytest.fixture
def volume(shell: Any) -> Any:
    """A volume under a transform."""
    import slicer
    from PESemiSegUI import self_test

    node = slicer.util.addVolumeFromArray(np.zeros(SHAPE, np.int16), np.asarray(MATRIX, float), "CT")
    self_test._transform(node)
    return node


@pytest.mark.parametrize("most_voxels", [1, 10**6])
def test_slabs_join_on_the_right_voxels_and_go(
    shell: Any, volume: Any, tmp_path: Path, most_voxels: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    import slicer
    from PESemiSegUI import preview as room
    from PESemiSegUI.preview import Preview

    monkeypatch.setattr(room, "_MOST_VOXELS", most_voxels)
    marks = np.zeros(SHAPE, np.uint8)
    marks[3:5, 10:14, 20:26] = marks[9, 40:43, 5:9] = marks[20:22, 11:13, 21:23] = 1
    preview = Preview(volume)
    preview.add(({"kind": "check"},), tmp_path)
    assert slicer.mrmlScene.GetNumberOfNodesByClass("vtkMRMLSegmentationNode") == 0
    preview.add((slab(tmp_path, [20, 10, 3], marks[3:5, 10:14, 20:26]),), tmp_path)
    gone = slab(tmp_path, [0, 0, 6], marks[6:7]) | {"file": "gone.npy"}
    preview.add((gone, slab(tmp_path, [5, 11, 9], marks[9:22, 11:43, 5:23])), tmp_path)
    (node,) = slicer.util.getNodesByClass("vtkMRMLSegmentationNode")
    assert node.GetParentTransformNode() is volume.GetParentTransformNode()
    assert not node.GetSaveWithScene()
    shown = np.zeros_like(marks)
    for identity in node.GetSegmentation().GetSegmentIDs():
        shown |= slicer.util.arrayFromSegmentBinaryLabelmap(node, identity, volume).astype(np.uint8)
    np.testing.assert_array_equal(shown, marks)
    assert node.GetSegmentation().GetNumberOfSegments() == (1 if most_voxels > 1 else 2)
    assert shell.review.segmentation is None  # it is no result
    preview.remove()
    assert slicer.mrmlScene.GetNumberOfNodesByClass("vtkMRMLSegmentationNode") == 0


def test_slices_show_up_in_the_view(shell: Any, volume: Any, tmp_path: Path, host: Any) -> None:
    import slicer
    from PESemiSegUI.preview import Preview
    from PESemiSegUI.views import lookAt

    slicer.util.setSliceViewerLayers(background=volume, fit=True)
    view = slicer.app.layoutManager().sliceWidget("Red").sliceView()
    preview = Preview(volume)
    pictures = []
    for k in (4, 20):
        r, a, s, _ = np.asarray(MATRIX) @ [35, 40, k, 1]
        lookAt((r, a, s), volume)
        before = host.picture(view).astype(int)
        preview.add((slab(tmp_path, [30, 35, k - 2], np.ones((5, 10, 10))),), tmp_path)
        pictures.append(np.abs(host.picture(view).astype(int) - before).max(axis=2) > 20)
    for changed in pictures:
        assert changed.sum() > 30
        assert abs(np.argwhere(changed).mean(axis=0) - 200).max() < 60  # about the middle, where it looks


def test_a_scene_that_closes_takes_the_preview_along(shell: Any, volume: Any, tmp_path: Path) -> None:
    import slicer
    from PESemiSegUI.preview import Preview

    preview = Preview(volume)
    preview.add((slab(tmp_path, [20, 10, 3], np.ones((2, 3, 4))),), tmp_path)
    slicer.mrmlScene.Clear(0)
    preview.add((slab(tmp_path, [20, 10, 8], np.ones((2, 3, 4))),), tmp_path)
    preview.remove()
    assert slicer.mrmlScene.GetNumberOfNodesByClass("vtkMRMLSegmentationNode") == 0


def test_a_large_scan_costs_the_interface_little(shell: Any, volume: Any, tmp_path: Path) -> None:
    from PESemiSegUI.preview import Preview

    rng = np.random.default_rng(0)
    preview, spent = Preview(volume), []
    for k in range(0, 300, 10):  # marks all over the lungs of a scan of 300 slices
        event = slab(tmp_path, [0, 0, k], rng.random((10, 250, 360)) > 0.999)
        began = time.perf_counter()
        preview.add((event,), tmp_path)
        spent.append(time.perf_counter() - began)
    print(f"{1e3 * np.median(spent):.0f} ms, at most {1e3 * max(spent):.0f} ms")
    assert np.median(spent) < 0.2  # 20 ms where nothing else runs


def test_a_scan_that_goes_while_the_confidence_is_read_ends_the_run(
    shell: Any, until: Any, tmp_path: Path
) -> None:
    import slicer
    from PESemiSegUI import scene, self_test
    from PESemiSegUI.scan_run import Request
    from PESemiSegUI.segment_run import SegmentRun

    scan = slicer.util.addVolumeFromArray(np.zeros(self_test._SHAPE, np.int16), np.asarray(MATRIX), "CT")
    self_test.writeResult(tmp_path, MATRIX)
    told: list[Any] = []
    run = SegmentRun(told.append)
    run._request, run._node = Request(scan, "demo"), scene.importResult(scan, tmp_path, "segment-0")
    run._onImported(tmp_path)
    slicer.mrmlScene.RemoveNode(scan)
    assert until(lambda: not run.active, 30)
    assert [news.phase for news in told] == ["failed"]
    assert "removed from the scene" in told[0].message


def test_a_defect_at_the_end_of_a_task_is_told_and_seen(host: Any, shell: Any, until: Any) -> None:
    from PESemiSegUI.background import Task

    told: list[Exception] = []
    with host.expected("ZeroDivisionError"):
        task = Task(lambda: 0, lambda found: 1 // found, told.append)
        assert until(lambda: bool(told), 30)
    assert isinstance(told[0], ZeroDivisionError)
    assert not task.active
