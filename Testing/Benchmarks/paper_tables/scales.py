"""How large the experiments are: patients, networks, crops, iterations and seeds of each preset."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Counts:
    """Patients of a site. train, test: with emboli, as in the paper; free: held out as well, without any."""

    train: int
    test: int
    free: int


@dataclass(frozen=True)
class Scale:
    """One preset of the tables.

    phantom: size of the made-up scans. preset: the product's training preset. common, first, second: changes
    to it (see `TrainConfig.with_overrides`) for all runs, for training on A, and for what comes after.
    slices: of the 2.5D U-Net. seeds: of T4 and T5; others: of the other tables. matched: what all strategies
    of a table have in common, their "iterations" or the "minutes" of `second`. more_labelled: changes for
    the rows with three labelled crops to one unlabelled. device: where it trains and segments.
    """

    name: str
    phantom: str
    counts: Mapping[str, Counts]
    preset: str
    common: Mapping[str, Any]
    first: Mapping[str, Any]
    second: Mapping[str, Any]
    unet_width: int
    deeplab_width: int
    more_labelled: Mapping[str, Any]
    slices: int = 5
    seeds: int = 3
    others: int = 1
    matched: str = "iterations"
    device: str = "cpu"
    threads: int = 0
    segmenting: Mapping[str, Any] = field(
        default_factory=lambda: {"threshold": 0.5, "min_lesion_mm3": 20.0, "precision": "fp32"}
    )


def _network(**changes: Any) -> dict[str, Any]:
    return {"context": 1, **changes}


REDUCED = Scale(
    name="reduced",
    phantom="medium",
    counts={"A": Counts(10, 4, 2), "B": Counts(10, 6, 2), "C": Counts(5, 6, 2)},
    preset="cpu_demo",
    common={
        "network": _network(width=16, upsample="bilinear"),  # narrower ones take as long on a CPU
        "sampling": {"context": 1, "crop": 64, "batch": 4},
        "semi": {"batch": 4},
        "finish": {"iterations": 0},
        "spacing_mm": 1.2,
    },
    first={"iterations": 1200, "checkpoint_every": 300, "validate_every": 300},
    second={
        "iterations": 200,
        "checkpoint_every": 200,
        "validate_every": 100,
        "head_start": {"iterations": 200, "batch": 8, "crop": 64},
    },
    unet_width=8,
    deeplab_width=8,
    more_labelled={"sampling": {"batch": 6}, "semi": {"batch": 2}},
    slices=3,
    threads=1,
    segmenting={"threshold": 0.5, "min_lesion_mm3": 20.0, "precision": "auto"},
)
FULL = Scale(
    name="full",
    phantom="medium",
    counts={"A": Counts(27, 6, 3), "B": Counts(63, 7, 4), "C": Counts(5, 22, 11)},
    preset="modern",
    common={
        "network": _network(width=32),
        "sampling": {"context": 1, "crop": 256, "batch": 8},
        "semi": {"batch": 8},
        "spacing_mm": 0.9,
    },
    first={"iterations": 10_000},
    second={"iterations": 4_000},
    unet_width=32,
    deeplab_width=32,
    more_labelled={"sampling": {"batch": 12}, "semi": {"batch": 4}},
    others=3,
    device="cuda",
)
MICRO = Scale(
    name="micro",
    phantom="ci",
    counts={site: Counts(1, 1, 0) for site in "ABC"},
    preset="cpu_demo",
    common={
        "network": _network(width=2, upsample="bilinear"),
        "sampling": {"context": 1, "crop": 32, "batch": 1},
        "semi": {"batch": 1},
        "head_start": {"batch": 1, "crop": 32},
        "finish": {"iterations": 0},
        "spacing_mm": 3.0,
    },
    first={"iterations": 2, "checkpoint_every": 2, "validate_every": 2},
    second={"iterations": 2, "checkpoint_every": 2, "validate_every": 2},
    unet_width=2,
    deeplab_width=2,
    more_labelled={},
    seeds=1,
    threads=1,
)
SCALES = {scale.name: scale for scale in (REDUCED, FULL, MICRO)}
