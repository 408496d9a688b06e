"""The worker: `python -m PESemiSegLib.jobs.worker JOBDIR` does one job in a process of its own.

Exit codes: 0 done, 1 defect, 2 refused with a reason, 3 another worker is at it, 130 stopped or paused.
"""

from __future__ import annotations

import errno
import faulthandler
import importlib
import logging
import os
import signal
import sys
import traceback
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path

from PESemiSegLib.errors import Cancelled, JobError, PESemiSegError
from PESemiSegLib.jobs import folder as names
from PESemiSegLib.jobs.context import ORPHANED, SIGNAL, Context
from PESemiSegLib.jobs.folder import Job
from PESemiSegLib.jobs.lock import FileLock
from PESemiSegLib.jobs.process import kill_tree, lower_priority
from PESemiSegLib.jobs.redact import RedactedStream
from PESemiSegLib.jobs.status import CANCELLED, DONE, FAILED, PAUSED

EXIT_DONE, EXIT_DEFECT, EXIT_REFUSED, EXIT_BUSY, EXIT_STOPPED = 0, 1, 2, 3, 130
_LOCK_WAIT_S, _START_WAIT_S = 2.0, 10.0

# Kind of job and the module with its `work(context) -> list of result files`. These open the other rooms.
_WORK = {
    "probe": "PESemiSegLib.jobs.work.probe",
    "read": "PESemiSegLib.jobs.work.read",
    "segment": "PESemiSegLib.jobs.work.segment",
    "identify": "PESemiSegLib.jobs.work.identify",
    "cohort": "PESemiSegLib.jobs.work.cohort",
    "train": "PESemiSegLib.jobs.work.train",
    "finetune": "PESemiSegLib.jobs.work.finetune",
    "evaluate": "PESemiSegLib.jobs.work.evaluate",
    "sleep": "PESemiSegLib.jobs.work.sleep",
}
Work = Callable[[Context], list[Path]]


def main(arguments: Sequence[str]) -> int:
    """Do the job in the folder that is given; returns the exit code."""
    faulthandler.enable()
    if len(arguments) != 1:
        return _refuse("usage: python -m PESemiSegLib.jobs.worker JOBDIR")
    try:
        job = Job.open(Path(arguments[0]))
        lock = FileLock(job.path(names.LOCK))
        if not lock.acquire(_LOCK_WAIT_S):
            return _refuse(f"another worker is at {job.id}", EXIT_BUSY)
    except (JobError, OSError) as error:
        return _refuse(f"error: {error}")
    with lock:
        with FileLock(job.path(names.START_LOCK)) as start:
            start.acquire(_START_WAIT_S)  # until the starter has written whom it started
            context = Context(job, on_deadline=lambda: _give_up(context))
            context.begin()
        return _attend(context)


def _attend(context: Context) -> int:
    """Everything around the work: signals, log and the last word."""
    os.environ[names.TOKEN_VARIABLE] = context.job.token
    _talk_redacted(context)
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda number, frame: context.stop(SIGNAL))
    lower_priority()
    state, code, message, results = _outcome(context)
    try:
        context.finish(state, code, message, results)
    except OSError as error:  # not even the last word could be written: the exit code must tell
        return _refuse(f"error: the status cannot be written: {error.strerror}", code or EXIT_REFUSED)
    return code


def _outcome(context: Context) -> tuple[str, int, str, list[Path]]:
    """Do the work; (state, exit code, message, results)."""
    try:
        work: Work = importlib.import_module(_WORK[context.job.kind]).work
        return DONE, EXIT_DONE, "", work(context)
    except (Cancelled, KeyboardInterrupt):
        return _stopped(context)
    except PESemiSegError as error:
        return FAILED, EXIT_REFUSED, _one_line(error), []
    except MemoryError:
        return (
            FAILED,
            EXIT_REFUSED,
            "out of memory; close other programs or use a computer with more memory",
            [],
        )
    except ModuleNotFoundError as error:
        needed = f"this needs {error.name}, which is not installed in the worker's Python"
        return FAILED, EXIT_REFUSED, needed, []
    except Exception as error:
        traceback.print_exc()
        if type(error).__name__ == "OutOfMemoryError":  # torch's, without importing torch
            return FAILED, EXIT_REFUSED, "the GPU has too little memory; take a smaller batch or the CPU", []
        if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
            return FAILED, EXIT_REFUSED, "the disk is full; free some space and start again", []
        return FAILED, EXIT_DEFECT, f"unexpected {type(error).__name__}: {_one_line(error)}", []


def _stopped(context: Context) -> tuple[str, int, str, list[Path]]:
    if context.stop_reason == names.PAUSE:
        return PAUSED, EXIT_STOPPED, "paused; start it again to go on", []
    why = {ORPHANED: "stopped: the program that started it has ended", SIGNAL: "stopped by the system"}
    return CANCELLED, EXIT_STOPPED, why.get(context.stop_reason or "", "stopped as asked"), []


def _give_up(context: Context) -> None:
    """The work did not stop in time: say so, end everything below this process, and leave at once."""
    try:
        state, code, message, _ = _stopped(context)
        context.finish(state, code, message, [])
    finally:
        try:
            kill_tree(None, context.job.token, names.TOKEN_VARIABLE)
        finally:
            os._exit(EXIT_STOPPED)


def _talk_redacted(context: Context) -> None:
    """Send what Python writes into the log without names of the input; quiet the libraries that do not."""
    sys.stdout = RedactedStream(sys.stdout, context.redact)
    sys.stderr = RedactedStream(sys.stderr, context.redact)
    warnings.simplefilter("ignore")
    logging.raiseExceptions = False
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s", "%H:%M:%S"))
    logger = logging.getLogger("PESemiSegLib")
    logger.setLevel(logging.INFO)
    logger.addHandler(handler)


def _refuse(line: str, code: int = EXIT_REFUSED) -> int:
    sys.stderr.write(line + "\n")
    return code


def _one_line(text: object) -> str:
    return " ".join(str(text).split())


if __name__ == "__main__":
    code = main(sys.argv[1:])
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)  # nothing that hangs at the end of an interpreter can hold a finished job
