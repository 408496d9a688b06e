"""The program as a whole: start-up, help, and every failure as one line with the right exit code."""

import errno
import io
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from PESemiSegLib import __version__
from PESemiSegLib.cli import console
from PESemiSegLib.cli.main import main
from PESemiSegLib.errors import Cancelled, DeviceError, InputError
from PESemiSegLib.inference.progress import Progress

Run = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def in_process() -> Iterator[None]:
    """`main` takes over the signals of the process; give them back, and forget a stop."""
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)
    console._stop.clear()


@pytest.fixture
def refused(in_process: None, capsys: pytest.CaptureFixture[str]) -> Callable[..., str]:
    """Run a command that must be refused: exit code 2 and one line, which is returned."""

    def run(*arguments: object) -> str:
        assert main([str(argument) for argument in arguments]) == 2
        output = capsys.readouterr()
        errors = [line for line in output.err.splitlines() if line.startswith("error: ")]
        assert len(errors) == 1, output.err
        assert "Traceback" not in output.err
        assert output.out == ""
        return errors[0]

    return run


def test_starting_imports_nothing_heavy() -> None:
    heavy = (
        "numpy",
        "scipy",
        "SimpleITK",
        "torch",
        "openvino",
        "pydicom",
        "highdicom",
        "skimage",
        "jinja2",
        "PIL",
    )
    code = f"""
import sys
from PESemiSegLib.cli.main import build_app
build_app()
print([name for name in {heavy!r} if name in sys.modules])
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_version_and_help(pesemiseg: Run) -> None:
    assert pesemiseg("--version").stdout == f"pesemiseg {__version__}\n"
    for arguments in ((), ("--help",)):
        text = pesemiseg(*arguments).stdout
        assert "Research use only" in text
        for command in ("segment", "check", "phantom", "models"):
            assert command in text
    assert "--lung-filter" in pesemiseg("segment", "--help").stdout


@pytest.mark.parametrize(
    ("arguments", "word"),
    [
        (("sgment",), "No such command"),
        (("segment", "x", "-o", "y", "--frobnicate"), "No such option"),
        (("segment", "x"), "--output"),
        (("segment", "x", "-o", "y", "--precision", "fp7"), "fp7"),
        (("segment", "x", "-o", "y", "--threshold", "1.5"), "--threshold"),
        (("segment", "x", "-o", "y", "--threads", "0"), "--threads"),
    ],
)
def test_wrong_usage(arguments: tuple[str, ...], word: str, refused: Callable[..., str]) -> None:
    line = refused(*arguments)
    assert word in line
    assert line.endswith("(see pesemiseg --help)")


def test_a_missing_input(refused: Callable[..., str], tiny_model: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    assert "no: " in refused("segment", tmp_path / "no", "-o", out, "--model", tiny_model)
    assert "no: " in refused("check", tmp_path / "no")
    assert list(tmp_path.iterdir()) == []


def test_an_unknown_model_is_found_out_before_the_scan_is_read(
    refused: Callable[..., str], tmp_path: Path
) -> None:
    assert "'nope'" in refused("segment", "nowhere", "-o", tmp_path / "out", "--model", "nope")


def test_a_folder_of_other_things_is_never_used(refused: Callable[..., str], tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("years of work")
    line = refused("segment", "nowhere", "-o", tmp_path, "--overwrite")
    assert "holds other files" in line
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.txt"]


def test_a_device_that_is_not_there(
    refused: Callable[..., str], chest: Path, tiny_model: Path, tmp_path: Path
) -> None:
    words = ("segment", chest, "-o", tmp_path / "out", "--model", tiny_model, "--device", "cuda:77")
    assert "cuda:77" in refused(*words)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.usefixtures("in_process")
@pytest.mark.parametrize(
    ("problem", "code", "said"),
    [
        (InputError("a.dcm: broken\nbadly"), 2, "error: a.dcm: broken badly\n"),
        (DeviceError("no such device"), 2, "error: no such device\n"),
        (Cancelled("stopped as asked"), 130, "stopped\n"),
        (KeyboardInterrupt(), 130, "stopped\n"),
        (ModuleNotFoundError("x", name="torch"), 2, "pip install 'pesemiseg[train]'\n"),
        (MemoryError(), 2, "error: out of memory"),
        (OSError(errno.ENAMETOOLONG, "File name too long"), 2, "error: a path that was given is longer"),
        (KeyError("tag"), 1, "error: unexpected KeyError: 'tag'; run again with --debug"),
        (ModuleNotFoundError("x", name="PESemiSegLib.oops"), 1, "error: unexpected ModuleNotFoundError"),
    ],
)
def test_every_problem_is_a_line_and_a_code(
    problem: BaseException,
    code: int,
    said: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise problem

    monkeypatch.setattr("PESemiSegLib.volumes.reader.read", fail)
    assert main(["check", "anything"]) == code
    output = capsys.readouterr()
    assert said in output.err
    assert output.err.count("\n") == 1
    assert output.out == ""


@pytest.mark.usefixtures("in_process")
@pytest.mark.parametrize("place", [0, 2])
def test_debug_shows_where(
    place: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def a_defect(*_: object, **__: object) -> None:
        raise KeyError("tag")

    monkeypatch.setattr("PESemiSegLib.volumes.reader.read", a_defect)
    arguments = ["check", "anything"]
    arguments.insert(place, "--debug")
    assert main(arguments) == 1
    error = capsys.readouterr().err
    assert "Traceback" in error
    assert "a_defect" in error


@pytest.mark.usefixtures("in_process")
def test_a_path_that_the_terminal_cannot_show_is_no_failure(
    tmp_path: Path, tiny_model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shown = io.TextIOWrapper(io.BytesIO(), encoding="cp1252")
    monkeypatch.setattr(sys, "stdout", shown)
    new = tmp_path / "Łź"
    assert main(["models", "amend", str(tiny_model), "-o", str(new), "--threshold", "0.6"]) == 0
    shown.flush()
    assert rb"\u0141\u017a" in shown.buffer.getvalue()  # type: ignore[attr-defined]


def test_a_closed_pipe_is_no_error(environment: dict[str, str]) -> None:
    words = [sys.executable, "-m", "PESemiSegLib.cli.main", "segment", "--help"]
    with subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environment) as process:
        assert process.stdout is not None
        process.stdout.close()
        assert process.stderr is not None
        assert b"Traceback" not in process.stderr.read()


def test_plain_progress_speaks_at_stages_and_every_five_seconds(capsys: pytest.CaptureFixture[str]) -> None:
    now = 0.0
    progress = console.PlainProgress(clock=lambda: now)
    progress(Progress(0, 0, "read"))
    for done in range(101):
        now = done / 4
        progress(Progress(done, 100, "slices", seconds_left=(100 - done) / 4 if done else None))
    assert capsys.readouterr().err.splitlines() == [
        "reading the scan",
        "segmenting slices 0/100 (0 %)",
        "segmenting slices 20/100 (20 %), 20 s left",
        "segmenting slices 40/100 (40 %), 15 s left",
        "segmenting slices 60/100 (60 %), 10 s left",
        "segmenting slices 80/100 (80 %), 5 s left",
        "segmenting slices 100/100 (100 %)",
    ]


def test_times_are_spoken() -> None:
    said = [console.spoken_time(seconds) for seconds in (0.4, 59.4, 61, 3599, 7500)]
    assert said == ["0 s", "59 s", "1 min 1 s", "59 min 59 s", "2 h 5 min"]
