"""Stored pixels to HU: every transfer syntax, odd bits, per-slice rescale, padding."""

import numpy as np
import pydicom
import pytest
import SimpleITK as sitk
from pydicom.encaps import encapsulate, generate_frames
from pydicom.uid import (
    UID,
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    JPEGLSLossless,
    JPEGLSNearLossless,
    RLELossless,
)

from PESemiSegLib.errors import InputError
from PESemiSegLib.volumes import read

PLAIN = (ImplicitVRLittleEndian, ExplicitVRLittleEndian, ExplicitVRBigEndian, DeflatedExplicitVRLittleEndian)
GDCM = {"JPEG2000": "1.2.840.10008.1.2.4.90", "JPEG": "1.2.840.10008.1.2.4.70"}


def save_as(ds, path, syntax):
    """Save in an uncompressed transfer syntax, big endian included."""
    ds.file_meta.TransferSyntaxUID = syntax
    if syntax == ExplicitVRBigEndian:
        ds.PixelData = np.frombuffer(ds.PixelData, "<u2").astype(">u2").tobytes()
    ds.file_meta.MediaStorageSOPClassUID, ds.file_meta.MediaStorageSOPInstanceUID = (
        ds.SOPClassUID,
        ds.SOPInstanceUID,
    )
    implicit, little = syntax == ImplicitVRLittleEndian, syntax != ExplicitVRBigEndian
    pydicom.dcmwrite(path, ds, implicit_vr=implicit, little_endian=little, force_encoding=True)


def compressed_by_gdcm(stored, compressor, folder):
    """One losslessly compressed frame, encoded by GDCM."""
    writer = sitk.ImageFileWriter()
    path = folder / f"encode-{compressor}.tmp"
    writer.SetFileName(str(path))
    writer.SetImageIO("GDCMImageIO")
    writer.UseCompressionOn()
    writer.SetCompressor(compressor)
    writer.Execute(sitk.GetImageFromArray(stored[None]))
    ds = pydicom.dcmread(path)
    assert ds.file_meta.TransferSyntaxUID == GDCM[compressor]
    path.unlink()
    return next(generate_frames(ds.PixelData, number_of_frames=1))


def stored_slices(signed, bits):
    rng = np.random.default_rng(bits + signed)
    low, high = (-(1 << (bits - 1)), (1 << (bits - 1)) - 1) if signed else (0, min((1 << bits) - 1, 40000))
    slices = rng.integers(low, high, (3, 12, 16), endpoint=True)
    slices[0, 0, 0], slices[0, 0, 1] = low, high
    return slices


def wanted_hu(stored, slope=1.0, intercept=0.0):
    return np.clip(np.rint(stored * slope + intercept), -1024, 32767)


@pytest.mark.parametrize("signed", [True, False])
@pytest.mark.parametrize("bits", [12, 14, 16])
@pytest.mark.parametrize("syntax", PLAIN, ids=lambda uid: UID(uid).name)
def test_uncompressed(dicom, tmp_path, syntax, bits, signed):
    stored = stored_slices(signed, bits)
    for k, values in enumerate(stored):
        ds = dicom.plane((0, 0, k), stored=values, signed=signed, bits=bits, intercept=-1000)
        save_as(ds, tmp_path / f"{k}.dcm", syntax)
    volume = read(tmp_path)
    np.testing.assert_array_equal(volume.hu, wanted_hu(stored, intercept=-1000))
    assert volume.facts.warnings == ()


@pytest.mark.parametrize("signed", [True, False])
@pytest.mark.parametrize("bits", [12, 16])
@pytest.mark.parametrize("syntax", [RLELossless, JPEGLSLossless, "JPEG2000", "JPEG"])
def test_lossless_compression_is_exact(dicom, tmp_path, syntax, bits, signed):
    stored = stored_slices(signed, bits)
    for k, values in enumerate(stored):
        ds = dicom.plane((0, 0, k), stored=values, signed=signed, bits=bits, intercept=-1024)
        if syntax in GDCM:
            pixels = np.frombuffer(ds.PixelData, np.int16 if signed else np.uint16).reshape(12, 16)
            ds.PixelData = encapsulate([compressed_by_gdcm(pixels, syntax, tmp_path)])
            ds["PixelData"].is_undefined_length = True
            ds["PixelData"].VR = "OB"
            ds.file_meta.TransferSyntaxUID = UID(GDCM[syntax])
            ds.BitsStored, ds.HighBit = 16, 15  # as GDCM encoded it
        else:
            ds.compress(syntax, generate_instance_uid=False)
        dicom.save(ds, tmp_path / f"{k}.dcm")
    volume = read(tmp_path)
    np.testing.assert_array_equal(volume.hu, wanted_hu(stored, intercept=-1024))
    assert volume.facts.warnings == ()


def test_lossy_compression_is_said(dicom, tmp_path):
    for k in range(3):
        ds = dicom.plane((0, 0, k), signed=False, bits=12, intercept=-1024)
        ds.compress(JPEGLSNearLossless, jls_error=3, generate_instance_uid=False)
        dicom.save(ds, tmp_path / str(k))
    volume = read(tmp_path)
    dicom.assert_field(volume, tolerance=3.51)
    assert "compressed with loss" in volume.facts.warnings[0]


def test_lossy_in_the_past_is_said(dicom, tmp_path):
    assert "loss" in read(dicom.series(tmp_path, range(3), LossyImageCompression="01")).facts.warnings[0]


def test_every_slice_has_its_own_rescale(dicom, tmp_path):
    for k, (slope, intercept) in enumerate([(1, -1024), (2, -500), (0.5, 10), (1.25, -1000.5), (1, 0)]):
        dicom.save(dicom.plane((0, 0, k), slope=slope, intercept=intercept), tmp_path / str(k))
    dicom.assert_field(read(tmp_path), tolerance=1.51)


@pytest.mark.parametrize("value", ["-1024", "-1024,0", " -1024 "])
def test_numbers_are_read_as_people_write_them(dicom, tmp_path, value):
    for k in range(3):
        path = dicom.save(dicom.plane((0, 0, k), intercept=-1024), tmp_path / str(k))
        data = path.read_bytes()
        at = data.index(b"\x28\x00\x52\x10DS")
        text = value.encode() + b" " * (len(value) % 2)
        length = int.from_bytes(data[at + 6 : at + 8], "little")
        path.write_bytes(data[: at + 6] + len(text).to_bytes(2, "little") + text + data[at + 8 + length :])
    dicom.assert_field(read(tmp_path), tolerance=0.51)


@pytest.mark.parametrize("gone", ["RescaleSlope", "RescaleIntercept"])
def test_no_rescale_is_said(dicom, tmp_path, gone):
    volume = read(dicom.series(tmp_path, range(3), **{gone: None}))
    dicom.assert_field(volume, tolerance=0.51)
    assert "Hounsfield" in volume.facts.warnings[0]


@pytest.mark.parametrize(
    ("stored", "signed", "bits", "intercept", "tags", "hu"),
    [
        (-2000, True, 16, 0, {}, -1024),
        (-2000, True, 16, -1024, {"PixelPaddingValue": -2000}, -1024),
        (-3024, True, 16, 0, {}, -1024),
        (-3024, True, 12, 0, {}, -1024),  # below what 12 bits can hold
        (63536, False, 16, -1024, {}, -1024),  # -2000 in an unsigned word
        (63536, False, 12, -1024, {}, -1024),
        (62512, False, 16, -1024, {"PixelPaddingValue": 62512}, -1024),  # -3024
        (-32768, True, 16, -1024, {"PixelPaddingValue": -32768}, -1024),
        (0, False, 16, -1024, {"PixelPaddingValue": 0}, -1024),
        (5000, False, 16, -1024, {"PixelPaddingValue": 5000}, -1024),
        (5050, False, 16, -1024, {"PixelPaddingValue": 5000, "PixelPaddingRangeLimit": 5100}, -1024),
        (5050, False, 16, -1024, {"PixelPaddingValue": 5100, "PixelPaddingRangeLimit": 5000}, -1024),
        (4000, True, 16, 0, {"PixelPaddingValue": -2000}, 4000),
        (64536, False, 16, 0, {}, -1000),  # signed values declared as unsigned
        (0xF9C, True, 12, 0, {}, -100),  # 12-bit negative number that was not extended to 16 bits
        (0x1000 | 1074, False, 12, -1024, {}, 50),  # an overlay in the unused bits
        (32767, True, 16, 0, {}, 32767),
        (40000, False, 16, 0, {}, 32767),
    ],
)
def test_padding_and_odd_bits(dicom, tmp_path, stored, signed, bits, intercept, tags, hu):
    values = np.full((3, 12, 16), 1000 - intercept)
    values[:, 2, 3] = stored
    for k in range(3):
        extra = dict(tags)
        for name in extra:
            vr = "SS" if signed else "US"
            extra[name] = pydicom.DataElement(name, vr, extra[name])
        ds = dicom.plane((0, 0, k), stored=values[k], signed=signed, bits=bits, intercept=intercept)
        for element in extra.values():
            ds.add(element)
        dicom.save(ds, tmp_path / str(k))
    volume = read(tmp_path)
    assert (volume.hu[:, 2, 3] == hu).all()
    volume.hu[:, 2, 3] = 1000
    assert (volume.hu == 1000).all()


def test_padding_that_looks_like_tissue_is_said(dicom, tmp_path):
    stored = np.full((12, 16), 40)
    stored[0, 0] = 0
    volume = read(dicom.series(tmp_path, range(3), stored=stored, PixelPaddingValue=0))
    assert (volume.hu[:, 0, 0] == -1024).all()
    assert "declared as padding" in volume.facts.warnings[0]


def test_pixels_in_the_upper_bits(dicom, tmp_path):
    stored = np.arange(192).reshape(12, 16) << 4
    volume = read(dicom.series(tmp_path, range(3), stored=stored, signed=False, bits=12, HighBit=15))
    np.testing.assert_array_equal(volume.hu[1], stored >> 4)


def test_eight_and_thirty_two_bits(dicom, tmp_path):
    for bits, dtype in ((8, np.uint8), (32, np.int32)):
        for k in range(3):
            ds = dicom.plane((0, 0, k), signed=bits == 32, intercept=-100)
            ds.BitsAllocated, ds.BitsStored, ds.HighBit = bits, bits, bits - 1
            ds.PixelData = np.full((12, 16), 150, dtype).tobytes()
            dicom.save(ds, tmp_path / str(bits) / str(k))
        assert (read(tmp_path / str(bits)).hu == 50).all()


def test_peak_memory_stays_near_the_volume(dicom, tmp_path):
    import tracemalloc

    stored = np.zeros((512, 512))
    dicom.series(tmp_path, range(24), stored=stored, intercept=-1024, orientation=(-1.0, 0, 0, 0, -1.0, 0))
    read(tmp_path / "slice000.dcm")  # what is imported and cached on first use is not counted
    tracemalloc.start()
    volume = read(tmp_path)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert volume.shape == (24, 512, 512)
    assert peak < 1.35 * volume.hu.nbytes


def test_a_compressed_file_that_ends_early_is_an_error(dicom, tmp_path):
    ds = dicom.plane()
    ds.compress(RLELossless)
    path = dicom.save(ds, tmp_path / "cut.dcm")
    path.write_bytes(path.read_bytes()[:-60])
    with pytest.raises(InputError, match=r"cut\.dcm: its pixels cannot be decoded"):
        read(path)
