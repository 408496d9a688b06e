"""`model.json`: what a package says about itself, strictly checked both ways."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from typing import Any, NoReturn

from PESemiSegLib.errors import ConfigError, PackageError
from PESemiSegLib.models.kinds import EMBOLI, IDENTIFICATION, PACKAGE_KINDS, Kind
from PESemiSegLib.networks.config import DiscriminatorConfig, NetworkConfig

FORMAT_VERSION = 1
DATA_ORIGINS = ("phantom", "patients", "mixed")
PACKAGE_FILES = EMBOLI.files
"""The files of a segmenter's package beside model.json; `PackageInfo.package_files` are those of any kind."""

INTENDED_USE = "Research use only. Not a medical device."

_LATER = frozenset({"core_threshold"})
"""Fields that packages of format 1 came to have: absent means None, and None is not written."""

_NAME = re.compile(r"[A-Za-z0-9]([A-Za-z0-9._-]{0,62}[A-Za-z0-9])?")
_DEVICE = re.compile(r"con|prn|aux|nul|(com|lpt)[0-9]", re.IGNORECASE)  # Windows' own, also before a dot
_SHA256 = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True)
class PackageInfo:
    """The content of model.json.

    Attributes:
        name: short name, letters, digits, dot, dash, underscore; the store's folder.
        network, discriminator: settings of `NetworkConfig` and `DiscriminatorConfig`; the latter are empty
            where the kind has none.
        hu_window: HU values mapped to -1 and 1 before the network; clipped outside.
        spacing_mm: in-plane pixel size the network was trained at.
        context: adjacent slices the network takes as channels.
        threshold: probability from which a pixel is marked.
        core_threshold: probability from which it counts for the size of its mark; None: the threshold.
        min_lesion_mm3: connected components of fewer counted pixels are dropped.
        training: how it was made (command, seeds, data, parent hash); any JSON.
        metrics: what it reached and on what; any JSON.
        licence: SPDX expression or a sentence.
        intended_use: one sentence.
        data_origin: "phantom" (made-up patients only), "patients" or "mixed".
        files: SHA-256 of every other file of the package; filled in when a package is written.
        kind: what the model marks: "pe-segmenter" (emboli), "artery-segmenter" and so on, see `kinds`.
    """

    name: str
    network: dict[str, Any]
    discriminator: dict[str, Any]
    spacing_mm: float
    data_origin: str
    hu_window: tuple[float, float] = (-160.0, 240.0)
    context: int = 1
    threshold: float = 0.5
    core_threshold: float | None = None
    min_lesion_mm3: float = 0.0
    training: dict[str, Any] = field(default_factory=dict)
    metrics: dict[str, Any] = field(default_factory=dict)
    licence: str = "Apache-2.0"
    intended_use: str = INTENDED_USE
    files: dict[str, str] = field(default_factory=dict)
    kind: str = EMBOLI.package
    format_version: int = FORMAT_VERSION

    def __post_init__(self) -> None:
        if isinstance(self.hu_window, list):
            object.__setattr__(self, "hu_window", tuple(self.hu_window))
        _check(self)

    @property
    def network_config(self) -> NetworkConfig:
        """The segmenter's settings."""
        return NetworkConfig.from_dict(self.network)

    @property
    def discriminator_config(self) -> DiscriminatorConfig:
        """The discriminator's settings."""
        return DiscriminatorConfig.from_dict(self.discriminator)

    @property
    def what(self) -> Kind:
        """What the model marks."""
        return PACKAGE_KINDS[self.kind]

    @property
    def package_files(self) -> tuple[str, ...]:
        """All files of the package beside model.json."""
        return self.what.files

    @property
    def is_demo(self) -> bool:
        """Whether the model has seen made-up patients only."""
        return self.data_origin == "phantom"

    def to_dict(self) -> dict[str, Any]:
        """Return a JSON-ready dict of all fields; without those added later that say nothing."""
        values = asdict(self) | {"hu_window": list(self.hu_window)}
        return {name: value for name, value in values.items() if name not in _LATER or value is not None}

    def to_json(self) -> str:
        """Return model.json's text; the same info gives the same bytes.

        Raises:
            PackageError: if `training` or `metrics` hold what JSON cannot (NaN, objects).
        """
        try:
            text = json.dumps(self.to_dict(), indent=2, sort_keys=True, allow_nan=False, ensure_ascii=False)
        except (TypeError, ValueError) as error:
            raise PackageError(f"model.json cannot hold these facts: {error}") from error
        return text + "\n"

    @classmethod
    def from_json(cls, text: str | bytes) -> PackageInfo:
        """Parse and check model.json.

        Raises:
            PackageError: not JSON, an unknown or missing field, a wrong type, a value out of range, or a
                format version this program does not know.
        """
        try:
            values = json.loads(text, parse_constant=_no_constant, object_pairs_hook=_no_duplicates)
        except (ValueError, RecursionError) as error:
            raise PackageError(f"model.json is not valid JSON: {error}") from error
        if not isinstance(values, dict):
            raise PackageError("model.json must hold one JSON object")
        version = values.get("format_version")
        if version != FORMAT_VERSION or isinstance(version, bool):
            raise PackageError(
                f"model.json has format_version {version!r}, this program reads {FORMAT_VERSION}: "
                "use the PESemiSeg version it was made for"
            )
        known = {item.name for item in fields(cls)}
        if unknown := sorted(set(values) - known):
            raise PackageError(f"model.json has unknown fields: {', '.join(unknown)}")
        if missing := sorted(known - _LATER - set(values)):
            raise PackageError(f"model.json lacks the fields: {', '.join(missing)}")
        return cls(**values)


def _no_constant(text: str) -> NoReturn:
    raise ValueError(f"{text} is not a number that JSON knows")


def _no_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    values = dict(pairs)
    if len(values) != len(pairs):
        raise ValueError("a name occurs twice in one object")
    return values


def _check(info: PackageInfo) -> None:
    """Raise PackageError unless every field has the right type and lies in its range."""
    if not isinstance(info.kind, str) or info.kind not in PACKAGE_KINDS:
        known = ", ".join(PACKAGE_KINDS)
        raise PackageError(f"model.json: kind is {info.kind!r}, not {known}: this is another sort of model")
    if not is_name(info.name):
        raise PackageError(
            f"model.json: name {info.name!r} must be 1-64 letters, digits, '.', '_' or '-', and none that "
            "Windows keeps for itself"
        )
    if info.data_origin not in DATA_ORIGINS:
        raise PackageError(f"model.json: data_origin must be one of {DATA_ORIGINS}, not {info.data_origin!r}")
    for text in ("licence", "intended_use"):
        value = getattr(info, text)
        if not isinstance(value, str) or not 0 < len(value) <= 2000:
            raise PackageError(f"model.json: {text} must be a text of 1-2000 characters")
    for table in ("network", "discriminator", "training", "metrics", "files"):
        if not isinstance(getattr(info, table), dict):
            raise PackageError(f"model.json: {table} must be an object")
    window = info.hu_window
    if not isinstance(window, tuple) or len(window) != 2:
        raise PackageError(f"model.json: hu_window must be two numbers, not {window!r}")
    low = _number("hu_window", window[0], -2000, 4000)
    if _number("hu_window", window[1], -2000, 4000) <= low:
        raise PackageError(f"model.json: hu_window must rise, not {window!r}")
    _number("spacing_mm", info.spacing_mm, 0.1, 5.0)
    threshold = _number("threshold", info.threshold, 0.0, 1.0)
    if threshold == 0.0:
        raise PackageError("model.json: threshold must lie above 0, else every voxel is marked")
    if info.core_threshold is not None:
        core = _number("core_threshold", info.core_threshold, threshold, 1.0)
        if core >= 1.0:
            raise PackageError("model.json: core_threshold must lie below 1, else there is no mark at all")
    _number("min_lesion_mm3", info.min_lesion_mm3, 0.0, 1e6)
    _check_networks(info)
    _check_files(info.files, info.package_files)


def _check_networks(info: PackageInfo) -> None:
    try:
        network, _ = info.network_config, info.discriminator_config
    except (ConfigError, TypeError) as error:
        raise PackageError(f"model.json: {error}") from error
    if network.classes != info.what.classes:
        raise PackageError(
            f"model.json: the network tells {network.classes} classes apart, and {info.kind} has "
            f"{info.what.classes}"
        )
    if (info.what is IDENTIFICATION) != (network.volume is not None):
        raise PackageError(
            f"model.json: {info.kind} and the network {network.architecture} do not go together"
        )
    if type(info.context) is not int or info.context != network.context:
        raise PackageError(f"model.json: context {info.context!r} is not the network's ({network.context})")


def _check_files(files: Mapping[str, str], known: tuple[str, ...]) -> None:
    for name, digest in files.items():
        if name not in known:
            raise PackageError(f"model.json lists a file that no package has: {name!r}")
        if not isinstance(digest, str) or not _SHA256.fullmatch(digest):
            raise PackageError(f"model.json: the SHA-256 of {name} is not 64 lower-case hexadecimal digits")


def _number(name: str, value: Any, low: float, high: float) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise PackageError(f"model.json: {name} must be a number, not {value!r}")
    if not low <= value <= high:  # nor is NaN, and no integer is too large to be compared
        raise PackageError(f"model.json: {name} must lie between {low:g} and {high:g}, not {value!r}")
    return float(value)


def is_name(name: object) -> bool:
    """Whether `name` may name a package: safe as a folder on every system."""
    if not isinstance(name, str) or _NAME.fullmatch(name) is None or ".." in name:
        return False
    return _DEVICE.fullmatch(name.partition(".")[0]) is None
