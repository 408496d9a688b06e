"""The finetune job: a base model and a hospital's scans to a new model, judged on held-out patients."""

from __future__ import annotations

import shutil
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from PESemiSegLib.jobs.context import Context
from PESemiSegLib.jobs.files import write_json
from PESemiSegLib.jobs.work.evaluate import require_settings
from PESemiSegLib.jobs.work.train import RUN, Listener, cached, files_of, require

if TYPE_CHECKING:
    from PESemiSegLib.training.config import TrainConfig
    from PESemiSegLib.training.run import RunOptions

REHEARSAL = "rehearsal.json"
_KNOWN = {
    *("base", "labelled", "unlabelled", "site", "preset", "strategy", "overrides", "device", "threads"),
    *("name", "cache", "command", "dry_run", "settings"),
}


def work(context: Context) -> list[Path]:
    """Adapt a model, or go on from the checkpoint in `run`.

    Parameters: `base` (a model's name or path), `labelled` (a manifest), `unlabelled` (folders or manifests);
    `site`, `preset`, `strategy`, `overrides`, `device`, `threads`, `name`, `cache`, `command`; `settings`
    (for the verdict, see `require_settings`); `dry_run` (true: two batches, and what a run would take).

    Results: the package `run/model`, `verdict.json`, and `run/evaluation/*`, with a page where labelled
    patients were held out; of a dry run `rehearsal.json`. Raises what reading and training raise.
    """
    from PESemiSegLib.evaluation.before_after import VERDICT
    from PESemiSegLib.models.kinds import kind_named
    from PESemiSegLib.models.store import Store
    from PESemiSegLib.training.finetune import EVALUATION, finetune, settings_for
    from PESemiSegLib.training.gather import MANIFEST, gather
    from PESemiSegLib.training.run import RunOptions, check
    from PESemiSegLib.training.trainer import CHECKPOINT

    params = context.params
    require(context, _KNOWN, "base", "labelled", "unlabelled")
    context.progress("read")
    package = Store().find(params["base"])
    require_settings(params.get("settings", {}), package)
    base = package.path
    config = settings_for(base, params.get("preset"), params.get("strategy"), **params.get("overrides", {}))
    folder = context.folder / RUN
    begun = (folder / CHECKPOINT).exists()
    given = params["unlabelled"]
    sources = [Path(source) for source in (given if isinstance(given, list) else [given])]
    folder.mkdir(exist_ok=True)
    options = RunOptions(
        manifest=folder / MANIFEST,
        folder=folder,
        cache=Path(params["cache"]) if params.get("cache") else None,
        resume=begun,
        device=params.get("device", "cpu"),
        threads=params.get("threads", 0),
        command=context.redact(params.get("command", "")),
        name=params.get("name", "adapted"),
        base=base,
    )
    gather(
        [Path(params["labelled"])],
        sources,
        folder,
        params.get("site", "new"),
        keep=begun,
        marks=kind_named(config.kind).masks,
        accept=partial(check, config, options),
        progress=cached(context, "read"),
        fingerprints=not params.get("dry_run"),
    )
    context.check()
    if params.get("dry_run"):
        return _rehearse(context, config, options)
    adapted = finetune(
        config,
        options,
        listen=Listener(context, config.max_minutes),
        cancelled=context.cancelled,
        enough=context.enough,
        progress=cached(context),
        judging=lambda done, total: context.progress("verdict", done, total),
        segmenting=params.get("settings", {}),
    )
    context.event("verdict", sentences=list(adapted.verdict.sentences), verdict=adapted.verdict.word)
    shutil.copyfile(folder / EVALUATION / VERDICT, context.folder / VERDICT)
    return [*files_of(adapted.package.folder), context.folder / VERDICT, *files_of(folder / EVALUATION)]


def _rehearse(context: Context, config: TrainConfig, options: RunOptions) -> list[Path]:
    from PESemiSegLib.training.rehearsal import rehearse

    context.progress("rehearsal")
    found = asdict(rehearse(config, options))
    context.event("rehearsal", **found)
    write_json(context.folder / REHEARSAL, found)
    return [context.folder / REHEARSAL]
