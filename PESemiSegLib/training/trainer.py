"""The training loop: one step per iteration, validation, health, checkpoints, and an orderly stop."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from PESemiSegLib.cohorts.prefetch import Prefetcher
from PESemiSegLib.cohorts.replay import COLUMNS, worst_spots
from PESemiSegLib.cohorts.sampling import (
    ImageBatch,
    LabelledBatch,
    LabelledCrops,
    LabelledSource,
)
from PESemiSegLib.errors import Cancelled, InputError
from PESemiSegLib.training import parallel
from PESemiSegLib.training.checkpoint import load_checkpoint, save_checkpoint, settings_at
from PESemiSegLib.training.config import TrainConfig
from PESemiSegLib.training.crops import Crops, placed
from PESemiSegLib.training.draws import seeded
from PESemiSegLib.training.ema import WeightAverage
from PESemiSegLib.training.finish import When, lessons, settings_of
from PESemiSegLib.training.health import HealthMonitor
from PESemiSegLib.training.keep import Best, part
from PESemiSegLib.training.layout import module_on
from PESemiSegLib.training.learner import Learner, NonFiniteLoss
from PESemiSegLib.training.plain import to_plain
from PESemiSegLib.training.start import Networks, fresh_networks
from PESemiSegLib.training.strategies import build_strategy
from PESemiSegLib.training.strategies.base import Clock
from PESemiSegLib.training.unread import unread, without_effect
from PESemiSegLib.training.validation import crop_figures

_LOG = logging.getLogger(__name__)
CHECKPOINT = "checkpoint.safetensors"
_STRETCH = 50  # iterations after which the list of hard spots is renewed, for all processes at once

Event = dict[str, Any]
"""`kind` (timeline, step, lesson, validation, health, checkpoint, done) and its values."""


class Trainer:
    """Owns the networks and the state of one run; `run()` goes on from where the state is.

    Args:
        config: all settings. crops: the sampled data. folder: where checkpoints go.
        networks: segmenter and discriminator to start from (they are changed); None: fresh ones.
        base: hash of the package they came from, which a run that goes on must have come from too.
        listen: called with every Event, for logs and progress. cancelled: asked after every step; True saves
            and raises Cancelled. enough: asked likewise; True ends the run as if its time were up.
    """

    def __init__(
        self,
        config: TrainConfig,
        crops: Crops,
        folder: Path,
        *,
        networks: Networks | None = None,
        base: str = "",
        device: str = "cpu",
        listen: Callable[[Event], None] = lambda event: None,
        cancelled: Callable[[], bool] = lambda: False,
        enough: Callable[[], bool] = lambda: False,
    ) -> None:
        self.config, self.crops, self.folder, self.base = config, crops, folder, base
        self.device = torch.device(device)
        self._listen, self._cancelled, self._enough = listen, cancelled, enough
        segmenter, discriminator = networks or fresh_networks(config)
        self.segmenter = Learner("segmenter", module_on(self.device, segmenter), config.segmenter_optimiser)
        self.discriminator = None
        if discriminator is not None:
            judge = module_on(self.device, discriminator)
            self.discriminator = Learner("discriminator", judge, config.discriminator_optimiser)
        self.strategy = build_strategy(self.segmenter, self.discriminator, config)
        self.average = WeightAverage(self.segmenter.module, config.ema_decay)
        self.health = HealthMonitor()
        self._seen = np.zeros((0, COLUMNS), np.float32)  # spots scored since the list was renewed
        self.iteration = 0
        self.seconds = 0.0  # of the iterations: what `max_minutes` is about
        self.taught: dict[When, int] = {"head_start": 0, "finish": 0}  # lessons of D alone
        self.taught_s: dict[When, float] = {"head_start": 0.0, "finish": 0.0}  # their time, beside `seconds`
        self.spent_s = 0.0  # of all iterations and all lessons
        self.best = Best(folder)
        self.stopped = False  # by `enough`
        self._look_is_due = False  # who stopped the run at that moment did not wait for it

    def run(self) -> None:
        """Train until the iterations or the minutes are used up, then give D its last lessons.

        Raises NonFiniteLoss (the last checkpoint stays as it was) and Cancelled (after saving one).
        """
        self._say("timeline", sentences=self.timeline(), iterations=self.config.iterations)
        if not self.iteration:
            self._teach("head_start")
        if self._look_is_due:
            self._look()
        if self._progress() < 1.0:
            self._train()
        if any(not len(pool) for pool in self.strategy.pools.values()):
            _LOG.warning(
                "The run has ended before any pseudo label was given: it learnt as supervised ones do."
            )
        self._teach("finish")
        self._say("done", seconds=self.spent_s)

    def timeline(self) -> list[str]:
        """Sentences on what comes when, and one on settings that nothing here looks at."""
        idle, last = without_effect(self.config), self.config.finish.iterations
        told = self.strategy.timeline()
        if self.discriminator is not None and "finish" not in unread(self.config):
            told.append(f"D alone, for up to {last:,} steps after the last iteration")
        return [*told, *([f"without effect here: {', '.join(idle)}"] if idle else [])]

    def _train(self) -> None:
        began = time.monotonic() - self.seconds
        while self._progress() < 1.0 and not self.stopped:
            end = min(self.config.iterations, self.iteration - self.iteration % _STRETCH + _STRETCH)
            with Prefetcher(self.draw, self.iteration, end) as batches:
                for batch in batches:
                    self._step(*batch)
                    before, (self.seconds, stop) = self.seconds, self._watch_clock(began)
                    self.spent_s += self.seconds - before
                    over = self.stopped or self._progress() >= 1.0
                    if self.iteration % _STRETCH == 0:
                        self._renew_hard_spots()
                    self._look_is_due = over or self.iteration % self.config.validate_every == 0
                    if stop:  # at once: validation takes longer than who stops a run waits
                        self._give_way()
                    if self._look_is_due:
                        self._look()
                    if over or self.iteration % self.config.checkpoint_every == 0:
                        self.save()
                    if over:
                        break

    def _renew_hard_spots(self) -> None:
        if self.config.sampling.replay > 0:
            self.crops.train.hard.merge(parallel.gather(self._seen))
            self._seen = self._seen[:0]

    def _teach(self, when: When) -> None:
        """D alone, on the averaged segmenter; see `training.finish`."""
        done, wanted = self.taught[when], settings_of(self.config, when).iterations
        if done >= wanted or self.discriminator is None or when in unread(self.config):
            return
        began, crops = time.monotonic() - self.taught_s[when], self.crops.train
        assert isinstance(crops, LabelledCrops)  # where there is a discriminator, slices are read
        spent = partial(self.taught_s.__getitem__, when)
        with self.average.applied() as segmenter:
            for figures in lessons(self.config, when, segmenter, self.discriminator, crops, done, spent):
                self.taught[when] += 1
                self.health.add(figures)
                self._say("lesson", number=self.taught[when], of=wanted, **figures)
                before, (self.taught_s[when], stop) = self.taught_s[when], self._watch_clock(began)
                self.spent_s += self.taught_s[when] - before
                if stop:
                    self._give_way()
                if self.taught[when] % self.config.checkpoint_every == 0:
                    self._keep()
                if self.stopped and when == "head_start":
                    break
        self.taught[when] = wanted  # also where their time was up: a run that is resumed goes on behind them
        self._keep()

    def _keep(self) -> None:
        self._report_health(lessons=True)
        self.save()

    def _watch_clock(self, began: float) -> tuple[float, bool]:
        """Seconds since then, and whether somebody wants to stop here and go on another time."""
        wishes = float(self._cancelled()), float(self._enough())
        seconds, stop, enough = parallel.agree(time.monotonic() - began, *wishes)
        self.stopped = self.stopped or bool(enough)
        return seconds, bool(stop)

    def _give_way(self) -> None:
        self.save()
        raise Cancelled(f"Training stopped at iteration {self.iteration}; --resume goes on from there.")

    def _step(self, labelled: LabelledBatch, unlabelled: ImageBatch | None) -> None:
        clock = Clock(self.iteration, self._progress())
        rates = {n: p.schedule(clock.iteration, clock.progress) for n, p in self.strategy.learners.items()}
        try:
            with seeded(self.config.seed, clock.iteration, self.device):
                outcome = self.strategy.step(*placed(labelled, unlabelled, self.device), clock)
        except NonFiniteLoss as error:
            _LOG.error("%s Iteration %d; the last checkpoint is kept.", error, self.iteration)
            raise
        if self.config.sampling.replay > 0 and outcome.probability is not None:
            probability = outcome.probability.cpu().numpy()
            spots = worst_spots(probability, labelled.mask, labelled.volume, labelled.z, labelled.transform)
            self._seen = np.concatenate([self._seen, spots])
        self.iteration += 1
        # Lessons of a run that now goes on were about another segmenter.
        self.taught["finish"], self.taught_s["finish"] = 0, 0.0
        self.average.update(self.iteration)
        self.health.add(outcome.figures)
        self._say("step", lr=rates["segmenter"], **outcome.figures)

    def _look(self) -> None:
        """Validation figures and the health report."""
        self._look_is_due = False
        if self.crops.validation is not None and parallel.rank() == 0:
            figures = self.validate(self.crops.validation)
            self._say("validation", **figures)
            if self.config.keep == "best":
                judge = None if self.discriminator is None else self.discriminator.module
                with self.average.applied() as segmenter:
                    self.best.offer(figures["dice"], segmenter, judge, self.iteration)
        self._report_health()

    def _report_health(self, *, lessons: bool = False) -> None:
        report = self.health.report(lessons=lessons)
        if report.figures:
            self._say("health", figures=report.figures, sentences=report.sentences, warnings=report.warnings)

    def validate(self, crops: LabelledSource) -> dict[str, float]:
        """Figures of fixed crops with the averaged weights, see `crop_figures`."""
        with self.average.applied() as segmenter:
            return crop_figures(segmenter, crops, self.config.validation_batches, self.device)

    def save(self) -> None:
        """Write the checkpoint of the present iteration; all processes call it, the first one writes."""
        seen = parallel.gather(self._seen)
        if parallel.rank():
            return
        tensors: dict[str, Tensor] = {f"average/{n}": v for n, v in self.average.state().items()}
        tensors["hard/list"] = torch.from_numpy(self.crops.train.hard.state())
        tensors["hard/seen"] = torch.from_numpy(seen)
        scalars: dict[str, Any] = {"iteration": self.iteration, "seconds": self.seconds}
        scalars |= {"taught": self.taught, "taught_s": self.taught_s, "spent_s": self.spent_s}
        scalars |= {"stopped": self.stopped, "look_is_due": self._look_is_due}
        scalars |= {"config": to_plain(self.config), "source": self.crops.source, "base": self.base}
        scalars |= {"best_dice": self.best.dice, "health": self.health.state()}
        for name, learner in self.strategy.learners.items():
            values, rest = learner.state()
            tensors |= {f"{name}/{n}": v for n, v in values.items()}
            scalars[name] = rest
        for name, kept in (self.strategy.averages | self.strategy.pools).items():
            tensors |= {f"{name}/{n}": v for n, v in kept.state().items()}
        save_checkpoint(self.folder / CHECKPOINT, tensors, scalars)
        self._say("checkpoint")

    def resume(self) -> None:
        """Go back to the folder's checkpoint; raises InputError for another run's."""
        then = settings_at(self.folder / CHECKPOINT, self.config, self.crops.source, self.base)
        tensors, scalars = load_checkpoint(self.folder / CHECKPOINT)
        kept_beside = self.strategy.averages | self.strategy.pools
        own = {*self.strategy.learners, *(name for name, kept in kept_beside.items() if kept.state())}
        saved = {name.partition("/")[0] for name in tensors} - {"average", "hard"}
        if saved != own:
            raise InputError(
                f"The checkpoint in {self.folder.name} holds {', '.join(sorted(saved))}; these settings "
                f"train {', '.join(sorted(own))}. Start a new run."
            )
        for name, learner in self.strategy.learners.items():
            learner.restore(part(tensors, name), scalars[name])
        for name, kept in kept_beside.items():
            kept.restore(part(tensors, name))
        self.average.restore(part(tensors, "average"))
        self.crops.train.hard.restore(tensors["hard/list"].numpy())
        seen = tensors["hard/seen"].numpy()  # one process after another
        self._seen = np.array_split(seen, parallel.size())[parallel.rank()]
        self.iteration, self.seconds = int(scalars["iteration"]), float(scalars["seconds"])
        self.taught |= scalars.get("taught", {"finish": int(scalars.get("finished", 0))})
        self.taught_s |= scalars.get("taught_s", {})
        self.spent_s = float(scalars.get("spent_s", self.seconds))
        self._look_is_due = bool(scalars.get("look_is_due", False))
        now = self.config
        same_end = (then.iterations, then.max_minutes) == (now.iterations, now.max_minutes)
        self.stopped = bool(scalars.get("stopped", False)) and same_end
        self.best.dice = float(scalars.get("best_dice", -1.0))
        self.health.restore(scalars.get("health", {}))

    def _progress(self) -> float:
        share = self.iteration / self.config.iterations
        minutes = self.config.max_minutes
        return min(1.0, max(share, self.seconds / (60.0 * minutes)) if minutes > 0 else share)

    def draw(self, iteration: int) -> tuple[LabelledBatch, ImageBatch | None]:
        """The crops of an iteration, for this process."""
        processes, rank, unlabelled = parallel.size(), parallel.rank(), None
        wanted = self.strategy.unlabelled_batch(iteration)
        if self.crops.unlabelled is not None and wanted is not None:
            unlabelled = self.crops.unlabelled.batch(wanted * processes + rank)
        return self.crops.train.batch(iteration * processes + rank), unlabelled

    def _say(self, kind: str, **values: Any) -> None:
        if parallel.rank() == 0:
            self._listen({"kind": kind, "iteration": self.iteration, "seconds": self.seconds, **values})
