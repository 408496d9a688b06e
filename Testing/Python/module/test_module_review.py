"""Review on the host: whose mark a segment is, what is measured anew, when a verdict counts, DICOM SEG."""

import csv
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

FLIPPED = [[-0.8, 0, 0, 90], [0, -0.7, 0, 60], [0, 0, -2.5, 40], [0, 0, 0, 1]]  # the first slice at the head


def scan(name: str, matrix: list = FLIPPED) -> Any:
    """An empty CT."""
    import slicer
    from PESemiSegUI import self_test

    array = np.zeros(self_test._SHAPE, np.int16)
    return slicer.util.addVolumeFromArray(array, np.asarray(matrix, float), name)


def segmented(volume: Any, folder: Path, marks: str = "emboli", matrix: list = FLIPPED) -> Any:
    """The result of a run with two findings, PE_1 and PE_2."""
    from PESemiSegUI import scene, self_test

    folder.mkdir(exist_ok=True)
    self_test.writeResult(folder, matrix)
    about = json.loads((folder / "findings.json").read_text()) | {"model": {"marks": marks}}
    (folder / "findings.json").write_text(json.dumps(about))
    return scene.importResult(volume, folder, "segment-000000000000")


def paint(node: Any, volume: Any, segment: str, box: tuple[slice, ...]) -> None:
    """What the Segment Editor does: mark these voxels, and no others."""
    import slicer

    mask = np.zeros(slicer.util.arrayFromVolume(volume).shape, np.uint8)
    mask[box] = 1
    slicer.util.updateSegmentBinaryLabelmapFromArray(mask, node, segment, volume)


def test_arteries_leave_the_review_of_the_emboli_alone(shell: Any, tmp_path: Path) -> None:
    from PESemiSegUI import scene

    volume = scan("CT")
    emboli = segmented(volume, tmp_path)
    shell.review.showResult(emboli)
    shell.review.reject()
    arteries = segmented(volume, tmp_path, "arteries")
    assert arteries is not emboli
    assert (emboli.GetName(), arteries.GetName()) == ("CT PE", "CT arteries")
    assert [row.verdict for row in scene.rowsOf(emboli)] == ["rejected", ""]
    assert [row.verdict for row in scene.rowsOf(arteries)] == ["", ""]
    shell.review.showResult(arteries)
    shell.review.accept()
    assert [row.verdict for row in scene.rowsOf(arteries)] == ["", ""]
    for button in (shell.review.ui.acceptButton, shell.review.ui.rejectedButton):
        assert not button.enabled
        assert "emboli" in button.toolTip
    assert segmented(volume, tmp_path, "arteries") is arteries
    emboli.SetAttribute(scene.RESULT, "1")  # as scenes were written before
    assert segmented(volume, tmp_path) is emboli


@pytest.mark.parametrize(("pixel", "slices"), [(0.65, 0.625), (0.85, 0.5)])
def test_untouched_marks_stay_so_in_a_saved_scene(
    shell: Any, tmp_path: Path, pixel: float, slices: float
) -> None:
    import slicer
    from PESemiSegUI import edits

    matrix = [[-pixel, 0, 0, 165.7], [0, -pixel, 0, 152.3], [0, 0, slices, -311.45], [0, 0, 0, 1]]
    volume = scan("CT", matrix)
    node = segmented(volume, tmp_path, matrix=matrix)
    slicer.util.saveNode(node, str(tmp_path / "s.seg.nrrd"))
    back = slicer.util.loadSegmentation(str(tmp_path / "s.seg.nrrd"))
    assert [edits.isEdited(back, f"PE_{n}") for n in (1, 2)] == [False, False]
    moved = np.asarray(matrix, float)
    moved[0, 3] += pixel
    segment = back.GetSegmentation().GetSegment("PE_1").GetRepresentation("Binary labelmap")
    segment.SetGeometryFromImageToWorldMatrix(slicer.util.vtkMatrixFromArray(moved))
    assert edits.isEdited(back, "PE_1")


def test_a_rejected_mark_does_not_come_back_as_an_edited_one(shell: Any, tmp_path: Path) -> None:
    from PESemiSegUI import scene

    volume = scan("CT")
    node = segmented(volume, tmp_path)
    paint(node, volume, "PE_1", np.s_[2:6, 4:9, 6:12])
    paint(node, volume, "PE_2", np.s_[6:9, 12:18, 20:24])
    shell.review.showResult(node)
    shell.review.reject()
    segmented(volume, tmp_path)
    assert set(node.GetSegmentation().GetSegmentIDs()) == {"PE_1", "PE_2", "edited_PE_2"}
    assert {row.segment for row in scene.rowsOf(node) if row.verdict} == {"PE_1"}
    assert not node.GetDisplayNode().GetSegmentVisibility("PE_1")


def test_corrected_marks_are_measured_anew(shell: Any, tmp_path: Path) -> None:
    import slicer
    from PESemiSegUI import export, findings, scene

    volume, review = scan("CT"), shell.review
    node = segmented(volume, tmp_path)
    review.showResult(node)
    first, second = scene.rowsOf(node)
    paint(node, volume, "PE_1", np.s_[2:4, 4:8, 6:11])
    node.GetSegmentation().RemoveSegment("PE_2")
    node.GetSegmentation().AddEmptySegment("missed", "missed")
    paint(node, volume, "missed", np.s_[9:10, 20:22, 3:6])
    node.GetSegmentation().AddEmptySegment("empty", "empty")
    shell.enter()  # back from the Segment Editor
    edited, drawn = scene.rowsOf(node)
    voxel = 0.8 * 0.7 * 2.5
    assert (edited.segment, edited.mark, drawn.segment, drawn.mark) == ("PE_1", "edited", "missed", "drawn")
    assert (edited.volume_mm3, drawn.volume_mm3) == pytest.approx((40 * voxel, 6 * voxel))
    assert (edited.slice_first, edited.slice_last, drawn.slice_first, drawn.slice_last) == (7, 8, 1, 1)
    np.testing.assert_allclose(edited.position, (np.asarray(FLIPPED) @ [8, 5.5, 2.5, 1])[:3])
    # of one corner voxel to the other, the ends as long as a voxel is in that direction
    sides, spacing = np.array([4, 3, 1]) * (0.8, 0.7, 2.5), np.array([0.8, 0.7, 2.5])
    long = np.linalg.norm(sides)
    assert edited.longest_axis_mm == pytest.approx(long + sides / long @ spacing, abs=2e-3)
    assert (edited.confidence, edited.side, drawn.number) == (first.confidence, first.side, 3)
    assert "Findings: 2, 64 mm³" in review.ui.summaryLabel.text
    assert review.chosen() == edited  # the one that was under review
    assert [review.ui.findingsTable.item(row, 5).text() for row in range(2)] == ["edited", "drawn"]
    review.select(1)
    review.accept()
    export.saveFindings(node, tmp_path / "f.csv")
    with (tmp_path / "f.csv").open(newline="") as handle:
        lines = list(csv.DictReader(handle))
    told = [(line["mark"], line["confidence"], line["verdict"]) for line in lines]
    assert told == [("edited", str(first.confidence), ""), ("drawn", "", "accepted")]
    table = node.GetNodeReference(scene.FINDINGS)
    slicer.util.saveNode(table, str(tmp_path / "t.tsv"))
    back = findings.read(slicer.util.loadTable(str(tmp_path / "t.tsv")))
    assert repr(back) == repr(scene.rowsOf(node))
    segmented(volume, tmp_path)  # a new run keeps the user's marks, and what was said of them
    assert {row.segment: row.verdict for row in scene.rowsOf(node)} == {
        "PE_1": "",
        "PE_2": "",
        "edited_PE_1": "",
        "missed": "accepted",
    }
    assert second.volume_mm3 == scene.rowsOf(node)[1].volume_mm3


def test_nothing_is_hashed_twice(shell: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from PESemiSegUI import edits, scene

    node = segmented(scan("CT"), tmp_path)
    before = scene.rowsOf(node)
    monkeypatch.setattr(edits, "_fingerprint", lambda _part: pytest.fail("a large segment takes a while"))
    shell.review.showResult(node)
    shell.enter()
    assert scene.rowsOf(node) == before


def test_another_result_is_shown_before_it_is_judged(shell: Any, tmp_path: Path) -> None:
    import slicer
    from PESemiSegUI import scene

    review, nodes = shell.review, [segmented(scan(name), tmp_path) for name in "AB"]
    review.showResult(nodes[0])
    red = slicer.app.layoutManager().sliceWidget("Red").mrmlSliceNode()
    red.SetSliceOffset(1000)
    review.showResult(nodes[1])
    assert red.GetSliceOffset() == pytest.approx(review.chosen().s_mm, abs=1e-3)
    review.ui.resultSelector.setCurrentNode(nodes[0])
    assert review.chosen() is None  # nothing was looked at yet
    assert not review.ui.rejectButton.enabled
    review.select(0)
    keys = {str(key.key.toString()): key for key in review._shortcuts}
    for page, verdict in ((2, ""), (1, "rejected")):
        shell.showPage(page)
        slicer.app.processEvents()
        keys["Alt+R"].activated.emit()
        assert scene.rowsOf(nodes[0])[0].verdict == verdict


def test_what_is_kept_is_the_result_that_was_asked_for(
    shell: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from PESemiSegUI import review_panel

    review, nodes, done = shell.review, [segmented(scan(name), tmp_path) for name in "AB"], []
    monkeypatch.setattr(review_panel, "Task", lambda _work, then, _failed: done.append(then))
    monkeypatch.setattr(review, "_onKept", lambda _folder: None)
    monkeypatch.setattr(review, "_task", None)
    review.showResult(nodes[0])
    review.accept()
    review.keepForTraining()
    review.showResult(nodes[1])
    done[0](None)
    assert "verdict, 1," in review.ui.reviewStatus.text


class Plugin:
    """The rules of Slicer's own plugin that an export must not stumble over, and what it wrote."""

    written: dict[str, tuple[str, str]]  # of each segment: algorithm type and name

    def examineForExport(self, item: int) -> list[Any]:
        """One export for the segmentation at this place of the hierarchy."""
        import slicer

        class Exportable:
            directory = ""
            node = slicer.mrmlScene.GetSubjectHierarchyNode().GetItemDataNode(item)

        return [Exportable()] if Exportable.node is not None else []

    def export(self, exportables: list[Any]) -> str:
        """Empty where it went well."""
        import slicer
        from PESemiSegUI.segments import tag

        node = exportables[0].node
        volume = node.GetNodeReference(node.GetReferenceImageGeometryReferenceRole())
        if not volume.GetAttribute("DICOM.instanceUIDs"):
            return "has no attribute DICOM.instanceUIDs"
        Plugin.written = {}
        for identity in node.GetSegmentation().GetSegmentIDs():
            segment = node.GetSegmentation().GetSegment(identity)
            name = slicer.vtkSegmentationConverter.GetSegmentationBinaryLabelmapRepresentationName()
            scalars = segment.GetRepresentation(name).GetPointData().GetArray("ImageScalars")
            if scalars is None or scalars.GetValueRange() == (0, 0):
                return "Empty segments found"
            kind, algorithm = (tag(segment, f"DICOM.SegmentAlgorithm{part}") for part in ("Type", "Name"))
            if kind and kind != "MANUAL" and not algorithm:
                return "missing SegmentAlgorithmName"
            Plugin.written[identity] = kind or "MANUAL", algorithm
        return ""


def test_a_dicom_seg_holds_what_was_not_rejected(
    shell: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import slicer
    from PESemiSegUI import export, segments

    monkeypatch.setattr(slicer.modules, "dicomPlugins", {"DICOMSegmentationPlugin": Plugin}, raising=False)
    monkeypatch.setattr(export, "_index", lambda _folder: None)
    volume, review = scan("CT"), shell.review
    node = segmented(volume, tmp_path)
    array = node.GetSegmentation().GetSegment("PE_1").GetRepresentation(segments.labelmap())
    assert array.GetPointData().GetArray("ImageScalars") is not None  # for Slicer's own Export to DICOM
    review.showResult(node)
    assert not review.ui.dicomButton.enabled  # in no study, and not from DICOM
    assert "no DICOM study" in review.ui.dicomButton.toolTip
    volume.SetAttribute("DICOM.instanceUIDs", "1.2.3 1.2.4")
    review.refresh()
    assert review.ui.dicomButton.enabled
    review.select(1)
    review.reject()
    paint(node, volume, "PE_1", np.s_[2:4, 4:8, 6:11])
    for name in ("drawn", "empty"):
        node.GetSegmentation().AddEmptySegment(name, name)
    paint(node, volume, "drawn", np.s_[9:10, 20:22, 3:6])
    nodes = slicer.mrmlScene.GetNumberOfNodes()
    review._onDicom()
    assert "without rejected findings" in review.ui.reviewStatus.text
    assert set(Plugin.written) == {"PE_1", "drawn"}
    assert Plugin.written["drawn"][0] == "MANUAL"
    assert Plugin.written["PE_1"][0] == "SEMIAUTOMATIC"
    assert slicer.mrmlScene.GetNumberOfNodes() == nodes
    other = segmented(scan("other"), tmp_path)
    scan_of_it = other.GetNodeReference(other.GetReferenceImageGeometryReferenceRole())
    scan_of_it.SetAttribute("DICOM.instanceUIDs", "1.2.5")
    export.toDicomDatabase(other)
    assert {kind for kind, _name in Plugin.written.values()} == {"AUTOMATIC"}
    review.showResult(other)
    review.reject()
    review.reject()
    with pytest.raises(RuntimeError, match="no mark"):
        export.toDicomDatabase(other)


def test_the_ct_is_shown_as_emboli_are_looked_for(shell: Any, tmp_path: Path) -> None:
    volume = scan("CT")
    shell.review.showResult(segmented(volume, tmp_path))
    shell.review.ui.windowButton.click()
    display = volume.GetDisplayNode()
    assert (display.GetWindow(), display.GetLevel(), display.GetAutoWindowLevel()) == (600, 200, 0)
