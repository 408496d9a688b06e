"""Events, status and other files of a job folder: torn, damaged, of hostile content, on a full disk."""

import errno
import json
import math
import os
import random
import sys
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from PESemiSegLib.atomic import sha256_of
from PESemiSegLib.errors import ConfigError, JobError, OutputError
from PESemiSegLib.jobs import files, places
from PESemiSegLib.jobs.context import Context
from PESemiSegLib.jobs.events import EventReader, EventWriter
from PESemiSegLib.jobs.files import read_json, tail, write_json
from PESemiSegLib.jobs.folder import Job
from PESemiSegLib.jobs.interpreter import spawn
from PESemiSegLib.jobs.process import Identity
from PESemiSegLib.jobs.status import ResultFile, Status, read_status, results_problem

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)


def full_disk(*_: object, **__: object) -> None:
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


@settings(deadline=None, max_examples=40)
@given(seed=st.integers(0, 10**6), count=st.integers(1, 30))
def test_a_reader_sees_every_event_once_however_the_file_grows(
    tmp_path_factory: pytest.TempPathFactory, seed: int, count: int
) -> None:
    """The file is written byte range by byte range, cut anywhere, also within a letter."""
    folder = tmp_path_factory.mktemp("events")
    writer = EventWriter(folder / "whole")
    for number in range(count):
        writer.write("line", number=number, text="Übung 日本\n\u2028")
    data = (folder / "whole").read_bytes()
    random_number = random.Random(seed)
    cuts = sorted(random_number.randrange(len(data) + 1) for _ in range(20))
    first, second = EventReader(folder / "grown"), EventReader(folder / "grown")
    seen_first, seen_second = [], []
    with (folder / "grown").open("wb") as handle:
        for start, stop in zip([0, *cuts], [*cuts, len(data)], strict=True):
            handle.write(data[start:stop])
            handle.flush()
            seen_first += first.read()
            if random_number.random() < 0.3:
                seen_second += second.read()
    seen_second += second.read()
    assert [event["number"] for event in seen_first] == list(range(count))
    assert seen_first == seen_second
    assert first.skipped == 0


def test_a_torn_line_costs_itself_alone(tmp_path: Path) -> None:
    path = tmp_path / "events.jsonl"
    EventWriter(path).write("a")
    with path.open("ab") as handle:
        handle.write(b'{"t":1,"kind":"tor')  # killed here
    reader = EventReader(path)
    assert [event["kind"] for event in reader.read()] == ["a"]
    EventWriter(path).write("b")  # the next worker
    with path.open("ab") as handle:
        handle.write(b'[1]\n{"kind":5}\nnull\n\xff\xfe\n{"kind":"c"}\n')
    assert [event["kind"] for event in reader.read()] == ["b", "c"]
    assert reader.skipped == 5


def test_a_reader_passes_over_a_line_without_end(tmp_path: Path) -> None:
    path = tmp_path / "events.jsonl"
    path.write_bytes(b"x" * 700_000 + b'\n{"kind":"after"}\n')
    reader = EventReader(path)
    assert [event["kind"] for _ in range(5) for event in reader.read()] == ["after"]


def test_a_reader_starts_over_when_the_file_was_begun_anew(tmp_path: Path) -> None:
    path = tmp_path / "events.jsonl"
    path.write_text('{"kind":"a"}\n{"kind":"b"}\n')
    reader = EventReader(path)
    assert len(reader.read()) == 2
    path.write_text('{"kind":"c"}\n')
    assert [event["kind"] for event in reader.read()] == ["c"]


def test_events_hold_no_nan_and_no_numpy(tmp_path: Path) -> None:
    np = pytest.importorskip("numpy")
    EventWriter(tmp_path / "e").write("figures", a=math.nan, b=np.float32(0.5), c=np.arange(2), d=tmp_path)
    (event,) = EventReader(tmp_path / "e").read()
    assert (event["a"], event["b"], event["c"], event["d"]) == (None, 0.5, [0, 1], str(tmp_path))


def test_a_full_disk_costs_events_and_nothing_else(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "events.jsonl"
    writer = EventWriter(path)
    writer.write("before")
    true_write = os.write
    with monkeypatch.context() as patch:  # half of a line still fits, then nothing
        patch.setattr(os, "write", lambda handle, data: true_write(handle, data[: len(data) // 2]))
        writer.write("lost")
        patch.setattr(os, "write", full_disk)
        writer.write("lost")
    writer.write("after")
    reader = EventReader(path)
    assert [event["kind"] for event in reader.read()] == ["before", "after"]
    assert writer.dropped == 2


def test_json_is_replaced_whole_or_not_at_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "status.json"
    write_json(path, {"old": "Ä"})
    for broken in ("replace", "fsync"):
        with monkeypatch.context() as patch:
            patch.setattr(os, broken, full_disk)
            with pytest.raises(OSError, match="No space"):
                write_json(path, {"new": 1}, durable=True)
        assert read_json(path) == {"old": "Ä"}
        assert [entry.name for entry in tmp_path.iterdir()] == ["status.json"]


@pytest.mark.parametrize(
    "content",
    [b"", b"{", b"null", b"[]", b"\xff", b'{"state":"dancing"}', b"[" * 100_000, b'{"state":["running"]}'],
)
def test_a_damaged_status_is_no_status(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "s").write_bytes(content)
    assert read_status(tmp_path / "s") is None


@settings(deadline=None, max_examples=200)
@given(st.dictionaries(st.sampled_from([*Status().to_dict(), "x"]), JSON))
def test_a_status_of_any_content_is_read_without_a_fault(
    tmp_path_factory: pytest.TempPathFactory, values: dict[str, object]
) -> None:
    path = tmp_path_factory.mktemp("s") / "s"
    path.write_text(json.dumps({"state": "running"} | values))
    status = read_status(path)
    if status is not None:
        assert isinstance(status.done, int)
        assert isinstance(status.message, str)
        assert 0 <= status.fraction <= 1 or status.done < 0
        json.dumps(status.to_dict(), allow_nan=False)


def test_a_status_survives_the_round_trip(tmp_path: Path) -> None:
    who = Identity(5, "boot/7", "abc")
    status = Status("done", 2, who, None, 1.5, 1.0, 2.0, "slices", 3, 4, None, 77, True, "ü", 0, ())
    status = status.with_changes(results=(ResultFile("result/a.npy", 3, "00"),))
    write_json(tmp_path / "s", status.to_dict())
    assert read_status(tmp_path / "s") == status


@pytest.mark.parametrize("name", ["../../etc/passwd", "/etc/passwd", ""])
def test_a_result_outside_the_folder_makes_a_status_void(tmp_path: Path, name: str) -> None:
    result = {"name": name, "bytes": 1, "sha256": ""}
    (tmp_path / "s").write_text(json.dumps({"state": "done", "results": [result]}))
    assert read_status(tmp_path / "s") is None


def test_results_are_whole_or_named(tmp_path: Path) -> None:
    path = tmp_path / "mask.npy"
    path.write_bytes(b"12345")
    results = (ResultFile("mask.npy", 5, sha256_of(path)),)
    assert results_problem(tmp_path, results, deep=True) is None
    path.write_bytes(b"12346")
    assert results_problem(tmp_path, results, deep=False) is None
    assert "changed or damaged" in (results_problem(tmp_path, results, deep=True) or "")
    path.write_bytes(b"123")
    assert "3 bytes, not 5" in (results_problem(tmp_path, results, deep=False) or "")
    path.unlink()
    assert "not there" in (results_problem(tmp_path, results, deep=False) or "")


def test_the_tail_of_a_log_takes_any_bytes(tmp_path: Path) -> None:
    (tmp_path / "log").write_bytes(b"\xff" * 40_000 + "\nvorletzte\n\nletzte ü\r\n".encode())
    assert tail(tmp_path / "log", 2) == ("vorletzte", "letzte ü")
    assert tail(tmp_path / "none") == ()


def test_the_data_folder_is_that_of_the_models(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Found with the standard library alone, and yet the same place."""
    from platformdirs import user_data_path
    from platformdirs.macos import MacOS
    from platformdirs.windows import Windows

    from PESemiSegLib.models import store

    monkeypatch.delenv("PESEMISEG_HOME", raising=False)
    for value in (None, str(tmp_path), "  "):
        monkeypatch.delenv("XDG_DATA_HOME", raising=False)
        if value is not None:
            monkeypatch.setenv("XDG_DATA_HOME", value)
        assert places.data_folder() == store.data_folder() == user_data_path("pesemiseg", appauthor=False)
    assert places.data_folder(system="darwin") == Path(MacOS("pesemiseg", appauthor=False).user_data_dir)
    monkeypatch.setenv("LOCALAPPDATA", str(tmp_path))
    if sys.platform == "win32":
        assert places.data_folder() == Path(Windows("pesemiseg", appauthor=False).user_data_dir)
    assert places.data_folder(system="win32") == tmp_path / "pesemiseg"
    monkeypatch.setenv("PESEMISEG_HOME", str(tmp_path / "x"))
    assert places.data_folder() == store.data_folder() == tmp_path / "x"


def test_a_job_folder_appears_whole_or_not_at_all(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(files.os, "fsync", full_disk)
    with pytest.raises(OutputError, match="No space"):
        Job.create("sleep", {})
    assert list((home / "jobs").iterdir()) == []


def test_a_folder_of_the_users_choice_must_be_empty(home: Path, tmp_path: Path) -> None:
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "thesis.txt").touch()
    with pytest.raises(OutputError, match="not empty"):
        Job.create("sleep", {}, folder=tmp_path / "full")
    assert not (home / "jobs").exists()
    assert Job.create("sleep", {}, folder=tmp_path / "new").folder == tmp_path / "new"


@pytest.mark.parametrize("name", ["input.npy", "volume.npy"])
def test_a_stopped_job_leaves_no_copy_of_a_scan(home: Path, tmp_path: Path, name: str) -> None:
    """Slicer may be gone. In a folder of the user's choice the file may be the user's only one."""
    for state, folder, stays in (
        ("cancelled", None, False),
        ("failed", None, True),  # who started it removes it, and may want to see it
        ("done", None, True),
        ("cancelled", tmp_path / "mine", True),
    ):
        job = Job.create("read", {}, folder=folder)
        job.path(name).write_bytes(b"CT")
        context = Context(job)
        context.begin()
        context.finish(state, 0, "", [])
        assert job.path(name).exists() is stays, (state, folder)


@pytest.mark.skipif(os.name == "nt", reason="modes of Unix")
@pytest.mark.parametrize("chosen", ["new", "there", None])
def test_a_job_is_for_its_owners_eyes(home: Path, tmp_path: Path, chosen: str | None) -> None:
    (tmp_path / "there").mkdir(mode=0o755)
    job = Job.create("sleep", {"input": "/data/Meier"}, folder=tmp_path / chosen if chosen else None)
    spawn([sys.executable, "-c", ""], os.environ, job.path("log.txt")).wait(30)
    pointers = list((home / "jobs").glob("*.at"))
    assert len(pointers) == (chosen is not None)
    modes = {
        path.name: path.stat().st_mode & 0o777 for path in (job.folder, *job.folder.iterdir(), *pointers)
    }
    assert set(modes) >= {"job.json", "log.txt"}
    assert modes == {name: 0o700 if name == job.folder.name else 0o600 for name in modes}


@pytest.mark.skipif(sys.platform != "linux", reason="file names of any bytes")
def test_names_that_are_not_utf_8_come_back_as_they_are(home: Path, tmp_path: Path) -> None:
    """A disk written by an old system: the path still opens, and all of it is still valid JSON."""
    scan = tmp_path / os.fsdecode("Müller".encode("latin-1"))
    scan.write_bytes(b"scan")
    job = Job.create("sleep", {"input": scan}, folder=tmp_path / os.fsdecode(b"job\xfc"))
    assert Path(Job.open(job.folder).params["input"]).read_bytes() == b"scan"
    json.loads(job.path("job.json").read_bytes().decode("utf-8", "strict"))
    assert list(places.known_folders(places.jobs_folder())) == [job.folder]
    EventWriter(tmp_path / "events").write("read", file=scan.name)
    assert [event["file"] for event in EventReader(tmp_path / "events").read()] == [scan.name]


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("", "not a job folder"),
        ('{"format": 2}', "format 2"),
        ('{"format": 1, "kind": "rm"}', "damaged"),
        ('{"format": 1, "kind": "sleep", "params": 5}', "damaged"),
    ],
)
def test_a_bad_description_is_refused_in_a_line(tmp_path: Path, content: str, words: str) -> None:
    (tmp_path / "job.json").write_text(content)
    with pytest.raises(JobError, match=words):
        Job.open(tmp_path)


def test_an_unknown_kind_is_refused(home: Path) -> None:
    with pytest.raises(ConfigError, match="kind 'dance'"):
        Job.create("dance", {})
