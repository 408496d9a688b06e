"""What each strategy can be told: one frozen, self-validating dataclass per strategy."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

from PESemiSegLib.training.scheduled import Scheduled, require
from PESemiSegLib.training.settings_cpmn import CpmnConfig
from PESemiSegLib.training.settings_stitchnet import StitchNetConfig
from PESemiSegLib.training.settings_unet_pl import UNetPLConfig

STRATEGY_NAMES = (
    "supervised", "adversarial_feature", "adversarial_mask", "pseudo_label", "mean_teacher", "cps",
    "fixmatch", "unimatch", "bcp",
)  # fmt: skip
"""The strategies that take any segmenter."""
OWN_STRATEGIES = ("stitchnet", "cpmn", "unet_pl")
"""Those that belong to one system."""
MIX = "cross_site_mix"
"""Joined to a strategy's name by "+", as in "fixmatch+cross_site_mix"; alone, it is on top of supervised."""


def split_strategy(name: str) -> tuple[str, bool]:
    """The strategy's own name, and whether cross-site mixing is put around it. Raises ConfigError."""
    parts = [part.strip() for part in name.split("+")]
    mixed = MIX in parts
    own = [part for part in parts if part != MIX] or ["supervised"]
    names = (*STRATEGY_NAMES, *OWN_STRATEGIES)
    require(
        len(own) == 1 and own[0] in names and parts.count(MIX) <= 1,
        f"strategy '{name}' is not one of {', '.join(names)}, alone or with '+{MIX}'",
    )
    return own[0], mixed


@dataclass(frozen=True)
class TrustConfig:
    """Which pixels D is believed on: those of confidence >= value, or (quantile) the best 1 - value."""

    value: float
    quantile: bool

    @classmethod
    def parse(cls, threshold: float | str) -> TrustConfig:
        """0.2 or "0.2" is a confidence, "q0.5" a quantile. Raises ConfigError."""
        text = str(threshold).strip().lower()
        quantile = text.startswith("q")
        try:
            value = float(text.removeprefix("q"))
        except ValueError:
            value = math.nan
        require(
            0 <= value <= 1, f"trust={threshold!r}: give a confidence such as 0.2 or a quantile such as q0.5"
        )
        return cls(value, quantile)


BALANCES = ("none", "trust", "positive_fraction")
"""Marked and unmarked pixels: nothing; a quantile T within each; and, beside that, equal weight of both."""


@dataclass(frozen=True)
class AdversarialConfig:
    """The method of the paper (1A.5): weights of L_adv and L_semi, their starts, and whom D believes."""

    weight_labelled: float = 0.01  # of L_adv on labelled crops
    weight_unlabelled: float = 0.001  # of L_adv on unlabelled crops
    weight_semi: float = 0.1  # of L_semi
    adversarial_start: float = 0.25  # share of the run; before it, S learns L_seg alone while D warms up
    semi_start: float = 0.4
    trust: float | str = 0.2  # T: a confidence, or a quantile such as "q0.5"
    balance: str = "none"  # one of BALANCES
    sure: float = 0.5  # what S itself must give the class of a pixel, beside D's trust; 0.5 asks nothing
    semi_bce: float = 1.0
    semi_dice: float = 0.0
    strong_view: bool = False  # L_semi is asked of a strongly changed view; D judges the crop as drawn
    remain: bool = False  # D_remain: unlabelled predictions are fakes too; with features, D learns the site
    labelled_first: bool = False  # until semi_start, or without unlabelled scans, L_adv of labelled crops

    def __post_init__(self) -> None:
        weights = (
            self.weight_labelled,
            self.weight_unlabelled,
            self.weight_semi,
            self.semi_bce,
            self.semi_dice,
        )
        require(min(weights) >= 0, "weights of the adversarial method must be >= 0")
        require(
            0 <= self.adversarial_start <= 1 and 0 <= self.semi_start <= 1,
            "adversarial_start and semi_start are shares of the run, 0 to 1",
        )
        require(self.balance in BALANCES, f"balance '{self.balance}' is not one of {', '.join(BALANCES)}")
        require(0.5 <= self.sure < 1, "sure must lie within 0.5 to below 1")
        TrustConfig.parse(self.trust)

    @property
    def threshold(self) -> TrustConfig:
        """T, parsed."""
        return TrustConfig.parse(self.trust)


@dataclass(frozen=True)
class ThresholdedConfig(Scheduled):
    """Pseudo labels count where max(p, 1 - p) reaches `threshold`."""

    threshold: float = 0.95

    def __post_init__(self) -> None:
        super().__post_init__()
        require(0.5 <= self.threshold < 1, "the threshold of pseudo labels must lie within 0.5 to below 1")


@dataclass(frozen=True)
class PseudoLabelConfig(ThresholdedConfig):
    """Pseudo labels of the network itself (Lee 2013)."""

    start: float = 0.25
    ramp: float = 0.25
    threshold: float = 0.9


@dataclass(frozen=True)
class MeanTeacherConfig(Scheduled):
    """Mean teacher (Tarvainen and Valpola 2017), with the usual values for medical segmentation."""

    start: float = 0.0
    ramp: float = 1.0
    weight: float = 0.1
    decay: float = 0.99
    noise: float = 0.1  # sd of the teacher's noise, in units of the image's [-1, 1]
    noise_limit: float = 0.2

    def __post_init__(self) -> None:
        super().__post_init__()
        require(0 < self.decay < 1, "the teacher's decay must lie within 0 to 1")
        require(min(self.noise, self.noise_limit) >= 0, "the teacher's noise must be >= 0")


@dataclass(frozen=True)
class CpsConfig(Scheduled):
    """Cross pseudo supervision (Chen 2021)."""

    start: float = 0.0
    ramp: float = 1.0
    weight: float = 0.1
    second: str = "fresh"  # the second network: "fresh", or "copy" of the first one with a new head

    def __post_init__(self) -> None:
        super().__post_init__()
        require(self.second in ("fresh", "copy"), "cps.second is 'fresh' or 'copy'")


@dataclass(frozen=True)
class FixMatchConfig(ThresholdedConfig):
    """FixMatch (Sohn 2020), for segmentation."""

    teacher_decay: float = 0.0  # 0 = the network labels for itself; else an averaged teacher does

    def __post_init__(self) -> None:
        super().__post_init__()
        require(0 <= self.teacher_decay < 1, "teacher_decay must lie within 0 to 1")


@dataclass(frozen=True)
class UniMatchConfig(ThresholdedConfig):
    """UniMatch (Yang 2023): two strong views and one perturbed in its features."""

    strong: float = 0.25  # of each strong view
    feature: float = 0.5  # of the view with dropped feature channels
    dropout: float = 0.5
    cutmix_probability: float = 0.5

    def __post_init__(self) -> None:
        super().__post_init__()
        require(min(self.strong, self.feature) >= 0, "unimatch's weights must be >= 0")
        require(0 <= self.dropout < 1, "unimatch.dropout must lie within 0 to below 1")
        require(0 <= self.cutmix_probability <= 1, "unimatch.cutmix_probability must lie within 0 to 1")


@dataclass(frozen=True)
class BcpConfig(Scheduled):
    """Bidirectional copy-paste (Bai 2023)."""

    start: float = 0.25  # before it, copy-paste among labelled crops
    ramp: float = 0.0
    weight: float = 0.5
    decay: float = 0.99
    box: float = 2 / 3  # side of the pasted box, as a share of the crop

    def __post_init__(self) -> None:
        super().__post_init__()
        require(0 < self.decay < 1 and 0 < self.box < 1, "bcp's decay and box must lie within 0 to 1")


@dataclass(frozen=True)
class CrossSiteMixConfig:
    """Labelled crops in the other site's style, and crops of which a part is the other site's (see `mix`)."""

    start: float = 0.25  # share of the run
    style_probability: float = 0.5
    band: float = 0.01  # half side of the low-frequency window, as a share of the crop
    pasted: float = 0.5  # mixed crops added, per labelled crop
    box: float = 0.5  # side of the labelled box in them, as a share of the crop
    decay: float = 0.99  # of the teacher that labels the rest
    threshold: float = 0.95  # how sure it must be for a pixel to count

    def __post_init__(self) -> None:
        shares = (self.start, self.style_probability, self.pasted)
        require(all(0 <= share <= 1 for share in shares), "cross_site_mix's shares must lie within 0 to 1")
        require(0 < self.band <= 0.5, "cross_site_mix.band must lie within 0 to 0.5")
        require(0 < self.box < 1 and 0 < self.decay < 1, "cross_site_mix's box and decay lie within 0 to 1")
        require(0.5 <= self.threshold < 1, "cross_site_mix.threshold must lie within 0.5 to below 1")


@dataclass(frozen=True)
class StrongConfig:
    """The strong view: changes of grey values, each drawn per crop, on top of the weak view's."""

    probability: float = 0.8  # of shift and contrast
    shift_hu: float = 50.0
    contrast: float = 0.5
    noise_hu: float = 30.0  # largest sd
    blur_probability: float = 0.5
    blur_pixels: float = 1.5  # largest sigma

    def __post_init__(self) -> None:
        require(
            0 <= self.probability <= 1 and 0 <= self.blur_probability <= 1,
            "probabilities of the strong view must lie within 0 to 1",
        )
        require(
            min(self.shift_hu, self.noise_hu) >= 0 and 0 <= self.contrast < 1 and 0 <= self.blur_pixels <= 5,
            "the strong view needs ranges >= 0, contrast < 1 and blur_pixels <= 5",
        )


@dataclass(frozen=True)
class SemiConfig:
    """Every strategy's settings; only those of the strategy that is named are used."""

    batch: int = 4  # unlabelled crops per iteration
    strong: StrongConfig = field(default_factory=StrongConfig)
    adversarial: AdversarialConfig = field(default_factory=AdversarialConfig)
    pseudo_label: PseudoLabelConfig = field(default_factory=PseudoLabelConfig)
    mean_teacher: MeanTeacherConfig = field(default_factory=MeanTeacherConfig)
    cps: CpsConfig = field(default_factory=CpsConfig)
    fixmatch: FixMatchConfig = field(default_factory=FixMatchConfig)
    unimatch: UniMatchConfig = field(default_factory=UniMatchConfig)
    bcp: BcpConfig = field(default_factory=BcpConfig)
    stitchnet: StitchNetConfig = field(default_factory=StitchNetConfig)
    unet_pl: UNetPLConfig = field(default_factory=UNetPLConfig)
    cpmn: CpmnConfig = field(default_factory=CpmnConfig)
    cross_site_mix: CrossSiteMixConfig = field(default_factory=CrossSiteMixConfig)

    def __post_init__(self) -> None:
        require(self.batch >= 1, "semi.batch, the unlabelled crops per iteration, must be >= 1")
