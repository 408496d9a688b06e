"""The store keeps sound packages only, under their own names, whole, for several processes at once."""

import hashlib
import io
import os
import subprocess
import sys
import urllib.error
import zipfile
from pathlib import Path

import pytest

from PESemiSegLib.errors import OutputError, PackageError
from PESemiSegLib.models import download as download_module
from PESemiSegLib.models import store as store_module
from PESemiSegLib.models.archive import pack
from PESemiSegLib.models.package import read_package
from PESemiSegLib.models.store import Store, data_folder


@pytest.fixture
def store(tmp_path, monkeypatch):
    """An empty store without a demo model."""
    monkeypatch.setattr(store_module, "demo_folder", lambda: None)
    return Store(tmp_path / "store")


@pytest.fixture
def archive(package_folder, tmp_path):
    pack(package_folder, tmp_path / "tiny.zip")
    return tmp_path / "tiny.zip"


def test_an_empty_store_is_not_made_by_looking(store):
    assert store.list() == ()
    with pytest.raises(PackageError, match="no model 'tiny'"):
        store.find("tiny")
    assert not store.root.exists()


@pytest.mark.parametrize("source", ["folder", "zip"])
def test_import_list_find_export_remove(store, package_folder, archive, tmp_path, source):
    given = package_folder if source == "folder" else archive
    imported = store.import_(given)
    assert imported.path == store.root / "tiny"
    assert [entry.name for entry in store.list()] == ["tiny"]
    assert store.find("tiny").sha256 == read_package(package_folder).sha256
    assert store.info("tiny").package == store.find("tiny")
    exported = store.export("tiny", tmp_path / "out.zip")
    assert read_package(exported).sha256 == imported.sha256
    store.remove("tiny")
    assert store.list() == ()
    assert list(store.root.iterdir()) == []


def test_an_archive_is_exported_as_an_archive(store, archive, tmp_path):
    store.export(str(archive), tmp_path / "again.zip")
    assert store.find(str(tmp_path / "again.zip")).info == store.find(str(archive)).info


def test_find_takes_paths(store, package_folder, archive):
    assert store.find(package_folder).info.name == "tiny"
    assert store.find(str(archive)).info.name == "tiny"


def test_import_under_a_taken_name(store, package_folder, info_changed):
    store.import_(package_folder)
    other = info_changed(threshold=0.25)
    with pytest.raises(OutputError, match="exists already"):
        store.import_(other)
    assert store.find("tiny").info.threshold == 0.5
    store.import_(other, overwrite=True)
    assert store.find("tiny").info.threshold == 0.25
    assert [path.name for path in store.root.iterdir()] == ["tiny"]


def test_a_bad_package_never_enters(store, info_changed):
    with pytest.raises(PackageError):
        store.import_(info_changed(threshold=7))
    assert not store.root.exists()


def test_a_package_that_rots_is_listed_with_its_problem(store, package_folder):
    store.import_(package_folder)
    (store.root / "tiny" / "README.md").write_text("changed")
    (entry,) = store.list()
    assert entry.package is None
    assert "README.md differs" in entry.problem
    with pytest.raises(PackageError, match="differs"):
        store.find("tiny")
    with pytest.raises(PackageError, match="differs"):
        store.export("tiny", store.root.parent / "x.zip")
    store.remove("tiny")
    assert store.list() == ()


@pytest.mark.parametrize("name", ["..", "../store", "/etc", "a/b", "", ".", "tiny\0"])
def test_names_that_are_paths_cannot_be_removed(store, package_folder, name):
    store.import_(package_folder)
    with pytest.raises(PackageError):
        store.remove(name)
    assert store.find("tiny")


def test_demo_comes_with_the_program(package_folder, tmp_path, monkeypatch, info_changed):
    monkeypatch.setattr(store_module, "demo_folder", lambda: package_folder)
    store = Store(tmp_path / "store")
    assert store.find("demo").path == package_folder
    assert [(entry.name, entry.built_in) for entry in store.list()] == [("demo", True)]
    with pytest.raises(PackageError, match="cannot be removed"):
        store.remove("demo")
    with pytest.raises(PackageError, match="belongs to the model that comes with"):
        store.import_(info_changed(name="demo"))


def test_home_variable_moves_the_store(tmp_path, monkeypatch):
    monkeypatch.setenv("PESEMISEG_HOME", str(tmp_path))
    assert data_folder() == tmp_path
    assert Store().root == tmp_path / "models"
    monkeypatch.delenv("PESEMISEG_HOME")
    assert data_folder().name == "pesemiseg"


def test_full_disk_leaves_nothing(store, package_folder, monkeypatch):
    def fail(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("shutil.copyfile", fail)
    with pytest.raises(OutputError, match="No space left"):
        store.import_(package_folder)
    assert list(store.root.iterdir()) == []


def test_leftovers_of_killed_processes_are_unseen_and_swept(store, package_folder):
    store.import_(package_folder)
    old, young = store.root / ".pesemiseg-0123456789ab", store.root / ".pesemiseg-ba9876543210"
    old.mkdir()
    young.mkdir()
    os.utime(old, (0, 0))
    assert [entry.name for entry in store.list()] == ["tiny"]
    store.remove("tiny")
    store.import_(package_folder)
    assert not old.exists()
    assert young.exists()


def test_many_processes_import_the_same_package(tmp_path, package_folder):
    """Exactly one wins, the others say so, and nobody ever sees a part."""
    code = """
import sys
from PESemiSegLib.errors import OutputError
from PESemiSegLib.models.store import Store
try:
    Store(sys.argv[1]).import_(sys.argv[2])
    print("won")
except OutputError:
    print("taken")
"""
    arguments = [sys.executable, "-c", code, str(tmp_path / "store"), str(package_folder)]
    running = [subprocess.Popen(arguments, stdout=subprocess.PIPE, text=True) for _ in range(3)]
    said = sorted(process.communicate(timeout=120)[0].strip() for process in running)
    assert said == ["taken", "taken", "won"]
    assert [path.name for path in (tmp_path / "store").iterdir()] == ["tiny"]
    assert Store(tmp_path / "store").find("tiny")


def test_an_older_package_stays_where_the_new_one_cannot_take_its_place(
    store, package_folder, info_changed, monkeypatch
):
    """A virus scanner, or a viewer with a file open, refuses the last rename."""
    store.import_(package_folder)
    true, calls = os.rename, []

    def refused(source, target):
        calls.append(target)
        if len(calls) == 2:
            raise PermissionError(13, "in use")
        true(source, target)

    monkeypatch.setattr(os, "rename", refused)
    with pytest.raises(OutputError, match="in use"):
        store.import_(info_changed(threshold=0.25), overwrite=True)
    assert store.find("tiny").info.threshold == 0.5
    assert [path.name for path in store.root.iterdir()] == ["tiny"]


def test_two_overwriting_imports_meet(store, package_folder, monkeypatch):
    """The other process finishes between our setting the old package aside and our rename."""
    store.import_(package_folder)
    true = os.rename

    def rename_then_lose(source, target):
        monkeypatch.setattr(os, "rename", true)
        true(source, target)
        Store(store.root).import_(package_folder)

    monkeypatch.setattr(os, "rename", rename_then_lose)
    with pytest.raises(OutputError, match="exists already"):
        store.import_(package_folder, overwrite=True)
    assert store.find("tiny")
    assert [path.name for path in store.root.iterdir()] == ["tiny"]


# --- downloads ---


class Opener:
    """Stands in for the network."""

    def __init__(self, answer):
        self.answer = answer

    def open(self, address, timeout):
        assert timeout > 0
        if isinstance(self.answer, Exception):
            raise self.answer
        return io.BytesIO(self.answer)


@pytest.fixture
def online(monkeypatch):
    def serve(answer):
        monkeypatch.setattr(download_module, "_opener", lambda: Opener(answer))

    return serve


ADDRESS = "https://example.org/tiny.zip"


def test_download_is_checked_and_imported(store, archive, online):
    content = archive.read_bytes()
    online(content)
    store.import_(ADDRESS, sha256=hashlib.sha256(content).hexdigest().upper())
    assert store.find("tiny")
    assert [path.name for path in store.root.iterdir()] == ["tiny"]


@pytest.mark.parametrize(
    ("address", "sha256", "pattern"),
    [
        ("http://example.org/tiny.zip", "0" * 64, "https addresses only"),
        ("file:///etc/passwd", "0" * 64, "https addresses only"),
        ("ftp://example.org/x", "0" * 64, "https addresses only"),
        (ADDRESS, None, "needs its expected SHA-256"),
        (ADDRESS, "abc", "needs its expected SHA-256"),
        (ADDRESS, "0" * 64, "another SHA-256"),
    ],
)
def test_unchecked_or_unsafe_downloads_are_refused(store, archive, online, address, sha256, pattern):
    online(archive.read_bytes())
    with pytest.raises(PackageError, match=pattern):
        store.import_(address, sha256=sha256)
    assert list(store.root.iterdir()) == []


@pytest.mark.parametrize(
    "problem",
    [
        urllib.error.URLError("no route"),
        urllib.error.HTTPError(ADDRESS, 404, "Not Found", {}, None),
        TimeoutError("timed out"),
        ConnectionResetError(104, "Connection reset by peer"),
    ],
)
def test_network_trouble_is_one_line(store, online, problem):
    online(problem)
    with pytest.raises(PackageError, match="cannot be fetched") as caught:
        store.import_(ADDRESS, sha256="0" * 64)
    assert "\n" not in str(caught.value)


def test_endless_download_is_stopped(store, online, monkeypatch):
    monkeypatch.setattr(download_module, "MAX_FILE_BYTES", 1000)
    online(b"x" * 5000)
    with pytest.raises(PackageError, match="exceeds"):
        store.import_(ADDRESS, sha256="0" * 64)
    assert list(store.root.iterdir()) == []


def test_redirect_away_from_https_is_refused():
    handler = download_module._HttpsOnly()
    with pytest.raises(PackageError, match="redirects away"):
        handler.redirect_request(None, None, 302, "", {}, "http://example.org/tiny.zip")


def test_sound_download_of_an_unsound_package(store, online):
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as target:
        target.writestr("model.json", "{}")
    online(buffer.getvalue())
    with pytest.raises(PackageError, match="missing"):
        store.import_(ADDRESS, sha256=hashlib.sha256(buffer.getvalue()).hexdigest())
    assert list(store.root.iterdir()) == []


def test_paths_are_not_taken_for_addresses(tmp_path):
    assert not download_module.is_address("C:\\models\\tiny.zip")
    assert not download_module.is_address(str(tmp_path))
    assert not download_module.is_address(Path("https://example.org"))
