"""`pesemiseg models ...` as a user types it."""

import json

import pytest

from PESemiSegLib.cli.main import main
from PESemiSegLib.models import store as store_module


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
    ],
)
def test_errors_are_one_line_and_exit_code_2(run, arguments, text):
    code, out, error = run(*arguments)
    assert code == 2
    assert out == ""
    assert text in error
    assert len(error.strip().splitlines()) == 1


def test_broken_package_is_listed_as_such(run, package_folder, tmp_path):
    run("import", package_folder)
    (tmp_path / "home" / "models" / "tiny" / "README.md").write_text("changed")
    assert "README.md differs" in run("list")[1]
