"""Which Python computes, in which environment, and what the watching side may import."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from PESemiSegLib.errors import JobError
from PESemiSegLib.jobs.interpreter import detachment, find_python, worker_command, worker_environment

REPOSITORY = Path(__file__).resolve().parents[3]


def program(folder: Path, name: str) -> Path:
    """Something that can be run."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / name
    path.write_text("#!/bin/sh\n")
    path.chmod(0o755)
    return path


def test_a_python_is_its_own_choice() -> None:
    assert find_python(environment={}) == Path(sys.executable)


def test_an_explicit_choice_wins_and_must_exist(tmp_path: Path) -> None:
    other = program(tmp_path / "Ä b", "python3.12")
    assert find_python(other, environment={}) == other
    assert find_python(environment={"PESEMISEG_PYTHON": str(other)}) == other
    with pytest.raises(JobError, match=r"gone\.exe is not there"):
        find_python(tmp_path / "gone.exe")


def test_inside_slicer_it_is_pythonslicer(tmp_path: Path) -> None:
    slicer, launcher = (
        program(tmp_path / "S 5.12/bin", "SlicerApp-real"),
        tmp_path / "S 5.12/bin/PythonSlicer",
    )
    program(launcher.parent, launcher.name)
    assert find_python(environment={}, executable=str(launcher)) == launcher  # what Slicer 5 reports
    assert (
        find_python(environment={}, executable=str(slicer)) == launcher
    )  # what an embedded Python may report
    assert find_python(environment={"SLICER_HOME": str(tmp_path / "S 5.12")}, executable="") == launcher
    assert find_python(environment={"PATH": str(launcher.parent)}, executable="") == launcher


def test_a_program_that_is_no_python_is_never_started_again(tmp_path: Path) -> None:
    application = program(tmp_path, "SomeViewer")
    assert find_python(environment={}, executable=str(application)).name.startswith("python")


def test_another_python_gets_a_clean_environment(tmp_path: Path) -> None:
    given = {
        "PATH": "p",
        "PYTHONHOME": "/slicer",
        "PYTHONPATH": "/slicer/lib",
        "LD_LIBRARY_PATH": "/slicer/lib",
    }
    own = worker_environment(Path(sys.executable), {"EXTRA": "1"}, environment=given)
    other = worker_environment(tmp_path / "python3", {}, environment=given)
    assert own["LD_LIBRARY_PATH"] == "/slicer/lib"
    assert own["PYTHONPATH"].split(os.pathsep) == [str(REPOSITORY), "/slicer/lib"]
    assert own["EXTRA"] == "1"
    assert other["PYTHONPATH"] == str(REPOSITORY)
    assert not {"PYTHONHOME", "LD_LIBRARY_PATH"} & set(other)
    assert other["PYTHONIOENCODING"] == "utf-8:backslashreplace"


def test_the_launcher_of_another_slicer_is_another_python(tmp_path: Path) -> None:
    ours, other = tmp_path / "S 5.12", tmp_path / "S 5.13"
    foreign = {"PYTHONHOME": "/slicer", "LD_LIBRARY_PATH": "/slicer/lib"}

    def kept(folder: Path, executable: Path | str, **variables: str) -> bool:
        given = foreign | variables
        made = worker_environment(
            folder / "bin" / "PythonSlicer", {}, environment=given, executable=str(executable)
        )
        assert len(foreign.keys() & made) in (0, len(foreign))
        return foreign.keys() <= made.keys()

    for executable in (ours / "bin" / "PythonSlicer", ours / "bin" / "SlicerApp-real", ours / "Slicer"):
        assert kept(ours, executable), executable
        assert not kept(other, executable, SLICER_HOME=str(ours)), executable
    assert kept(ours, "", SLICER_HOME=str(ours))
    assert not kept(ours, "")


def test_a_relative_search_path_survives_the_workers_own_folder() -> None:
    own = worker_environment(
        Path(sys.executable), {}, environment={"PYTHONPATH": os.pathsep.join(["src", ""])}
    )
    assert own["PYTHONPATH"].split(os.pathsep) == [str(REPOSITORY), os.path.abspath("src")]


def test_a_worker_is_detached_on_both_systems() -> None:
    assert detachment("posix") == {"start_new_session": True}
    flags = detachment("nt")["creationflags"]
    assert flags & 0x08000000, "no console window"
    assert flags & 0x00000200, "no Ctrl-C of the parent"


def test_the_command_keeps_the_job_folder_off_the_search_path(tmp_path: Path) -> None:
    command = worker_command(Path("py thon"), tmp_path)
    assert command[:2] == ["py thon", "-P"]
    assert command[-3:] == ["-m", "PESemiSegLib.jobs.worker", str(tmp_path)]


WATCHER = """
import json, sys
sys.path.insert(0, sys.argv[1])
from PESemiSegLib.jobs import runner
from PESemiSegLib.jobs.watch import look
seen = runner.submit("sleep", {"steps": 3}, python=sys.argv[2]).wait(100)
assert [look(job).state for job in runner.jobs()] == ["done"], seen
names = {name.split(".")[0] for name in sys.modules} - set(sys.stdlib_module_names)
print(json.dumps([seen.state, sys.version_info[:2], sorted(names)]))
"""


def pythons() -> list[str]:
    """This Python, and a 3.12 as in Slicer where one can be found."""
    known = [Path.home() / ".pyenv/versions", Path("/opt"), Path("/usr/bin"), Path("/usr/local/bin")]
    others = [path for folder in known[:2] for path in folder.glob("*3.12*/bin/python3.12")]
    others += [path / "python3.12" for path in known[2:] if (path / "python3.12").exists()]
    return [sys.executable, *(str(path) for path in others[:1])]


@pytest.mark.parametrize("python", pythons(), ids=lambda path: Path(path).name)
def test_starting_and_watching_needs_the_standard_library_alone(python: str, home: Path) -> None:
    """A Python that has no package at all starts a worker in one that has them all, as in Slicer."""
    command = [python, "-S", "-E", "-c", WATCHER, str(REPOSITORY), sys.executable]
    ran = subprocess.run(command, capture_output=True, text=True, timeout=200, check=False)
    assert ran.returncode == 0, ran.stderr
    state, _, modules = json.loads(ran.stdout)
    assert state == "done"
    assert set(modules) <= {"PESemiSegLib", "__main__"}
