"""The slice cache: geometry, staleness, damage, a full disk."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk

from PESemiSegLib.cohorts import cache as cache_room
from PESemiSegLib.cohorts.cache import SliceCache, resample_mask, resample_slices
from PESemiSegLib.cohorts.manifest import Case
from PESemiSegLib.errors import InputError, OutputError
from PESemiSegLib.evaluation.store import data_fingerprint


def _write(path: Path, array: np.ndarray, spacing: tuple[float, float, float] = (1.8, 1.8, 3.0)) -> Path:
    image = sitk.GetImageFromArray(array)
    image.SetSpacing(spacing)
    sitk.WriteImage(image, str(path))
    return path


@pytest.fixture
def case(tmp_path: Path) -> Case:
    rng = np.random.default_rng(0)
    hu = rng.integers(-900, 300, (6, 40, 48)).astype(np.int16)
    mask = np.zeros_like(hu, dtype=np.uint8)
    mask[2:4, 10:14, 20:26] = 1
    return Case("p", "A", _write(tmp_path / "ct.nii.gz", hu), _write(tmp_path / "m.nii.gz", mask))


def test_volumes_come_back_at_the_models_spacing_memory_mapped(case: Case, tmp_path: Path) -> None:
    volume = SliceCache(tmp_path / "cache", 0.9).open(case)
    assert volume.image.shape == (6, 80, 96)
    assert volume.image.dtype == np.int16
    assert isinstance(volume.image, np.memmap)
    assert volume.mask is not None
    assert volume.mask.sum() == 2 * 8 * 12  # twice the pixels in both directions
    assert volume.slice_mm == pytest.approx(3.0)


def test_no_identifier_reaches_the_disk(case: Case, tmp_path: Path) -> None:
    SliceCache(tmp_path / "cache", 0.9).open(Case("DOE^JANE", "A", case.image, case.mask))
    for path in (tmp_path / "cache").rglob("*"):
        assert "JANE" not in str(path)
        assert path.is_dir() or b"JANE" not in path.read_bytes()


def test_a_second_opening_reads_no_source(
    case: Case, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = SliceCache(tmp_path / "cache", 0.9).open(case)
    monkeypatch.setattr(cache_room, "_read_pair", lambda case: pytest.fail("the source was read again"))
    second = SliceCache(tmp_path / "cache", 0.9).open(case)
    np.testing.assert_array_equal(first.anchors, second.anchors)


def test_a_changed_source_is_noticed(case: Case, tmp_path: Path) -> None:
    cache = SliceCache(tmp_path / "cache", 1.8)
    cache.open(case)
    _write(case.image, np.full((6, 40, 48), 77, np.int16))
    assert np.all(cache.open(case).image == 77)


@pytest.mark.parametrize("damage", ["cut", "gone", "index", "version", "no index", "header"])
def test_a_damaged_entry_is_built_again(case: Case, tmp_path: Path, damage: str) -> None:
    cache = SliceCache(tmp_path / "cache", 1.8)
    before = np.array(cache.open(case).image)
    entry = next((tmp_path / "cache").iterdir())
    if damage == "cut":
        data = (entry / "image.npy").read_bytes()
        (entry / "image.npy").write_bytes(data[:-100])
    elif damage == "gone":
        (entry / "mask.npy").unlink()
    elif damage == "index":
        (entry / "index.json").write_text("{ half")
    elif damage == "version":
        index = json.loads((entry / "index.json").read_text())
        (entry / "index.json").write_text(json.dumps(index | {"version": 0}))
    elif damage == "header":  # of the same length, so that only its content tells
        data = (entry / "image.npy").read_bytes()
        (entry / "image.npy").write_bytes(b"\0" * 64 + data[64:])
    else:
        (entry / "index.json").unlink()
    np.testing.assert_array_equal(cache.open(case).image, before)


def test_a_full_disk_is_a_clear_error_and_leaves_nothing(
    case: Case, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(path: Path, array: np.ndarray) -> None:
        Path(path).write_bytes(b"half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(cache_room.np, "save", full)
    with pytest.raises(OutputError, match="disk is full"):
        SliceCache(tmp_path / "cache", 1.8).open(case)
    assert list((tmp_path / "cache").iterdir()) == []


def test_a_write_that_fails_halfway_leaves_nothing_and_can_be_repeated(case: Case, tmp_path: Path) -> None:
    """The system itself refuses here, after the first 4 KiB of a file."""
    resource = pytest.importorskip("resource", reason="limits on file sizes are of Unix")
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    cache = SliceCache(tmp_path / "cache", 0.9)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, hard))
    try:
        with pytest.raises(OutputError, match="cache cannot be written"):
            cache.open(case)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert list((tmp_path / "cache").iterdir()) == []
    assert cache.open(case).image.shape == (6, 80, 96)


def test_a_cache_folder_that_is_a_file_is_an_output_error(case: Case, tmp_path: Path) -> None:
    (tmp_path / "cache").write_text("not a folder")
    with pytest.raises(OutputError, match="cache cannot be written"):
        SliceCache(tmp_path / "cache", 1.8).open(case)


def test_what_a_killed_process_left_behind_is_not_taken_for_an_entry(case: Case, tmp_path: Path) -> None:
    cache = SliceCache(tmp_path / "cache", 1.8)
    before = np.array(cache.open(case).image)
    entry = next((tmp_path / "cache").iterdir())
    entry.rename(entry.with_name(f"{entry.name}.999.part"))
    np.testing.assert_array_equal(cache.open(case).image, before)
    assert (tmp_path / "cache" / entry.name).is_dir()


def test_a_changed_mask_and_a_slice_less_are_noticed(case: Case, tmp_path: Path, sets) -> None:
    assert case.mask is not None
    cache = SliceCache(tmp_path / "cache", 1.8)
    assert cache.open(case).mask.any()
    _write(case.mask, np.zeros((6, 40, 48), np.uint8))
    assert not cache.open(case).mask.any()
    scan = Case("q", "A", sets.dicom(tmp_path / "dicom", sets.hu), role="unlabelled")
    assert len(cache.open(scan).image) == 8
    (scan.image / "D0008.dcm").unlink()
    assert len(cache.open(scan).image) == 7


@pytest.mark.parametrize("header", ["m.mhd", "m.nhdr"])
@pytest.mark.parametrize("data", ["", "voxels 1.raw"])
def test_voxels_beside_their_header_are_noticed_when_they_change(
    case: Case, tmp_path: Path, header: str, data: str
) -> None:
    """By the cache and by the stored results of an evaluation, whatever the file of the voxels is called."""
    first, second = tmp_path / "first", tmp_path / "second"
    for folder, value in ((first, 1), (second, 0)):
        folder.mkdir()
        _write(folder / header, np.full((6, 40, 48), value, np.uint8))
    voxels = next(path for path in first.iterdir() if path.suffix != Path(header).suffix)
    assert (first / header).read_bytes() == (second / header).read_bytes()
    if data:
        text = (first / header).read_text().replace(voxels.name, data)
        (first / header).write_text(text)
        voxels.rename(first / data)
    changed = replace(case, mask=first / header)
    cache = SliceCache(tmp_path / "cache", 1.8)
    assert cache.open(changed).mask.all()
    before = data_fingerprint(changed)
    shutil.copy(second / voxels.name, first / (data or voxels.name))
    assert not cache.open(changed).mask.any()
    assert data_fingerprint(changed) != before


def test_a_mask_on_another_grid_is_refused(case: Case, tmp_path: Path) -> None:
    assert case.mask is not None
    _write(case.mask, np.zeros((6, 40, 40), np.uint8))
    with pytest.raises(InputError, match=r"m.nii.gz does not lie on the scan's grid"):
        SliceCache(tmp_path / "cache", 1.8).open(case)


def test_a_source_that_went_away_is_an_input_error(case: Case, tmp_path: Path) -> None:
    shutil.copy(case.image, tmp_path / "kept.nii.gz")
    case.image.unlink()
    with pytest.raises(InputError, match=r"ct.nii.gz"):
        SliceCache(tmp_path / "cache", 1.8).open(case)


def test_resampling_is_the_one_of_inference() -> None:
    """Training and use must see the same pixels: both rooms, one plane, window aside."""
    from PESemiSegLib.volumes.preprocess import resample_matrix

    plane = np.random.default_rng(1).integers(-500, 500, (1, 37, 53)).astype(np.int16)
    for spacing, target in ((0.7, 0.9), (1.5, 0.9)):
        ours = resample_slices(plane, (spacing, spacing), target)[0]
        rows = resample_matrix(37, round(37 * spacing / target))
        columns = resample_matrix(53, round(53 * spacing / target))
        np.testing.assert_allclose(ours, rows @ plane[0].astype(np.float32) @ columns.T, atol=0.51)


def test_near_spacings_are_left_alone_and_masks_keep_their_area() -> None:
    plane = np.arange(2 * 30 * 30, dtype=np.int16).reshape(2, 30, 30)
    np.testing.assert_array_equal(resample_slices(plane, (0.93, 0.93), 0.9), plane)
    yy, xx = np.mgrid[:100, :100]
    disc = ((yy - 50) ** 2 + (xx - 50) ** 2 < 30**2)[None].astype(np.uint8)
    small = resample_mask(disc, (0.6, 0.6), 0.9)
    assert small.sum() * 0.81 == pytest.approx(disc.sum() * 0.36, rel=0.02)
