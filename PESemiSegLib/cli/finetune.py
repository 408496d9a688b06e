"""`pesemiseg finetune`: adapt a model to a hospital's unlabelled scans."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from PESemiSegLib.cli import console
from PESemiSegLib.cli.train import RunTalk, plain, tell_cache, tell_rehearsal, tell_scan

if TYPE_CHECKING:
    from PESemiSegLib.training.finetune import Adapted


def finetune(
    base: Annotated[
        str, typer.Option(help="Model to start from: a name in the store, a folder or a .zip; never changed.")
    ],
    labelled: Annotated[Path, typer.Option(help="CSV of labelled cases that stay in the loop.")],
    unlabelled: Annotated[Path, typer.Option(help="Folder of the hospital's scans, or a CSV of them.")],
    output: Annotated[
        Path, typer.Option("-o", "--output", help="Folder of the run; the model is RUN/model.")
    ],
    strategy: Annotated[
        str | None, typer.Option(help="See `pesemiseg train`; '+cross_site_mix' may be added.")
    ] = None,
    preset: Annotated[
        str | None, typer.Option(help="cpu_demo, modern, paper or mask_only. Default: the base's own.")
    ] = None,
    iterations: Annotated[int | None, typer.Option(min=1)] = None,
    minutes: Annotated[float | None, typer.Option(min=0, help="End the schedule after this time.")] = None,
    trust: Annotated[
        str | None, typer.Option(help="T of the adversarial strategies: 0.2, or a quantile as q0.5.")
    ] = None,
    seed: Annotated[int | None, typer.Option(min=0)] = None,
    device: Annotated[str, typer.Option(help="cpu, cuda or cuda:N.")] = "cpu",
    threads: Annotated[int, typer.Option(min=0, help="Threads of torch; 0 lets it choose.")] = 0,
    cache: Annotated[Path | None, typer.Option(help="Folder of the slice cache. Default: RUN/cache.")] = None,
    site: Annotated[str, typer.Option(help="A name for where a folder of scans comes from.")] = "new",
    name: Annotated[str, typer.Option(help="Name of the new model.")] = "adapted",
    resume: Annotated[bool, typer.Option("--resume", help="Go on from the run's last checkpoint.")] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Try two batches, say what a run would take, and stop.")
    ] = False,
) -> None:
    """Adapt a model with unlabelled scans of another hospital. Research use only."""
    import tempfile
    from functools import partial

    from PESemiSegLib.errors import InputError
    from PESemiSegLib.models.kinds import kind_named
    from PESemiSegLib.models.store import Store
    from PESemiSegLib.training import parallel
    from PESemiSegLib.training.finetune import finetune as run
    from PESemiSegLib.training.finetune import settings_for
    from PESemiSegLib.training.gather import MANIFEST, gather
    from PESemiSegLib.training.rehearsal import rehearse
    from PESemiSegLib.training.run import RunOptions, check
    from PESemiSegLib.training.trainer import CHECKPOINT

    if parallel.by_torchrun():
        raise InputError(
            "finetune trains and compares in one process; under torchrun use `pesemiseg train --base`, and "
            "`pesemiseg evaluate` afterwards."
        )
    start = Store().find(base).path
    settings = settings_for(
        start, preset, strategy, iterations=iterations, max_minutes=minutes, seed=seed, trust=trust
    )
    if not settings.takes_unlabelled:
        console.say(f"note: the strategy {settings.strategy} does not learn from unlabelled scans")
    options = RunOptions(
        manifest=output / MANIFEST,
        folder=output,
        cache=cache,
        resume=resume,
        device=device,
        threads=threads,
        command=shlex.join(["pesemiseg", *(plain(argument) for argument in sys.argv[1:])]),
        name=name,
        base=start,
    )
    marks = kind_named(settings.kind).masks
    if dry_run:
        from dataclasses import replace

        with tempfile.TemporaryDirectory(prefix="pesemiseg-") as spare:
            manifest = gather([labelled], [unlabelled], Path(spare), site, marks=marks, fingerprints=False)
            tell_rehearsal(rehearse(settings, replace(options, manifest=manifest)))
        return
    begun, accept = (output / CHECKPOINT).exists(), partial(check, settings, options)
    gather([labelled], [unlabelled], output, site, keep=begun, marks=marks, accept=accept, progress=tell_scan)
    console.stop_gently()  # the trainer looks after every step, and saves a checkpoint first
    adapted = run(
        settings,
        options,
        listen=RunTalk(settings.max_minutes),
        cancelled=console.stopping,
        progress=tell_cache,
        judging=lambda done, total: console.say(f"base and new model on scan {done}/{total}"),
        segmenting={"threads": threads or None},
    )
    _tell_verdict(adapted)
    console.say(f"model written to {output / 'model'} (research use only)")


def _tell_verdict(adapted: Adapted) -> None:
    """The result, on stdout: scan by scan, then in sentences."""
    from PESemiSegLib.evaluation.before_after import case_lines

    for line in (*case_lines(adapted.verdict), *adapted.verdict.sentences):
        print(line)
    if adapted.page is not None:
        console.say(f"the page: {adapted.page}")
