"""`pesemiseg segment` and `check` on a made-up chest and on the real scans."""

import json
import os
import pty
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk

Run = Callable[..., subprocess.CompletedProcess[str]]
Finished = tuple[Path, subprocess.CompletedProcess[str]]


def test_a_scan_becomes_a_result(finished: Finished) -> None:
    folder, done = finished
    assert done.returncode == 0, done.stderr
    assert {path.name for path in folder.iterdir()} == {
        *("segmentation.seg.nrrd", "segmentation.nii.gz", "confidence.nrrd"),
        *("findings.csv", "result.json", "report.html"),
    }
    assert "Research use only - not a medical device." in done.stdout
    assert "open " in done.stdout
    assert "Traceback" not in done.stderr
    assert "Warning" not in done.stderr
    lines = done.stderr.splitlines()
    assert lines[0] == "reading the scan"
    assert "segmenting slices 24/24 (100 %)" in lines
    assert lines[-1] == "writing the result"


def test_the_result_lies_on_the_grid_of_the_scan(finished: Finished, chest: Path) -> None:
    scan = sitk.ReadImage(str(chest))
    for name in ("segmentation.seg.nrrd", "segmentation.nii.gz", "confidence.nrrd"):
        image = sitk.ReadImage(str(finished[0] / name))
        assert image.GetSize() == scan.GetSize()
        for index in ((0, 0, 0), tuple(n - 1 for n in scan.GetSize())):
            np.testing.assert_allclose(
                image.TransformIndexToPhysicalPoint(index),
                scan.TransformIndexToPhysicalPoint(index),
                atol=1e-3,
            )


def test_json_is_one_object_on_stdout(pesemiseg: Run, chest: Path, tiny_model: Path, tmp_path: Path) -> None:
    options = ("--json", "--no-report", "--threshold", "0.2", "--min-size", "100", "--precision", "fp32")
    done = pesemiseg("segment", chest, "-o", tmp_path / "out", "--model", tiny_model, *options)
    document = json.loads(done.stdout)
    assert document["kind"] == "pesemiseg-result"
    assert document["folder"] == str(tmp_path / "out")
    assert "report.html" not in document["files"]
    assert document["provenance"]["settings"]["threshold"] == 0.2
    assert document["provenance"]["settings"]["min_lesion_mm3"] == 100
    assert document["provenance"]["engine"]["precision"] == "fp32"
    assert document["provenance"]["model"]["data_origin"] == "phantom"
    saved = json.loads((tmp_path / "out" / "result.json").read_text())
    assert saved == {key: value for key, value in document.items() if key != "folder"}
    assert document["total_volume_mm3"] == pytest.approx(
        sum(finding["volume_mm3"] for finding in document["findings"]), abs=1
    )


def test_an_existing_result_needs_overwrite(
    pesemiseg: Run, finished: Finished, chest: Path, tiny_model: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "out"
    shutil.copytree(finished[0], folder)
    (folder / "findings.csv").write_text("old")
    words = ("segment", chest, "-o", folder, "--model", tiny_model)
    refused = pesemiseg(*words)
    assert refused.returncode == 2
    assert refused.stderr == "error: folder out holds a result; add --overwrite or give another folder\n"
    assert (folder / "findings.csv").read_text() == "old"
    assert pesemiseg(*words, "--overwrite").returncode == 0
    assert (folder / "findings.csv").read_text().startswith("id,volume_mm3,side")
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


def test_strict_refuses_and_writes_nothing(
    pesemiseg: Run, tiny_model: Path, shared_data: Path, tmp_path: Path
) -> None:
    scan = shared_data / "cip_ct64" / "ct-64.nrrd"
    done = pesemiseg("segment", scan, "-o", tmp_path / "out", "--model", tiny_model, "--strict")
    assert done.returncode == 2
    assert "error: input check failed: " in done.stderr
    assert list(tmp_path.iterdir()) == []


def test_check_in_words_and_in_json(pesemiseg: Run, shared_data: Path) -> None:
    scan = shared_data / "cip_ct64" / "ct-64.nrrd"
    done = pesemiseg("check", scan)
    assert done.returncode == 0
    assert all(line.split()[0] in ("ok", "warning", "error") for line in done.stdout.splitlines())
    strict = pesemiseg("check", scan, "--strict", "--json")
    assert strict.returncode == 2
    document = json.loads(strict.stdout)  # the sentences are printed all the same
    assert document["level"] == "warning"
    assert len(document["sentences"]) == len(done.stdout.splitlines())


def test_a_terminal_gets_a_bar_with_the_time_left(
    chest: Path, tiny_model: Path, tmp_path: Path, environment: dict[str, str]
) -> None:
    reader, writer = pty.openpty()
    words = [
        sys.executable,
        "-m",
        "PESemiSegLib.cli.main",
        "segment",
        str(chest),
        "-o",
        str(tmp_path / "out"),
    ]
    surroundings = environment | {"TERM": "xterm"}
    with subprocess.Popen(
        [*words, "--model", str(tiny_model)], stdout=subprocess.DEVNULL, stderr=writer, env=surroundings
    ) as process:
        os.close(writer)
        shown = b""
        while True:
            try:
                block = os.read(reader, 4096)
            except OSError:  # Linux says so when the other end is closed
                break
            if not block:
                break
            shown += block
    os.close(reader)
    assert process.returncode == 0
    assert b"segmenting slices" in shown
    assert b"/24" in shown
    assert b" s left" in shown


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("lungmask_cta_2slices/series", "cut off"),
        ("lidc0314_chest_noncontrast/series.zip", "no contrast agent"),
        ("cip_ct64/ct-64.nrrd", "no contrast agent"),
        ("ts_pulmonary_crop/ct_cropped.nii.gz", "cut off"),
    ],
)
def test_real_scans_end_with_a_result_on_their_grid(
    name: str, said: str, pesemiseg: Run, tiny_model: Path, shared_data: Path, tmp_path: Path
) -> None:
    scan = shared_data / name
    if scan.suffix == ".zip":
        with zipfile.ZipFile(scan) as archive:
            archive.extractall(tmp_path / "in")
        scan = next(path.parent for path in sorted((tmp_path / "in").rglob("*.dcm")))
    done = pesemiseg("segment", scan, "-o", tmp_path / "out", "--model", tiny_model, "--json", "--no-report")
    assert done.returncode == 0, done.stderr
    document = json.loads(done.stdout)
    assert said in " ".join(line["text"] for line in document["check"]["sentences"] if line["level"] != "ok")
    mask = sitk.ReadImage(str(tmp_path / "out" / "segmentation.seg.nrrd"))
    if scan.is_dir():
        found = sitk.ImageSeriesReader.GetGDCMSeriesFileNames(str(scan))
        reader = sitk.ImageSeriesReader()
        reader.SetFileNames(found)
        image = reader.Execute()
    else:
        image = sitk.ReadImage(str(scan))
    corners = [[0, 0, 0], [n - 1 for n in image.GetSize()]]
    ends = [sorted(i.TransformIndexToPhysicalPoint(c) for c in corners) for i in (mask, image)]
    assert mask.GetSize() == image.GetSize()
    np.testing.assert_allclose(ends[0], ends[1], atol=0.02)
