"""`pesemiseg jobs`: list, start, watch, cancel and remove, through the program itself."""

import json
from pathlib import Path

import pytest

from PESemiSegLib.cli.main import main
from PESemiSegLib.jobs import runner
from PESemiSegLib.jobs.folder import Job


@pytest.fixture(autouse=True)
def own_signals(monkeypatch: pytest.MonkeyPatch) -> None:
    """The program runs in this process here: its signal handlers would stay."""
    monkeypatch.setattr("PESemiSegLib.cli.console.handle_signals", lambda: None)


def described(folder: Path, **params: object) -> Path:
    path = folder / "job description.json"
    path.write_text(json.dumps({"kind": "sleep", "params": params}))
    return path


def test_the_life_of_a_job(home: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["jobs", "list"]) == 0
    assert "no jobs" in capsys.readouterr().out
    assert main(["jobs", "start", str(described(tmp_path, steps=10**6, step_s=0.02))]) == 0
    name = capsys.readouterr().out.strip()
    assert main(["jobs", "list", "--json"]) == 0
    (entry,) = json.loads(capsys.readouterr().out)["jobs"]
    assert (entry["id"], entry["state"]) in ((name, "starting"), (name, "running"))
    assert main(["jobs", "remove", name]) == 2
    assert "cancel it first" in capsys.readouterr().err
    assert main(["jobs", "pause", name]) == 0
    assert "paused" in capsys.readouterr().err
    assert main(["jobs", "resume", name]) == 0
    assert main(["jobs", "cancel", name[:10]]) == 0
    assert "is cancelled" in capsys.readouterr().out
    assert main(["jobs", "cancel", name]) == 2
    assert main(["jobs", "watch", name]) == 130
    assert main(["jobs", "remove", name]) == 0
    assert runner.jobs() == []


def test_watching_ends_with_the_outcome(
    home: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for params, code, words in (
        ({"steps": 5}, 0, "done"),
        ({"at": 0, "then": "error"}, 2, "asked to refuse"),
    ):
        assert main(["jobs", "start", str(described(tmp_path, **params))]) == 0
        assert main(["jobs", "watch", capsys.readouterr().out.strip()]) == code
        assert words in capsys.readouterr().err


def test_refusals_are_one_line(home: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "bad.json").write_text("[]")
    (tmp_path / "kind.json").write_text('{"kind": "dance"}')
    created = Job.create("sleep", {})
    for words, told in (
        (["start", str(tmp_path / "bad.json")], "no JSON object"),
        (["start", str(tmp_path / "kind.json")], "no job of the kind 'dance'"),
        (["watch", "sleep-nothing"], "there is no job"),
        (["cancel", created.id], "nothing to cancel"),
        (["watch", created.id], "not started"),
    ):
        assert main(["jobs", *words]) == 2
        said = capsys.readouterr().err.strip()
        assert told in said
        assert "\n" not in said
