"""What Python sees of the process in the application: stdout without a file, a launcher as executable."""

from __future__ import annotations

import contextlib
import os
import shlex
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TextIO


class PythonQtStdOutRedirect:
    """sys.stdout of the application: can write and flush; has neither buffer nor fileno."""

    def __init__(self, target: TextIO) -> None:
        self._target = target

    def write(self, text: str) -> int:
        """Write text."""
        return self._target.write(text)

    def flush(self) -> None:
        """Flush."""
        self._target.flush()

    def isatty(self) -> bool:
        """Never a terminal."""
        return False


def make_launcher(folder: Path) -> Path:
    """A `PythonSlicer` that starts the real interpreter as a child, as the application's launcher does."""
    launcher = folder / "PythonSlicer"
    if not launcher.exists():
        launcher.write_text(f'#!/bin/sh\n{shlex.quote(sys.executable)} "$@"\nexit $?\n', encoding="utf-8")
        launcher.chmod(0o755)
    return launcher


@contextlib.contextmanager
def as_in_application(folder: Path) -> Iterator[None]:
    """Redirected output, and PythonSlicer as sys.executable and on the PATH."""
    launcher = make_launcher(folder)
    before = sys.stdout, sys.stderr, sys.executable, os.environ.get("PATH", "")
    sys.stdout, sys.stderr = PythonQtStdOutRedirect(before[0]), PythonQtStdOutRedirect(before[1])  # type: ignore[assignment]
    sys.executable = str(launcher)
    os.environ["PATH"] = f"{folder}{os.pathsep}{before[3]}"
    try:
        yield
    finally:
        sys.stdout, sys.stderr, sys.executable, os.environ["PATH"] = before
