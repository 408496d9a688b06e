"""Owns the life of jobs as other programs steer it: start or resume, find again, cancel, remove.

Standard library only: this runs in Slicer's own process.
"""

from __future__ import annotations

import os
import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from PESemiSegLib.atomic import discard
from PESemiSegLib.errors import JobError, OutputError
from PESemiSegLib.jobs import folder as names
from PESemiSegLib.jobs import places
from PESemiSegLib.jobs.files import write_json
from PESemiSegLib.jobs.folder import Job
from PESemiSegLib.jobs.interpreter import find_python, spawn, worker_command, worker_environment
from PESemiSegLib.jobs.lock import FileLock
from PESemiSegLib.jobs.process import identify, is_alive, kill_tree
from PESemiSegLib.jobs.status import DONE, ENDED, LOST, STARTING, Status, next_attempt, read_status
from PESemiSegLib.jobs.watch import Snapshot, Watch, look

_LOCK_WAIT_S = 2.0


def start(
    job: Job,
    *,
    python: str | Path | None = None,
    environment: Mapping[str, str] | None = None,
) -> Watch:
    """Start a job's worker, or start it again: a resumable job goes on from its last checkpoint.

    Args:
        python: the interpreter, see `find_python`. environment: variables to add for the worker.

    Raises:
        JobError: it runs already or is done, or there is no Python. OutputError: the disk refuses.
    """
    chosen = find_python(python)
    lock = FileLock(job.path(names.START_LOCK))
    try:
        if not lock.acquire(_LOCK_WAIT_S):
            raise JobError(f"{job.id} is being started by another program")
        with lock:
            seen = look(job)
            if seen.active or seen.state == DONE:
                raise JobError(
                    f"{job.id} is {seen.state}; only a job that ended without success starts again"
                )
            if _is_there(seen):
                ending = seen.status.state in ENDED
                what = (
                    "is about to end; try again in a moment" if ending else "does not answer; cancel it first"
                )
                raise JobError(f"the worker of {job.id} still lives and {what}")
            return _launch(job, chosen, environment or {})
    except OSError as error:
        raise OutputError(f"{job.id} cannot be started: {error.strerror or error}") from error


def _launch(job: Job, python: Path, extra: Mapping[str, str]) -> Watch:
    """Called under the start lock, which the worker takes as well before it writes its first status."""
    job.forget_requests()
    attempt = next_attempt(read_status(job.path(names.STATUS)))
    environment = worker_environment(python, {**extra, names.TOKEN_VARIABLE: job.token})
    process = spawn(worker_command(python, job.folder), environment, job.path(names.LOG))
    now = time.time()
    status = Status(STARTING, attempt, identify(process.pid), identify(os.getpid()), now, now)
    write_json(job.path(names.STATUS), status.to_dict())
    return Watch(job, process, attempt, from_end=True)


def submit(kind: str, params: Mapping[str, Any], *, folder: Path | None = None, **options: Any) -> Watch:
    """Create a job and start it; `options` go to `start`. Raises what `Job.create` and `start` raise."""
    return start(Job.create(kind, params, folder=folder), **options)


def find(name: str, root: Path | None = None) -> Job:
    """A job by its id, the unambiguous beginning of one, or its folder. Raises JobError."""
    if os.sep in name or Path(name, names.DESCRIPTION).is_file():
        return Job.open(Path(name))
    matching = [job for job in jobs(root) if job.id.startswith(name)]
    if len(matching) != 1:
        found = f"{len(matching)} jobs begin with" if matching else "there is no job"
        raise JobError(f"{found} {name!r}; see: pesemiseg jobs list")
    return matching[0]


def jobs(root: Path | None = None) -> list[Job]:
    """Every readable job, the newest first."""
    found = []
    for folder in places.known_folders(root):
        with suppress(JobError):
            found.append(Job.open(folder))
    return sorted(found, key=lambda job: job.created_s, reverse=True)


def cancel(job: Job, timeout_s: float = 10.0) -> Snapshot:
    """Cancel a job and wait until its worker has ended, at most `timeout_s`.

    Raises JobError where there is nothing to cancel, and at the limit.
    """
    watch = Watch(job, from_end=True)
    seen = watch.poll()
    if not seen.active and seen.state != LOST:
        raise JobError(f"{job.id} is {seen.state}; there is nothing to cancel")
    watch.cancel()
    if seen.state == LOST:
        kill_tree(seen.status.process, job.token, names.TOKEN_VARIABLE)
    return watch.wait(timeout_s)


def remove(job: Job) -> bool:
    """Delete a job that is not running, with its results; one in a folder of the user's choice is forgotten.

    Returns whether files were deleted. Raises JobError where it runs, OutputError where the disk refuses.
    """
    seen = look(job)
    if seen.active or _is_there(seen):
        raise JobError(f"{job.id} is {seen.state}; cancel it first")
    lock = FileLock(job.path(names.LOCK))
    try:
        if not lock.acquire(_LOCK_WAIT_S):
            raise JobError(f"a worker is in {job.id}; cancel it first")
        lock.release()  # Windows renames no folder with an open file in it
        if places.remove_pointer(job.id):
            return False
        return discard(job.folder)
    except OSError as error:
        raise OutputError(f"{job.id} cannot be removed: {error.strerror or error}") from error


def _is_there(seen: Snapshot) -> bool:
    """Whether the worker of the last status certainly lives."""
    return seen.status.process is not None and is_alive(seen.status.process) is True
