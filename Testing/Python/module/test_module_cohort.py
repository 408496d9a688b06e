"""What comes into a cohort beside folders: series of Slicer's DICOM database, and reviewed scans."""

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

Until = Callable[..., bool]
STRAIGHT = np.diag([-3.0, -3.0, 5.0, 1.0])
STRAIGHT[:3, 3] = [120.0, 90.0, 20.0]


class Database(SimpleNamespace):
    """As much of ctkDICOMDatabase as the module asks: {patient: {series: (modality, files)}}."""

    isOpen = True

    def patients(self) -> tuple[str, ...]:
        return tuple(self.content)

    def studiesForPatient(self, patient: str) -> tuple[str, ...]:
        return (patient,)

    def seriesForStudy(self, study: str) -> tuple[str, ...]:
        return tuple(self.content[study])

    def fieldForSeries(self, field: str, uid: str) -> str:
        assert field == "Modality"
        return self._series(uid)[0]

    def fieldForPatient(self, field: str, patient: str) -> str:
        assert field == "PatientID"
        return f"ID-{patient}"

    def nameForPatient(self, patient: str) -> str:
        return f"DOE^{patient}"

    def descriptionForStudy(self, study: str) -> str:
        return "chest"

    def descriptionForSeries(self, uid: str) -> str:
        return uid

    def filesForSeries(self, uid: str) -> tuple[str, ...]:
        return self._series(uid)[1]

    instancesForSeries = filesForSeries

    def _series(self, uid: str) -> Any:
        return next(series[uid] for series in self.content.values() if uid in series)


def write_dicom(folder: Path, hu: np.ndarray, patient: str) -> tuple[str, ...]:
    """(k, j, i) HU as DICOM slices, 3 mm wide and 5 mm apart."""
    from pydicom.dataset import Dataset, FileMetaDataset
    from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian, generate_uid

    folder.mkdir()
    series, study, frame = generate_uid(), generate_uid(), generate_uid()
    for k, plane in enumerate(hu):
        ds = Dataset()
        ds.SOPClassUID, ds.SOPInstanceUID, ds.SeriesInstanceUID = CTImageStorage, generate_uid(), series
        ds.Modality, ds.PatientID, ds.StudyInstanceUID = "CT", patient, study
        ds.FrameOfReferenceUID = frame
        ds.Rows, ds.Columns, ds.InstanceNumber = *plane.shape, k + 1
        ds.PixelSpacing, ds.SliceThickness = [3, 3], 5
        ds.ImageOrientationPatient, ds.ImagePositionPatient = [1, 0, 0, 0, 1, 0], [-120, -90, 20 + 5 * k]
        ds.BitsAllocated = ds.BitsStored = 16
        ds.HighBit, ds.PixelRepresentation, ds.SamplesPerPixel = 15, 1, 1
        ds.PhotometricInterpretation, ds.RescaleSlope, ds.RescaleIntercept = "MONOCHROME2", 1, 0
        ds.PixelData = plane.astype("<i2").tobytes()
        ds.file_meta = FileMetaDataset()
        ds.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
        ds.file_meta.MediaStorageSOPClassUID = CTImageStorage
        ds.file_meta.MediaStorageSOPInstanceUID = ds.SOPInstanceUID
        ds.save_as(folder / f"{k}", enforce_file_format=True)
    return tuple(str(folder / f"{k}") for k in range(len(hu)))


@pytest.fixture
def database(chest: np.ndarray, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Two patients, three CT series, one MR; one of the CT series has a DICOM SEG."""
    import slicer

    from PESemiSegLib.volumes.dicom_seg import write_dicom_seg
    from PESemiSegLib.volumes.reader import read

    patients = {"a": "ID-JANE", "b": "ID-JOHN", "c": "ID-JOHN"}
    files = {n: write_dicom(tmp_path / n, chest + i, patients[n]) for i, n in enumerate(patients)}
    scan = read(tmp_path / "a")
    mask = (np.abs(scan.hu - 50) < 20) & (np.hypot(*np.ogrid[-28:36, -58:22]) < 2)[None]
    seg = write_dicom_seg(tmp_path / "seg.dcm", mask.astype(np.uint8), scan)
    assert seg.written, seg
    content = {
        "JANE": {
            "1.1": ("CT", files["a"]),
            "1.2": ("MR", files["c"]),
            "1.3": ("SEG", (str(tmp_path / "seg.dcm"),)),
        },
        "JOHN": {"2.1": ("CT", files["b"]), "2.2": ("CT", files["c"])},
    }
    found = Database(content=content)
    monkeypatch.setattr(slicer, "dicomDatabase", found, raising=False)
    return found


def test_series_of_the_database_become_a_cohort(shell: Any, until: Until, database: Any) -> None:
    panel = shell.cohort
    panel.enter()
    assert panel.ui.databaseButton.enabled, panel.ui.databaseButton.toolTip
    panel.ui.databaseButton.click()
    dialog = panel._dialog
    assert until(lambda: not dialog._steps.active)
    labels = [dialog.list.item(row).text() for row in range(dialog.list.count)]
    assert labels == [
        f"DOE^{n}, chest, {uid}, 14 images" for n, uid in (("JANE", "1.1"), ("JOHN", "2.1"), ("JOHN", "2.2"))
    ]
    assert not dialog.addButton.enabled
    dialog.list.selectAll()
    dialog.addButton.click()
    assert until(lambda: len(panel.cases) == 3), panel.ui.cohortStatus.text
    assert [case.role for case in panel.cases].count("labelled") == 1, [c.problems for c in panel.cases]
    assert len({case.key for case in panel.cases}) == 2  # patients
    for case in panel.cases:
        assert not {"JANE", "JOHN", "DOE"} & set(str(case).upper().replace("/", " ").split())


def test_no_database_is_explained(shell: Any) -> None:
    shell.cohort.enter()
    assert "DICOM module" in shell.cohort.ui.databaseButton.toolTip


def review(shell: Any, chest: np.ndarray, folder: Path) -> Any:
    """The chest with two findings in the scene; the second one is rejected."""
    import slicer
    from PESemiSegUI import scene, self_test

    matrix = STRAIGHT.tolist()
    node = slicer.util.addVolumeFromArray(chest, STRAIGHT, "CT")
    folder.mkdir()
    labels = self_test.writeResult(folder, matrix)
    full = np.zeros(chest.shape, np.uint8)
    full[: labels.shape[0], : labels.shape[1], : labels.shape[2]] = labels
    np.save(folder / "labels.npy", full)
    result = scene.importResult(node, folder, "segment-000000000000")
    shell.review.showResult(result)
    shell.review._table.selectSegment("PE_2")
    shell.review.reject()
    return result, full


def test_a_reviewed_scan_goes_to_the_cohort(
    shell: Any, until: Until, chest: np.ndarray, tmp_path: Path
) -> None:
    from PESemiSegLib.volumes.reader import read

    _node, labels = review(shell, chest, tmp_path / "job")
    for _again in range(2):  # the second time the mask takes the place of the first one
        shell.cohort.ui.cohortStatus.text = ""
        shell.review.keepForTraining()
        assert until(lambda: "1 with labels" in shell.cohort.ui.cohortStatus.text), (
            shell.cohort.ui.cohortStatus.text
        )
        (case,) = shell.cohort.cases
        assert (case.role, case.pe) == ("labelled", "yes"), case.problems
    image, mask = read(case.image), read(case.mask)
    np.testing.assert_array_equal(image.to_output(image.hu), chest.clip(-1024))
    np.testing.assert_array_equal(mask.to_output(mask.hu) > 0, labels == 1)
    assert "without a verdict" in shell.review.ui.reviewStatus.text


def test_masks_of_segments_on_another_grid(shell: Any) -> None:
    """Against Slicer's own resampling, with a segment as the Segment Editor may leave it."""
    import slicer
    from PESemiSegUI import reviewed, segments

    rng = np.random.default_rng(5)
    oblique = np.array([[0.6, -0.64, 0.0, 11], [0.64, 0.48, -1.0, -7], [0.48, 0.36, 1.5, 31], [0, 0, 0, 1]])
    ct = slicer.util.addVolumeFromArray(np.zeros((12, 40, 50), np.int16), oblique, "CT")
    turned = oblique @ np.array([[0, 1.0, 0, 3], [-1, 0, 0, 35], [0, 0, 1, 1], [0, 0, 0, 1]])
    finer = turned @ np.diag([0.5, 0.5, 0.5, 1])
    for matrix in (oblique, turned, finer):
        node = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLSegmentationNode", "s")
        box = (rng.random((8, 9, 10)) > 0.5).astype(np.uint8)
        segment = slicer.vtkSegment()
        segment.SetName("a")
        image = segments.orientedImage([4, 5, 2], box, matrix.tolist())
        segment.AddRepresentation(segments.labelmap(), image)
        node.GetSegmentation().SetSourceRepresentationName(segments.labelmap())
        node.GetSegmentation().AddSegment(segment, "a")
        mask = reviewed.paint(reviewed.partsOf(node), (12, 40, 50), oblique)
        expected = slicer.util.arrayFromSegmentBinaryLabelmap(node, "a", ct)
        assert expected.any()
        np.testing.assert_array_equal(mask > 0, expected > 0)


def test_what_is_kept_meanwhile_waits_for_its_turn(shell: Any, until: Until, tmp_path: Path) -> None:
    """Nothing that was kept is lost, not even behind one that fails; and what failed is said at the end."""
    import SimpleITK as sitk

    for number in range(2):
        place = tmp_path / f"scan{number}" / f"scan{number}"
        place.mkdir(parents=True)
        for name, value in (("ct", -1000 + number), ("mask", number)):
            image = sitk.GetImageFromArray(np.full((4, 40, 40), value, np.int16))
            sitk.WriteImage(image, str(place / f"{name}.nrrd"))
    panel = shell.cohort
    panel.addReviewed(tmp_path / "scan0")
    panel.addReviewed(tmp_path / "nowhere")
    panel.addReviewed(tmp_path / "scan1")
    assert str(tmp_path / "scan1") in panel.paths()
    assert until(lambda: len(panel.cases) == 2, 60), panel.ui.cohortStatus.text
    assert "Patients: " in panel.ui.cohortStatus.text
    assert "It did not work" in panel.ui.cohortStatus.text
    assert panel.ui.addFolderButton.enabled


def test_what_lies_on_the_disk_is_counted_private_and_removed_if_nobody_needs_it(
    shell: Any, until: Until, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import json
    import os
    import shutil

    import slicer
    from PESemiSegUI import cohort_lists

    from PESemiSegLib.cohorts.manifest import Case
    from PESemiSegLib.jobs import runner
    from PESemiSegLib.jobs.files import write_json
    from PESemiSegLib.jobs.folder import Job
    from PESemiSegLib.models.store import demo_folder

    def job(kind: str, state: str, **params: Any) -> Job:
        found = Job.create(kind, params)
        if state:
            write_json(found.path("status.json"), {"state": state, "exit_code": 0})
        return found

    folders = [cohort_lists.newFolder() for _ in range(5)]
    listed, used, held, loose, fresh = folders
    assert {folder.stat().st_mode & 0o777 for folder in (*folders, cohort_lists.root())} == {0o700}
    (used / "labelled.csv").write_text(f"../{listed.name}/x")
    (loose / "ct.nrrd").write_bytes(bytes(4000))
    for folder in folders[:4]:
        os.utime(folder, (1.0, 1.0))
    shell.cohort.cases = (Case("p", "s", held / "x"),)
    paused = job("finetune", "paused", labelled=str(used / "labelled.csv"))
    made, taken = job("finetune", "done"), job("train", "done")
    for one, name in ((made, "made"), (taken, "taken")):
        package = one.folder / "run" / "model"
        package.mkdir(parents=True)
        info = json.loads((demo_folder() / "model.json").read_text()) | {"name": name}
        (package / "model.json").write_text(json.dumps(info))
    stored = cohort_lists.root().parent / "models" / "taken"
    stored.mkdir(parents=True)
    shutil.copy(taken.folder / "run" / "model" / "model.json", stored)
    left, young = job("segment", ""), job("segment", "")
    raw = json.loads(left.path("job.json").read_text())
    left.path("job.json").write_text(json.dumps(raw | {"created_s": 1.0}))
    dry, ended = job("finetune", "cancelled", dry_run=True), job("segment", "failed")
    monkeypatch.setattr(slicer.util, "confirmOkCancelDisplay", lambda question: True)
    panel = shell.environment
    assert until(lambda: not panel._task.active, 30)
    panel.enter()
    assert until(lambda: panel.ui.diskLabel.text.startswith("7 runs"), 30), panel.ui.diskLabel.text
    assert panel.ui.cohortDiskLabel.text.startswith("5 folders, 4 KB")
    panel.ui.clearButton.click()
    assert until(lambda: panel.ui.diskLabel.text.startswith("3 runs"), 30), panel.ui.diskLabel.text
    assert {one.id for one in runner.jobs()} == {paused.id, made.id, young.id}
    assert not any(one.folder.exists() for one in (taken, left, dry, ended))
    panel.ui.clearCohortsButton.click()
    assert until(lambda: panel.ui.cohortDiskLabel.text.startswith("4 folders"), 30)
    assert not loose.exists()
    assert all(folder.exists() for folder in (listed, used, fresh, held))
