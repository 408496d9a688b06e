"""Bad files: alone an error that names them, among good ones a warning that costs only themselves."""

import os

import numpy as np
import pytest
from pydicom.uid import MPEG2MPML, JPEGLSLossless

from PESemiSegLib.errors import InputError
from PESemiSegLib.volumes import dicom_scan, read


def truncate(path, keep):
    path.write_bytes(path.read_bytes()[:keep])


def scramble(path):
    data = bytearray(path.read_bytes())
    data[140:] = np.random.default_rng(0).bytes(len(data) - 140)
    path.write_bytes(bytes(data))


def empty(path):
    path.write_bytes(b"")


DAMAGE = {
    "empty": (empty, "empty"),
    "cut in the pixels": (lambda p: truncate(p, p.stat().st_size - 100), "truncated"),
    "cut in the header": (lambda p: truncate(p, 700), "truncated|damaged"),
    "cut after the preamble": (lambda p: truncate(p, 140), "truncated|damaged"),
    "scrambled": (scramble, "truncated|damaged"),
}


@pytest.mark.parametrize("kind", DAMAGE)
def test_alone_it_is_an_error_that_names_the_file(dicom, tmp_path, kind):
    path = dicom.save(dicom.plane(), tmp_path / "bad.dcm")
    harm, reason = DAMAGE[kind]
    harm(path)
    for given in (path, tmp_path):
        with pytest.raises(InputError, match=rf"bad\.dcm.*({reason})") as error:
            read(given)
        assert "\n" not in str(error.value)


@pytest.mark.parametrize("kind", DAMAGE)
def test_among_good_ones_it_costs_only_itself(dicom, tmp_path, kind):
    dicom.series(tmp_path, range(8))
    middle = sorted(tmp_path.iterdir(), key=lambda p: int(p.name[5:8]) * 29 % 101)[3]  # the slice at 3 mm
    harm, _ = DAMAGE[kind]
    harm(middle)
    volume = read(tmp_path)
    assert volume.shape[0] == 8
    assert len(volume.facts.source_files) == 7
    dicom.assert_field(volume, tolerance=1.01)
    assert volume.facts.left_out == (middle.name,)
    assert volume.facts.warnings[0].startswith("Left out, because not readable: 1 file (")
    assert not any(middle.name in warning for warning in volume.facts.warnings)  # a name may be a patient's
    assert "1 of 8 slices are missing" in volume.facts.warnings[1]


def test_a_frame_that_cannot_be_decoded_among_good_ones(dicom, tmp_path):
    for k in range(6):
        ds = dicom.plane((0, 0, k))
        ds.compress(JPEGLSLossless, generate_instance_uid=False)
        path = dicom.save(ds, tmp_path / f"{k}.dcm")
        if k == 2:
            data = bytearray(path.read_bytes())
            data[-150:-60] = bytes(90)
            start = data.rindex(b"\xff\xd8\xff")
            data[start : start + 3] = b"\0\0\0"
            path.write_bytes(bytes(data))
    volume = read(tmp_path)
    dicom.assert_field(volume, tolerance=1.01)
    assert "1 file (its pixels cannot be decoded)" in volume.facts.warnings[0]
    assert volume.facts.left_out == ("2.dcm",)
    assert volume.to_source(volume.hu).shape[0] == 5


def test_a_transfer_syntax_that_nobody_decodes_is_named(dicom, tmp_path):
    ds = dicom.plane()
    ds.compress(JPEGLSLossless)
    ds.file_meta.TransferSyntaxUID = MPEG2MPML
    with pytest.raises(InputError, match=r"film\.dcm: .* \(MPEG2 Main Profile"):
        read(dicom.save(ds, tmp_path / "film.dcm"))


def test_a_folder_without_images(tmp_path):
    with pytest.raises(InputError, match="no DICOM images in this folder"):
        read(tmp_path)
    (tmp_path / "notes.txt").write_text("nothing")
    with pytest.raises(InputError, match="1 other file"):
        read(tmp_path)


def test_what_is_no_image_at_all(tmp_path):
    notes = tmp_path / "notes.txt"
    notes.write_text("nothing")
    with pytest.raises(InputError, match=r"notes\.txt: not an image"):
        read(notes)
    with pytest.raises(InputError, match=r"gone: no file or folder"):
        read(tmp_path / "gone")
    with pytest.raises(InputError):
        read(tmp_path / ("x" * 300))
    with pytest.raises(InputError):
        read("a\0b")


def test_a_pipe_does_not_block(dicom, tmp_path):
    os.mkfifo(tmp_path / "pipe.dcm")
    with pytest.raises(InputError, match=r"pipe\.dcm"):
        read(tmp_path / "pipe.dcm")
    dicom.series(tmp_path, range(3))
    assert read(tmp_path).shape[0] == 3


def test_no_permission_is_said(dicom, tmp_path, monkeypatch):
    """Root may read everything, so the refusal of the system is acted out."""
    dicom.series(tmp_path, range(4))
    real = dicom_scan.read_planes

    def refuse(path):
        if path.name == "slice021.dcm":
            raise PermissionError(13, "Permission denied", str(path))
        return real(path)

    monkeypatch.setattr(dicom_scan, "read_planes", refuse)
    volume = read(tmp_path)
    assert "1 file (no permission to read it)" in volume.facts.warnings[0]
    assert volume.facts.left_out == ("slice021.dcm",)
    monkeypatch.setattr(dicom_scan, "read_planes", lambda path: refuse(path.with_name("slice021.dcm")))
    with pytest.raises(InputError, match=r"slice000\.dcm: no permission|slice021\.dcm: no permission"):
        read(tmp_path)


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may read everything")
def test_no_permission_for_real(dicom, tmp_path):
    folder = dicom.series(tmp_path / "locked", range(3))
    file = next(folder.iterdir())
    file.chmod(0)
    with pytest.raises(InputError, match="no permission"):
        read(file)
    folder.chmod(0)
    try:
        with pytest.raises(InputError, match="no permission"):
            read(folder)
    finally:
        folder.chmod(0o700)


def test_reading_writes_nothing(dicom, tmp_path):
    dicom.series(tmp_path, range(3))
    before = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")}
    read(tmp_path)
    assert {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")} == before
