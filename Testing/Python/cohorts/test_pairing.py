"""Scans and masks at any depth, by names alone: each has a row, and nothing is dropped in silence."""

from pathlib import Path

import pytest

from PESemiSegLib.cohorts.adapters import adapter_for

SLICER, SLICER_ROW = "P1/s/1.dcm P1/a.seg.nrrd ", {"P1/s": "mask"}
PAIR, PAIR_ROW = "P1/ct.nii P1/mask.nii ", {"P1/ct.nii": "mask"}
LOST, TWO, MADE = "is a mask without a scan", "2 scans in one folder", "it may be made from it"


@pytest.mark.parametrize(
    ("layout", "files", "rows"),
    [
        ("seg_nrrd", SLICER + "P2/t/s/1.dcm P2/t/v/1.dcm", SLICER_ROW | {"P2/t/s": "", "P2/t/v": ""}),
        ("seg_nrrd", SLICER + "P2/s/1.dcm P2/v/1.dcm", SLICER_ROW | {"P2/s": "", "P2/v": ""}),
        ("seg_nrrd", SLICER + "P2/t/ct.nii P2/t/mask.nii", SLICER_ROW | {"P2/t/ct.nii": "mask"}),
        ("seg_nrrd", "P1/t/s/1.dcm P1/t/v/1.dcm P1/t/a.seg.nrrd", {"P1/t/s": TWO, "P1/t/v": TWO}),
        ("seg_nrrd", "P1/t/s/1.dcm P1/x/a.seg.nrrd", {"P1/t/s": "", "P1/x/a.seg.nrrd": LOST}),
        ("pairs", PAIR + "P2/t/ct.nii P2/t/mask.nii", PAIR_ROW | {"P2/t/ct.nii": "mask"}),
        ("pairs", PAIR + "P1/x/heat.nii y.dcm", PAIR_ROW | {"P1/x/heat.nii": MADE, ".": "loose slices"}),
        ("pairs", "images/P1/t/s/1.dcm masks/P1/m.nii", {"images/P1/t/s": "mask"}),
        (
            "pairs",
            "images/c.nii images/P2/mask.nii labels/x.txt",
            {"images/c.nii": "", "images/P2/mask.nii": LOST},
        ),
    ],
)
def test_every_scan_and_every_mask_has_a_row(
    tmp_path: Path, layout: str, files: str, rows: dict[str, str]
) -> None:
    """rows: by image, its problem (or a part of it), "mask" where it has one, or nothing."""
    for name in files.split():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    adapter = adapter_for(tmp_path)
    assert adapter.name == layout
    entries = {entry.image.relative_to(tmp_path).as_posix(): entry for entry in adapter.entries(tmp_path)}
    assert entries.keys() == rows.keys()
    for image, entry in entries.items():
        said = entry.problem or ("mask" if entry.mask else "")
        assert rows[image] in said, image
        assert bool(rows[image]) == bool(said), image
