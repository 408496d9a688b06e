"""`pesemiseg cohort register`: pairs that fit become a manifest, the others are named."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from PESemiSegLib.cli.main import main
from PESemiSegLib.cohorts.manifest import read_manifest
from PESemiSegLib.cohorts.phases import phase_pairs
from PESemiSegLib.inference.phase_pairs import lungs_of
from PESemiSegLib.volumes.write import write_nifti

SMALL = {"shape": (36, 72, 88), "spacing_mm": (4.4, 4.4, 6.0)}


def test_registered_pairs_are_checked_and_listed(
    make_chest: Callable[..., Any], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    chests = {
        "contrast": make_chest(blood_hu=350.0, **SMALL),
        "plain": make_chest(blood_hu=42.0, seed=1, **SMALL),
        "stranger": make_chest(blood_hu=42.0, missing="left", **SMALL),
    }
    for name, chest in chests.items():
        write_nifti(tmp_path / f"{name}.nii.gz", chest.hu, chest.volume.grid)
    chest = chests["contrast"]
    mask = (chest.trunk & (np.arange(36)[:, None, None] > 20)).astype(np.uint8)
    write_nifti(tmp_path / "mask.nii.gz", mask, chest.volume.grid)
    write_nifti(tmp_path / "again.nii.gz", make_chest(seed=2, **SMALL).hu, chest.volume.grid)
    table = tmp_path / "pairs.csv"
    rows = ["7,contrast.nii.gz,plain.nii.gz,mask.nii.gz", "Geheim,again.nii.gz,stranger.nii.gz,"]
    table.write_text("\n".join(["patient,contrast,plain,mask", *rows]) + "\n")
    assert main(["cohort", "register", str(table), "-o", str(tmp_path / "out"), "--registered"]) == 2
    said = capsys.readouterr().err
    assert "pair 1/2: taken as it is" in said
    assert "1 of 2 pairs were left out: pair 2: the scans could not be registered" in said
    assert "Geheim" not in said  # a patient's name may stand in a table, and nowhere else
    ((first, second),) = phase_pairs(read_manifest(tmp_path / "out" / "pairs.csv"))
    assert first.image.name == "contrast.nii.gz"
    assert first.mask is not None
    assert first.mask.name == "mask.nii.gz"
    assert second.image.name == "plain.nii.gz"


def test_the_lungs_lie_where_they_were_found(make_chest: Callable[..., Any]) -> None:
    chest = make_chest(**SMALL)
    mask, grid = lungs_of(chest.volume)
    kji = np.argwhere(mask)
    back = chest.volume.grid.to_ijk(grid.to_lps(kji[:, ::-1]))[:, ::-1].round().astype(int)
    assert chest.lungs[tuple(back.T)].mean() > 0.97
