"""The demo model on real scans without emboli, and on clots painted into a real pulmonary artery.

Nothing is tuned on them. `python Testing/Benchmarks/real_scans.py SHARED_DATA` prints two Markdown tables.
"""

from __future__ import annotations

import argparse
import tempfile
import zipfile
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from scipy import ndimage

from PESemiSegLib.inference.result import Result
from PESemiSegLib.inference.segment import segment
from PESemiSegLib.models.package import ModelPackage
from PESemiSegLib.models.store import Store
from PESemiSegLib.volumes.reader import read
from PESemiSegLib.volumes.volume import Volume

SCANS = {
    "`ts_pulmonary_crop`, contrast chest at 1.5 mm": "ts_pulmonary_crop/ct_cropped.nii.gz",
    "`cip_ct64`, non-contrast chest at 4 mm (the input check says so)": "cip_ct64/ct-64.nrrd",
    "`lungmask_cta_2slices`, two slices with contrast": "lungmask_cta_2slices/series",
    "`lidc0314_chest_noncontrast`, 30 slices without contrast (the input check says so)": (
        "lidc0314_chest_noncontrast"
    ),
}
ARTERY = ("ts_pulmonary_crop/ct_cropped.nii.gz", "ts_pulmonary_crop/pulmonary_artery.nii.gz")
CLOTS_A_SCAN, APART_MM = 3, 25.0
CALIBRES_MM = ((0.0, 12.0), (12.0, 40.0))
PSF_VOXELS = 0.5
STYLES = {"fill the artery": 1e3, "at most 14 mm wide": 14.0}


def main() -> None:
    """Segment, count, print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", type=Path, help="folder of the real scans")
    parser.add_argument("--model", default="demo")
    parser.add_argument("--painted", type=int, default=12, help=f"scans with {CLOTS_A_SCAN} clots each")
    arguments = parser.parse_args()
    package = Store().find(arguments.model)
    print("| scan | false marks | volume |\n|---|---|---|")
    for name, place in SCANS.items():
        found = segment(_read(arguments.data / place), package).findings
        print(f"| {name} | {len(found)} | {sum(f.volume_mm3 for f in found) / 1000:.1f} ml |", flush=True)
    print()
    _painted(arguments.data, package, arguments.painted)


def _read(path: Path) -> Volume:
    archives = sorted(path.glob("*.zip")) if path.is_dir() else []
    if not archives:
        return read(path)
    with tempfile.TemporaryDirectory() as folder:
        for archive in archives:
            with zipfile.ZipFile(archive) as content:
                content.extractall(folder)
        return read(Path(folder))


@dataclass(frozen=True)
class Clot:
    """A painted clot: where, the artery's calibre there, its HU."""

    voxels: np.ndarray
    calibre_mm: float
    hu: float


def _painted(data: Path, package: ModelPackage, scans: int) -> None:
    volume, artery = read(data / ARTERY[0]), read(data / ARTERY[1]).hu > 0
    before = segment(volume, package)
    print("| clots | artery's calibre | painted | found | marked there before | share of the clot marked |")
    print("|---|---|---|---|---|---|")
    for style, largest_mm in STYLES.items():
        rows: list[tuple[Clot, float, bool]] = []
        for seed in range(scans):
            hu, clots = paint(volume, artery, largest_mm, np.random.default_rng(seed))
            result = segment(replace(volume, hu=hu), package)
            rows += [(clot, _share(result, clot), _share(before, clot) > 0.0) for clot in clots]
        for low, high in CALIBRES_MM:
            chosen = [row for row in rows if low <= row[0].calibre_mm < high]
            if chosen:
                shares = [share for _, share, _ in chosen]
                print(
                    f"| {style} | {low:.0f} to {high:.0f} mm | {len(chosen)} | {sum(s > 0 for s in shares)} "
                    f"| {sum(b for *_, b in chosen)} | {np.mean(shares):.2f} |",
                    flush=True,
                )


def _share(result: Result, clot: Clot) -> float:
    return float((result.mask[tuple(clot.voxels.T)] > 0).mean())


def paint(
    volume: Volume, artery: np.ndarray, largest_mm: float, rng: np.random.Generator
) -> tuple[np.ndarray, list[Clot]]:
    """HU with some clots of 40 to 80 HU in the artery (bool (z, y, x)), as noisy and as sharp as the scan.

    A clot is a ball around a point of the middle line, 1.2 to 2 calibres wide but no wider than `largest_mm`,
    moved off the middle by up to a quarter of the calibre, and cut by the artery's wall.
    """
    x, y, z = volume.spacing_mm
    step = np.array((z, y, x))
    radius = ndimage.distance_transform_edt(artery, sampling=step)
    middle = np.argwhere((radius >= 2.0) & (radius == ndimage.maximum_filter(radius, 3)))
    flesh = (volume.hu > 20) & (volume.hu < 90)
    noise = float(np.std(volume.hu[ndimage.binary_erosion(flesh, iterations=2)]))
    hu, clots = volume.hu.astype(np.float32), []
    grid = np.indices(volume.shape).reshape(3, -1).T
    for centre in rng.permutation(middle):
        if len(clots) == CLOTS_A_SCAN:
            break
        if any(np.linalg.norm((centre - clot.voxels.mean(0)) * step) < APART_MM for clot in clots):
            continue
        calibre = 2.0 * float(radius[tuple(centre)])
        place = centre * step + rng.uniform(-0.25, 0.25, 3) * calibre
        reach = 0.5 * min(calibre * rng.uniform(1.2, 2.0), largest_mm)
        inside = (np.linalg.norm(grid * step - place, axis=1) < reach).reshape(artery.shape) & artery
        if not inside.any():
            continue
        level = float(rng.uniform(40.0, 80.0))
        soft = np.minimum(ndimage.gaussian_filter(inside.astype(np.float32), PSF_VOXELS), 1.0)
        grain = ndimage.gaussian_filter(rng.standard_normal(hu.shape), PSF_VOXELS)
        hu += soft * (level + noise * grain / grain.std() - hu)
        clots.append(Clot(np.argwhere(inside), calibre, level))
    return np.rint(hu).astype(np.int16), clots


if __name__ == "__main__":
    main()
