"""What a segmenter and a discriminator are made of, as frozen, self-validating settings (no torch here)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any, Literal, Self, get_args, get_type_hints

from PESemiSegLib.errors import ConfigError

Depth = Literal["full", "small"]
Stem = Literal["half", "quarter"]
Upsample = Literal["carafe", "bilinear"]
DiscriminatorKind = Literal["feature", "mask_only"]
FeatureResolution = Literal["branch", "input"]

SIZE_MULTIPLE = 16
"""Height and width of every input image must be a multiple of this many pixels."""

DEFAULT_DISCRIMINATOR_CHANNELS: dict[str, tuple[int, ...]] = {
    "feature": (128, 64),
    "mask_only": (64, 128, 256, 512),
}


class _Settings:
    """Shared by both configs: plain-dict round trip that refuses unknown names and wrong types."""

    def to_dict(self) -> dict[str, Any]:
        """Return a JSON-ready dict; tuples become lists."""
        plain = asdict(self)  # type: ignore[call-overload]
        return {name: list(value) if isinstance(value, tuple) else value for name, value in plain.items()}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Self:
        """Build from a dict; names left out keep their defaults.

        Raises:
            ConfigError: for an unknown name or a value that does not fit.
        """
        known = {field.name for field in fields(cls)}  # type: ignore[arg-type]
        if unknown := sorted(set(values) - known):
            raise ConfigError(f"{cls.__name__} has no setting {', '.join(map(repr, unknown))}")
        return cls(**{name: tuple(v) if isinstance(v, list) else v for name, v in values.items()})

    def _check_choices(self) -> None:
        for name, hint in get_type_hints(type(self)).items():
            choices, value = get_args(hint), getattr(self, name)
            if all(isinstance(choice, str) for choice in choices) and choices and value not in choices:
                raise ConfigError(f"{type(self).__name__}.{name} must be one of {choices}, not {value!r}")

    def _check_integer(self, name: str, low: int, high: int) -> None:
        value = getattr(self, name)
        if not isinstance(value, int) or isinstance(value, bool) or not low <= value <= high:
            raise ConfigError(f"{type(self).__name__}.{name} must be an integer {low}..{high}, not {value!r}")

    def _check_flag(self, name: str) -> None:
        if not isinstance(getattr(self, name), bool):
            raise ConfigError(f"{type(self).__name__}.{name} must be true or false")


@dataclass(frozen=True)
class NetworkConfig(_Settings):
    """The segmenter: an HRNet whose every published variant is one value of this class (paper, Table 1).

    Attributes:
        width: channels of the finest branch, `w`; the branches have w, 2w, 4w (8w with `stage4`).
        depth: "full" is the published depth (4 blocks in layer 1 and on each branch; 1, 4 and 3 modules in
            stages 2 to 4), "small" is for CPUs (2 blocks; 1, 2 and 1 modules).
        stem: "half" keeps one strided convolution (the paper's enlarged input), "quarter" the official two.
        stage4: keep the fourth stage, which the paper removes.
        upsample: how the lower branches reach the finest one before they are joined.
        context: neighbouring slices given as channels, odd; the middle one is segmented (2.5-D).
        carafe_mid: channels of CARAFE's compressed map.
    """

    width: int = 16
    depth: Depth = "small"
    stem: Stem = "half"
    stage4: bool = False
    upsample: Upsample = "carafe"
    context: int = 1
    carafe_mid: int = 64

    def __post_init__(self) -> None:
        self._check_choices()
        self._check_integer("width", 1, 512)
        self._check_integer("context", 1, 31)
        self._check_integer("carafe_mid", 1, 1024)
        self._check_flag("stage4")
        if self.context % 2 == 0:
            raise ConfigError(f"NetworkConfig.context must be odd, not {self.context}")

    @property
    def branches(self) -> int:
        """Number of resolutions that are joined in front of the head."""
        return 4 if self.stage4 else 3

    @property
    def feature_channels(self) -> int:
        """Channels of the joined map that the head and the discriminator see: 7w, or 15w with stage 4."""
        return self.width * (2**self.branches - 1)

    @property
    def feature_stride(self) -> int:
        """Input pixels per feature pixel: 2, or 4 with the quarter stem."""
        return 2 if self.stem == "half" else 4

    @property
    def deepest_stride(self) -> int:
        """Input pixels per pixel of the coarsest branch."""
        return self.feature_stride * 2 ** (self.branches - 1)

    @property
    def blocks(self) -> int:
        """Residual blocks in layer 1, and per branch in each module."""
        return 4 if self.depth == "full" else 2

    @property
    def modules(self) -> tuple[int, int, int]:
        """Modules in stages 2, 3 and 4 (the last is unused without `stage4`)."""
        return (1, 4, 3) if self.depth == "full" else (1, 2, 1)


@dataclass(frozen=True)
class DiscriminatorConfig(_Settings):
    """The discriminator that gives the confidence map (paper, section 3; published checkpoints).

    Attributes:
        kind: "feature" sees the mask and the segmenter's features, "mask_only" the mask alone.
        channels: outputs of all convolutions but the last; empty takes the published ones of that kind.
        mask_weight: factor on the mask channel before it joins the features (the paper's weight 5).
        feature_resolution: "branch" works at the features' resolution with the mask averaged down to it,
            "input" at the image's with the features enlarged, as the paper draws it (4x the memory).
        detach_features: keep gradients out of the segmenter's encoder.
    """

    kind: DiscriminatorKind = "feature"
    channels: tuple[int, ...] = ()
    mask_weight: float = 5.0
    feature_resolution: FeatureResolution = "branch"
    detach_features: bool = True

    def __post_init__(self) -> None:
        self._check_choices()
        self._check_flag("detach_features")
        if not self.channels:
            object.__setattr__(self, "channels", DEFAULT_DISCRIMINATOR_CHANNELS[self.kind])
        if not all(type(width) is int and 1 <= width <= 4096 for width in self.channels):
            raise ConfigError(
                f"DiscriminatorConfig.channels must be positive integers, not {self.channels!r}"
            )
        if not isinstance(self.mask_weight, (int, float)) or not 0 < self.mask_weight <= 1000:
            raise ConfigError(
                f"DiscriminatorConfig.mask_weight must lie in (0, 1000], not {self.mask_weight!r}"
            )
