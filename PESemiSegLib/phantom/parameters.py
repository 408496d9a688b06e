"""Owns what is drawn once per made-up patient: sizes, contrast bolus, emboli and mimics."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np

EMBOLUS_KINDS = ("polo", "mural", "occlusive", "saddle", "chronic")
EMBOLUS_LEVELS = ("central", "lobar", "segmental", "subsegmental")
TRAITS = {"pe_prevalence": 0.65, "pa_hu_shift": 0.0, "suboptimal_fraction": 0.08, "size_scale": 1.0}


@dataclass(frozen=True)
class Bolus:
    """How contrast fills the blood pools, in HU."""

    pa_hu: float  # pulmonary trunk
    order_drop_hu: float  # added at each branching order of the arteries (negative)
    vein_lag_hu: float  # pulmonary veins and left atrium minus the trunk
    aorta_lag_hu: float  # left ventricle and aorta minus the pulmonary veins
    svc_hu: float  # superior vena cava, dense with undiluted contrast
    ivc_hu: float  # inferior vena cava, mostly unopacified
    mixing: float  # 0..1, strength of flow artefacts
    layering_hu: float  # denser blood lies posteriorly: HU across 20 mm
    unopacified_veins: float  # fraction of vein territories left dark


@dataclass(frozen=True)
class Embolus:
    """One clot as drawn; where exactly it lies is decided on the tree (emboli.py)."""

    kind: str
    level: str
    hu: float
    length_mm: float
    ratio: float  # clot radius over lumen radius, for those that do not fill it
    wall_scale: float  # vessel radius factor: > 1 distends, < 1 narrows
    fuzz_mm: float  # amplitude of the noise on the visible edge
    plain_hu: float  # HU in the scan without contrast


@dataclass(frozen=True)
class Mimics:
    """Look-alikes and disturbances that are not clots."""

    nodes: int
    mucus_plugs: int
    flow_artefacts: int
    effusion_mm: float
    consolidations: int


@dataclass(frozen=True)
class PatientParameters:
    """Everything drawn per patient; one `seed` is one anatomy, on every grid, with or without contrast."""

    seed: int
    size: tuple[float, float, float]  # (x, y, z) scale of the atlas
    fat_mm: float
    breasts_mm: float  # 0: none
    arms_up: bool
    mpa_diameter_mm: float
    rpa_diameter_mm: float
    lpa_diameter_mm: float
    segmental_diameter_mm: float
    murray_exponent: float
    branch_angle_deg: tuple[float, float]  # mean, sd
    tortuosity_mm: float
    heart_scale: float
    aorta_diameter_mm: float
    inspiration_mm: float  # moves the diaphragm down (+) or up (-)
    lung_hu: float
    emphysema: float  # 0..1
    bolus: Bolus
    emboli: tuple[Embolus, ...]
    mimics: Mimics
    contrast: bool = True

    @property
    def scan_range_mm(self) -> tuple[float, float]:
        """z of the lowest and highest slice that covers the lungs, LPS mm (0 is the carina)."""
        return (-180.0 * self.size[2], 116.0 * self.size[2])

    @property
    def centre_mm(self) -> tuple[float, float]:
        """(x, y) of the middle of the body, LPS mm: put the field of view around it."""
        return (0.0, 8.0 * self.size[1])

    def without_contrast(self) -> PatientParameters:
        """The same patient before the injection."""
        return replace(self, contrast=False)


def draw_parameters(
    rng: np.random.Generator,
    *,
    pe: bool | None = None,
    contrast: bool = True,
    site_traits: Mapping[str, float] | None = None,
) -> PatientParameters:
    """Draw one patient.

    `pe` forces a patient with (True) or without (False) emboli; None lets `pe_prevalence` decide.
    `site_traits` may set `pe_prevalence`, `pa_hu_shift`, `suboptimal_fraction` and `size_scale`.
    Raises KeyError for an unknown trait.
    """
    unknown = set(site_traits or {}) - set(TRAITS)
    if unknown:
        raise KeyError(f"unknown site traits {sorted(unknown)}; known: {sorted(TRAITS)}")
    traits = {**TRAITS, **(site_traits or {})}
    body, vessels, flow, clots, others = rng.spawn(5)
    has_pe = bool(body.random() < traits["pe_prevalence"]) if pe is None else pe
    emboli = _draw_emboli(clots) if has_pe else ()
    female = bool(body.random() < 0.5)
    sex_scale = 0.95 if female else 1.02
    size = traits["size_scale"] * sex_scale * np.clip(body.normal(1.0, 0.04, 3), 0.9, 1.1)
    mpa = float(np.clip(vessels.normal(27.0, 2.2), 21.5, 34.0))
    if len(emboli) >= 6:
        mpa = min(mpa + 2.5, 36.0)
    return PatientParameters(
        seed=int(body.integers(2**63)),
        size=(float(size[0]), float(size[1]), float(size[2])),
        fat_mm=float(np.clip(body.gamma(6.0, 2.6), 8.0, 32.0)),
        breasts_mm=float(body.uniform(18.0, 45.0)) if female else 0.0,
        arms_up=bool(body.random() < 0.9),
        mpa_diameter_mm=mpa,
        rpa_diameter_mm=float(np.clip(0.81 * mpa + vessels.normal(0.0, 0.8), 18.0, 27.0)),
        lpa_diameter_mm=float(np.clip(0.78 * mpa + vessels.normal(0.0, 0.8), 17.0, 26.0)),
        segmental_diameter_mm=float(np.clip(vessels.normal(5.5, 0.45), 4.6, 6.5)),
        murray_exponent=float(np.clip(vessels.normal(2.9, 0.3), 2.3, 3.5)),
        branch_angle_deg=(28.0, 15.0),
        tortuosity_mm=float(vessels.uniform(0.8, 2.2)),
        heart_scale=float(np.clip(body.normal(1.0, 0.06), 0.88, 1.15)),
        aorta_diameter_mm=float(np.clip(vessels.normal(31.0, 2.5), 25.0, 38.0)),
        inspiration_mm=float(np.clip(body.normal(0.0, 9.0), -18.0, 14.0)),
        lung_hu=float(np.clip(body.normal(-850.0, 22.0), -900.0, -790.0)),
        emphysema=float(max(0.0, body.normal(-0.1, 0.35))),
        bolus=_draw_bolus(flow, traits),
        emboli=emboli,
        mimics=_draw_mimics(others),
        contrast=contrast,
    )


def _draw_bolus(rng: np.random.Generator, traits: Mapping[str, float]) -> Bolus:
    suboptimal = bool(rng.random() < traits["suboptimal_fraction"])
    good = np.clip(rng.normal(350.0, 62.0) + traits["pa_hu_shift"], 215.0, 500.0)
    pa_hu = float(np.clip(rng.normal(170.0, 16.0), 130.0, 198.0) if suboptimal else good)
    vein_lag = float(-rng.uniform(20.0, 120.0))
    return Bolus(
        pa_hu=pa_hu,
        order_drop_hu=float(-rng.uniform(5.0, 10.0)) * min(1.0, pa_hu / 300.0),
        vein_lag_hu=max(vein_lag, 95.0 - pa_hu),
        aorta_lag_hu=float(-rng.uniform(0.0, 60.0)),
        svc_hu=float(np.clip(pa_hu * rng.uniform(0.9, 2.4), 150.0, 900.0)),
        ivc_hu=float(rng.uniform(60.0, 130.0)),
        mixing=float(rng.beta(1.5, 3.0)),
        layering_hu=float(rng.uniform(0.0, 25.0)),
        unopacified_veins=float(rng.choice([0.0, 0.0, 0.15, 0.35, 0.9])),
    )


def _draw_emboli(rng: np.random.Generator) -> tuple[Embolus, ...]:
    count = int(np.clip(1 + rng.negative_binomial(2, 0.35), 1, 12))
    emboli = [_draw_embolus(rng) for _ in range(count)]
    saddles = [e for e in emboli if e.kind == "saddle"]
    return tuple(e for e in emboli if e.kind != "saddle" or e is saddles[0])


def _draw_embolus(rng: np.random.Generator) -> Embolus:
    level = str(rng.choice(EMBOLUS_LEVELS, p=[0.14, 0.19, 0.37, 0.30]))
    weights = {
        "central": [0.34, 0.32, 0.04, 0.20, 0.10],
        "lobar": [0.40, 0.25, 0.22, 0.0, 0.13],
        "segmental": [0.36, 0.20, 0.34, 0.0, 0.10],
        "subsegmental": [0.26, 0.10, 0.58, 0.0, 0.06],
    }[level]
    kind = str(rng.choice(EMBOLUS_KINDS, p=weights))
    length = {"central": (18, 45), "lobar": (12, 40), "segmental": (8, 32), "subsegmental": (5, 18)}[level]
    chronic = kind == "chronic"
    hu = (
        np.clip(rng.normal(87.0, 30.0), 54.0, 155.0)
        if chronic
        else np.clip(rng.normal(33.0, 15.0), 6.0, 65.0)
    )
    wall = {"occlusive": rng.uniform(1.1, 1.2), "chronic": rng.uniform(0.7, 0.85)}.get(kind, 1.0)
    plain = rng.choice(3, p=[0.6, 0.15, 0.25])
    plain_hu = (rng.normal(65.7, 8.0), rng.normal(26.0, 6.0), rng.normal(42.0, 5.0))[plain]
    return Embolus(
        kind=kind,
        level=level,
        hu=float(hu),
        length_mm=float(rng.uniform(*length)),
        ratio=float(rng.uniform(0.5, 0.85)),
        wall_scale=float(wall),
        fuzz_mm=float(rng.uniform(0.15, 0.5)),
        plain_hu=float(plain_hu),
    )


def _draw_mimics(rng: np.random.Generator) -> Mimics:
    return Mimics(
        nodes=int(rng.integers(4, 15)),
        mucus_plugs=int(rng.choice([0, 0, 1, 2, 4])),
        flow_artefacts=int(rng.choice([0, 1, 2, 3])),
        effusion_mm=float(max(0.0, rng.normal(-8.0, 12.0))),
        consolidations=int(rng.choice([0, 0, 0, 1, 2])),
    )
