"""The train job: a manifest to a model package, with checkpoints that a new start goes on from."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from PESemiSegLib.errors import ConfigError
from PESemiSegLib.jobs.context import Context

if TYPE_CHECKING:
    from PESemiSegLib.training.config import TrainConfig

RUN, MODEL = "run", "model"
_KNOWN = {"manifest", "preset", "config", "overrides", "device", "threads", "name", "cache", "command"}
_STEP_S = 0.25  # at most four steps a second become events


def work(context: Context) -> list[Path]:
    """Train, or go on from the checkpoint in `run`, and write the package `run/model`.

    Parameters: `manifest`; `preset`, or `config` (a YAML file, or the settings themselves), and `overrides`;
    `device`, `threads`, `name`, `cache`, `command`. `pause` stops at a checkpoint; `finish` ends the
    schedule here and writes the model.

    Raises what reading and training raise.
    """
    from PESemiSegLib.training.export import export
    from PESemiSegLib.training.run import RunOptions, prepare, train
    from PESemiSegLib.training.trainer import CHECKPOINT

    params = context.params
    require(context, _KNOWN, "manifest")
    settings = settings_of(params)
    folder = context.folder / RUN
    options = RunOptions(
        manifest=Path(params["manifest"]),
        folder=folder,
        cache=Path(params["cache"]) if params.get("cache") else None,
        resume=(folder / CHECKPOINT).exists(),
        device=params.get("device", "cpu"),
        threads=params.get("threads", 0),
        command=context.redact(params.get("command", "")),
        name=params.get("name", "custom"),
    )

    context.progress("cache")
    prepare(settings, options, cached(context), context.cancelled)
    listener = Listener(context, settings.max_minutes)
    trainer = train(settings, options, listener, context.cancelled, context.enough)
    context.progress("export")
    package = export(trainer, options, folder / MODEL)
    return files_of(package.folder)


def require(context: Context, known: set[str], *needed: str) -> None:
    """Raise ConfigError for a parameter that the job does not know, or lacks."""
    kind, params = context.job.kind, context.params
    if unknown := set(params) - known:
        raise ConfigError(f"a {kind} job knows no parameter {', '.join(sorted(unknown))}")
    if missing := [name for name in needed if not params.get(name)]:
        raise ConfigError(f"a {kind} job needs {', '.join(missing)}")


def cached(context: Context, stage: str = "cache") -> Callable[[int, int], None]:
    """What `prepare` tells of the slice cache, or `gather` of scans; stops it where the job shall stop."""

    def tell(done: int, total: int) -> None:
        context.check()
        context.progress(stage, done, total)

    return tell


def files_of(folder: Path) -> list[Path]:
    """The files of a finished folder."""
    return sorted(path for path in folder.iterdir() if path.is_file())


def settings_of(params: dict[str, Any]) -> TrainConfig:
    """The settings of the learning that a job's parameters name. Raises ConfigError."""
    from PESemiSegLib.training.config import TrainConfig, read_yaml
    from PESemiSegLib.training.plain import from_plain
    from PESemiSegLib.training.presets import preset

    given = params.get("config")
    if isinstance(given, dict):
        settings = from_plain(TrainConfig, given)
    else:
        settings = read_yaml(Path(given)) if given else preset(params.get("preset", "cpu_demo"))
    return settings.with_overrides(**params.get("overrides", {}))


class Listener:
    """Passes a trainer's events on to the job: steps now and then, everything else at once."""

    def __init__(self, context: Context, max_minutes: float = 0.0) -> None:
        self._context, self._max_minutes = context, max_minutes
        self._total, self._told, self._began_at = 0, 0.0, 0
        self._began_s = 0.0

    def __call__(self, event: dict[str, Any]) -> None:
        """Take one event of the training room."""
        kind, iteration = event["kind"], int(event["iteration"])
        if kind == "timeline":
            self._total, self._began_at = int(event["iterations"]), iteration
            self._began_s = float(event["seconds"])
        now = time.monotonic()
        if kind in ("step", "lesson"):
            self._progress(kind, iteration, event)
            if now - self._told < _STEP_S:
                return
            self._told = now
        self._context.event(kind, **{key: value for key, value in event.items() if key != "kind"})

    def _progress(self, kind: str, iteration: int, event: dict[str, Any]) -> None:
        if kind == "lesson":
            self._context.progress("lessons", int(event["number"]), int(event["of"]))
            return
        spent_s = float(event["seconds"])
        steps = max(1, iteration - self._began_at)
        left = (spent_s - self._began_s) / steps * (self._total - iteration)
        if self._max_minutes > 0:
            left = min(left, 60 * self._max_minutes - spent_s)
        self._context.progress("train", iteration, self._total, max(0.0, left))
