"""What StitchNet's strategy can be told."""

from __future__ import annotations

from dataclasses import dataclass

from PESemiSegLib.training.scheduled import Scheduled, require

LIKELIHOODS = ("bernoulli", "beta", "gaussian")


@dataclass(frozen=True)
class StitchNetConfig(Scheduled):
    """The bound's parts and weights (methods 1C); the defaults are those of the later publication's code.

    The report: Bernoulli, supervised_weight 0. start, ramp, weight: of the bound of unlabelled crops.
    """

    start: float = 0.0
    ramp: float = 0.0
    likelihood: str = "beta"  # of grey values given a style
    labelled_weight: float = 1.0  # of all terms of labelled crops; 0 is the report's run without labels
    supervised_weight: float = 100.0  # of the focal loss on labelled crops, which stands beside the bound
    focal_gamma: float = 2.0
    kl_warmup: float = 0.0  # share of the run over which the divergences rise to their weight of 1
    free_bits: float = 0.0  # per latent channel and position, that its divergence may hold for nothing

    def __post_init__(self) -> None:
        super().__post_init__()
        require(self.likelihood in LIKELIHOODS, f"stitchnet.likelihood is one of {', '.join(LIKELIHOODS)}")
        require(
            min(self.labelled_weight, self.supervised_weight, self.focal_gamma, self.free_bits) >= 0,
            "stitchnet's labelled_weight, supervised_weight, focal_gamma and free_bits must be >= 0",
        )
        require(0 <= self.kl_warmup <= 1, "stitchnet.kl_warmup is a share of the run, 0 to 1")

    def divergence_weight(self, progress: float) -> float:
        """Of the divergences: from 0 to 1 in a straight line over the warm-up."""
        return 1.0 if self.kl_warmup <= 0 else min(1.0, progress / self.kl_warmup)
