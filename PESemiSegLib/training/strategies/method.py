"""What the strategies share: joint passes, L_seg, the discriminator beside, random draws, one descent."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from PESemiSegLib.networks.outputs import decided, foreground, probabilities
from PESemiSegLib.training.config import TrainConfig
from PESemiSegLib.training.draws import seed_of
from PESemiSegLib.training.ema import WeightAverage
from PESemiSegLib.training.finish import teach
from PESemiSegLib.training.layout import in_bfloat16
from PESemiSegLib.training.learner import Learner
from PESemiSegLib.training.losses import segmentation_loss
from PESemiSegLib.training.losses_cpmn import centre_loss
from PESemiSegLib.training.pool import Pool
from PESemiSegLib.training.settings import Scheduled
from PESemiSegLib.training.strategies.base import Clock, ImageTensors, LabelledTensors, Outcome


@dataclass(frozen=True)
class View:
    """What the segmenter says of a batch: logits (B, outputs, H, W) and features before the head, float32."""

    logits: Tensor
    features: Tensor

    @property
    def probability(self) -> Tensor:
        """Sigmoid or softmax of the logits, without gradient."""
        return probabilities(self.logits.detach())


class Method:
    """Base of the strategies. A subclass gives `semi_step` and the settings of its schedule.

    Before the schedule begins, and without unlabelled crops, a step is that of the supervised strategy.
    """

    def __init__(self, segmenter: Learner, discriminator: Learner | None, config: TrainConfig) -> None:
        self.learners = {"segmenter": segmenter}
        if discriminator is not None:  # of a kind that is judged
            self.learners["discriminator"] = discriminator
        self.averages: dict[str, WeightAverage] = {}
        self.pools: dict[str, Pool] = {}
        self._config = config
        losses = config.losses
        self.loss = partial(
            segmentation_loss,
            bce=losses.bce,
            dice=losses.dice,
            over=losses.dice_over,
            focal_gamma=losses.focal_gamma,
        )

    @property
    def schedule(self) -> Scheduled:
        """When the unlabelled term begins, and its weight."""
        return Scheduled(start=1.0, ramp=0.0, weight=0.0)

    def timeline(self) -> list[str]:
        """See Strategy."""
        start, every = self._config.discriminator_start, self._config.discriminator_every
        losses, pixels = self._config.losses, "BCE" if self._config.network.outputs == 1 else "cross-entropy"
        pixels = f"focal {pixels}" if losses.focal_gamma else pixels
        weighted = [(losses.bce, pixels), (losses.dice, "Dice")]
        parts = [f"{weight:g} {name}" if weight != 1 else name for weight, name in weighted if weight]
        return [
            f"L_seg ({' + '.join(parts)}) on labelled crops from the first iteration",
            f"L_D (discriminator, detached features) {self.when(start)}, every {every} iterations",
        ]

    def when(self, share: float) -> str:
        """A share of the run as "from iteration 1,000"; with a limit of time, that is the latest."""
        if share <= 0:
            return "from the first iteration"
        late = " at the latest" if self._config.max_minutes > 0 else ""
        return f"from iteration {round(share * self._config.iterations):,}{late} ({share:.0%} of the run)"

    def unlabelled_batch(self, iteration: int) -> int | None:
        """See Strategy: another one for every step."""
        return iteration

    def step(self, labelled: LabelledTensors, unlabelled: ImageTensors | None, clock: Clock) -> Outcome:
        """See Strategy."""
        weight = self.schedule.factor(clock.progress)
        if unlabelled is None or weight <= 0:
            outcome = self.supervised_step(labelled, clock)
        else:
            outcome = self.semi_step(labelled, unlabelled, weight, clock)
        for average in self.averages.values():
            average.update(clock.iteration + 1)
        return outcome

    def supervised_step(self, labelled: LabelledTensors, clock: Clock) -> Outcome:
        """L = L_seg(x_l), and D beside."""
        (view,) = self.forward(labelled.image)
        terms, figures = {"L_seg": self.known_loss(view, labelled)}, {}
        if weight := self._config.losses.centres_at(clock.progress):
            distance = centre_loss(view.features, labelled.mask)
            terms["L_disc"], figures["L_disc"] = weight * distance, float(distance.detach())
        return self.conclude(labelled, view, terms, figures, clock)

    def semi_step(
        self, labelled: LabelledTensors, unlabelled: ImageTensors, weight: float, clock: Clock
    ) -> Outcome:
        """The step with unlabelled crops, whose term has this weight now."""
        raise NotImplementedError

    def forward(self, *images: Tensor, module: nn.Module | None = None) -> list[View]:
        """One joint pass, so that all batches are normalised by the same statistics; one View per batch."""
        image = images[0] if len(images) == 1 else torch.cat(images)
        module = self.learners["segmenter"].module if module is None else module
        with self.precision(image.device.type):
            logits, features = module.forward_features(image)  # type: ignore[operator]
        sizes = [len(part) for part in images]
        pairs = zip(logits.float().split(sizes), features.float().split(sizes), strict=True)
        return [View(*pair) for pair in pairs]

    def precision(self, device: str) -> torch.autocast:
        """Autocast to bfloat16 where the settings ask for it."""
        return torch.autocast(device, torch.bfloat16, enabled=in_bfloat16(self._config.precision, device))

    @torch.no_grad()
    def read(self, teacher: WeightAverage, image: Tensor) -> Tensor:
        """The teacher's probability, channels as the logits, in evaluation mode and without gradient."""
        with teacher.applied() as module, self.precision(image.device.type):
            return probabilities(module(image).float())

    def known_loss(self, view: View, labelled: LabelledTensors) -> Tensor:
        """L_seg of the labelled crops, over the pixels whose label is known."""
        return self.loss(view.logits, labelled.mask, valid=labelled.valid)

    def draw(self, clock: Clock, device: torch.device, salt: int = 0) -> torch.Generator:
        """A generator for this iteration and process: a resumed run draws the same."""
        return torch.Generator(device).manual_seed(seed_of(self._config.seed, clock.iteration, salt))

    def conclude(
        self,
        labelled: LabelledTensors,
        view: View | None,
        terms: dict[str, Tensor],
        figures: dict[str, float],
        clock: Clock,
        more_fakes: tuple[Tensor, Tensor] | None = None,
    ) -> Outcome:
        """Descend the sum of the (weighted) terms, then give D its turn.

        view: of the labelled crops; None where the step did not read them: D then reads them by itself.
        more_fakes: see `teach`.
        """
        norm = self.learners["segmenter"].descend(terms)
        own = len(labelled.image) - labelled.mixed
        figures = {name: float(term.detach()) for name, term in terms.items()} | figures
        figures["gradient_norm"] = norm
        due = clock.progress >= self._config.discriminator_start
        if due and clock.iteration % self._config.discriminator_every == 0:
            if view is None:
                view = self._look(labelled.image[:own])
            figures |= teach(
                self.learners["discriminator"],
                self._config.losses,
                labelled.mask[:own],
                view.probability[:own],
                view.features.detach()[:own],
                more_fakes=more_fakes,
            )
        return Outcome(figures, None if view is None else view.probability[:own])

    @torch.no_grad()
    def _look(self, image: Tensor) -> View:
        module = self.learners["segmenter"].module
        module.eval()
        try:
            (view,) = self.forward(image)
        finally:
            module.train()
        return view


def unlabelled_figures(probability: Tensor, counted: Tensor, name: str) -> dict[str, float]:
    """Of unlabelled crops: what share is marked, and what share of pixels and of marked pixels is counted.

    probability: as many channels as the logits; counted: 0/1, (B, 1, H, W); name: "trusted" by D, or "sure"
    by the network itself.
    """
    marked = foreground(decided(probability, 0.5)).to(counted.dtype)
    figures = {
        "positive_fraction_unlabelled": float(marked.mean()),
        f"{name}_share": float(counted.mean()),
    }
    pixels = float(marked.sum())
    if pixels:
        figures[f"{name}_positive_share"] = float((counted * marked).sum()) / pixels
    return figures


@contextmanager
def frozen(module: nn.Module) -> Iterator[Any]:
    """The module as a fixed function: gradients pass through it and none stay in it."""
    learning = [p for p in module.parameters() if p.requires_grad]
    for parameter in learning:
        parameter.requires_grad_(False)
    try:
        yield module
    finally:
        for parameter in learning:
            parameter.requires_grad_(True)
