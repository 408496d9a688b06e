"""The three made-up hospitals A, B and C: their scanners, their contrast protocols and their annotators."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from PESemiSegLib.errors import ConfigError
from PESemiSegLib.phantom.labels import DISPLACED, GENEROUS, STRICT, LabelStyle
from PESemiSegLib.phantom.scanner import MEDIUM, SHARP, SOFT, Scanner


@dataclass(frozen=True)
class Site:
    """A hospital. anatomy_traits go to ``draw_parameters``: what its patients and injections shift."""

    name: str
    scanner: Scanner
    labels: LabelStyle
    anatomy_traits: Mapping[str, float] = field(default_factory=dict)


SITES: dict[str, Site] = {
    "A": Site(
        "A",
        Scanner(
            "A", SOFT, kvp=(120,), noise_hu=(13.0, 20.0), thickness_ratio=(1.0, 1.25), fov_mm=(330.0, 370.0)
        ),
        STRICT,
    ),
    "B": Site(
        "B",
        Scanner(
            "B", SHARP, kvp=(100,), noise_hu=(18.0, 26.0), thickness_ratio=(1.0, 1.5), fov_mm=(320.0, 360.0)
        ),
        GENEROUS,
        {"pa_hu_shift": -10.0},  # the lower voltage more than makes up for it
    ),
    "C": Site(
        "C",
        Scanner(
            "C",
            MEDIUM,
            kvp=(120, 100, 80),
            noise_hu=(24.0, 34.0),
            thickness_ratio=(1.5, 2.0),
            fov_mm=(365.0, 400.0),
            cup_hu=(4.0, 12.0),
            streak=(0.8, 2.0),
            motion_share=0.4,
        ),
        DISPLACED,
        {"pa_hu_shift": -45.0, "suboptimal_fraction": 0.10},
    ),
}


def site(name: str) -> Site:
    """The hospital of that letter. Raises ConfigError for another."""
    if name not in SITES:
        raise ConfigError(f"there is no site {name!r}: choose A, B or C")
    return SITES[name]
