"""What went wrong unseen: exceptions in slots and observers, VTK errors. Each fails the test."""

from __future__ import annotations

import contextlib
import sys
import traceback
from collections.abc import Iterator
from types import TracebackType

_failures: list[str] = []


class UnseenError(AssertionError):
    """Something failed where the application would only have printed it."""


def record(text: str) -> None:
    """Keep one failure until the next `check`; also shown at once, as the application does."""
    _failures.append(text)
    sys.__stderr__ and sys.__stderr__.write(text.rstrip() + "\n")


def record_exception(error: BaseException, where: str) -> None:
    """Keep the traceback of an exception that Qt or VTK would swallow."""
    record(f"exception in {where}:\n" + "".join(traceback.format_exception(error)))


def take() -> list[str]:
    """Hand over and forget what was recorded."""
    taken = _failures.copy()
    _failures.clear()
    return taken


def check() -> None:
    """Raise `UnseenError` with everything recorded since the last check."""
    if failures := take():
        raise UnseenError(f"{len(failures)} unseen failure(s):\n" + "\n".join(failures))


@contextlib.contextmanager
def expected(part: str) -> Iterator[list[str]]:
    """Let failures that contain `part` pass inside the block; fails when none came. Others stay recorded."""
    before = take()
    caught: list[str] = []
    try:
        yield caught
    finally:
        during = take()
        caught.extend(text for text in during if part in text)
        _failures.extend(before + [text for text in during if part not in text])
    if not caught:
        raise UnseenError(f"no failure with {part!r} came")


def install() -> None:
    """Send exceptions that nobody catches and messages of VTK's error channel to the record."""
    import vtk

    def hook(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
        record_exception(error, "a callback")

    def unraisable(args: sys.UnraisableHookArgs) -> None:
        if args.exc_value is not None:
            record_exception(args.exc_value, f"{args.err_msg or 'a callback'} {args.object!r}")

    sys.excepthook, sys.unraisablehook = hook, unraisable
    vtk.vtkLogger.SetStderrVerbosity(vtk.vtkLogger.VERBOSITY_OFF)
    window = vtk.vtkOutputWindow()
    window.SetDisplayModeToNever()

    @vtk.calldata_type(vtk.VTK_STRING)
    def on_error(_caller: object, _event: str, text: str) -> None:
        record(f"VTK error: {text.strip()}")

    @vtk.calldata_type(vtk.VTK_STRING)
    def on_text(_caller: object, _event: str, text: str) -> None:
        sys.__stderr__ and sys.__stderr__.write(f"VTK: {text.strip()}\n")

    window.AddObserver(vtk.vtkCommand.ErrorEvent, on_error)
    window.AddObserver(vtk.vtkCommand.WarningEvent, on_text)
    vtk.vtkOutputWindow.SetInstance(window)
