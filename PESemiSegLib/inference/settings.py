"""Owns what a caller may ask of a segmentation, checked, with the package's own values filled in."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from PESemiSegLib.errors import ConfigError
from PESemiSegLib.inference.lung_filter import Mode, require_mode

if TYPE_CHECKING:
    from PESemiSegLib.models.package import ModelPackage


@dataclass(frozen=True)
class Settings:
    """What the caller asked for; None takes the package's own value."""

    device: str = "auto"
    precision: str = "auto"
    engine: str = "auto"
    whole: bool = False
    lung_filter: Mode = "hull"
    threshold: float | None = None
    core_threshold: float | None = None
    min_lesion_mm3: float | None = None
    fill_holes: bool = False
    batch: int | None = None
    threads: int | None = None

    @property
    def cuts(self) -> tuple[float, float]:
        """Threshold and the core's threshold, once they are resolved."""
        if self.threshold is None or self.core_threshold is None:
            raise ConfigError("these settings are not resolved for a package yet")
        return self.threshold, self.core_threshold

    @property
    def has_core(self) -> bool:
        """Whether a mark needs voxels that are surer than its edge."""
        edge, core = self.cuts
        return core > edge

    def resolved(self, package: ModelPackage) -> Settings:
        """The same with the package's values filled in. Raises ConfigError for values out of range.

        The package's core belongs to the package's threshold: a caller who names a threshold alone gets that
        one threshold.
        """
        require_mode(self.lung_filter)
        threshold = package.info.threshold if self.threshold is None else self.threshold
        smallest = package.info.min_lesion_mm3 if self.min_lesion_mm3 is None else self.min_lesion_mm3
        if not 0.0 < threshold <= 1.0:
            raise ConfigError(f"threshold {threshold} must lie above 0 and at most at 1")
        core = self.core_threshold
        if core is None and self.threshold is None:
            core = package.info.core_threshold
        if core is None:
            core = threshold
        elif not threshold <= core <= 1.0:
            raise ConfigError(f"the core's threshold {core} must lie between the threshold {threshold} and 1")
        if smallest < 0:
            raise ConfigError(f"the smallest lesion, {smallest} mm3, must not be negative")
        for name, value in (("batch", self.batch), ("threads", self.threads)):
            if value is not None and value < 1:
                raise ConfigError(f"{name} {value} must be at least 1")
        return replace(
            self, threshold=float(threshold), core_threshold=float(core), min_lesion_mm3=float(smallest)
        )
