"""FUMPE in its own format: both kinds of .mat, file-name order, reversed scans, and what is refused."""

from pathlib import Path

import h5py
import numpy as np
import pytest
from scipy.io import savemat

from PESemiSegLib.cohorts.build import BuildOptions, build_manifest
from PESemiSegLib.cohorts.matfile import read_mat
from PESemiSegLib.errors import InputError
from PESemiSegLib.volumes import read


def _save(path: Path, mask_yxz: np.ndarray, version: str, name: str = "Mask") -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    if version == "v5":
        savemat(path, {name: mask_yxz})
        return
    with h5py.File(path, "w", userblock_size=512) as file:  # as MATLAB writes 7.3: axes reversed
        file.create_dataset(name, data=mask_yxz.T).attrs["MATLAB_class"] = np.bytes_("logical")
    with path.open("r+b") as file:
        file.write(b"MATLAB 7.3 MAT-file")


def _fumpe(root: Path, sets, *, version: str = "v5", descending: bool = False, mask=None, **options) -> Path:
    sets.dicom(root / "FUMPE/CT_scans/PAT001", sets.hu, descending=descending, **options)
    zyx = (sets.mask if mask is None else mask)[:: -1 if descending else 1]  # slices as the files are named
    _save(root / "FUMPE/GroundTruth/PAT001.mat", zyx.transpose(1, 2, 0), version)
    return root


def _build(root: Path, **options):
    return build_manifest(root, BuildOptions(root / "masks", **options), layout="fumpe")


@pytest.mark.parametrize("version", ["v5", "v7.3"])
@pytest.mark.parametrize("descending", [False, True])
def test_image_and_mask_come_out_ascending_together(tmp_path, sets, version, descending):
    (case,) = _build(_fumpe(tmp_path, sets, version=version, descending=descending))
    assert (case.role, case.patient, case.site, case.label_style, case.pe) == (
        "labelled",
        "PAT001",
        "FUMPE",
        "strict",
        "yes",
    )
    np.testing.assert_array_equal(read(case.mask).hu, sets.mask)
    np.testing.assert_array_equal(read(case.image).hu, sets.hu)
    assert any("turned together" in text for text in case.problems) == descending


def test_a_mask_in_order_of_position_beside_a_reversed_scan_is_refused_not_turned(tmp_path, sets):
    root = _fumpe(tmp_path, sets, descending=True)
    _save(root / "FUMPE/GroundTruth/PAT001.mat", sets.mask.transpose(1, 2, 0), "v5")
    with pytest.raises(InputError, match="fits the image better turned upside down"):
        _build(root)
    assert not (root / "masks").exists()


def test_rows_and_columns_swapped_are_refused(tmp_path, sets):
    root = _fumpe(tmp_path, sets, mask=sets.mask.transpose(0, 2, 1))
    with pytest.raises(InputError, match="transposed"):
        _build(root)


def test_a_patient_without_emboli_has_an_empty_mask(tmp_path, sets):
    (case,) = _build(_fumpe(tmp_path, sets, mask=np.zeros_like(sets.mask)))
    assert (case.role, case.pe) == ("labelled", "no")


def test_a_slice_more_or_less_or_contradicting_numbers_are_said(tmp_path, sets):
    for name, options, words in (
        ("less", {"mask": sets.mask[:-1]}, "7 slices, PAT001 has 8"),
        ("other", {"numbers": [0, 1, 3, 2, 4, 5, 6, 7]}, "different orders"),
        ("size", {"mask": np.zeros((8, 32, 64), np.uint8)}, "slices are 64x32"),
    ):
        with pytest.raises(InputError, match=words):
            _build(_fumpe(tmp_path / name, sets, **options))


def test_a_scan_without_its_mask_is_kept_excluded(tmp_path, sets):
    root = _fumpe(tmp_path, sets)
    sets.dicom(root / "FUMPE/CT_scans/PAT002", sets.chest(2)[0])
    manifest = _build(root)
    assert [case.role for case in manifest] == ["labelled", "excluded"]
    assert "no PAT002.mat" in manifest.cases[1].problems[-1]


def test_the_variable_is_found_in_any_case_and_damage_is_one_line(tmp_path):
    array = np.arange(24).reshape(2, 3, 4).astype(np.uint8)
    for version in ("v5", "v7.3"):
        _save(tmp_path / f"{version}.mat", array, version, name="mask")
        np.testing.assert_array_equal(read_mat(tmp_path / f"{version}.mat", "Mask"), array)
        with pytest.raises(InputError, match="has no variable Other; it has mask"):
            read_mat(tmp_path / f"{version}.mat", "Other")
        data = (tmp_path / f"{version}.mat").read_bytes()
        (tmp_path / "cut.mat").write_bytes(data[:200])
        with pytest.raises(InputError, match=r"cut\.mat"):
            read_mat(tmp_path / "cut.mat", "Mask")
