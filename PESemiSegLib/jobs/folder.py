"""Owns the job folder: the names of its files, the description in job.json, and the requests to a worker."""

from __future__ import annotations

import os
import re
import secrets
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from PESemiSegLib import __version__
from PESemiSegLib.atomic import whole_folder
from PESemiSegLib.errors import ConfigError, JobError, OutputError
from PESemiSegLib.jobs import places
from PESemiSegLib.jobs.files import read_json, write_json
from PESemiSegLib.plain import plain

FORMAT = 1
DESCRIPTION, STATUS, EVENTS, LOG = "job.json", "status.json", "events.jsonl", "log.txt"
LOCK, START_LOCK = "worker.lock", "start.lock"
CANCEL, PAUSE, FINISH = "cancel", "pause", "finish"  # empty files: requests to the worker
REQUESTS = (CANCEL, PAUSE, FINISH)
INPUT, VOLUME = "input.npy", "volume.npy"  # copies of a scan: to a job from Slicer, and from a read job
TOKEN_VARIABLE = "PESEMISEG_JOB"  # in the environment of a worker and of all that it starts

# Kinds that go on from a checkpoint when they are started again, and by default outlive their starter.
RESUMABLE = frozenset({"train", "finetune", "evaluate", "sleep"})
OUTLIVING = frozenset({"train", "finetune"})
KINDS = ("probe", "read", "segment", "identify", "cohort", "train", "finetune", "evaluate", "sleep")
_ID = re.compile(r"[a-z]+-[0-9a-f]{12}")


@dataclass(frozen=True)
class Job:
    """One job: a folder and what its job.json says. `params` may hold paths, and with them names."""

    folder: Path
    id: str  # kind and a random number: nothing of the patient
    kind: str
    params: dict[str, Any] = field(repr=False)
    created_s: float  # since 1970
    outlives: bool  # whether it goes on when the program that started it ends

    @classmethod
    def create(
        cls,
        kind: str,
        params: Mapping[str, Any],
        *,
        folder: Path | None = None,
        outlives: bool | None = None,
    ) -> Job:
        """Describe a new job; `runner.start` starts it. Until then input files may be put into its folder.

        Args:
            kind: one of KINDS. params: see Docs/jobs.md; paths are made absolute.
            folder: an empty or new folder of the user's choice; by default one among all jobs.
            outlives: by default true for training only.

        Raises:
            ConfigError: no such kind. OutputError: the folder is not empty or cannot be written.
        """
        if kind not in KINDS:
            raise ConfigError(f"there is no job of the kind {kind!r}; choose {', '.join(KINDS)}")
        name = f"{kind}-{secrets.token_hex(6)}"
        job = cls(
            folder=Path(os.path.abspath(folder)) if folder else places.jobs_folder() / name,
            id=name,
            kind=kind,
            params=plain({key: _absolute(value) for key, value in params.items()}),
            created_s=time.time(),
            outlives=kind in OUTLIVING if outlives is None else outlives,
        )
        job._write(own_folder=folder is not None)
        return job

    @classmethod
    def open(cls, folder: Path) -> Job:
        """Read a job folder; raises JobError where it is none, or one of another format."""
        folder = Path(os.path.abspath(folder))
        raw = read_json(folder / DESCRIPTION)
        if raw is None:
            raise JobError(f"{folder.name} is not a job folder: it has no readable {DESCRIPTION}")
        if raw.get("format") != FORMAT:
            raise JobError(
                f"the job {folder.name} has format {raw.get('format')}; this version reads {FORMAT}"
            )
        name, kind, params = raw.get("id", folder.name), raw.get("kind"), raw.get("params", {})
        if kind not in KINDS or not isinstance(params, dict) or not isinstance(name, str):
            raise JobError(f"the {DESCRIPTION} of {folder.name} is damaged: kind, id or params make no sense")
        created = raw.get("created_s", 0)
        return cls(
            folder=folder,
            id=name if _ID.fullmatch(name) else folder.name,
            kind=kind,
            params=params,
            created_s=float(created) if isinstance(created, (int, float)) else 0.0,
            outlives=bool(raw.get("outlives", True)),
        )

    @property
    def resumable(self) -> bool:
        """Whether a new start goes on where the last one stopped."""
        return self.kind in RESUMABLE

    @property
    def token(self) -> str:
        """What marks the processes of this job in their environment."""
        return self.id

    def path(self, name: str) -> Path:
        """A file of the folder by its name."""
        return self.folder / name

    def ask(self, request: str) -> None:
        """Put down one of REQUESTS for the worker; raises OutputError where the disk refuses."""
        try:
            self.path(request).touch()
        except OSError as error:
            raise OutputError(
                f"the request to {request} {self.id} cannot be written: {error.strerror}"
            ) from error

    def asked(self, request: str) -> bool:
        """Whether a request lies in the folder."""
        return self.path(request).exists()

    def forget_requests(self) -> None:
        """Remove what was asked of an earlier worker, before another one starts."""
        for request in REQUESTS:
            self.path(request).unlink(missing_ok=True)

    def drop_copies(self) -> None:
        """Delete copies of a scan; in a folder of the user's choice they are the user's."""
        if _ID.fullmatch(self.folder.name):
            for name in (INPUT, VOLUME):
                with suppress(OSError):  # Windows deletes no open file
                    self.path(name).unlink(missing_ok=True)

    def _write(self, own_folder: bool) -> None:
        """Make the folder: among all jobs it appears whole, with its description, or not at all."""
        description = {
            "format": FORMAT,
            "program": f"PESemiSeg {__version__}",
            "id": self.id,
            "kind": self.kind,
            "params": self.params,
            "created_s": self.created_s,
            "outlives": self.outlives,
        }
        try:
            if not own_folder:
                with whole_folder(self.folder, mode=0o700) as stage:
                    write_json(stage / DESCRIPTION, description, durable=True)
                return
            if self.folder.exists() and any(self.folder.iterdir()):
                raise OutputError(f"the folder {self.folder.name} is not empty; give a new one for the job")
            self.folder.mkdir(parents=True, exist_ok=True)
            with suppress(OSError):  # a disk without such modes
                self.folder.chmod(0o700)
            write_json(self.path(DESCRIPTION), description, durable=True)
            places.write_pointer(self.id, self.folder)
        except OSError as error:
            raise OutputError(f"the job folder cannot be made: {error.strerror or error}") from error


def _absolute(value: Any) -> Any:
    return os.path.abspath(value) if isinstance(value, Path) else value
