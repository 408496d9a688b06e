"""U-Net+PL (Algorithm 1 of StitchNet's report): pseudo labels, once given, join the annotated for good."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from PESemiSegLib.networks.outputs import decided, foreground
from PESemiSegLib.training import parallel
from PESemiSegLib.training.config import TrainConfig
from PESemiSegLib.training.layout import tensor_on
from PESemiSegLib.training.learner import Learner
from PESemiSegLib.training.pool import Pool
from PESemiSegLib.training.settings_unet_pl import UNetPLConfig
from PESemiSegLib.training.strategies.base import Clock, ImageTensors, LabelledTensors, Outcome
from PESemiSegLib.training.strategies.method import Method

POOL = "pool"
_SALT = 17


class UNetPL(Method):
    """L = L_seg over crops of annotated and pseudo-labelled slices, each slice alike.

    A round reads K unlabelled crops, none a second time, with the network as it is, adds them with their
    likeliest classes to the pool, and is followed by fine-tuning on both. The pool stands for as many slices
    as it has crops, the annotated crops for as many as they are drawn from: that is how batches are mixed.
    Several processes label K crops each, and all hold the same pool.
    """

    def __init__(self, segmenter: Learner, discriminator: Learner | None, config: TrainConfig) -> None:
        super().__init__(segmenter, discriminator, config)
        self.pools[POOL] = Pool(config.sampling)

    @property
    def rounds(self) -> UNetPLConfig:
        """When rounds are, and how many pseudo labels in all."""
        return self._config.semi.unet_pl

    @property
    def images(self) -> int:
        """Pseudo labels of a round, those of all processes."""
        return self._config.semi.batch * parallel.size()

    def timeline(self) -> list[str]:
        """See Strategy."""
        images, iterations = self.images, self._config.iterations
        first, every = self.rounds.first(iterations), self.rounds.every(iterations, images)
        late = "; a limit of time that ends the run sooner leaves rounds out, or all of them"
        return [
            *super().timeline(),
            f"{images} pseudo-labelled crops join the annotated ones every {every} iterations from iteration "
            f"{first:,}, at most {self.rounds.max_pseudo:,}{late if self._config.max_minutes > 0 else ''}",
        ]

    def unlabelled_batch(self, iteration: int) -> int | None:
        """See Strategy: one batch per round, in turn."""
        return self.rounds.round_at(iteration, self._config.iterations, self.images)

    def step(self, labelled: LabelledTensors, unlabelled: ImageTensors | None, clock: Clock) -> Outcome:
        """See Strategy."""
        figures = {} if unlabelled is None else self._enlarge(unlabelled.image)
        batch = self._mixed(labelled, clock)
        (view,) = self.forward(batch.image)
        figures["pool"] = float(len(self.pools[POOL]))
        if batch.mixed:
            known = len(batch.image) - batch.mixed
            semi = self.loss(view.logits[known:].detach(), batch.mask[known:])
            figures["L_semi"] = float(semi)
        outcome = self.conclude(batch, view, {"L_seg": self.known_loss(view, batch)}, figures, clock)
        # Hard spots are sought in the crops as they were drawn, all of them.
        return replace(outcome, probability=None) if batch.mixed else outcome

    @torch.no_grad()
    def _enlarge(self, image: Tensor) -> dict[str, float]:
        """Label crops and put them, those of all processes, into the pool; what share is of which class."""
        pool, figures = self.pools[POOL], {}
        labels = np.zeros((len(image), *image.shape[2:]), np.uint8)
        if len(image):
            best = decided(self._look(image).logits)
            found = best.argmax(1) if best.shape[1] > 1 else best[:, 0]
            labels = found.to(torch.uint8).cpu().numpy()
            figures["positive_fraction_unlabelled"] = float(foreground(best).mean())
            if best.shape[1] > 1:
                shares = enumerate(best.mean((0, 2, 3)).tolist())
                figures |= {f"class_{value}_unlabelled": share for value, share in shares}
        images, labels = parallel.gather(image.cpu().numpy()), parallel.gather(labels)
        room = self.rounds.max_pseudo - len(pool)
        pool.add(images[:room], labels[:room])
        return figures

    def _mixed(self, labelled: LabelledTensors, clock: Clock) -> LabelledTensors:
        """The batch with crops of the pool in place of its last ones; one stays, for D to learn from."""
        pool, count = self.pools[POOL], len(labelled.image)
        rng = np.random.default_rng([self._config.seed, clock.iteration, _SALT])
        share = len(pool) / (len(pool) + max(1, labelled.slices))
        taken = min(count - 1, int(share * count + rng.random()))  # as many in all processes
        if not taken:
            return labelled
        device, kept = labelled.image.device, count - taken
        own = rng.spawn(parallel.size())[parallel.rank()]
        image, mask = (tensor_on(device, part) for part in pool.draw(taken, own))
        valid = labelled.valid
        return LabelledTensors(
            torch.cat([labelled.image[:kept], image]),
            torch.cat([labelled.mask[:kept], mask]),
            None if valid is None else torch.cat([valid[:kept], torch.ones_like(mask[:, :1])]),
            mixed=taken,
            slices=labelled.slices,
        )
