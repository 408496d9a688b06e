"""Free labels of healthy scans: lung where lung is, told in a manifest; nothing from a scan without lungs."""

from pathlib import Path

import numpy as np
import pytest

from PESemiSegLib.cli.main import main
from PESemiSegLib.cohorts.labelmap import read_on_grid
from PESemiSegLib.cohorts.manifest import read_manifest
from PESemiSegLib.volumes.reader import read
from PESemiSegLib.volumes.volume import Volume, from_array
from PESemiSegLib.volumes.write import write_nifti


def _chest(lungs: bool = True) -> tuple[Volume, np.ndarray]:
    """An oval body with two oval lungs, pixels of 3 mm; the lungs."""
    y, x = np.mgrid[-60:60, -75:75] * 3.0
    body = (x / 190) ** 2 + (y / 130) ** 2 < 1
    inside = sum(((x - side) / 60) ** 2 + (y / 95) ** 2 < 1 for side in (-85, 85)).astype(bool) & lungs
    plane = np.where(inside, -850, np.where(body, 40, -1000))
    hu = plane[None] + np.random.default_rng(0).normal(0, 15, (12, *plane.shape))
    spacing = np.diag([3.0, 3.0, 6.0, 1.0])
    return from_array(np.clip(hu, -1024, 3000).astype(np.int16), spacing), np.broadcast_to(inside, hu.shape)


def _written(folder: Path, **options: bool) -> np.ndarray:
    folder.mkdir()
    volume, lungs = _chest(**options)
    write_nifti(folder / "name-of-a-patient.nii.gz", volume.hu, volume.grid)
    return lungs


def test_scans_are_labelled_and_told_in_a_manifest(tmp_path: Path) -> None:
    lungs = _written(tmp_path / "scans")
    table = tmp_path / "healthy.csv"
    assert main(["cohort", "healthy", str(tmp_path / "scans"), "-o", str(table)]) == 0
    (case,) = read_manifest(table)
    assert (case.role, case.split, case.label_style) == ("labelled", "train", "automatic")
    assert case.marks == "opacities"
    assert case.mask is not None
    assert "name" not in case.mask.name
    label = read_on_grid(case.mask, read(case.image))
    assert set(np.unique(label)) == {0, 3}
    overlap = 2 * np.sum((label == 3) & lungs) / (np.sum(label == 3) + np.sum(lungs))
    assert overlap > 0.97


def test_a_scan_without_lungs_is_refused_and_nothing_is_left(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    _written(tmp_path / "scans", lungs=False)
    assert main(["cohort", "healthy", str(tmp_path / "scans"), "-o", str(tmp_path / "healthy.csv")]) == 2
    assert "No lung" in capsys.readouterr().err
    assert [entry.name for entry in tmp_path.iterdir()] == ["scans"]
