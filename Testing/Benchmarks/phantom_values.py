"""Measures what made-up patients look like: the tables and the picture of Docs/phantom.md.

Run: python Testing/Benchmarks/phantom_values.py [patients a site] [preset] [contact sheet.png]
"""

import sys
import time
from collections import Counter
from collections.abc import Iterable
from pathlib import Path

import numpy as np
from scipy import ndimage

from PESemiSegLib.phantom.anatomy import build_anatomy
from PESemiSegLib.phantom.cohort import recipes
from PESemiSegLib.phantom.contact_sheet import save_sheet, strip
from PESemiSegLib.phantom.imaging import image_scene
from PESemiSegLib.phantom.patient import make_case, make_noncontrast_twin, plan
from PESemiSegLib.phantom.recipe import Recipe
from PESemiSegLib.phantom.scene import render
from PESemiSegLib.phantom.sites import SITES
from PESemiSegLib.volumes import Grid

SEED = 2024
DEEP_MM = 1.2


def spread(values: Iterable[float], digits: int = 0) -> str:
    """Median (smallest to largest)."""
    some = [v for v in values if np.isfinite(v)]
    if not some:
        return "none"
    return f"{np.median(some):.{digits}f} ({min(some):.{digits}f} to {max(some):.{digits}f})"


def kernels() -> None:
    frequency = np.linspace(0, 2, 4001)
    print("| site | kernel | MTF 50 % (1/mm) | largest MTF | noise peak (1/mm) |\n|---|---|---|---|---|")
    for name, site in SITES.items():
        kernel = site.scanner.kernel
        mtf = kernel.mtf(frequency)
        half = frequency[np.flatnonzero(mtf >= 0.5)[-1]]
        print(f"| {name} | {kernel.name} | {half:.2f} | {mtf.max():.2f} | {kernel.nps_peak_per_mm():.2f} |")


def noise_sd(recipe: Recipe) -> float:
    """SD in the middle of the mediastinum: two scans of a slab of the same patient differ by their noise."""
    parameters, acquisition, grid = plan(recipe)
    i, j, k = (round(v) for v in grid.to_ijk((0.0, 5.0, -20.0)))
    affine = grid.affine.copy()
    affine[2, 3] += (k - 4) * grid.spacing_mm[2]
    slab = render(build_anatomy(parameters), Grid((9, *grid.shape[1:]), affine), recipe.rng("scene")).hu
    # without landmarks: the streaks of the vena cava would differ from scan to scan as well
    scans = [image_scene(slab.copy(), acquisition, np.random.default_rng(seed), None) for seed in (1, 2)]
    half_x, half_y = (round(20.0 / s) for s in grid.spacing_mm[:2])
    box = np.s_[2:7, j - half_y : j + half_y, i - half_x : i + half_x]
    return float((scans[0][box].astype(float) - scans[1][box]).std() / np.sqrt(2))


def patient(recipe: Recipe) -> dict:
    start = time.process_time()
    case = make_case(recipe)
    seconds = time.process_time() - start
    print(f"{recipe.name}: {seconds:.0f} s", file=sys.stderr, flush=True)
    exact = case.clot_exact > 0
    vessel = ndimage.distance_transform_edt(case.artery, sampling=case.grid.spacing_mm[::-1]) > 3.0
    blood = case.hu[vessel & ~ndimage.binary_dilation(exact, iterations=3)]
    deep = ndimage.distance_transform_edt(exact, sampling=case.grid.spacing_mm[::-1]) > DEEP_MM
    cores = []
    for lesion in case.facts["lesions"]:
        core = deep & (case.lesions == lesion["id"])
        if core.sum() >= 10 and lesion["kind"] != "chronic":
            cores.append(float(np.median(case.hu[core])))
    return {
        "seconds": seconds,
        "slices": len(case.hu),
        "blood": float(np.median(blood)),
        "clots": cores,
        "noise": noise_sd(recipe),
        "label": float(case.clot.sum() / exact.sum()) if exact.any() else np.nan,
        "lesions": case.facts["lesions"],
        "missed": len(case.facts["missed_lesions"]),
        "pe": bool(exact.any()),
        "facts": case.facts,
        "strip": strip(case),
    }


def sheet(rows: dict[str, list[dict]], path: Path, preset: str) -> None:
    """Two patients with emboli and one without of each site, and a non-contrast twin."""
    strips, titles = [], []
    for name, patients in rows.items():
        ill = sorted((p for p in patients if p["pe"]), key=lambda p: -p["facts"]["burden_index"])
        for p in [ill[0], ill[len(ill) // 2], *[p for p in patients if not p["pe"]][:1]]:
            strips.append(p["strip"])
            titles.append(f"site {name}" + ("" if p["pe"] else ", no emboli"))
    recipe = next(r for r in recipes("A", len(rows["A"]), SEED, preset) if r.pe)
    twin = make_noncontrast_twin(recipe)
    save_sheet([*strips, strip(twin)], path, [*titles, "site A, without contrast"])


def main(patients: int, preset: str, picture: Path | None) -> None:
    kernels()
    rows = {name: [patient(r) for r in recipes(name, patients, SEED, preset)] for name in SITES}
    print(f"\n{patients} patients a site, preset {preset}, seed {SEED}: median (smallest to largest)\n")
    print("| | A | B | C |\n|---|---|---|---|")
    lines = {
        "patients without emboli": lambda ps: f"{sum(not p['pe'] for p in ps)} of {len(ps)}",
        "arterial blood, HU": lambda ps: spread(p["blood"] for p in ps),
        "acute clot, its core, HU": lambda ps: spread(c for p in ps for c in p["clots"]),
        "noise SD in the mediastinum, HU": lambda ps: spread((p["noise"] for p in ps), 1),
        "emboli a patient with emboli": lambda ps: spread(len(p["lesions"]) for p in ps if p["pe"]),
        "drawn label / exact clot volume": lambda ps: spread((p["label"] for p in ps), 2),
        "emboli not drawn": lambda ps: (
            f"{sum(p['missed'] for p in ps)} of {sum(len(p['lesions']) for p in ps)}"
        ),
        "pulmonary trunk, mm": lambda ps: spread((p["facts"]["mpa_diameter_mm"] for p in ps), 1),
        "processor seconds a patient": lambda ps: spread((p["seconds"] for p in ps), 1),
    }
    for title, show in lines.items():
        print(f"| {title} | " + " | ".join(show(rows[name]) for name in SITES) + " |")
    if picture is not None:
        sheet(rows, picture, preset)
    lesions = [lesion for ps in rows.values() for p in ps for lesion in p["lesions"]]
    for what in ("kind", "level"):
        count = Counter(lesion[what] for lesion in lesions)
        shares = (f"{name} {n} ({n / len(lesions):.0%})" for name, n in count.most_common())
        print(f"\n{what}: " + ", ".join(shares))


if __name__ == "__main__":
    given = [*sys.argv[1:], *["12", "medium", ""][len(sys.argv) - 1 :]]
    main(int(given[0]), given[1], Path(given[2]) if given[2] else None)
