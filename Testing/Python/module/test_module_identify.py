"""Identify PE on non-contrast CT, on the host with a real worker; and what a model of arteries leaves."""

import json
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

MATRIX = np.array([[-3.0, 0, 0, 120.0], [0, -3.0, 0, 90.0], [0, 0, 5.0, -30.0], [0, 0, 0, 1]])
Until = Callable[..., bool]


@pytest.fixture
def plain(chest: np.ndarray) -> np.ndarray:
    """The small chest before the injection."""
    return np.where((chest > 200), 42, chest).astype(np.int16)


def add(array: np.ndarray) -> Any:
    import slicer

    node = slicer.util.addVolumeFromArray(array, MATRIX, "CT")
    slicer.modules.PESemiSegWidget.shell.identify.ui.plainSelector.setCurrentNode(node)
    return node


@pytest.fixture
def identifier(shell: Any, make_tiny_identifier: Callable[..., Path], tmp_path: Path) -> Any:
    """The panel, with a tiny model on the list."""
    from PESemiSegUI import models

    models.store().import_(make_tiny_identifier(tmp_path / "tiny-identifier"))
    shell._onModels()
    return shell.identify


def test_it_warns_in_words_and_says_what_is_missing(shell: Any, plain: np.ndarray) -> None:
    panel = shell.identify
    assert "No published evidence outside the authors' hospital" in panel.ui.warningLabel.text
    assert "Research use only" in panel.ui.warningLabel.text
    assert panel.ui.identifyFold.collapsed
    add(plain)
    assert not panel.ui.identifyButton.enabled
    assert "No model of this kind is here" in panel.ui.identifierMark.text
    assert "Choose a model that can be used" in panel.ui.identifyButton.toolTip
    assert panel.ui.identifierCombo.findData("demo") < 0  # it marks slices


def test_a_computer_on_which_nothing_computes_is_named(
    identifier: Any, shell: Any, plain: np.ndarray
) -> None:
    add(plain)
    assert identifier.ui.identifyButton.enabled
    shell._onProbe({"devices": [{"device": "cpu", "usable": False, "why": "no openvino"}]})
    assert not identifier.ui.identifyButton.enabled
    assert "install the small set" in identifier.ui.identifyButton.toolTip
    shell._onProbe({})
    assert identifier.ui.identifyButton.enabled


def test_the_probability_the_marks_and_the_map_come_into_the_scene(
    identifier: Any, shell: Any, until: Until, plain: np.ndarray
) -> None:
    import slicer
    from PESemiSegUI import identified, scene

    from PESemiSegLib.jobs import runner

    pytest.importorskip("openvino")
    assert shell.segment.ui.modelCombo.findData("tiny-identifier") < 0  # it marks no slices
    assert identifier.ui.identifierCombo.findData("tiny-identifier") >= 0
    volume = add(plain)
    identifier.ui.identifyButton.click()
    assert identifier.ui.identifyButton.text == "Cancel"
    assert until(lambda: not identifier.running)
    result = identified.find(volume)
    assert result is not None, identifier.ui.identifyStatus.text
    job = runner.find(result.GetAttribute(scene.JOB))
    expected = np.load(job.path("mask.npy"))
    found = slicer.util.arrayFromSegmentBinaryLabelmap(result, "PE_1", volume)
    np.testing.assert_array_equal(found > 0, expected > 0)
    cam = result.GetNodeReference(scene.CAM)
    np.testing.assert_array_equal(slicer.util.arrayFromVolume(cam), np.load(job.path("cam.npy")))
    said = identifier.ui.identifyStatus.text
    assert said.startswith("Probability of embolism: ")
    assert "Not backed by evidence" in said
    layers = slicer.app.layoutManager().sliceWidget("Red").mrmlSliceCompositeNode()
    assert layers.GetForegroundVolumeID() == cam.GetID()
    identifier.ui.mapCheck.checked = False
    assert layers.GetForegroundVolumeID() is None
    assert identifier.ui.pageButton.enabled
    assert not job.path("input.npy").exists()
    assert shell.review.segmentation is None  # nothing to review mark by mark


def test_a_contrast_scan_is_refused_in_words(identifier: Any, until: Until, chest: np.ndarray) -> None:
    import slicer

    pytest.importorskip("openvino")
    add(chest)
    identifier.start()
    assert until(lambda: not identifier.running)
    assert "looks like a contrast scan" in identifier.ui.identifyStatus.text
    assert slicer.mrmlScene.GetNumberOfNodesByClass("vtkMRMLSegmentationNode") == 0


def test_closing_the_scene_stops_it(identifier: Any, until: Until, plain: np.ndarray) -> None:
    import slicer

    from PESemiSegLib.jobs import runner

    add(plain)
    identifier.start()
    slicer.mrmlScene.Clear(0)
    assert not identifier.running
    assert until(lambda: runner.jobs() == [], 60)


def test_cancel_while_the_volume_is_handed_over_is_not_lost(
    identifier: Any, until: Until, plain: np.ndarray
) -> None:
    from PESemiSegLib.jobs import runner

    add(plain)
    identifier.start()
    assert not identifier._run._monitor.active  # the job has not begun
    identifier.ui.identifyButton.click()
    assert until(lambda: not identifier.running)
    assert "Stopped" in identifier.ui.identifyStatus.text
    assert until(lambda: runner.jobs() == [], 60)


@pytest.fixture
def bring(identifier: Any, until: Until, tmp_path: Path) -> Callable[..., None]:
    """What an identify job would leave for a volume, brought in as at the end of a run."""
    about = {"pe_probability": 0.25, "window_probabilities": [0.25], "findings": [{}]}

    def take(
        volume: Any, mask: np.ndarray, meanwhile: Callable[[], None] = lambda: None, without: str = ""
    ) -> None:
        from PESemiSegUI.scan_run import Request

        told = {name: value for name, value in about.items() if name != without}
        (tmp_path / "identification.json").write_text(json.dumps(told | {"ijk_to_ras": MATRIX.tolist()}))
        np.save(tmp_path / "mask.npy", mask)
        np.save(tmp_path / "cam.npy", np.zeros(mask.shape, np.float32))
        identifier._run._request = Request(volume, "tiny-identifier")
        identifier._run._import(SimpleNamespace(job=SimpleNamespace(folder=tmp_path, id="job")))
        meanwhile()
        assert until(lambda: not identifier.running, 60)

    return take


def test_what_the_user_drew_outlives_the_next_run(bring: Callable[..., None], plain: np.ndarray) -> None:
    import slicer
    from PESemiSegUI import identified

    volume, mask = add(plain), np.zeros(plain.shape, np.uint8)
    mask[3:6, 10:20, 30:44] = 1
    bring(volume, mask)
    bring(volume, mask)
    result = identified.find(volume)
    assert list(result.GetSegmentation().GetSegmentIDs()) == ["PE_1"]  # nothing was changed, nothing is kept
    drawn = mask.copy()
    drawn[4, 30:34, 40:50] = 1
    slicer.util.updateSegmentBinaryLabelmapFromArray(drawn, result, "PE_1", volume)
    bring(volume, np.zeros_like(mask))
    (kept,) = result.GetSegmentation().GetSegmentIDs()
    assert kept != "PE_1"
    found = slicer.util.arrayFromSegmentBinaryLabelmap(result, kept, volume)
    np.testing.assert_array_equal(found > 0, drawn > 0)


def test_a_result_that_cannot_be_shown_ends_the_run_in_words(
    identifier: Any, bring: Callable[..., None], plain: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    import slicer
    from PESemiSegUI import identified, scene

    volume, mask, status = add(plain), np.ones(plain.shape, np.uint8), identifier.ui.identifyStatus
    bring(volume, mask, without="pe_probability")
    assert "could not be read" in status.text
    assert identified.find(volume) is None
    with monkeypatch.context() as patch:
        patch.setattr(scene, "setConfidence", lambda *_what: None.GetName())  # type: ignore[attr-defined]
        bring(volume, mask)
    assert "could not be read" in status.text
    assert identifier.ui.identifyButton.text == "Identify PE"
    bring(volume, mask, meanwhile=lambda: slicer.mrmlScene.RemoveNode(volume))
    assert "removed from the scene" in status.text


def test_arteries_come_with_their_names_and_colours(shell: Any, chest: np.ndarray, tmp_path: Path) -> None:
    """What a job with an artery model leaves, as two segments with their own terms."""
    import slicer
    from PESemiSegUI import scene

    from PESemiSegLib.volumes.segments import AORTA, PULMONARY_ARTERY

    volume = slicer.util.addVolumeFromArray(chest, MATRIX, "CT")
    labels = np.zeros(chest.shape, np.uint8)
    labels[3:6, 10:20, 10:20], labels[7:9, 30:40, 30:40] = 1, 2
    np.save(tmp_path / "labels.npy", labels)
    rows = []
    for number, segment in enumerate((AORTA, PULMONARY_ARTERY), start=1):
        k, j, i = (np.flatnonzero((labels == number).any(axes)) for axes in ((1, 2), (0, 2), (0, 1)))
        names = ("volume_mm3", "mean_confidence", "mean_probability", "slice_first", "slice_last")
        row = dict.fromkeys(names, 1) | {"id": number, "side": "central", "longest_axis_mm": 1}
        row |= {f"centroid_{axis}_mm": 0.0 for axis in "lps"}
        row["box_kji"] = [[int(at[0]), int(at[-1]) + 1] for at in (k, j, i)]
        row["segment"] = {
            "name": segment.name,
            "colour_rgb": segment.colour_rgb,
            "terminology": segment.terminology_entry,
        }
        rows.append(row)
    about = {"findings": rows, "slices": [], "ijk_to_ras": MATRIX.tolist()}
    (tmp_path / "findings.json").write_text(json.dumps(about))
    node = scene.importResult(volume, tmp_path, "job")
    for number, segment in enumerate((AORTA, PULMONARY_ARTERY), start=1):
        found = node.GetSegmentation().GetSegment(f"PE_{number}")
        assert found.GetName() == segment.name
        np.testing.assert_allclose(np.array(found.GetColor()) * 255, segment.colour_rgb, atol=0.5)
        mask = slicer.util.arrayFromSegmentBinaryLabelmap(node, f"PE_{number}", volume)
        np.testing.assert_array_equal(mask > 0, labels == number)
    from dataclasses import replace

    row = scene.rowsOf(node)[0]
    scene.showVerdict(node, replace(row, verdict="rejected"))
    scene.showVerdict(node, row)
    colour = np.array(node.GetSegmentation().GetSegment("PE_1").GetColor()) * 255
    np.testing.assert_allclose(colour, AORTA.colour_rgb, atol=0.5)  # its own, not that of an embolus
