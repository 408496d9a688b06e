"""`pesemiseg models ...` as a user types it."""

import json
import shutil
import sysconfig
import tomllib
from pathlib import Path

import pytest

from PESemiSegLib.cli.main import main
from PESemiSegLib.models import store as store_module
from PESemiSegLib.models.package import read_package


@pytest.fixture
def run(tmp_path, monkeypatch, capsys):
    """Run the program with its own empty store; returns exit code, stdout, stderr."""
    monkeypatch.setenv("PESEMISEG_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("COLUMNS", "200")
    monkeypatch.setattr(store_module, "demo_folder", lambda: None)

    def call(*arguments):
        code = main(["models", *map(str, arguments)])
        said = capsys.readouterr()
        return code, said.out, said.err

    return call


def test_a_whole_life(run, package_folder, tmp_path):
    assert "no models yet" in run("list")[1]
    code, out, _ = run("import", package_folder)
    assert (code, "imported tiny" in out) == (0, True)
    assert "W2 small" in run("list")[1]
    listed = json.loads(run("list", "--json")[1])["models"]
    assert [entry["name"] for entry in listed] == ["tiny"]
    out = run("info", "tiny")[1]
    assert "made-up patients only" in out
    assert listed[0]["sha256"] in out
    assert json.loads(run("info", "tiny", "--json")[1])["hu_window"] == [-160, 240]
    code, out, _ = run("export", "tiny", "-o", tmp_path / "tiny.zip")
    assert (code, (tmp_path / "tiny.zip").is_file()) == (0, True)
    code, _, error = run("export", "tiny", "-o", tmp_path / f"{'x' * 300}.zip")
    assert (code, "File name too long" in error) == (2, True)
    assert run("remove", "tiny")[0] == 0
    assert run("import", tmp_path / "tiny.zip")[0] == 0


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (("info", "nothing"), "no model 'nothing'"),
        (("remove", "nothing"), "no model 'nothing'"),
        (("remove", "demo"), "cannot be removed"),
        (("export", "nothing", "-o", "x.zip"), "no model 'nothing'"),
        (("import", "nowhere.zip"), "nowhere.zip is not there"),
        (("import", "https://example.org/x.zip"), "SHA-256"),
        (("info", f"{'x' * 300}.zip"), "cannot be read: File name too long"),
        (("import", f"{'x' * 300}.zip"), "cannot be read: File name too long"),
        (("styles", "nothing", "scan.nii.gz", "-o", __file__), "exists already"),
    ],
)
def test_errors_are_one_line_and_exit_code_2(run, arguments, text):
    code, out, error = run(*arguments)
    assert code == 2
    assert out == ""
    assert text in error
    assert len(error.strip().splitlines()) == 1


def test_amending_moves_the_operating_point_and_leaves_the_model_alone(run, package_folder, tmp_path):
    before = json.loads((package_folder / "model.json").read_text())
    point = ("--threshold", 0.5, "--core-threshold", 0.98, "--min-lesion-mm3", 80)
    new = tmp_path / "new"
    code, out, _ = run("amend", package_folder, "-o", new, *point)
    assert (code, "wrote tiny to" in out) == (0, True)
    after = json.loads((new / "model.json").read_text())
    assert (after["threshold"], after["core_threshold"], after["min_lesion_mm3"]) == (0.5, 0.98, 80)
    assert read_package(new).sha256 in out
    assert after["training"] == before["training"] | {"amended_from": read_package(package_folder).sha256}
    assert list(after["metrics"]) == ["measured before, with threshold 0.5, min_lesion_mm3 0"]
    assert "at probability 0.98" in (new / "README.md").read_text()
    assert json.loads((package_folder / "model.json").read_text()) == before
    for name in ("segmenter.safetensors", "segmenter.onnx", "discriminator.onnx"):
        assert (new / name).read_bytes() == (package_folder / name).read_bytes()

    words = tmp_path / "words.json"
    words.write_text(
        json.dumps({"metrics": {"Dice": 0.6}, "training": {"command": "again"}, "name": "other"})
    )
    assert run("amend", new, "-o", tmp_path / "plain", "--core-threshold", 0.5, "--words", words)[0] == 0
    plain = json.loads((tmp_path / "plain" / "model.json").read_text())
    assert "core_threshold" not in plain  # of its own no more
    assert (plain["name"], plain["metrics"]) == ("other", {"Dice": 0.6})
    assert plain["training"]["command"] == "again"


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        ((), "Nothing would change"),
        (("--threshold", "0.5"), "Nothing would change"),
        (("--core-threshold", "0.4"), "core_threshold must lie between 0.5 and 1"),
        (("--core-threshold", "1"), "core_threshold must lie below 1"),
        (("--min-lesion-mm3", "2e6"), "min_lesion_mm3 must lie"),
        (("--words", "{"), "cannot be read as JSON"),
        (("--words", "[]"), "one JSON object"),
        (("--words", '{"files": {}}'), "files cannot be amended"),
        (("--words", '{"training": "by hand"}'), "training must be an object"),
    ],
)
def test_what_cannot_be_amended_is_refused_and_nothing_is_written(
    run, package_folder, tmp_path, arguments, text
):
    if arguments[:1] == ("--words",):
        (tmp_path / "words.json").write_text(arguments[1])
        arguments = ("--words", tmp_path / "words.json")
    before = set(tmp_path.iterdir())
    code, out, error = run("amend", package_folder, "-o", tmp_path / "new", *arguments)
    assert (code, out) == (2, "")
    assert text in error
    assert len(error.strip().splitlines()) == 1
    assert set(tmp_path.iterdir()) - {tmp_path / "home"} == before - {tmp_path / "home"}


def test_amending_does_not_replace_what_is_there_unasked(run, package_folder, tmp_path):
    new = ("amend", package_folder, "-o", tmp_path / "new", "--threshold")
    assert run(*new, 0.6)[0] == 0
    code, _, error = run(*new, 0.7)
    assert (code, "exists already" in error) == (2, True)
    assert read_package(tmp_path / "new").info.threshold == 0.6
    assert run(*new, 0.7, "--overwrite")[0] == 0
    assert read_package(tmp_path / "new").info.threshold == 0.7


def test_an_installation_carries_the_demo_model(tmp_path, monkeypatch):
    """What pip copies beside the library is where the library looks for it."""
    checkout = Path(__file__).resolve().parents[3]
    settings = tomllib.loads((checkout / "pyproject.toml").read_text())["tool"]["setuptools"]
    for place, patterns in settings["data-files"].items():
        (tmp_path / place).mkdir(parents=True)
        for file in (file for pattern in patterns for file in checkout.glob(pattern)):
            shutil.copy(file, tmp_path / place)
    monkeypatch.setattr(store_module, "__file__", str(tmp_path / "site-packages" / "models" / "store.py"))
    monkeypatch.setattr(sysconfig, "get_path", lambda name: {"data": str(tmp_path)}[name])
    assert read_package(store_module.demo_folder()).info.is_demo


def test_broken_package_is_listed_as_such(run, package_folder, tmp_path):
    run("import", package_folder)
    (tmp_path / "home" / "models" / "tiny" / "README.md").write_text("changed")
    assert "README.md differs" in run("list")[1]
