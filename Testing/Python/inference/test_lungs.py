"""The lung field: drawn chests with known lungs, hostile inputs, and real scans."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from PESemiSegLib.inference.lungs import lung_mask, to_coarse
from PESemiSegLib.inference.result import Box


def found(chest):
    return lung_mask(chest.hu, chest.spacing_mm)


def truth(chest, field):
    sz, sy, sx = field.stride
    return chest.lungs[::sz, ::sy, ::sx]


def dice(a, b):
    return 2 * (a & b).sum() / (a.sum() + b.sum())


def test_drawn_lungs_are_found_and_nothing_else(chest):
    field = found(chest)
    assert field.found
    assert not field.one_sided
    assert dice(field.mask, truth(chest, field)) > 0.97
    # No windpipe, no bowel gas, no couch, no room air; only the mouths of the bronchi.
    assert (field.mask & ~truth(chest, field)).sum() < 0.005 * field.mask.sum()


def test_the_windpipe_is_airway_not_lung(chest):
    field = found(chest)
    middle = field.mask.shape[2] // 2
    assert field.airway[-3:, :, middle - 3 : middle + 3].any()
    last = field.slice_range[1]
    assert last < chest.hu.shape[0] - 3  # the windpipe above the apices does not count


def test_box_holds_lungs_and_mediastinum_with_margin(chest):
    field = found(chest)
    box = field.box()
    for mask in (chest.lungs, chest.trunk, chest.vessels):
        assert mask[box.slices].sum() == mask.sum()
    x_mm, _, z_mm = chest.spacing_mm
    ks, _, is_ = np.nonzero(chest.lungs)
    assert (is_.min() - box.start[2]) * x_mm >= 9
    assert (ks.min() - box.start[0]) * z_mm >= 9
    assert box.voxels < 0.6 * chest.hu.size


def test_margin_grows_the_box_but_not_beyond_the_image(chest):
    field = found(chest)
    wide, narrow = field.box(40), field.box(0)
    assert wide.voxels > field.box().voxels > narrow.voxels
    huge = field.box(1e4)
    assert huge == Box.whole(chest.hu.shape)


@pytest.mark.parametrize("side", ["left", "right"])
def test_an_opaque_lung_is_mirrored_into_the_box(make_chest, side):
    both, one = make_chest(), make_chest(missing=side)
    field = found(one)
    assert field.one_sided
    smaller = field.sides_ml[side == "left"]
    assert smaller < 0.15 * max(field.sides_ml)
    box = field.box()
    assert both.lungs[box.slices].sum() > 0.98 * both.lungs.sum()


def test_midline_lies_between_the_lungs(make_chest):
    chest = make_chest()
    middle = chest.hu.shape[2] / 2
    assert abs(found(chest).midline - middle) * chest.spacing_mm[0] < 8
    shifted = np.roll(chest.hu, 12, axis=2)
    assert abs(lung_mask(shifted, chest.spacing_mm).midline - middle - 12) * chest.spacing_mm[0] < 8


def test_lungs_that_the_image_border_cuts_are_kept(chest):
    _, j, i = (slice(a.min() + 8, a.max() - 8) for a in np.nonzero(chest.lungs))
    crop = np.ascontiguousarray(chest.hu[:, j, i])
    field = lung_mask(crop, chest.spacing_mm)
    sz, sy, sx = field.stride
    assert dice(field.mask, chest.lungs[:, j, i][::sz, ::sy, ::sx]) > 0.95
    assert field.touches_border
    assert not found(chest).touches_border


@pytest.mark.parametrize("padding", [-1024, -2000, -3024])
def test_round_field_of_view_that_cuts_the_lungs(chest, padding):
    side = 124  # 248 mm; the lungs are 270 mm wide
    _, ny, nx = chest.hu.shape
    crop = (
        slice(None),
        slice(ny // 2 - side // 2, ny // 2 + side // 2),
        slice(nx // 2 - side // 2, nx // 2 + side // 2),
    )
    hu, lungs = chest.hu[crop].copy(), chest.lungs[crop].copy()
    at = np.arange(side) - (side - 1) / 2
    outside = at[:, None] ** 2 + at**2 > (side / 2) ** 2
    hu[:, outside], lungs[:, outside] = padding, False
    field = lung_mask(hu, chest.spacing_mm)
    sz, sy, sx = field.stride
    assert dice(field.mask, lungs[::sz, ::sy, ::sx]) > 0.93
    assert field.touches_border
    assert lungs[field.box().slices].sum() == lungs.sum()


def test_room_air_within_a_round_field_of_view_is_no_lung(chest):
    at = np.arange(192) - 95.5
    outside = at[:, None] ** 2 + at**2 > 96**2
    square = np.pad(chest.hu, ((0, 0), (16, 16), (0, 0)), constant_values=-1000)
    square[:, outside] = -2000
    field = lung_mask(square, chest.spacing_mm)
    lungs = np.pad(chest.lungs, ((0, 0), (16, 16), (0, 0)))
    sz, sy, sx = field.stride
    assert dice(field.mask, lungs[::sz, ::sy, ::sx]) > 0.97
    assert not field.touches_border


@pytest.mark.parametrize("slices", [1, 2, 3])
def test_a_few_slices_are_enough(chest, slices):
    middle = chest.hu.shape[0] // 2
    field = lung_mask(chest.hu[middle : middle + slices], chest.spacing_mm)
    assert field.found
    assert field.box().shape[0] == slices


@pytest.mark.parametrize(
    "hu",
    [
        np.full((8, 64, 64), -1000, np.int16),
        np.full((8, 64, 64), 40, np.int16),
        np.zeros((1, 1, 1), np.int16),
        np.random.default_rng(0).integers(-1024, 3000, (8, 64, 64)).astype(np.int16),
        np.random.default_rng(1).integers(0, 255, (8, 64, 64)).astype(np.int16),
    ],
    ids=["air", "tissue", "one voxel", "noise", "8 bit"],
)
def test_without_lungs_the_box_is_the_whole_image(hu):
    field = lung_mask(hu, (1.0, 1.0, 1.0))
    assert not field.found
    assert field.box() == Box.whole(hu.shape)
    assert field.volume_ml < 5


def test_emphysema_is_still_lung(chest):
    hu = chest.hu.copy()
    hu[chest.lungs & (hu < -800)] -= 90  # to -940, as empty as a gas bubble
    field = lung_mask(hu, chest.spacing_mm)
    assert dice(field.mask, truth(chest, field)) > 0.9


def test_flipping_left_and_right_flips_the_field(chest):
    """A property that a hidden assumption about the side would break."""
    mirrored = lung_mask(np.ascontiguousarray(chest.hu[..., ::-1]), chest.spacing_mm)
    assert mirrored.volume_ml == pytest.approx(found(chest).volume_ml, rel=0.02)


@given(size=st.integers(1, 60), step=st.integers(1, 7))
@settings(max_examples=60)
def test_to_coarse_takes_the_nearest_sample(size, step):
    coarse = -(-size // step)
    index = np.arange(size)
    nearest = to_coarse(index, step, coarse)
    distance = np.abs(index[:, None] - np.arange(coarse) * step)
    assert (np.abs(index - nearest * step) == distance.min(1)).all()


def test_real_tiny_chest_against_its_lung_mask(read_real, shared_data):
    import SimpleITK as sitk

    volume = read_real("tiny")
    field = lung_mask(volume.hu, volume.spacing_mm)
    image = sitk.DICOMOrient(sitk.ReadImage(str(shared_data / "cip_ct64/wholeLung-64.nrrd")), "LPS")
    truth = sitk.GetArrayFromImage(image) > 0
    assert dice(field.solid, truth) > 0.9
    box = field.box()
    assert truth[box.slices].sum() > 0.999 * truth.sum()


@pytest.mark.parametrize(("name", "millilitres"), [("crop", 1500), ("two", 40), ("lidc", 450)])
def test_real_chests_have_two_lungs(read_real, name, millilitres):
    volume = read_real(name)
    field = lung_mask(volume.hu, volume.spacing_mm)
    assert field.found
    assert not field.one_sided
    assert field.volume_ml > millilitres


def test_real_arteries_lie_in_the_box(read_real, shared_data):
    import SimpleITK as sitk

    volume = read_real("crop")
    path = shared_data / "ts_pulmonary_crop/pulmonary_artery.nii.gz"
    artery = sitk.GetArrayFromImage(sitk.DICOMOrient(sitk.ReadImage(str(path)), "LPS")) > 0
    box = lung_mask(volume.hu, volume.spacing_mm).box()
    assert artery[box.slices].sum() == artery.sum()


def test_real_abdomen_has_no_lungs(read_real):
    volume = read_real("abdomen")
    assert not lung_mask(volume.hu, volume.spacing_mm).found
