"""What a segmenter and a discriminator are made of, as frozen, self-validating settings (no torch here)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any, Literal, Self, get_args, get_type_hints

from PESemiSegLib.errors import ConfigError

Architecture = Literal[
    "hrnet",
    "unet2d",
    "attention_unet",
    "deeplabv3plus",
    "efficient_unet",
    "cpmn",
    "resnext_unet",
    "stitchnet",
]
Depth = Literal["full", "small"]
Stem = Literal["half", "quarter"]
Upsample = Literal["carafe", "bilinear"]
DiscriminatorKind = Literal["feature", "mask_only"]
FeatureResolution = Literal["branch", "input"]
Phase = Literal["noncontrast", "contrast"]

SIZE_MULTIPLE = 16
"""Height and width of every input image must be a multiple of this many pixels."""

_HRNET_ALONE = ("stem", "stage4", "upsample", "carafe_mid")

DEFAULT_DISCRIMINATOR_CHANNELS: dict[str, tuple[int, ...]] = {
    "feature": (128, 64),
    "mask_only": (64, 128, 256, 512),
}


class _Settings:
    """Shared by both configs: plain-dict round trip that refuses unknown names and wrong types."""

    def to_dict(self) -> dict[str, Any]:
        """Return a JSON-ready dict; tuples become lists.

        What is None is left out: programs that are older than such a setting refuse its name.
        """
        values = {field.name: getattr(self, field.name) for field in fields(self)}  # type: ignore[arg-type]
        return {name: _plain(value) for name, value in values.items() if value is not None}

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


def _plain(value: Any) -> Any:
    if isinstance(value, _Settings):
        return value.to_dict()
    return list(value) if isinstance(value, tuple) else value


@dataclass(frozen=True)
class VolumeConfig(_Settings):
    """What a three-dimensional network sees at once.

    Attributes:
        crop: voxels along z, y and x, each a multiple of 32 (published: 96, 224, 224).
        slice_mm: distance of its slices; the in-plane spacing is the package's.
        phase: the scans that it reads, without or with contrast medium.
    """

    crop: tuple[int, int, int] = (96, 224, 224)
    slice_mm: float = 1.0
    phase: Phase = "noncontrast"

    def __post_init__(self) -> None:
        self._check_choices()
        sizes = self.crop
        if not isinstance(sizes, tuple) or len(sizes) != 3 or not all(map(_is_crop_size, sizes)):
            raise ConfigError(f"VolumeConfig.crop must be three multiples of 32 up to 512, not {sizes!r}")
        if type(self.slice_mm) not in (int, float) or not 0.2 <= self.slice_mm <= 10:
            raise ConfigError(f"VolumeConfig.slice_mm must lie within 0.2 to 10, not {self.slice_mm!r}")


def _is_crop_size(size: object) -> bool:
    return type(size) is int and 32 <= size <= 512 and size % 32 == 0


@dataclass(frozen=True)
class NetworkConfig(_Settings):
    """The segmenter: which network, how large, how many slices it takes and how many classes it tells apart.

    Every row of the paper's Table 1 is one value of this class, and so are the networks of Tan et al.

    Attributes:
        architecture: "hrnet" (the paper's, with its ablations), "unet2d" (Ronneberger 2015; with `context` it
            is 2.5-D), "attention_unet" (Oktay 2018), "deeplabv3plus" (Chen 2018, on a ResNet),
            "efficient_unet" (U-Net on EfficientNet-B0), "cpmn" (the same in 3D with a head for the scan),
            "resnext_unet" (U-Net on ResNeXt-50) or "stitchnet" (Zammit: a picture of the image for each
            class, on two MobileNetV2).
        width: channels at the finest resolution, `w`. HRNet's branches have w, 2w, 4w (8w with `stage4`); the
            U-Nets' five levels w to 16w (published: 64); DeepLabV3+'s ResNet w to 8w planes (published: 64);
            decoders on EfficientNet and ResNeXt 16w to w (published: 16); StitchNet's encoders w to 20w (16).
        depth: HRNet: "full" is the published depth (4 blocks in layer 1 and on each branch; 1, 4 and 3
            modules in stages 2 to 4), "small" is for CPUs (2 blocks; 1, 2 and 1 modules). DeepLabV3+:
            "full" stands on ResNet-50, "small" on ResNet-18. StitchNet: "full" has the published blocks of
            MobileNetV2, "small" one per stage; ResNeXt likewise. The other U-Nets have one depth.
        stem: "half" keeps one strided convolution (the paper's enlarged input), "quarter" the official two.
        stage4: keep the fourth stage, which the paper removes.
        upsample: how the lower branches reach the finest one before they are joined.
        context: neighbouring slices given as channels, odd; the middle one is segmented (2.5-D).
        carafe_mid: channels of CARAFE's compressed map.
        classes: background included. Two are told apart by one sigmoid channel, more by a softmax.
        volume: what a three-dimensional network ("cpmn") sees at once; None for the others, which see slices.
    """

    width: int = 16
    depth: Depth = "small"
    stem: Stem = "half"
    stage4: bool = False
    upsample: Upsample = "carafe"
    context: int = 1
    carafe_mid: int = 64
    architecture: Architecture = "hrnet"
    classes: int = 2
    volume: VolumeConfig | None = None

    def __post_init__(self) -> None:
        if isinstance(self.volume, Mapping):
            object.__setattr__(self, "volume", VolumeConfig.from_dict(self.volume))
        self._check_choices()
        if (self.architecture == "cpmn") != isinstance(self.volume, VolumeConfig):
            raise ConfigError("NetworkConfig.volume belongs to the network cpmn, and to it alone")
        if self.volume is not None and self.context != 1:
            raise ConfigError("NetworkConfig.context is 1 for the network cpmn, which sees volumes")
        self._check_integer("width", 1, 512)
        self._check_integer("context", 1, 31)
        self._check_integer("carafe_mid", 1, 1024)
        self._check_integer("classes", 2, 64)
        self._check_flag("stage4")
        if self.architecture == "stitchnet" and self.classes < 3:
            raise ConfigError("the network stitchnet tells background and at least two tissues of lung apart")
        if self.context % 2 == 0:
            raise ConfigError(f"NetworkConfig.context must be odd, not {self.context}")
        if self.architecture != "hrnet":
            plain = {field.name: field.default for field in fields(self)}
            if strange := [name for name in _HRNET_ALONE if getattr(self, name) != plain[name]]:
                raise ConfigError(f"the network {self.architecture} has no setting {', '.join(strange)}")

    @property
    def outputs(self) -> int:
        """Channels of the logits: 1 for two classes, else one per class."""
        return 1 if self.classes == 2 else self.classes

    @property
    def branches(self) -> int:
        """Number of resolutions that HRNet joins in front of the head."""
        return 4 if self.stage4 else 3

    @property
    def feature_channels(self) -> int:
        """Channels of the map that the head and the discriminator see: HRNet 7w, or 15w with stage 4."""
        if self.architecture == "hrnet":
            return self.width * (2**self.branches - 1)
        return self.width * {"deeplabv3plus": 4, "stitchnet": 2}.get(self.architecture, 1)

    @property
    def feature_stride(self) -> int:
        """Input pixels per feature pixel: HRNet 2, or 4 with the quarter stem; U-Nets 1, DeepLabV3+ 4."""
        if self.architecture == "hrnet":
            return 2 if self.stem == "half" else 4
        return 4 if self.architecture == "deeplabv3plus" else 1

    @property
    def deepest_stride(self) -> int:
        """Input pixels per pixel of the coarsest map."""
        if self.architecture == "hrnet":
            return self.feature_stride * 2 ** (self.branches - 1)
        return 32 if self.architecture in ("efficient_unet", "cpmn", "resnext_unet", "stitchnet") else 16

    @property
    def latents(self) -> int:
        """Channels of each level of StitchNet's latents, which the report does not give."""
        return max(1, self.width // 4)

    @property
    def blocks(self) -> int:
        """HRNet's residual blocks in layer 1, and per branch in each module."""
        return 4 if self.depth == "full" else 2

    @property
    def modules(self) -> tuple[int, int, int]:
        """HRNet's modules in stages 2, 3 and 4 (the last is unused without `stage4`)."""
        return (1, 4, 3) if self.depth == "full" else (1, 2, 1)

    def __str__(self) -> str:
        """What the network is, in a few words, for cards and lists."""
        if self.architecture == "hrnet":
            stage4 = "with" if self.stage4 else "without"
            parts = f"{self.depth} depth, {self.stem} stem, {stage4} stage 4, {self.upsample} upsampling"
            return f"HRNet width {self.width}, {parts}"
        if self.volume is not None:
            size = " x ".join(map(str, self.volume.crop))
            return f"3D U-Net on EfficientNet-B0 with a head for the scan, width {self.width}, {size} voxels"
        names = {"unet2d": "U-Net", "attention_unet": "Attention U-Net"}
        names["efficient_unet"] = "U-Net on EfficientNet-B0,"
        names["resnext_unet"] = f"U-Net on {'ResNeXt-50' if self.depth == 'full' else 'a small ResNeXt'},"
        names["stitchnet"] = f"StitchNet, {self.depth} depth,"
        backbone = "ResNet-50" if self.depth == "full" else "ResNet-18"
        return f"{names.get(self.architecture, f'DeepLabV3+ on {backbone},')} width {self.width}"


@dataclass(frozen=True)
class DiscriminatorConfig(_Settings):
    """The discriminator that gives the confidence map (paper, section 3; published checkpoints).

    Attributes:
        kind: "feature" sees the mask and the segmenter's features, "mask_only" the mask alone.
        channels: outputs of all convolutions but the last; empty takes the published ones of that kind.
        mask_weight: factor on the mask channel before it joins the features (the paper's weight 5).
        feature_weight: factor on the standardised features. At 1 their many channels hold all but a few
            thousandths of the input's variance, and D takes hundreds of steps before it sees the mask.
        feature_resolution: "branch" works at the features' resolution with the mask averaged down to it,
            "input" at the image's with the features enlarged, as the paper draws it (4x the memory).
        detach_features: keep gradients out of the segmenter's encoder.
    """

    kind: DiscriminatorKind = "feature"
    channels: tuple[int, ...] = ()
    mask_weight: float = 5.0
    feature_weight: float = 1.0
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
        for name in ("mask_weight", "feature_weight"):
            value = getattr(self, name)
            if not isinstance(value, (int, float)) or not 0 < value <= 1000:
                raise ConfigError(f"DiscriminatorConfig.{name} must lie in (0, 1000], not {value!r}")
