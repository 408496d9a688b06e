"""Owns what the module leaves on this computer's disk, runs and cohorts: how much it is, and what of it may go."""

import json
import time
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from PESemiSegLib.atomic import discard
from PESemiSegLib.errors import PESemiSegError
from PESemiSegLib.jobs import runner
from PESemiSegLib.jobs.folder import INPUT, Job
from PESemiSegLib.jobs.process import is_alive
from PESemiSegLib.jobs.status import CREATED, DONE
from PESemiSegLib.jobs.watch import look

from . import models
from .cohort_lists import root

_FORGOTTEN_S = 3600.0  # nobody starts a job so long after it was made
_FRESH_S = 600.0  # a cohort's folder may still be written so long after it was made
_MODEL = ("finetune", "train")
_OF_SCANS = ("read", "segment", "identify")


@dataclass(frozen=True)
class Use:
    """What lies there."""

    runs: int
    run_bytes: int
    cohorts: int
    cohort_bytes: int


def use() -> Use:
    """Add it up; for a thread."""
    runs, cohorts = [job.folder for job in runner.jobs() if not _isCohort(job)], list(_cohorts())
    return Use(len(runs), sum(map(_bytes, runs)), len(cohorts), sum(map(_bytes, cohorts)))


def tidy() -> Use:
    """Remove what runs have left of scans when Slicer was closed or crashed meanwhile; for a thread."""
    for job in runner.jobs():
        if job.kind not in _OF_SCANS or job.outlives:
            continue
        seen = look(job)
        starter = seen.status.starter
        if seen.ended and starter is not None and is_alive(starter) is False:
            with suppress(OSError, PESemiSegError):
                if seen.state == DONE:  # a scene may show its result
                    job.path(INPUT).unlink(missing_ok=True)
                else:
                    runner.remove(job)
    return use()


def removeRuns() -> Use:
    """Remove runs that have ended, but for the only copy of a checkpoint or a model; for a thread."""
    for job in runner.jobs():
        with suppress(PESemiSegError):  # another program is at it
            if _mayGo(job):
                runner.remove(job)
    return use()


def removeCohorts(paths: Iterable[str]) -> Use:
    """Remove cohorts that neither one of these paths nor a run needs which can go on; for a thread."""
    needed = "\n".join([*paths, *_neededByRuns()])
    jobs = {job.folder: job for job in runner.jobs()}
    for folder in _cohorts():
        with suppress(OSError, PESemiSegError):
            if folder.name in needed or time.time() - folder.stat().st_mtime < _FRESH_S:
                continue
            if folder in jobs:
                runner.remove(jobs[folder])  # forgets it: the folder is its own
            discard(folder)
    return use()


def _mayGo(job: Job) -> bool:
    seen = look(job)
    if job.kind in _MODEL and not job.params.get("dry_run"):
        return seen.state == DONE and bool(models.inStore(job.folder / "run" / "model"))
    if seen.state == CREATED:
        return time.time() - job.created_s > _FORGOTTEN_S
    return seen.state == DONE or (seen.ended and (not job.resumable or job.kind in _MODEL))


def _neededByRuns() -> Iterator[str]:
    """Texts that name the folders which a run reads, or will read when it is resumed."""
    for job in runner.jobs():
        seen = look(job)
        if seen.state == DONE or not (seen.active or job.resumable):
            continue
        yield f"{job.folder} {json.dumps(job.params)}"
        given = [job.params.get(name) for name in ("labelled", "unlabelled", "manifest")]
        lists = [path for value in given for path in (value if isinstance(value, list) else [value])]
        for path in (*lists, job.folder / "run" / "manifest.csv"):
            with suppress(OSError):
                if path and Path(path).is_file():
                    yield Path(path).read_text(encoding="utf-8", errors="replace")


def _cohorts() -> Iterator[Path]:
    with suppress(OSError):
        yield from (entry for entry in sorted(root().iterdir()) if entry.is_dir())


def _isCohort(job: Job) -> bool:
    return job.folder.parent == root()


def _bytes(folder: Path) -> int:
    total = 0
    for file in folder.rglob("*"):
        with suppress(OSError):  # gone meanwhile
            total += file.stat().st_size if file.is_file() else 0
    return total
