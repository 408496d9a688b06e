"""NIfTI, NRRD and MetaImage: orientation that is checked, values, damage. nibabel is the reference."""

import gzip
import struct

import nibabel as nib
import numpy as np
import pytest
import SimpleITK as sitk
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from PESemiSegLib.errors import InputError
from PESemiSegLib.volumes import read
from PESemiSegLib.volumes.files import files_of

AFFINE_RAS = np.array([[-0.7, 0, 0, 100.0], [0, -0.8, 0, 120.0], [0, 0, 1.5, -300.0], [0, 0, 0, 1]])
TO_LPS = np.diag([-1.0, -1, 1, 1])


def voxels(shape=(6, 5, 4), dtype=np.int16):
    return (np.arange(np.prod(shape)).reshape(shape) * 7 % 2000 - 900).astype(dtype)


def write(path, data, affine=AFFINE_RAS, *, sform=None, codes=(1, 1), kind=nib.Nifti1Image, **header):
    image = kind(data, affine)
    image.set_qform(affine, codes[0])
    image.set_sform(affine if sform is None else sform, codes[1])
    for keyword, value in header.items():
        image.header[keyword] = value
    nib.save(image, path)
    return path


def assert_as_nibabel(path, volume, tolerance=0.51):
    image = nib.load(path)
    data = np.clip(np.nan_to_num(image.get_fdata(), nan=-1024.0, neginf=-1024.0), -1024, 32767)
    back = volume.to_output(volume.hu)
    np.testing.assert_allclose(back, data.T, atol=tolerance)
    np.testing.assert_allclose(volume.output_grid.affine, TO_LPS @ image.affine, atol=1e-4)
    for _ in range(5):  # and each voxel lies in the patient where nibabel says
        k, j, i = (np.random.default_rng(5).integers(n) for n in back.shape)
        lps = (TO_LPS @ image.affine @ [i, j, k, 1])[:3]
        x, y, z = np.rint(volume.grid.to_ijk(lps)).astype(int)
        assert abs(volume.hu[z, y, x] - data.T[k, j, i]) <= tolerance


@given(
    st.permutations(range(3)),
    st.tuples(*[st.sampled_from([1, -1])] * 3),
    st.tuples(*[st.floats(-2.5, 2.5)] * 3),
    st.tuples(*[st.floats(0.4, 5)] * 3),
    st.sampled_from([(1, 0), (0, 1), (1, 1), (2, 2)]),
)
@settings(max_examples=25, deadline=None)
def test_every_orientation_agrees_with_nibabel(tmp_path_factory, order, signs, turn, spacing, codes):
    direction = Rotation.from_euler("xyz", turn, degrees=True).as_matrix() @ (np.eye(3)[order] * signs)
    affine = np.eye(4)
    affine[:3, :3] = direction * spacing
    affine[:3, 3] = (12, -34, 56)
    path = write(tmp_path_factory.mktemp("n") / "a.nii", voxels(), affine, codes=codes)
    volume = read(path)
    assert_as_nibabel(path, volume)
    assert volume.facts.warnings == ()
    assert volume.facts.kind == "nifti"


@pytest.mark.parametrize("suffix", [".nii", ".nii.gz"])
@pytest.mark.parametrize("kind", [nib.Nifti1Image, nib.Nifti2Image])
@pytest.mark.parametrize("dtype", ["i1", "u1", "<i2", ">i2", "u2", "i4", "u4", "f4", ">f4", "f8", "i8"])
def test_number_types_and_byte_orders(tmp_path, dtype, kind, suffix):
    data = voxels(dtype="i4") // 20 + (60 if np.dtype(dtype).kind == "u" else 0)
    endian = ">" if dtype.startswith(">") else "<"
    image = kind(
        data.astype(dtype),
        AFFINE_RAS,
        header=kind.header_class(endianness=endian),
        dtype=np.dtype(dtype).type,
    )
    image.set_data_dtype(np.dtype(dtype))
    path = tmp_path / f"a{suffix}"
    nib.save(image, path)
    assert_as_nibabel(path, read(path))


def test_scaling_of_the_header_is_applied(tmp_path):
    image = nib.Nifti1Image(voxels(), AFFINE_RAS)
    image.header.set_slope_inter(0.5, -100)
    nib.save(image, tmp_path / "a.nii.gz")
    assert_as_nibabel(tmp_path / "a.nii.gz", read(tmp_path / "a.nii.gz"))


@pytest.mark.parametrize("dtype", ["int16", "uint8"])
@pytest.mark.parametrize("labels", [1, 2, 3])
def test_whole_numbers_that_a_slope_rounds_off_are_no_fractions(tmp_path, dtype, labels):
    """nibabel keeps floats as integers with a slope: a label comes back as 1.00000006, of 8 bits as 1.004."""
    data = voxels() % (labels + 1)
    image = nib.Nifti1Image(data.astype(np.float64), AFFINE_RAS)
    image.set_data_dtype(dtype)
    nib.save(image, tmp_path / "a.nii.gz")
    assert nib.load(tmp_path / "a.nii.gz").dataobj.slope != 1
    volume = read(tmp_path / "a.nii.gz")
    np.testing.assert_array_equal(volume.to_output(volume.hu), data.T)


def test_oblique_nifti_goes_back_to_its_grid(tmp_path):
    affine = AFFINE_RAS.copy()
    affine[:3, :3] = Rotation.from_euler("x", 20, degrees=True).as_matrix() @ affine[:3, :3]
    volume = read(write(tmp_path / "a.nii", voxels((12, 12, 12)), affine))
    np.testing.assert_allclose(volume.grid.direction, np.eye(3), atol=1e-9)
    np.testing.assert_allclose(volume.output_grid.affine, TO_LPS @ affine, atol=1e-4)
    assert volume.to_output(volume.hu).shape == (12, 12, 12)


def test_two_orientations_that_disagree_are_refused(tmp_path):
    flipped = AFFINE_RAS @ np.diag([-1.0, 1, 1, 1])
    with pytest.raises(
        InputError, match=r"a\.nii: its two orientations \(sform and qform\) disagree by up to"
    ):
        read(write(tmp_path / "a.nii", voxels(), sform=flipped))


def test_two_orientations_that_nearly_agree_are_warned_of(tmp_path):
    moved = AFFINE_RAS.copy()
    moved[2, 3] += 0.2
    volume = read(write(tmp_path / "a.nii", voxels(), sform=moved))
    assert "sform was used" in volume.facts.warnings[0]
    np.testing.assert_allclose(volume.output_grid.affine, TO_LPS @ moved, atol=1e-4)


def test_a_sheared_nifti_is_straightened_with_a_warning(tmp_path):
    sheared = AFFINE_RAS.copy()
    sheared[1, 2] = 0.5
    i, j, k = np.mgrid[:14, :15, :16]
    lps = np.stack([i, j, k, np.ones_like(i)], -1) @ (TO_LPS @ sheared).T
    path = write(
        tmp_path / "a.nii",
        np.rint(1200 + lps[..., :3] @ [2.0, -3, 4]).astype(np.int16),
        sform=sheared,
        codes=(0, 1),
    )
    volume = read(path)
    assert "not at right angles (18.4 degrees" in volume.facts.warnings[0]
    assert volume.output_grid.same_as(volume.grid)
    z, y, x = np.nonzero(volume.hu > -1024)
    at = volume.grid.to_lps(np.stack([x, y, z], -1))
    index = volume.native.stack.to_ijk(at)
    inside = ((index >= 0) & (index <= [13, 14, 15])).all(-1)
    assert inside.sum() > 1000
    np.testing.assert_allclose(volume.hu[z, y, x][inside], 1200 + at[inside] @ [2.0, -3, 4], atol=1.01)


REFUSED = {
    "no orientation": (voxels(), {"codes": (0, 0)}, "does not say how the patient lies"),
    "four-dimensional": (voxels((6, 5, 4, 3)), {}, "holds 3 volumes"),
    "picture": (voxels((6, 5)), {}, "single picture"),
    "complex": (voxels().astype(np.complex64), {}, "complex numbers"),
    "metres": (voxels(), {"xyzt_units": 1}, "cannot be a CT"),
    "flat sform": (voxels(), {"sform": np.diag([1.0, 1, 0, 1]), "codes": (0, 1)}, "makes no sense"),
    "normalised": (voxels().astype(np.float32) / 2000, {}, "normalised, not Hounsfield"),
    "not numbers": (np.full((6, 5, 4), np.nan, np.float32), {}, "100% of its values are not numbers"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_refused(tmp_path, case):
    data, options, message = REFUSED[case]
    with pytest.raises(InputError, match=rf"a\.nii\.gz: .*{message}") as error:
        read(write(tmp_path / "a.nii.gz", data, **options))
    assert "\n" not in str(error.value)


def test_colours_are_refused(tmp_path):
    data = np.zeros((6, 5, 4), dtype=[("R", "u1"), ("G", "u1"), ("B", "u1")])
    with pytest.raises(InputError, match="colour"):
        read(write(tmp_path / "a.nii.gz", data))


def test_a_fourth_axis_of_one_is_no_matter(tmp_path):
    assert read(write(tmp_path / "a.nii.gz", voxels()[..., None])).shape == (4, 5, 6)


def test_not_a_number_becomes_air_with_a_warning(tmp_path):
    data = voxels(dtype=np.float32)
    data[0, 0, 0], data[1, 0, 0], data[2, 0, 0] = np.nan, np.inf, -np.inf
    volume = read(write(tmp_path / "a.nii.gz", data))
    assert volume.to_output(volume.hu)[0, 0, :3].tolist() == [-1024] * 3
    assert "3 voxels held no number" in volume.facts.warnings[0]


def test_padding_becomes_air(tmp_path):
    data = np.full((3, 3, 3), 50, np.int16)
    data[0], data[1] = -3024, -2000
    assert np.unique(read(write(tmp_path / "a.nii", data)).hu).tolist() == [-1024, 50]


@pytest.mark.parametrize("suffix", [".nii", ".nii.gz", ".nrrd", ".mha"])
@pytest.mark.parametrize("keep", [0.0, 0.02, 0.5, 0.97])
def test_truncated_or_empty_files_are_refused(tmp_path, suffix, keep):
    rng = np.random.default_rng(0)
    path = tmp_path / f"a{suffix}"
    image = sitk.GetImageFromArray(rng.integers(-1000, 1000, (20, 30, 40)).astype(np.int16))
    sitk.WriteImage(image, str(path), useCompression=suffix in (".nrrd", ".mha"))
    data = path.read_bytes()
    path.write_bytes(data[: int(len(data) * keep)])
    with pytest.raises(InputError, match=rf"a\{suffix[:4]}.*: .*(truncated|empty|no NIfTI)"):
        read(path)


def test_a_flipped_bit_is_noticed_in_a_zipped_file(tmp_path):
    path = write(tmp_path / "a.nii.gz", voxels((120, 100, 100)))  # longer than any buffer that reads ahead
    data = bytearray(gzip.decompress(path.read_bytes()))
    good = gzip.compress(bytes(data))
    data[5000] ^= 4
    bad = gzip.compress(bytes(data))
    path.write_bytes(bad[:-8] + good[-8:])  # the checksum of what the data should have been
    with pytest.raises(InputError, match="truncated or damaged"):
        read(path)


@pytest.mark.parametrize("suffix", [".nrrd", ".mha", ".mhd", ".nhdr"])
def test_itk_files_agree_with_itk(tmp_path, suffix):
    turn = Rotation.from_euler("z", 90, degrees=True).as_matrix()
    image = sitk.GetImageFromArray(voxels((4, 5, 6)))
    image.SetSpacing((0.7, 0.8, 1.5))
    image.SetOrigin((3.0, -4.0, 5.0))
    image.SetDirection((turn @ np.diag([1.0, 1, -1])).ravel())
    sitk.WriteImage(image, str(tmp_path / f"a{suffix}"))
    volume = read(tmp_path / f"a{suffix}")
    assert volume.facts.warnings == ()
    for index in ((0, 0, 0), (5, 4, 3), (2, 1, 3)):
        x, y, z = np.rint(volume.grid.to_ijk(image.TransformIndexToPhysicalPoint(index))).astype(int)
        assert volume.hu[z, y, x] == image[index]
    np.testing.assert_array_equal(volume.to_output(volume.hu), sitk.GetArrayFromImage(image))
    np.testing.assert_allclose(volume.output_grid.origin, image.GetOrigin())
    np.testing.assert_allclose(volume.output_grid.direction.ravel(), image.GetDirection(), atol=1e-9)


def write_nrrd(path, *lines, data=None):
    data = voxels((4, 5, 6)) if data is None else data
    head = ["NRRD0004", "type: short", "endian: little", "encoding: raw", *lines]
    path.write_bytes(("\n".join(head) + "\n\n").encode() + data.tobytes())
    return path


THREE = ("dimension: 3", "sizes: 6 5 4")
DIRECTIONS = ("space directions: (0.7,0,0) (0,0.8,0) (0,0,2)", "space origin: (1,2,3)")


@pytest.mark.parametrize(
    "lines",
    [
        (*THREE, "spacings: 0.7 0.8 2"),
        THREE,
        (*THREE, "space: scanner-xyz", *DIRECTIONS),
        (*THREE, "space dimension: 3", *DIRECTIONS),
    ],
)
def test_an_nrrd_without_patient_axes_is_refused(tmp_path, lines):
    with pytest.raises(InputError, match=r"a\.nrrd: it does not say how the patient lies"):
        read(write_nrrd(tmp_path / "a.nrrd", *lines))


def test_an_nrrd_in_ras(tmp_path):
    volume = read(write_nrrd(tmp_path / "a.nrrd", *THREE, "space: right-anterior-superior", *DIRECTIONS))
    np.testing.assert_array_equal(volume.hu, voxels((4, 5, 6))[:, ::-1, ::-1])
    np.testing.assert_allclose(volume.output_grid.origin, (-1, -2, 3))


def test_an_nrrd_of_vectors_is_refused(tmp_path):
    lines = (
        "dimension: 4",
        "sizes: 2 3 5 4",
        "space: left-posterior-superior",
        "kinds: vector domain domain domain",
    )
    directions = "space directions: none (0.7,0,0) (0,0.8,0) (0,0,2)"
    with pytest.raises(InputError, match="2 values per voxel"):
        read(write_nrrd(tmp_path / "a.nrrd", *lines, directions))


def test_a_sheared_nrrd_is_straightened_with_a_warning(tmp_path):
    directions = "space directions: (0.7,0,0) (0,0.8,0) (0,0.5,2)"
    volume = read(write_nrrd(tmp_path / "a.nrrd", *THREE, "space: left-posterior-superior", directions))
    assert "right angles" in volume.facts.warnings[0]
    assert volume.spacing_mm[2] == pytest.approx(2)


def test_a_metaimage_that_does_not_say_how_the_patient_lies_is_warned_of(tmp_path):
    head = "ObjectType = Image\nNDims = 3\nBinaryData = True\nElementSpacing = 0.7 0.8 2\nDimSize = 6 5 4\n"
    head += "ElementType = MET_SHORT\nElementDataFile = LOCAL\n"
    (tmp_path / "a.mha").write_bytes(head.encode() + voxels((4, 5, 6)).tobytes())
    volume = read(tmp_path / "a.mha")
    np.testing.assert_array_equal(volume.hu, voxels((4, 5, 6)))
    assert "does not say how the patient lies" in volume.facts.warnings[0]


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("a.mhd", "NDims = 3\r\nElementDataFile = two words.raw\r\n"),
        ("a.MHD", "ElementDataFile=LIST\nsub/1.raw\nsub/2.raw\n"),
        ("a.mhd", "ElementDataFile = sub/%d.raw 1 2 1"),
        ("a.nhdr", "NRRD0004\nencoding: raw\ndata file: ./two words.raw\n"),
        ("a.nhdr", "datafile: sub/%d.raw 1 2 1\n"),
        ("a.nhdr", "data file: LIST 2\nsub/1.raw\nsub/2.raw\n"),
        ("a.mhd", "ElementDataFile = LOCAL\nsub/1.raw"),
        ("a.nhdr", "data file: gone.raw\n"),
        ("a.nrrd", "data file: two words.raw\n"),
    ],
)
def test_the_files_of_a_header_are_those_that_it_names(tmp_path, name, said):
    (tmp_path / "sub").mkdir()
    for path in ("two words.raw", "sub/1.raw", "sub/2.raw", "other.raw"):
        (tmp_path / path).touch()
    (tmp_path / name).write_text(said, newline="")
    named = ["two words.raw"] if "words" in said else ["sub/1.raw", "sub/2.raw"] if "sub" in said else []
    expected = [] if "LOCAL" in said or name == "a.nrrd" else named
    assert files_of(tmp_path / name) == [tmp_path / path for path in (name, *expected)]


def test_a_header_without_its_data_file_is_refused(tmp_path):
    sitk.WriteImage(sitk.GetImageFromArray(voxels((4, 5, 6))), str(tmp_path / "a.mhd"))
    (tmp_path / "a.raw").unlink()
    with pytest.raises(InputError, match=r"a\.mhd: its data is truncated, damaged or missing"):
        read(tmp_path / "a.mhd")


@pytest.mark.parametrize("start", [np.nan, np.inf, -np.inf, -4.0, 1e12])
def test_a_nifti_header_that_says_nowhere_is_damaged(tmp_path, start):
    path = tmp_path / "ct.nii"
    nib.save(nib.Nifti1Image(voxels(), AFFINE_RAS), path)
    content = bytearray(path.read_bytes())
    struct.pack_into("<f", content, 108, start)
    path.write_bytes(content)
    with pytest.raises(InputError, match=r"ct\.nii: its NIfTI header is damaged"):
        read(path)
