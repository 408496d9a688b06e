"""Owns which Python a worker runs in, its command line and its environment."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from PESemiSegLib.errors import JobError
from PESemiSegLib.jobs.files import PRIVATE

PYTHON_VARIABLE = "PESEMISEG_PYTHON"
LIBRARY_PARENT = Path(__file__).resolve().parents[2]
_PYTHON_NAMES = ("python", "pypy", "pythonslicer")
# What a Slicer or a virtual environment sets for its own Python and what breaks any other one.
_FOREIGN = (
    *("PYTHONHOME", "PYTHONPATH", "PYTHONNOUSERSITE", "PYTHONSTARTUP", "VIRTUAL_ENV", "__PYVENV_LAUNCHER__"),
    *("LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH", "DYLD_FRAMEWORK_PATH", "LD_PRELOAD"),
    *("QT_PLUGIN_PATH", "SSL_CERT_FILE", "TCL_LIBRARY", "TK_LIBRARY"),
)


def find_python(
    chosen: str | Path | None = None,
    *,
    environment: Mapping[str, str] = os.environ,
    executable: str = sys.executable,
) -> Path:
    """The interpreter for a worker: the one that was chosen, else this program's own.

    In Slicer the own one is PythonSlicer, a launcher that starts the real interpreter as its child; in a
    program with an embedded Python `sys.executable` may be that program, which must not be started again.

    Args:
        chosen: an explicit interpreter; $PESEMISEG_PYTHON counts as one.

    Raises:
        JobError: it is not there, or none can be found.
    """
    wanted = chosen or environment.get(PYTHON_VARIABLE)
    if wanted:
        found = shutil.which(str(wanted), path=environment.get("PATH"))
        if found is None:
            raise JobError(f"the chosen Python {Path(wanted).name} is not there or cannot be run")
        return Path(found)
    if executable and _is_python(Path(executable)):
        return Path(executable)
    for candidate in _candidates(environment, Path(executable) if executable else None):
        if found := shutil.which(str(candidate), path=environment.get("PATH")):
            return Path(found)
    raise JobError(f"no Python was found for the worker; set {PYTHON_VARIABLE} to one")


def worker_command(python: Path, folder: Path) -> list[str]:
    """The command line of a worker. `-P` keeps files that lie in the job folder from being imported."""
    return [str(python), "-P", "-X", "utf8", "-m", "PESemiSegLib.jobs.worker", str(folder)]


def worker_environment(
    python: Path,
    extra: Mapping[str, str],
    *,
    environment: Mapping[str, str] = os.environ,
    executable: str = sys.executable,
) -> dict[str, str]:
    """This program's environment with the library on the path, cleaned where another Python is to run."""
    own = _is_own(python, executable, environment)
    result = {key: value for key, value in environment.items() if own or key not in _FOREIGN}
    given = [os.path.abspath(path) for path in result.get("PYTHONPATH", "").split(os.pathsep) if path]
    result["PYTHONPATH"] = os.pathsep.join([str(LIBRARY_PARENT), *given])  # the worker has another cwd
    result |= {"PYTHONUNBUFFERED": "1", "PYTHONIOENCODING": "utf-8:backslashreplace"}
    return result | dict(extra)


def detachment(system: str = os.name) -> dict[str, Any]:
    """Arguments of Popen for a process that outlives this one and gets none of its Ctrl-C."""
    if system != "nt":
        return {"start_new_session": True}
    # CREATE_NEW_PROCESS_GROUP, CREATE_NO_WINDOW, BELOW_NORMAL_PRIORITY_CLASS
    return {"creationflags": 0x00000200 | 0x08000000 | 0x00004000}


def spawn(command: list[str], environment: Mapping[str, str], log: Path) -> subprocess.Popen[bytes]:
    """Start a worker with its output in `log`: a pipe blocks it once nobody reads. Raises OSError."""
    log.touch(mode=PRIVATE)
    with log.open("ab") as output:
        arguments: dict[str, Any] = {
            "stdin": subprocess.DEVNULL,
            "stdout": output,
            "stderr": subprocess.STDOUT,
            "env": dict(environment),
            "cwd": str(log.parent),
            **detachment(),
        }
        if os.name == "nt":  # a job object of the parent may end its children with it, or forbid to leave
            breakaway = arguments | {"creationflags": arguments["creationflags"] | 0x01000000}
            try:
                return subprocess.Popen(command, **breakaway)
            except PermissionError:
                pass
        return subprocess.Popen(command, **arguments)


def _candidates(environment: Mapping[str, str], executable: Path | None) -> list[Path | str]:
    """Where a Python may be when `sys.executable` is some other program, best first."""
    suffix = ".exe" if os.name == "nt" else ""
    places: list[Path | str] = ["PythonSlicer"]
    if home := environment.get("SLICER_HOME"):
        places.append(Path(home) / "bin" / f"PythonSlicer{suffix}")
    if executable is not None:
        places += [
            executable.parent / f"PythonSlicer{suffix}",
            executable.parent / "bin" / f"PythonSlicer{suffix}",
        ]
    version = f"python{sys.version_info.major}.{sys.version_info.minor}"
    if os.name == "nt":
        places.append(Path(sys.exec_prefix) / "python.exe")
    else:
        places += [Path(sys.exec_prefix) / "bin" / name for name in (version, "python3")]
    return places


def _is_python(path: Path) -> bool:
    name = path.name.lower()
    return name.startswith(_PYTHON_NAMES) and shutil.which(str(path)) is not None


def _is_own(python: Path, executable: str, environment: Mapping[str, str]) -> bool:
    """Whether `python` is the installation that this program runs in."""
    if not python.name.lower().startswith("pythonslicer"):
        return bool(executable) and os.path.abspath(python) == os.path.abspath(executable)
    ours = [Path(environment["SLICER_HOME"], "bin")] if environment.get("SLICER_HOME") else []
    if "slicer" in Path(executable).name.lower():  # there may be several on a computer
        ours += [Path(executable).parent, Path(executable).parent / "bin"]
    return os.path.realpath(python.parent) in map(os.path.realpath, ours)
