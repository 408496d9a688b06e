"""Which runs the tables are made of: every cell with its network, strategy, hospital, seed and ancestor.

All runs after the first stage start from the same model of their seed, trained on A, and take the same
further iterations (or minutes): `supervised` with A's labels alone, the oracle with the target's labels too.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from scales import Scale

NETWORKS = {
    "unet": "2D U-Net",
    "unet25": "2.5D U-Net",
    "deeplab": "DeepLabv3+",
    "hrnet": "HRNet",
    "large": "HRNet Large",
    "carafe": "HRNet Large + CARAFE",
    "ours": "HRNet Large + CARAFE w/o stage 4",
}
"""The rows of Table 1, in its order."""
OURS = "ours"
ADVERSARIAL, FEATURE = "adversarial_mask", "adversarial_feature"
MIX = "cross_site_mix"
PEERS = ("pseudo_label", "mean_teacher", "cps", "fixmatch", "unimatch", "bcp")
MIXED = f"{FEATURE}+{MIX}"
STRATEGIES = ("supervised", ADVERSARIAL, FEATURE, *PEERS, MIX, f"fixmatch+{MIX}", MIXED)
ORACLE, CHAIN = "oracle", "adversarial_feature, by way of B"
MORE_LABELLED = "adversarial_feature, three labelled crops to one"
SHIFTS = {"B-image": "the scanner of B, drawn as in A", "B-label": "scanned as in A, the annotator of B"}
_ADVERSARIAL = "adversarial"
_BOTH_SURE = {"balance": "trust", "sure": 0.95, "strong_view": True, "weight_semi": 1.0}


def _ours(strategy: str = FEATURE, **changes: Any) -> tuple[str, dict[str, Any]]:
    """Our method with changes to its own settings."""
    return strategy, {"semi": {_ADVERSARIAL: changes}}


VARIANTS: dict[str, tuple[str, dict[str, Any]]] = {
    "T = 0.2, not balanced (as printed)": _ours(trust=0.2, balance="none"),
    "marked and unmarked weigh the same": _ours(balance="positive_fraction"),
    "L_semi weighs 1": _ours(weight_semi=1.0),
    "without L_adv": _ours(weight_labelled=0.0, weight_unlabelled=0.0),
    "D sees features as they are, the mask times 5": (
        FEATURE,
        {"discriminator": {"mask_weight": 5.0, "feature_weight": 1.0}},
    ),
    "features attached": (FEATURE, {"discriminator": {"detach_features": False}}),
    "D at the image's resolution": (FEATURE, {"discriminator": {"feature_resolution": "input"}}),
    "D at the image's resolution, mixed": (MIXED, {"discriminator": {"feature_resolution": "input"}}),
    "L_semi as Dice": _ours(semi_bce=0.0, semi_dice=1.0),
    "L_semi as Dice weighs 1": _ours(semi_bce=0.0, semi_dice=1.0, weight_semi=1.0),
    "strong view": _ours(strong_view=True),
    "strong view, L_semi weighs 1": _ours(strong_view=True, weight_semi=1.0),
    "strong view, L_semi weighs 1, mixed": _ours(MIXED, strong_view=True, weight_semi=1.0),
    "D and S both sure": _ours(**_BOTH_SURE),
    "D and S both sure, mixed": _ours(MIXED, **_BOTH_SURE),
}
"""Our method otherwise, by name: its strategy, and changes to the settings of all cells."""
_SHIFTED = ("supervised", FEATURE, MIXED, f"fixmatch+{MIX}", ORACLE)


@dataclass(frozen=True)
class Cell:
    """One run: train, then measure on held-out patients.

    name: of its files. network: changes to the preset's. strategy: see `pesemiseg train`; "oracle" is
    supervised with the target's labels. target: whose unlabelled scans (or, for the oracle, labels) it sees;
    empty for the first stage. base: the cell whose model it starts from. tests: the sites it is measured on.
    changes: to the settings, where it is a variant.
    """

    name: str
    seed: int
    strategy: str
    tests: tuple[str, ...]
    network: Mapping[str, Any] = field(default_factory=dict)
    target: str = ""
    base: Cell | None = None
    changes: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Row:
    """A line of a table: what it is called, its cells (one per seed), and the site of its figures."""

    label: str
    cells: tuple[str, ...]
    site: str


@dataclass(frozen=True)
class Table:
    """A table of the paper, or of ours; `reference` is the label of the row the others are compared with."""

    name: str
    title: str
    rows: tuple[Row, ...]
    reference: str = ""


@dataclass(frozen=True)
class Plan:
    """All cells by name, ancestors first, and the tables that show them."""

    cells: Mapping[str, Cell]
    tables: tuple[Table, ...]

    def needed(self, tables: list[str]) -> list[Cell]:
        """The cells of some tables and their ancestors, in order."""
        names = {n for table in self.tables if table.name in tables for row in table.rows for n in row.cells}
        while more := {base.name for name in names if (base := self.cells[name].base)} - names:
            names |= more
        return [cell for name, cell in self.cells.items() if name in names]

    def is_base(self, cell: Cell) -> bool:
        """Whether other cells start from this one's model."""
        return any(other.base == cell for other in self.cells.values())


def networks(scale: Scale) -> dict[str, dict[str, Any]]:
    """The networks of Table 1, as changes to the scale's."""
    carafe, bilinear = {"upsample": "carafe"}, {"upsample": "bilinear"}
    unet = {"architecture": "unet2d", "width": scale.unet_width} | carafe  # the setting it does not have
    return {
        "unet": unet,
        "unet25": unet | {"context": scale.slices},
        "deeplab": {"architecture": "deeplabv3plus", "width": scale.deeplab_width} | carafe,
        "hrnet": {"stem": "quarter", "stage4": True} | bilinear,
        "large": {"stage4": True} | bilinear,
        "carafe": {"stage4": True} | carafe,
        "ours": carafe,
    }


def plan(scale: Scale) -> Plan:
    """The whole plan of a scale."""
    cells = {cell.name: cell for cell in _cells(scale)}
    main, few = range(scale.seeds), range(scale.others)
    first = [Row(label, _names("A", key, seeds=few), "A") for key, label in NETWORKS.items()]
    semi = [
        *(Row(NETWORKS[key], _names("B", key, ADVERSARIAL, seeds=few), "A") for key in _SEMI),
        Row("ours", _names("B", OURS, ADVERSARIAL, seeds=few), "A"),
        Row("ours + feature", _names("B", OURS, FEATURE, seeds=few), "A"),
    ]
    tables = [
        Table("T1", "Supervised on A: the ablation of the network", tuple(first)),
        Table("T2", "Semi-supervised with B's unlabelled scans, measured on A", tuple(semi)),
        Table("T3", "Supervised and semi-supervised on the source", (first[-1], *semi[-2:])),
        _adaptation("T4", "Hospital B, many unlabelled scans", "B", (*STRATEGIES, MORE_LABELLED), main),
        _adaptation("T5", "Hospital C, few unlabelled scans", "C", (*STRATEGIES, MORE_LABELLED, CHAIN), main),
    ]
    variants = [Row(label, _names("B", OURS, label, seeds=few), "B") for label in VARIANTS]
    rows = {row.label: row for row in tables[3].rows}
    ends = [replace(rows[label], cells=rows[label].cells[: scale.others]) for label in (FEATURE, ORACLE)]
    tables.append(Table("Variants", "Our method otherwise, on B", (ends[0], *variants, ends[1]), FEATURE))
    for site, what in SHIFTS.items():
        tables.append(_adaptation(f"T4 {site}", f"Hospital {site}: {what}", site, _SHIFTED, few))
    return Plan(cells, tuple(tables))


_SEMI = ("unet", "deeplab", "hrnet")


def _adaptation(name: str, title: str, site: str, strategies: tuple[str, ...], seeds: range) -> Table:
    rows = [Row("as trained on A", _names("A", OURS, seeds=seeds), site)]
    rows += [Row(s, _names(site, OURS, s, seeds=seeds), site) for s in dict.fromkeys((*strategies, ORACLE))]
    return Table(name, title, tuple(rows), "supervised")


def _cells(scale: Scale) -> Iterator[Cell]:
    main, few = range(scale.seeds), range(scale.others)
    settings = networks(scale)
    first: dict[tuple[str, int], Cell] = {}
    for key, network in settings.items():
        for seed in main if key == OURS else few:
            shifted = tuple(SHIFTS) if seed in few else ()
            tests = ("A", "B", "C", *shifted) if key == OURS else ("A",)
            (name,) = _names("A", key, seeds=[seed])
            first[key, seed] = Cell(name, seed, "supervised", tests, network)
    yield from first.values()
    for key in _SEMI:
        for seed in few:
            yield _after(first[key, seed], key, ADVERSARIAL, "B", ("A",))
    for site, strategies in {"B": STRATEGIES, "C": STRATEGIES, **dict.fromkeys(SHIFTS, _SHIFTED)}.items():
        for seed in few if site in SHIFTS else main:
            for strategy in dict.fromkeys((*strategies, ORACLE)):
                tests = ("A", "B") if site == "B" and strategy in (ADVERSARIAL, FEATURE) else (site,)
                yield _after(first[OURS, seed], OURS, strategy, site, tests)
    for label, (strategy, changes) in VARIANTS.items():
        for seed in few:
            (name,) = _names("B", OURS, label, seeds=[seed])
            yield replace(_after(first[OURS, seed], OURS, strategy, "B", ("B",)), name=name, changes=changes)
    for seed in main:
        for site in "BC":
            (name,) = _names(site, OURS, MORE_LABELLED, seeds=[seed])
            cell = _after(first[OURS, seed], OURS, FEATURE, site, (site,))
            yield replace(cell, name=name, changes=scale.more_labelled)
        base = _after(first[OURS, seed], OURS, FEATURE, "B", ("A", "B"))
        yield replace(
            _after(base, OURS, FEATURE, "C", ("C",)), name=_names("C", OURS, CHAIN, seeds=[seed])[0]
        )


def _after(base: Cell, key: str, strategy: str, site: str, tests: tuple[str, ...]) -> Cell:
    (name,) = _names(site, key, strategy, seeds=[base.seed])
    return Cell(name, base.seed, strategy, tests, base.network, site, base)


def _names(site: str, key: str, strategy: str = "", *, seeds: Iterable[int]) -> tuple[str, ...]:
    """Of cells and their files, one per seed."""
    parts = [site, key, re.sub(r"[^a-z0-9_.]+", "-", strategy.lower()).strip("-")]
    return tuple(".".join([*filter(None, parts), f"s{seed}"]) for seed in seeds)
