"""What identifying a scan writes: files that agree with the result, the warning everywhere, nobody's name."""

import csv
import json
import re
from pathlib import Path

import numpy as np
import pytest

from PESemiSegLib.errors import OutputError
from PESemiSegLib.inference.identification import IdentifyResult
from PESemiSegLib.inference.report.identification import AXIALS, axial_slices
from PESemiSegLib.inference.result import BoxArray, Result
from PESemiSegLib.inference.save import save_result
from PESemiSegLib.inference.save_identification import FILES, save_identification
from PESemiSegLib.models.kinds import IDENTIFICATION
from PESemiSegLib.volumes.segments import EMBOLUS

WARNING = IDENTIFICATION.warning


@pytest.fixture(scope="module")
def result(made_up_result) -> IdentifyResult:  # type: ignore[no-untyped-def]
    """Marks and maps of a made-up segmentation, with the map's peak in slice 12."""
    done: Result = made_up_result()
    values = np.zeros(done.box.shape, np.float16)
    values[8:13, 20:60, 30:70] = 0.5
    values[10, 40, 50] = 1.0
    return IdentifyResult(
        volume=done.volume,
        pe_probability=0.125,
        window_probabilities=[0.125, 0.5],
        mask=done.mask,
        probability=done.probability,
        cam=BoxArray(values, done.box, done.volume.shape),
        cam_peak=2.5,
        findings=done.findings,
        check=done.check,
        provenance=done.provenance | {"settings": {"scan_from": "middle"}},
        lungs=done.lungs,
        segments=(EMBOLUS,),
    )


@pytest.fixture(scope="module")
def saved(result: IdentifyResult, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("saved") / "out"
    save_identification(result, folder)
    return folder


def test_the_files_hold_what_was_found(saved: Path, result: IdentifyResult) -> None:
    import SimpleITK as sitk

    assert {path.name for path in saved.iterdir()} == set(FILES) - {"segmentation.dcm"}  # not from DICOM
    for name in ("segmentation.nii.gz", "segmentation.seg.nrrd"):
        mask = sitk.GetArrayFromImage(sitk.ReadImage(str(saved / name)))
        np.testing.assert_array_equal(mask, result.output_mask())
    cam = sitk.ReadImage(str(saved / "cam.nrrd"))
    np.testing.assert_allclose(sitk.GetArrayFromImage(cam), result.output_cam(), atol=1e-6)
    assert np.allclose(cam.GetOrigin(), result.volume.output_grid.origin)
    summary = json.loads((saved / "result.json").read_text(encoding="utf-8"))
    assert (summary["task"], summary["pe_probability"], summary["cam_peak_log_odds"]) == (
        "identification",
        0.125,
        2.5,
    )
    assert summary["window_probabilities"] == [0.125, 0.5]
    assert summary["warning"] == WARNING
    rows = list(csv.DictReader((saved / "findings.csv").open(encoding="utf-8")))
    assert [float(row["mean_cam"]) for row in rows] == [f["mean_cam"] for f in summary["findings"]]
    assert "mean_confidence" not in rows[0]


def test_the_page_warns_in_words_and_shows_the_scan(saved: Path, result: IdentifyResult) -> None:
    page = (saved / "report.html").read_text(encoding="utf-8")
    assert page.count(WARNING) == 2  # above the probability, and at the end
    assert page.index(WARNING) < page.index("probability of embolism, of the scan")
    assert "made-up patients only" in page
    assert ">0.12<" in page or ">0.13<" in page
    assert page.count("<figure>") == AXIALS + 1
    assert "Slice 13," in page  # through the peak: slice 12, counted from 1
    assert not re.search(r'(href|src)="(?!data:|#)', page)
    assert "{{" not in page


def test_the_slices_go_through_the_peak_and_the_marks(result: IdentifyResult) -> None:
    chosen = axial_slices(result)
    most = int(result.mask.sum(axis=(1, 2), dtype=int).argmax())
    assert len(chosen) == AXIALS
    assert chosen == sorted(chosen, reverse=True)
    assert {12, most} <= set(chosen)
    assert all(result.box.start[0] <= k < result.box.stop[0] for k in chosen)


def test_an_empty_map_and_no_mark_are_said(result: IdentifyResult, tmp_path: Path) -> None:
    from dataclasses import replace

    nothing = BoxArray(np.zeros(result.box.shape, np.float16), result.box, result.volume.shape)
    empty = replace(result, cam=nothing, cam_peak=0.0, findings=[], mask=np.zeros_like(result.mask))
    save_identification(empty, tmp_path / "out")
    page = (tmp_path / "out" / "report.html").read_text(encoding="utf-8")
    assert "nothing speaks for embolism here" in page
    assert "mean_cam" in (tmp_path / "out" / "findings.csv").read_text(encoding="utf-8")


def test_a_result_of_either_sort_takes_the_others_place_when_asked(
    result: IdentifyResult,
    made_up_result,
    tmp_path: Path,  # type: ignore[no-untyped-def]
) -> None:
    folder = tmp_path / "out"
    save_result(made_up_result(), folder, report=False)
    with pytest.raises(OutputError, match="holds a result"):
        save_identification(result, folder)
    save_identification(result, folder, overwrite=True, report=False)
    assert not (folder / "confidence.nrrd").exists()
    assert (folder / "cam.nrrd").exists()
    save_result(made_up_result(), folder, overwrite=True, report=False)
    assert (folder / "confidence.nrrd").exists()
    assert not (folder / "cam.nrrd").exists()
