"""`pesemiseg train`: from a manifest to a model package."""

from __future__ import annotations

import shlex
import sys
import tempfile
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from PESemiSegLib.cli import console

if TYPE_CHECKING:
    from PESemiSegLib.training.config import TrainConfig
    from PESemiSegLib.training.rehearsal import Rehearsal
    from PESemiSegLib.training.run import RunOptions


def train(
    output: Annotated[
        Path, typer.Option("-o", "--output", help="Folder of the run; the model is RUN/model.")
    ],
    manifest: Annotated[Path | None, typer.Option(help="CSV of cases; see also --phantom.")] = None,
    phantom: Annotated[
        list[Path] | None, typer.Option(help="Folder that `pesemiseg phantom` wrote; may be given often.")
    ] = None,
    unlabelled: Annotated[
        list[Path] | None,
        typer.Option(help="Folder or CSV of unlabelled scans, beside the labelled ones; may be given often."),
    ] = None,
    strategy: Annotated[
        str | None,
        typer.Option(
            help="supervised, adversarial_feature (the paper's), adversarial_mask, pseudo_label, "
            "mean_teacher, cps, fixmatch, unimatch or bcp; '+cross_site_mix' may be added. unet_pl: pseudo "
            "labels that grow, see its preset."
        ),
    ] = None,
    base: Annotated[
        str | None,
        typer.Option(help="Model to start from (the second stage): a name in the store, a folder or a .zip."),
    ] = None,
    preset: Annotated[
        str,
        typer.Option(
            help="cpu_demo, modern, paper, mask_only; rows of the paper's Table 1 such as unet2d; tan2022 "
            "(aorta and pulmonary artery); unet_pl, stitchnet_seed and stitchnet_beta (lung opacities); cpmn "
            "(pairs of scans, for those without contrast agent); with _small for two CPU cores. "
            "Docs/training.md has them all."
        ),
    ] = "cpu_demo",
    config: Annotated[Path | None, typer.Option(help="YAML settings, in place of a preset.")] = None,
    iterations: Annotated[int | None, typer.Option(min=1)] = None,
    minutes: Annotated[float | None, typer.Option(min=0, help="End the schedule after this time.")] = None,
    seed: Annotated[int | None, typer.Option(min=0)] = None,
    width: Annotated[int | None, typer.Option(min=1, help="Channels of the finest branch.")] = None,
    device: Annotated[str, typer.Option(help="cpu, cuda or cuda:N.")] = "cpu",
    processes: Annotated[int, typer.Option(min=1, help="Train with this many processes side by side.")] = 1,
    threads: Annotated[int, typer.Option(min=0, help="Threads of each process; 0 lets torch choose.")] = 0,
    cache: Annotated[Path | None, typer.Option(help="Folder of the slice cache. Default: RUN/cache.")] = None,
    name: Annotated[str, typer.Option(help="Name of the model.")] = "custom",
    resume: Annotated[bool, typer.Option("--resume", help="Go on from the run's last checkpoint.")] = False,
    dry_run: Annotated[
        bool,
        typer.Option("--dry-run", help="Take two batches, tell time and memory, and leave nothing behind."),
    ] = False,
) -> None:
    """Train a segmenter, with a discriminator beside it, from labelled scans. Research use only."""
    from PESemiSegLib.errors import InputError
    from PESemiSegLib.models.kinds import kind_named
    from PESemiSegLib.models.store import Store
    from PESemiSegLib.training import parallel
    from PESemiSegLib.training.config import read_yaml
    from PESemiSegLib.training.finetune import settings_for
    from PESemiSegLib.training.gather import MANIFEST, gather
    from PESemiSegLib.training.presets import preset as preset_of
    from PESemiSegLib.training.presets import with_strategy
    from PESemiSegLib.training.rehearsal import rehearse
    from PESemiSegLib.training.run import RunOptions, check, prepare
    from PESemiSegLib.training.trainer import CHECKPOINT

    start = None if base is None else Store().find(base).path
    if config:
        settings = with_strategy(read_yaml(config), strategy)
    elif start:
        settings = settings_for(start, preset, strategy, stage="semi")
    else:
        settings = preset_of(preset, strategy=strategy)
    settings = settings.with_overrides(iterations=iterations, max_minutes=minutes, seed=seed, width=width)
    if (manifest is None) == (not phantom):
        raise InputError("Give either --manifest or --phantom.")
    if unlabelled and not settings.takes_unlabelled:
        raise InputError(
            f"The strategy {settings.strategy} reads no unlabelled scans; name another with "
            "--strategy, or leave --unlabelled out."
        )
    if processes > 1 and parallel.by_torchrun():
        raise InputError("torchrun starts the processes; leave --processes out.")
    if dry_run and (processes > 1 or parallel.by_torchrun()):
        raise InputError("A dry run takes one process; what each of several needs is the same.")

    def set_up(folder: Path = output) -> RunOptions:
        begun = (folder / CHECKPOINT).exists()
        options = RunOptions(
            manifest=manifest or folder / MANIFEST,
            folder=folder,
            cache=cache,
            resume=resume or (begun and parallel.restarted()),
            device=device,
            threads=threads,
            command=shlex.join(["pesemiseg", *(plain(argument) for argument in sys.argv[1:])]),
            name=name,
            base=start,
        )
        if phantom or unlabelled:
            cases = gather(
                phantom or [options.manifest],
                unlabelled or [],
                folder / "data" if unlabelled else folder,
                keep=begun,
                marks=kind_named(settings.kind).masks,
                accept=partial(check, settings, options),
                progress=tell_scan,
                fingerprints=not dry_run,
            )
            options = replace(options, manifest=cases)
        if not dry_run:
            prepare(settings, options, tell_cache, console.stopping)
        return options

    if dry_run:
        with tempfile.TemporaryDirectory(prefix="pesemiseg-") as spare:
            tell_rehearsal(rehearse(settings, set_up(Path(spare))))
        return

    with parallel.joined():
        options = parallel.from_first(set_up)
        if processes == 1:
            _work(settings, replace(options, device=parallel.own_device(device)))
        else:
            parallel.launch(_work, (settings, options), processes, output / ".meeting")


def _work(settings: TrainConfig, options: RunOptions) -> None:
    """What every process does; the first one talks and writes the model."""
    from PESemiSegLib.training import parallel
    from PESemiSegLib.training.run import export, train

    console.stop_gently()  # the trainer looks after every step, and saves a checkpoint first
    trainer = train(settings, options, RunTalk(settings.max_minutes), console.stopping)
    if parallel.rank() == 0:
        export(trainer, options, options.folder / "model")
        console.say(f"model written to {options.folder / 'model'} (research use only)")


class RunTalk:
    """Tells a run's events in plain lines: steps now and then, everything else as it comes."""

    def __init__(self, max_minutes: float) -> None:
        self._max_minutes = max_minutes
        self._total = 0

    def __call__(self, event: dict[str, Any]) -> None:
        kind, iteration = event["kind"], event["iteration"]
        if kind == "timeline":
            self._total = event["iterations"]
            for sentence in event["sentences"]:
                console.say(f"plan: {sentence}")
        elif kind == "step" and iteration % 50 == 0:
            left = event["seconds"] / iteration * (self._total - iteration)
            if self._max_minutes:
                left = min(left, 60 * self._max_minutes - event["seconds"])
            spoken = console.spoken_time(max(0.0, left))
            console.say(f"iteration {iteration}/{self._total}: L_seg {event['L_seg']:.3f}, {spoken} left")
        elif kind == "lesson" and event["number"] % 50 == 0:
            near = f", near marks {event['L_D_near']:.3f}" if "L_D_near" in event else ""
            console.say(f"discriminator alone {event['number']}/{event['of']}: L_D {event['L_D']:.3f}{near}")
        elif kind == "validation":
            names = ("dice", "sensitivity", "precision", "auc")
            figures = ", ".join(f"{name} {event[name]:.3f}" for name in names if name in event)
            console.say(f"iteration {iteration}, validation crops: {figures}")
        elif kind == "health":
            for sentence in event["sentences"]:
                console.say(f"  {sentence}")


def tell_rehearsal(found: Rehearsal) -> None:
    """Plan, patients, time and memory of a dry run."""
    for sentence in found.timeline:
        console.say(f"plan: {sentence}")
    for group, patients in found.patients.items():
        console.say(f"patients {group}: {patients}")
    memory = "" if found.memory_mb is None else f", {found.memory_mb:,.0f} MB of memory at most"
    spoken = console.spoken_time(3600 * found.hours)
    console.say(
        f"it fits: {found.seconds_per_iteration:.2f} s per iteration, about {spoken} for all of them{memory}"
    )


def tell_cache(done: int, total: int, what: str = "slice cache") -> None:
    """One line per volume; raises Cancelled when the user has asked to stop."""
    from PESemiSegLib.errors import Cancelled

    if console.stopping():
        raise Cancelled("stopped as asked")
    console.say(f"{what} {done}/{total}")


def tell_scan(done: int, total: int) -> None:
    """The same while scans are read for their fingerprints."""
    tell_cache(done, total, "scan")


def plain(argument: str) -> str:
    """Paths without the folders above them: cards travel, home folders should not."""
    return Path(argument).name if "/" in argument or "\\" in argument else argument
