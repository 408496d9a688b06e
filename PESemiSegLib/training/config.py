"""The settings of a training run: frozen, self-validating dataclasses, and their YAML form."""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from PESemiSegLib.cohorts.sampling import SamplingConfig
from PESemiSegLib.errors import ConfigError
from PESemiSegLib.models.kinds import kind_named
from PESemiSegLib.networks.config import DiscriminatorConfig, NetworkConfig
from PESemiSegLib.training.plain import changed_part, from_plain, to_plain
from PESemiSegLib.training.settings import SemiConfig, require, split_strategy

OPTIMISERS = ("adamw", "adam", "sgd")
DECAYS = ("poly", "cosine")
PRECISIONS = ("auto", "fp32", "bf16")


@dataclass(frozen=True)
class OptimiserConfig:
    """One network's optimiser; the rate rises over the warm-up and falls with the progress, see `factor`."""

    kind: str = "adamw"
    lr: float = 2e-3
    weight_decay: float = 1e-2
    momentum: float = 0.9  # sgd
    betas: tuple[float, float] = (0.9, 0.99)  # adam, adamw
    warmup_iterations: int = 100
    decay: str = "poly"  # (1 - progress)^poly_power; or "cosine", half a wave
    poly_power: float = 0.9
    lr_end: float = 0.0  # where the rate ends
    clip_norm: float = 5.0  # largest gradient norm; 0 = no clipping

    def __post_init__(self) -> None:
        require(self.decay in DECAYS, f"decay '{self.decay}' is not one of {', '.join(DECAYS)}")
        require(0 <= self.lr_end <= self.lr, "lr_end must lie within 0 to lr")
        require(self.kind in OPTIMISERS, f"optimiser '{self.kind}' is not one of {', '.join(OPTIMISERS)}")
        require(0 < self.lr < 10, f"lr={self.lr} must lie within 0 to 10")
        require(
            min(self.weight_decay, self.warmup_iterations, self.poly_power, self.clip_norm) >= 0,
            "negative setting",
        )

    def factor(self, progress: float) -> float:
        """The rate at this share of the run, 0 to 1, as a share of `lr`, but for the warm-up."""
        if self.decay == "cosine":
            share = 0.5 * (1.0 + math.cos(math.pi * progress))
        else:
            share = (1.0 - progress) ** self.poly_power
        end = self.lr_end / self.lr
        return end + (1.0 - end) * share


@dataclass(frozen=True)
class LossConfig:
    """Weights of L_seg and the guards of L_D (method 1A.5, 1A.9)."""

    bce: float = 0.5
    dice: float = 1.0
    dice_over: str = (
        "sample"  # "sample" as published; "batch" pools the crops, so that false marks cost Dice too
    )
    focal_gamma: float = 0.0  # of the pixel term: each pixel counts (1 - p)^gamma, p that of its own label
    real_label: float = 1.0  # label smoothing of the annotator's masks; 0.9 is the usual guard
    soften_mask_pixels: float = 0.0  # sigma of the blur that keeps D from telling 0/1 from soft values
    background_weight: float = 1.0  # weight in L_D of pixels far from every mark
    centres: float = 0.0  # weight of CPMN's dense centre loss on the features before the head
    centres_start: float = 0.0  # share of the run before it; features that tell nothing apart yet collapse

    def __post_init__(self) -> None:
        require(self.dice_over in ("sample", "batch"), "dice_over is 'sample' or 'batch'")
        require(
            min(self.bce, self.dice) >= 0 and self.bce + self.dice > 0,
            "bce and dice must be >= 0, not both 0",
        )
        require(0 <= self.focal_gamma <= 10, "focal_gamma must lie within 0 to 10")
        require(self.centres >= 0, "centres must be >= 0")
        require(0 <= self.centres_start < 1, "centres_start must lie within 0 and below 1")
        require(0.5 < self.real_label <= 1, "real_label must lie within 0.5 to 1")
        require(0 <= self.soften_mask_pixels <= 5, "soften_mask_pixels must lie within 0 to 5")
        require(0 <= self.background_weight <= 1, "background_weight must lie within 0 to 1")

    def centres_at(self, progress: float) -> float:
        """The weight of the dense centre loss once this share of the run is behind."""
        return self.centres if progress >= self.centres_start else 0.0


@dataclass(frozen=True)
class LessonsConfig:
    """D's lessons alone, on the averaged segmenter, which stands still; 0 iterations = none."""

    iterations: int = 0
    most_time: float = 0.15  # as a share of `max_minutes`, where that is set; the lessons come on top of it
    batch: int = 2
    crop: int = 256  # larger than in training: D standardises its features over what it sees

    def __post_init__(self) -> None:
        require(
            self.iterations >= 0 and self.batch >= 1 and self.most_time >= 0,
            "D's lessons need iterations >= 0, batch >= 1 and most_time >= 0",
        )
        require(self.crop >= 32 and self.crop % 16 == 0, "their crop is a multiple of 16 from 32")


@dataclass(frozen=True)
class TrainConfig:
    """Everything that decides a run besides the data."""

    name: str = "custom"
    strategy: str = "supervised"  # see `settings.split_strategy`
    kind: str = "emboli"  # what is marked, see `models.kinds`
    network: NetworkConfig = field(default_factory=NetworkConfig)
    discriminator: DiscriminatorConfig = field(default_factory=DiscriminatorConfig)
    sampling: SamplingConfig = field(default_factory=SamplingConfig)
    losses: LossConfig = field(default_factory=LossConfig)
    semi: SemiConfig = field(default_factory=SemiConfig)
    segmenter_optimiser: OptimiserConfig = field(default_factory=OptimiserConfig)
    discriminator_optimiser: OptimiserConfig = field(
        default_factory=lambda: OptimiserConfig("adam", lr=1e-4, weight_decay=0.0)
    )
    spacing_mm: float = 0.9  # in-plane
    iterations: int = 3000
    max_minutes: float = 0.0  # 0 = no limit; else the schedule ends when the time does
    discriminator_start: float = 0.0  # share of the run after which D is trained
    discriminator_every: int = 1  # iterations per step of D
    head_start: LessonsConfig = field(default_factory=LessonsConfig)  # before the segmenter's first step
    finish: LessonsConfig = field(default_factory=LessonsConfig)  # after its last one
    ema_decay: float = 0.0  # 0 = the plain weights are exported
    precision: str = "fp32"  # of the forward passes; auto: bf16 where the device computes in it
    validate_every: int = 250
    validation_batches: int = 16
    checkpoint_every: int = 250
    keep: str = "last"  # what is exported: the "last" weights, or those of the "best" validation Dice
    seed: int = 0

    def __post_init__(self) -> None:
        require(0.2 <= self.spacing_mm <= 5, f"spacing_mm={self.spacing_mm} must lie within 0.2 to 5")
        require(
            self.iterations >= 1 and self.max_minutes >= 0, "iterations must be >= 1 and max_minutes >= 0"
        )
        require(0 <= self.discriminator_start <= 1, "discriminator_start is a share of the run, 0 to 1")
        require(
            min(self.discriminator_every, self.validate_every, self.checkpoint_every, self.validation_batches)
            >= 1,
            "discriminator_every, validate_every, checkpoint_every and validation_batches must be >= 1",
        )
        require(0 <= self.ema_decay < 1, "ema_decay must lie within 0 to 1")
        require(self.keep in ("last", "best"), "keep is 'last' or 'best'")
        require(self.precision in PRECISIONS, f"precision is one of {', '.join(PRECISIONS)}")
        require(
            self.network.context == self.sampling.context,
            f"network.context={self.network.context} and sampling.context={self.sampling.context} differ",
        )
        kind = kind_named(self.kind)
        classes = kind.classes
        require(
            self.network.classes == self.sampling.classes == classes,
            f"the kind '{self.kind}' has {classes} classes; set network.classes and sampling.classes to it",
        )
        apart = (kind.judged, split_strategy(self.strategy) != ("cpmn", False), self.network.volume is None)
        require(
            len(set(apart)) == 1,
            "the strategy cpmn, the kind identification and the network cpmn belong together",
        )
        require(
            not self.losses.centres or self.network.feature_stride == self.network.outputs == 1,
            "losses.centres needs features of the image's size and one class beside background",
        )
        self._check_strategy()

    def _check_strategy(self) -> None:
        own, mixed = split_strategy(self.strategy)
        require(
            not (own == "unet_pl" and mixed), "unet_pl reads each unlabelled slice once: mix it with none"
        )
        volume = self.network.volume
        require(
            volume is None or self.semi.cpmn.pathways == "one" or volume.phase == "noncontrast",
            "two pathways are trained for scans without contrast medium; set network.volume.phase to it",
        )
        healthy = kind_named(self.kind).healthy
        require(
            self.network.architecture != "stitchnet" or kind_named(self.kind).segments[-1:] == healthy[-1:],
            f"the network stitchnet needs a kind whose last class is healthy tissue; '{self.kind}' is none",
        )
        require(
            own != "stitchnet" or self.network.architecture == "stitchnet",
            f"the strategy stitchnet trains the network stitchnet, not '{self.network.architecture}'",
        )
        if own.startswith("adversarial"):
            kind = "mask_only" if own == "adversarial_mask" else "feature"
            require(
                self.discriminator.kind == kind,
                f"the strategy {own} needs a discriminator of kind '{kind}', not '{self.discriminator.kind}'",
            )
            begin = min(self.semi.adversarial.adversarial_start, self.semi.adversarial.semi_start)
            require(
                self.discriminator_start <= begin,
                "discriminator_start must not lie behind adversarial_start and semi_start",
            )

    @property
    def needs_unlabelled(self) -> bool:
        """Whether the strategy cannot do without unlabelled scans."""
        own, mixed = split_strategy(self.strategy)
        alone = own.startswith("adversarial") and self.semi.adversarial.labelled_first
        return self.takes_unlabelled and not ((alone or own == "stitchnet") and not mixed)

    @property
    def takes_unlabelled(self) -> bool:
        """Whether the strategy learns from unlabelled scans."""
        own, mixed = split_strategy(self.strategy)
        return mixed or own not in ("supervised", "cpmn")

    def with_overrides(self, **changes: Any) -> TrainConfig:
        """A copy with the changes that are not None; `width`, `context`, `trust` reach into their parts.

        A mapping changes some settings of a part: `finish={"iterations": 0}`. Raises ConfigError.
        """
        changes = {n: changed_part(self, n, value) for n, value in changes.items() if value is not None}
        network, sampling = changes.pop("network", self.network), changes.pop("sampling", self.sampling)
        if "width" in changes:
            network = replace(network, width=changes.pop("width"))
        if "context" in changes:
            network = replace(network, context=changes["context"])
            sampling = replace(sampling, context=changes.pop("context"))
        semi = changes.pop("semi", self.semi)
        if "trust" in changes:
            semi = replace(semi, adversarial=replace(semi.adversarial, trust=changes.pop("trust")))
        return replace(self, network=network, sampling=sampling, semi=semi, **changes)


def write_yaml(config: TrainConfig, path: Path) -> None:
    """Write the settings as YAML, in the order of the fields."""
    import yaml

    path.write_text(yaml.safe_dump(to_plain(config), sort_keys=False), encoding="utf-8")


def read_yaml(path: Path) -> TrainConfig:
    """Read settings; raises ConfigError for files that are not there, not YAML, or not a run's settings."""
    import yaml

    try:
        values = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise ConfigError(f"The settings {path.name} cannot be read: {error}") from error
    return from_plain(TrainConfig, values)
