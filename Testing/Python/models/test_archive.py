"""Archives from strangers: odd paths, links, bombs, lies and damage are refused and leave nothing."""

import io
import os
import random
import shutil
import stat
import struct
import zipfile

import pytest

from PESemiSegLib.errors import OutputError, PackageError
from PESemiSegLib.models import archive as archive_module
from PESemiSegLib.models.archive import pack
from PESemiSegLib.models.info import PACKAGE_FILES
from PESemiSegLib.models.package import read_package


@pytest.fixture
def good(package_folder, tmp_path):
    pack(package_folder, tmp_path / "tiny.zip")
    return tmp_path / "tiny.zip"


@pytest.fixture
def zipped(package_folder, tmp_path):
    """Make a zip of the package plus one odd entry."""

    def make(entry=None, content=b"x", *, prefix=""):
        path = tmp_path / "tiny.zip"
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as target:
            for file in package_folder.iterdir():
                target.write(file, prefix + file.name)
            if entry is not None:
                target.writestr(entry, content)
        return path

    return make


def refused(path, pattern):
    with pytest.raises(PackageError, match=pattern) as caught:
        read_package(path)
    assert "\n" not in str(caught.value)
    assert "tiny" in str(caught.value)


def entry_named(name):
    """An entry with exactly this name, which zipfile's own writer would tidy."""
    entry = zipfile.ZipInfo("placeholder")
    entry.filename = name
    return entry


def test_packing_is_reproducible_and_complete(good, package_folder, tmp_path):
    pack(package_folder, tmp_path / "again.zip")
    assert good.read_bytes() == (tmp_path / "again.zip").read_bytes()
    with zipfile.ZipFile(good) as source:
        assert set(source.namelist()) == {"model.json", *PACKAGE_FILES}
    assert read_package(good).sha256 == read_package(package_folder).sha256


def test_one_folder_around_the_files_is_fine(zipped):
    assert read_package(zipped(prefix="tiny/")).info.name == "tiny"


def test_what_finder_and_explorer_leave_is_passed_over(zipped, package_folder, tmp_path):
    path = zipped("__MACOSX/tiny/._model.json", prefix="tiny/")
    with zipfile.ZipFile(path, "a") as target:
        for name in (".DS_Store", "desktop.ini", "Thumbs.db"):
            target.writestr(f"tiny/{name}", b"x")
    package = read_package(path)
    assert {entry.name for entry in package.folder.iterdir()} == {"model.json", *PACKAGE_FILES}
    folder = shutil.copytree(package_folder, tmp_path / "tiny")
    for name in (".DS_Store", "._model.json"):
        (folder / name).write_bytes(b"x")
    assert read_package(folder).sha256 == package.sha256


def test_explicit_folder_entry_is_fine(package_folder, tmp_path):
    with zipfile.ZipFile(tmp_path / "tiny.zip", "w") as target:
        target.writestr("tiny/", b"")
        for file in package_folder.iterdir():
            target.write(file, f"tiny/{file.name}")
    assert read_package(tmp_path / "tiny.zip").info.name == "tiny"


def test_private_copy_goes_when_the_package_goes(good):
    package = read_package(good)
    folder = package.folder
    assert folder.is_dir()
    assert package.path == good
    del package
    assert not folder.exists()


@pytest.mark.parametrize(
    "name",
    [
        "../evil.txt",
        "/etc/evil",
        "a/../../evil",
        "..\\evil",
        "C:\\evil",
        "C:evil",
        "\\\\server\\share\\evil",
        "..",
        "a/b/c.txt",
        "a/..",
    ],
)
def test_paths_that_lead_elsewhere(zipped, tmp_path, name):
    before = set(tmp_path.rglob("*"))
    refused(zipped(entry_named(name)), "leads elsewhere")
    assert set(tmp_path.rglob("*")) - before <= {tmp_path / "tiny.zip"}


def test_name_cut_at_a_zero_byte(zipped):
    path = zipped(entry_named("README.mdX.txt"))
    path.write_bytes(path.read_bytes().replace(b"README.mdX.txt", b"README.md\0.txt"))
    refused(path, "leads elsewhere")


@pytest.mark.parametrize("kind", [stat.S_IFLNK, stat.S_IFIFO, stat.S_IFCHR])
def test_links_and_special_files(zipped, kind):
    entry = zipfile.ZipInfo("README2.md")
    entry.external_attr = (kind | 0o777) << 16
    refused(zipped(entry, b"/etc/passwd"), "link or special file")


def test_bomb_by_ratio(zipped):
    refused(zipped("notes.txt", b"\0" * 3_000_000), "unpacks to 3000000 bytes")


def test_bomb_by_total(zipped, monkeypatch):
    monkeypatch.setattr(archive_module, "MAX_TOTAL_BYTES", 1000)
    refused(zipped(), "too many")


def test_bomb_by_count(zipped, tmp_path):
    path = zipped()
    with zipfile.ZipFile(path, "a") as target:
        for index in range(100):
            target.writestr(f"f{index}", b"x")
    refused(path, "106 entries")


def test_entry_that_is_larger_than_it_declares(good):
    """A lying size in the directory: unpacking stops at what was declared."""
    content = bytearray(good.read_bytes())
    with zipfile.ZipFile(io.BytesIO(bytes(content))) as source:
        size = source.getinfo("segmenter.safetensors").file_size
    content = content.replace(struct.pack("<I", size), struct.pack("<I", size - 100))
    good.write_bytes(content)
    refused(good, "larger than it declares|not a readable|differs|cut off")


def test_the_same_file_twice(zipped):
    with pytest.warns(UserWarning, match="Duplicate name"):
        path = zipped("README.md")
    refused(path, "same name")


def test_files_in_several_folders(zipped):
    refused(zipped("other/notes.txt"), "several folders")


def test_encrypted_entry(good):
    content = good.read_bytes()
    for mark, offset in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        at = content.index(mark) + offset
        content = content[:at] + bytes([content[at] | 1]) + content[at + 1 :]
    good.write_bytes(content)
    refused(good, "encrypted")


def test_extra_file_in_the_archive(zipped):
    refused(zipped("run.py", b"print()"), "run.py does not belong")


def test_pickle_in_the_archive(zipped):
    refused(zipped("weights.pth", b"x"), "can carry a pickle")


@pytest.mark.parametrize("keep", [0.0, 0.1, 0.5, 0.99])
def test_truncated_archive(good, keep):
    content = good.read_bytes()
    good.write_bytes(content[: int(len(content) * keep)])
    refused(good, "not a readable .zip")


def test_compressed_bytes_that_make_no_sense(good):
    with zipfile.ZipFile(good) as source:
        entry = source.getinfo("model.json")
    content = bytearray(good.read_bytes())
    content[entry.header_offset + 30 + len(entry.filename)] = 0b111  # a block of a type that does not exist
    good.write_bytes(content)
    refused(good, "not a readable .zip")


def test_random_damage_is_refused_in_one_line(good):
    """One byte changed anywhere: either refused, or (in fields nobody reads) the same package."""
    content, expected = good.read_bytes(), read_package(good).sha256
    generator = random.Random(0)
    for _ in range(40):
        damaged = bytearray(content)
        damaged[generator.randrange(len(damaged))] ^= 1 << generator.randrange(8)
        good.write_bytes(damaged)
        try:
            assert read_package(good).sha256 == expected
        except PackageError as error:
            assert "\n" not in str(error), error  # noqa: PT017


def test_torch_checkpoint_instead_of_a_package(tmp_path):
    import torch

    torch.save({"w": torch.zeros(2)}, tmp_path / "tiny.zip")
    refused(tmp_path / "tiny.zip", "refused|missing")


def test_no_overwriting_unless_asked(good, package_folder, tmp_path):
    with pytest.raises(OutputError, match="exists already"):
        pack(package_folder, good)
    pack(package_folder, good, overwrite=True)
    with pytest.raises(OutputError, match="cannot be written"):
        pack(package_folder, tmp_path / "no" / "folder.zip")
    assert os.listdir(tmp_path) == ["tiny.zip"]
