"""Packages are written whole, read back equal, and refused when anything in the folder is wrong."""

import json
import os
import pickle
import shutil
import struct
import subprocess
import sys
import zipfile

import pytest
import torch

from PESemiSegLib.atomic import sha256_of
from PESemiSegLib.errors import OutputError, PackageError
from PESemiSegLib.models.info import PACKAGE_FILES, PackageInfo
from PESemiSegLib.models.load import load_discriminator, load_segmenter
from PESemiSegLib.models.package import amend_package, read_package, write_package
from PESemiSegLib.networks.config import NetworkConfig


def refused(path, pattern):
    """The package is refused with one line that fits `pattern` and names the package."""
    with pytest.raises(PackageError, match=pattern) as caught:
        read_package(path)
    message = str(caught.value)
    assert "\n" not in message
    assert path.name in message


def test_round_trip(package_folder, tiny_networks, info_maker):
    package = read_package(package_folder)
    assert {entry.name for entry in package_folder.iterdir()} == {"model.json", *PACKAGE_FILES}
    assert package.info.network_config == tiny_networks[0].config
    assert package.info.metrics == info_maker().metrics
    assert package.info.hu_window == (-160, 240)
    assert package.sha256 == sha256_of(package_folder / "model.json")
    assert package.read_bytes("README.md").startswith(b"# tiny")
    for got, expected in zip(
        (load_segmenter(package), load_discriminator(package)), tiny_networks, strict=True
    ):
        assert not got.training
        for name, value in expected.state_dict().items():
            assert torch.equal(got.state_dict()[name], value), name


@pytest.fixture
def quick_export(package_folder, monkeypatch):
    """Skip the seconds of tracing where the test is about the folder."""

    def copy(part):
        def export(*arguments):
            for suffix in ("safetensors", "onnx"):
                shutil.copy(package_folder / f"{part}.{suffix}", arguments[-1])

        return export

    for part in ("segmenter", "discriminator"):
        monkeypatch.setattr(f"PESemiSegLib.models.export.export_{part}", copy(part))


def test_writing_is_reproducible_and_leaves_the_networks_alone(
    package_folder, tmp_path, tiny_networks, info_maker
):
    segmenter, discriminator = tiny_networks
    segmenter.train()
    before = {name: value.clone() for name, value in segmenter.state_dict().items()}
    again = write_package(tmp_path / "again", info_maker(), segmenter, discriminator)
    assert again.sha256 == read_package(package_folder).sha256
    assert segmenter.training
    assert all(torch.equal(before[name], value) for name, value in segmenter.state_dict().items())


def test_weights_are_stored_once(package_folder):
    for part in ("segmenter", "discriminator"):
        graph, weights = package_folder / f"{part}.onnx", package_folder / f"{part}.safetensors"
        stored = weights.read_bytes()
        assert stored[-64:] not in graph.read_bytes()


@pytest.mark.usefixtures("quick_export")
def test_existing_package_is_kept_unless_asked(tiny_networks, info_maker, tmp_path):
    target = tmp_path / "p"
    write_package(target, info_maker(), *tiny_networks)
    with pytest.raises(OutputError, match="exists already"):
        write_package(target, info_maker(threshold=0.25), *tiny_networks)
    assert read_package(target).info.threshold == 0.5
    write_package(target, info_maker(threshold=0.25), *tiny_networks, overwrite=True)
    assert read_package(target).info.threshold == 0.25
    assert os.listdir(tmp_path) == ["p"]


@pytest.mark.usefixtures("quick_export")
def test_failed_writing_leaves_nothing(tmp_path, tiny_networks, info_maker, monkeypatch):
    def fail(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("PESemiSegLib.models.export.export_discriminator", fail)
    with pytest.raises(OutputError, match="No space left"):
        write_package(tmp_path / "p", info_maker(), *tiny_networks)
    assert os.listdir(tmp_path) == []


def test_settings_of_other_networks_are_refused(tmp_path, tiny_networks, info_maker):
    info = info_maker(network=tiny_networks[0].config.to_dict() | {"width": 4})
    with pytest.raises(PackageError, match="settings are not those"):
        write_package(tmp_path / "p", info, *tiny_networks)


def test_broken_weights_are_not_packaged(tmp_path, tiny_networks, info_maker):
    import copy

    segmenter = copy.deepcopy(tiny_networks[0])
    with torch.no_grad():
        segmenter.head[0].weight[0] = float("nan")
    with pytest.raises(PackageError, match="NaN"):
        write_package(tmp_path / "p", info_maker(), segmenter, tiny_networks[1])
    assert os.listdir(tmp_path) == []


@pytest.mark.usefixtures("quick_export")
def test_fields_that_json_cannot_hold_are_refused(tmp_path, tiny_networks, info_maker):
    with pytest.raises(PackageError, match="cannot hold"):
        write_package(tmp_path / "p", info_maker(metrics={"dice": float("nan")}), *tiny_networks)


# --- what a stranger may have done to the folder ---


def test_missing_folder(tmp_path):
    refused(tmp_path / "nowhere", "not there")


@pytest.mark.parametrize("name", ["model.json", *PACKAGE_FILES])
def test_every_missing_file(damaged, name):
    refused(damaged(lambda folder: (folder / name).unlink(), rehash=False), f"{name} missing")


@pytest.mark.parametrize("name", PACKAGE_FILES)
def test_every_changed_file(damaged, name):
    def flip_one_bit(folder):
        content = bytearray((folder / name).read_bytes())
        content[-1] ^= 1
        (folder / name).write_bytes(content)

    refused(damaged(flip_one_bit, rehash=False), f"{name} differs from its SHA-256")


@pytest.mark.parametrize("part", ["segmenter", "discriminator"])
@pytest.mark.parametrize("suffix", ["safetensors", "onnx"])
def test_truncated_file_with_a_matching_hash(damaged, part, suffix):
    def cut(folder):
        path = folder / f"{part}.{suffix}"
        path.write_bytes(path.read_bytes()[:-7])

    refused(damaged(cut), "cut off")


@pytest.mark.parametrize("part", ["segmenter", "discriminator"])
@pytest.mark.parametrize("suffix", ["safetensors", "onnx"])
def test_empty_file_with_a_matching_hash(damaged, part, suffix):
    refused(damaged(lambda folder: (folder / f"{part}.{suffix}").write_bytes(b"")), "is not a")


@pytest.mark.parametrize("name", ["weights.pt", "a.pth", "b.PKL", "c.bin", "d.npy", "e.joblib", "f.ckpt"])
def test_extra_file_that_can_carry_a_pickle(damaged, name):
    refused(damaged(lambda folder: (folder / name).write_bytes(b"x")), f"{name} can carry a pickle")


@pytest.mark.parametrize("name", ["setup.py", ".hidden", "notes.txt", "model2.json"])
def test_any_other_extra_file(damaged, name):
    refused(damaged(lambda folder: (folder / name).write_bytes(b"x")), f"{name} does not belong")


@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
@pytest.mark.parametrize("name", PACKAGE_FILES)
def test_pickle_under_an_innocent_name(damaged, name, protocol):
    content = pickle.dumps({"weights": [1.0] * 1000}, protocol=protocol)
    refused(
        damaged(lambda folder: (folder / name).write_bytes(content)),
        f"{name} holds a zip archive or a pickle",
    )


def test_torch_file_under_an_innocent_name(damaged):
    def replace(folder):
        torch.save({"weight": torch.zeros(3)}, folder / "segmenter.safetensors")

    refused(damaged(replace), "zip archive or a pickle")


def test_a_header_length_that_looks_like_a_pickle_is_no_pickle(tmp_path):
    """80 04 00 ... is protocol 4's mark, but also a safetensors header of 1152 bytes."""
    from PESemiSegLib.models.verify import _refuse_pickle

    path = tmp_path / "segmenter.safetensors"
    path.write_bytes(struct.pack("<Q", 1152) + b"{}")
    _refuse_pickle(path)


def test_links_and_folders_are_refused(damaged, tmp_path):
    def link(folder):
        (folder / "README.md").rename(tmp_path / "elsewhere.md")
        (folder / "README.md").symlink_to(tmp_path / "elsewhere.md")

    refused(damaged(link, rehash=False), "README.md is not a regular file")

    def nest(folder):
        (folder / "README.md").unlink()
        (folder / "README.md").mkdir()

    refused(damaged(nest, rehash=False, name="nested"), "README.md is not a regular file")


def test_huge_model_json_is_not_read(damaged):
    refused(
        damaged(lambda folder: (folder / "model.json").write_bytes(b" " * (2**20 + 1)), rehash=False),
        "larger than",
    )


def test_no_permission_is_one_line(damaged, monkeypatch):
    folder = damaged(lambda folder: None)

    def deny(*_, **__):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("pathlib.Path.read_bytes", deny)
    refused(folder, "cannot be read: Permission denied")


# --- model.json ---


@pytest.mark.parametrize(
    ("changes", "pattern"),
    [
        ({"format_version": 2}, "format_version 2"),
        ({"format_version": "1"}, "format_version '1'"),
        ({"format_version": True}, "format_version True"),
        ({"format_version": ...}, "format_version None"),
        *(({"kind": kind}, "another sort of model") for kind in ("lung-segmenter", [], {})),
        ({"name": "../evil"}, "name '../evil'"),
        ({"name": "a..b"}, "name 'a..b'"),
        *(({"name": name}, "Windows keeps") for name in ("con", "NUL.txt", "Lpt1.v2")),
        ({"name": ""}, "name ''"),
        ({"name": "x" * 65}, "name 'x"),
        ({"name": 7}, "name 7"),
        ({"surprise": 1}, "unknown fields: surprise"),
        ({"threshold": ...}, "lacks the fields: threshold"),
        ({"threshold": 1.5}, "threshold must lie between 0 and 1"),
        ({"threshold": 0}, "threshold must lie above 0"),
        ({"threshold": "0.5"}, "threshold must be a number"),
        ({"threshold": True}, "threshold must be a number"),
        ({"core_threshold": 0.4}, "core_threshold must lie between 0.5 and 1"),
        ({"core_threshold": 1.0}, "core_threshold must lie below 1"),
        ({"core_threshold": "0.9"}, "core_threshold must be a number"),
        ({"spacing_mm": 0}, "spacing_mm must lie"),
        ({"spacing_mm": [0.8, 0.8]}, "spacing_mm must be a number"),
        *(({name: 10**400}, f"{name} must lie") for name in ("threshold", "spacing_mm", "min_lesion_mm3")),
        ({"hu_window": [240, -160]}, "hu_window must rise"),
        ({"hu_window": [0]}, "hu_window must be two numbers"),
        ({"hu_window": "ab"}, "hu_window must be two numbers"),
        ({"hu_window": [None, 3]}, "hu_window must be a number"),
        ({"min_lesion_mm3": -1}, "min_lesion_mm3 must lie"),
        ({"context": 3}, "context 3"),
        ({"context": 1.0}, "context 1.0"),
        ({"network": {"width": "two"}}, "NetworkConfig.width"),
        ({"network": {"layers": 9}}, "no setting 'layers'"),
        ({"network": []}, "network must be an object"),
        ({"discriminator": {"kind": "x"}}, "DiscriminatorConfig.kind"),
        ({"training": "by hand"}, "training must be an object"),
        ({"metrics": None}, "metrics must be an object"),
        ({"licence": ""}, "licence must be a text"),
        ({"intended_use": 3}, "intended_use must be a text"),
        ({"data_origin": "somewhere"}, "data_origin must be one of"),
        ({"files": {}}, "must list the SHA-256 of exactly"),
        ({"files": {"../../etc/passwd": "0" * 64}}, "no package has"),
        ({"files": {"README.md": "abc"}}, "64 lower-case hexadecimal"),
    ],
)
def test_bad_fields(info_changed, changes, pattern):
    refused(info_changed(**changes), pattern)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        "{",
        "null",
        '{"format_version": 1, "format_version": 1}',
        '{"format_version": 1, "threshold": NaN}',
        "[" * 100_000,
        "\xff\xfe",
    ],
)
def test_model_json_that_is_no_json_object(damaged, text):
    change = lambda folder: (folder / "model.json").write_bytes(text.encode("latin-1"))  # noqa: E731
    refused(damaged(change, rehash=False), "model.json")


def test_info_survives_json_exactly(info_maker):
    info = info_maker(threshold=0.1 + 0.2, hu_window=(-100, 300), licence="CC-BY-4.0")
    again = PackageInfo.from_json(info.to_json())
    assert again == info
    assert again.to_json() == info.to_json()


def test_a_field_that_came_later_may_be_absent_and_is_not_written_for_nothing(info_maker):
    before = info_maker()
    assert '"core_threshold"' not in before.to_json()  # as older programs read and wrote it
    assert PackageInfo.from_json(before.to_json()).core_threshold is None
    assert "volume" not in NetworkConfig().to_dict()  # nor read this one
    assert NetworkConfig.from_dict(NetworkConfig().to_dict() | {"volume": None}) == NetworkConfig()
    after = info_maker(core_threshold=0.98)
    assert PackageInfo.from_json(after.to_json()) == after


# --- weights that do not fit, and life without torch ---


def test_weights_of_another_network_are_refused_in_one_line(damaged, info_changed, package_folder):
    table = json.loads((package_folder / "model.json").read_text())
    folder = info_changed(network=table["network"] | {"width": 4})
    with pytest.raises(PackageError, match="does not fit"):
        load_segmenter(read_package(folder))


def test_reading_needs_no_torch(package_folder, tmp_path):
    archive = tmp_path / "tiny.zip"
    with zipfile.ZipFile(archive, "w") as target:
        for path in package_folder.iterdir():
            target.write(path, path.name)
    code = """
import sys
for name in ("torch", "onnx", "safetensors", "monai"):
    sys.modules[name] = None
from PESemiSegLib.models.package import read_package
from PESemiSegLib.models.store import Store
for path in sys.argv[1:]:
    package = read_package(path)
    assert package.file("segmenter.onnx").is_file()
store = Store(sys.argv[1] + "-store")
store.import_(sys.argv[2])
assert [entry.problem for entry in store.list() if not entry.built_in] == [None]
"""
    subprocess.run([sys.executable, "-c", code, str(package_folder), str(archive)], check=True, timeout=120)


def test_unknown_file_name_is_refused(package_folder):
    with pytest.raises(PackageError, match="has no file"):
        read_package(package_folder).file("../model.json")


def test_amending_changes_words_and_point_and_nothing_else(package_folder, tmp_path):
    package = read_package(package_folder)
    amended = amend_package(package, tmp_path / "amended", threshold=0.75, metrics={"Dice": 0.5})
    assert (amended.info.threshold, amended.info.metrics) == (0.75, {"Dice": 0.5})
    assert "0.75" in amended.read_bytes("README.md").decode()
    for name in set(PACKAGE_FILES) - {"README.md"}:
        assert amended.read_bytes(name) == package.read_bytes(name), name
    assert read_package(package_folder).sha256 == package.sha256
    with pytest.raises(OutputError):
        amend_package(package, tmp_path / "amended", threshold=0.5)
    with pytest.raises(PackageError):
        amend_package(package, tmp_path / "other", threshold=2.0)
    assert not (tmp_path / "other").exists()
