"""Owns how the command line talks: errors as one line, exit codes, signals, logging and progress.

Results go to stdout; everything else (progress, notes, errors) goes to stderr, so output can be piped.
"""

from __future__ import annotations

import errno
import logging
import signal
import sys
import threading
import time
import traceback
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import TYPE_CHECKING

from PESemiSegLib.errors import Cancelled, PESemiSegError

if TYPE_CHECKING:
    from PESemiSegLib.inference.progress import Progress

EXIT_OK, EXIT_DEFECT, EXIT_REFUSED, EXIT_CANCELLED = 0, 1, 2, 130
_TRAINING_ONLY = {
    "torch",
    "monai",
    "onnx",
    "onnxscript",
    "safetensors",
    "cv2",
    "sklearn",
    "matplotlib",
    "h5py",
}
_PLAIN_EVERY_S = 5.0
_STAGES = {
    "read": "reading the scan",
    "check": "checking the scan",
    "load": "loading the model",
    "slices": "segmenting slices",
    "windows": "reading windows",
    "findings": "measuring findings",
    "write": "writing the result",
}

_stop = threading.Event()


def say(text: str) -> None:
    """One line for the person at the terminal."""
    print(text, file=sys.stderr, flush=True)


def stopping() -> bool:
    """Whether the user (Ctrl-C) or the system (SIGTERM) has asked to stop; given to long work as a check."""
    return _stop.is_set()


def handle_signals() -> None:
    """Make Ctrl-C and SIGTERM both unwind the program, so that unfinished output is removed.

    The handler also sets a flag, for work that would swallow the exception. A second signal is not needed:
    everything that runs checks the flag or is interrupted.
    """

    def stop(number: int, frame: FrameType | None) -> None:
        if not _stop.is_set():
            _stop.set()
            raise KeyboardInterrupt

    signal.signal(signal.SIGINT, stop)
    signal.signal(signal.SIGTERM, stop)


def stop_gently() -> None:
    """From now on Ctrl-C and SIGTERM set the flag only: for work that checks it, saves and ends by itself."""

    def note(number: int, frame: FrameType | None) -> None:
        _stop.set()

    signal.signal(signal.SIGINT, note)
    signal.signal(signal.SIGTERM, note)


def set_up_logging(*, debug: bool = False) -> None:
    """Log the library to stderr: warnings by default, everything with `debug`.

    Other libraries' Python warnings are shown with `debug` only: they speak to programmers.
    """
    if not debug:
        warnings.simplefilter("ignore")
    logger = logging.getLogger("PESemiSegLib")
    logger.setLevel(logging.DEBUG if debug else logging.WARNING)
    if not logger.handlers:
        handler = logging.StreamHandler()
        handler.setFormatter(logging.Formatter("%(levelname)s %(name)s: %(message)s"))
        logger.addHandler(handler)


def explain(problem: BaseException, *, debug: bool = False) -> int:
    """Say a problem in one line and return the exit code it means; `debug` adds the traceback."""
    if debug:
        traceback.print_exception(problem, file=sys.stderr)
    if isinstance(problem, (KeyboardInterrupt, Cancelled)) or stopping():
        say("stopped")
        return EXIT_CANCELLED
    if isinstance(problem, PESemiSegError):
        say(f"error: {_one_line(problem)}")
        return EXIT_REFUSED
    usage = getattr(problem, "format_message", None)  # of typer, whichever click it carries
    if usage is not None:
        say(f"error: {_one_line(usage())} (see pesemiseg --help)")
        return EXIT_REFUSED
    if isinstance(problem, ModuleNotFoundError) and (problem.name or "").split(".")[0] in _TRAINING_ONLY:
        say(f"error: this needs {problem.name}, which is not installed; pip install 'pesemiseg[train]'")
        return EXIT_REFUSED
    if isinstance(problem, MemoryError):
        say("error: out of memory; close other programs or use a computer with more memory")
        return EXIT_REFUSED
    if isinstance(problem, OSError) and problem.errno == errno.ENAMETOOLONG:
        say("error: a path that was given is longer than this computer allows; choose a shorter one")
        return EXIT_REFUSED
    hint = "" if debug else "; run again with --debug to see where, and please report it"
    say(f"error: unexpected {type(problem).__name__}: {_one_line(problem)}{hint}")
    return EXIT_DEFECT


def _one_line(text: object) -> str:
    return " ".join(str(text).split())


@contextmanager
def shown_progress(enabled: bool = True) -> Iterator[Callable[[Progress], None]]:
    """Give a callback for `segment`: a bar with the time left on a terminal, a line every 5 s elsewhere."""
    if not enabled:
        yield lambda progress: None
    elif sys.stderr.isatty():
        with _bar() as callback:
            yield callback
    else:
        yield PlainProgress()


class PlainProgress:
    """Progress as plain lines: at each new stage, every few seconds, and at the end of a stage."""

    def __init__(self, every_s: float = _PLAIN_EVERY_S, clock: Callable[[], float] = time.monotonic) -> None:
        self._every_s, self._clock = every_s, clock
        self._stage, self._told = "", 0.0

    def __call__(self, progress: Progress) -> None:
        new = progress.stage != self._stage
        if not new and progress.done < progress.total and self._clock() - self._told < self._every_s:
            return
        self._stage, self._told = progress.stage, self._clock()
        name = _STAGES.get(progress.stage, progress.stage)
        if not progress.total:
            say(name)
            return
        left = f", {spoken_time(progress.seconds_left)} left" if progress.seconds_left else ""
        say(f"{name} {progress.done}/{progress.total} ({100 * progress.fraction:.0f} %){left}")


def spoken_time(seconds: float) -> str:
    """`40 s`, `3 min 20 s` or `2 h 5 min`."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    return f"{whole // 3600} h {whole % 3600 // 60} min"


@contextmanager
def _bar() -> Iterator[Callable[[Progress], None]]:
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, SpinnerColumn, TextColumn
    from rich.progress import Progress as Bar

    columns = (
        SpinnerColumn(),
        TextColumn("{task.description:<18}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[left]}"),
    )
    with Bar(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("", total=None, left="")

        def callback(progress: Progress) -> None:
            name = _STAGES.get(progress.stage, progress.stage)
            left = f"{spoken_time(progress.seconds_left)} left" if progress.seconds_left else ""
            bar.update(
                task, description=name, total=progress.total or None, completed=progress.done, left=left
            )

        yield callback
