"""Owns the input check: is this a CT of the whole chest, enhanced as it should be, in plain sentences."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Literal

import numpy as np
from scipy import ndimage

from PESemiSegLib.inference.enhancement import Enhancement, estimate
from PESemiSegLib.inference.lungs import AIR_HU, LungField, lung_mask, to_coarse
from PESemiSegLib.inference.result import CheckLine, InputCheck, Level

if TYPE_CHECKING:
    from PESemiSegLib.volumes.volume import Volume

__all__ = ["CheckLine", "InputCheck", "check"]

THICK_SLICE_MM = 3.0
NO_CONTRAST_HU = 100.0  # unenhanced blood measures 30-50
WEAK_CONTRAST_HU = 200.0  # below this small emboli are hard to see
NOISY_HU = 60.0
CUT_SHARE = 0.1  # lung in an end slice, of the largest section: more means that lung goes on beyond
CHEST_SECTION_MM2 = 8000.0  # both lungs of a small adult at the base are larger
Phase = Literal["contrast", "noncontrast"]
STEP_MM = 3.0  # sideways step of the lung's outline between two slices that breathing or a heartbeat makes


def check(volume: Volume, lungs: LungField | None = None, *, phase: Phase | None = "contrast") -> InputCheck:
    """Inspect `volume`: CT? HU? chest covered? thin slices? trunk enhanced? motion or truncation?

    One sentence each; `InputCheck.require(strict)` refuses. `lungs` saves finding them again. `phase` is what
    the scan should be: with contrast agent in the pulmonary trunk, or without any; None: either will do.
    """
    if lungs is None:
        lungs = lung_mask(volume.hu, volume.spacing_mm)
    blood = estimate(volume.hu, lungs)
    sentences = [
        *_modality(volume),
        *_values(volume.hu),
        *_spacing(volume),
        *_chest(lungs),
        *_blood(volume, blood, lungs, phase),
        *_motion(volume.hu, lungs),
        *(_line("warning", "reader", text) for text in volume.facts.warnings),
    ]
    return InputCheck(
        sentences=sentences,
        pa_hu=blood.hu if blood else None,
        lung_volume_ml=lungs.volume_ml if lungs.found else None,
        slice_spacing_mm=slice_gap_mm(volume),
        coverage_mm=lungs.length_mm if lungs.found else None,
        noise_hu=blood.noise_hu if blood else None,
        facts={"trunk_in_image": bool(blood and blood.trunk)},
    )


def _line(level: Level, code: str, text: str) -> CheckLine:
    return CheckLine(level, code, text)


def _modality(volume: Volume) -> Iterator[CheckLine]:
    modality = volume.facts.modality or "CT"
    if modality != "CT":
        yield _line("error", "not_ct", f"This is not a CT (modality {modality}).")
    else:
        yield _line("ok", "ct", "This is a CT.")


def _values(hu: np.ndarray) -> Iterator[CheckLine]:
    step = tuple(max(1, n // 96) for n in hu.shape)
    sample = hu[:: step[0], :: step[1], :: step[2]]
    low, high = int(sample.min()), int(sample.max())
    span = f"the values run from {low} to {high}"
    if low == high:
        yield _line("error", "hu_range", f"The image is empty: every value is {low}.")
    elif low >= 0 and high <= 255:
        yield _line("error", "hu_range", f"These are not HU: {span}, as in an 8-bit picture.")
    elif (sample < -500).mean() < 1e-3:
        hint = "; the rescale intercept is probably missing" if low >= 0 and high > 1000 else ""
        yield _line("error", "hu_range", f"These are not HU of a chest: {span}, without any air{hint}.")
    elif ((sample > -200) & (sample < 200)).mean() < 0.02:
        yield _line("error", "hu_range", f"These are not HU of a chest: {span}, with hardly any soft tissue.")
    else:
        yield _line("ok", "hu_range", f"The HU are plausible: {span}.")


def _spacing(volume: Volume) -> Iterator[CheckLine]:
    gap_mm = slice_gap_mm(volume)
    if gap_mm > THICK_SLICE_MM + 0.01:
        text = f"The slices are {gap_mm:.1f} mm apart; small emboli are missed above {THICK_SLICE_MM:g} mm."
        yield _line("warning", "slice_spacing", text)
    else:
        yield _line("ok", "slice_spacing", f"The slices are {gap_mm:.2g} mm apart.")


def slice_gap_mm(volume: Volume) -> float:
    """The largest distance between slices as acquired: a coronal scan's, a gap's, a file's coarse axis."""
    coarsest = max(volume.slice_gap_mm, *volume.spacing_mm)
    return coarsest if coarsest > THICK_SLICE_MM else volume.slice_gap_mm


def _chest(lungs: LungField) -> Iterator[CheckLine]:
    if not lungs.found:
        text = "No lungs were found: this is not a chest, or it is not in HU; the whole volume is computed."
        yield _line("error", "no_lungs", text)
        return
    area = lungs.area_mm2
    largest = float(area.max())
    if largest < CHEST_SECTION_MM2:
        text = f"There is little lung (at most {largest / 100:.0f} cm2 in a slice): hardly a chest."
        yield _line("warning", "little_lung", text)
    ends = [name for name, end in (("bases", 0), ("apices", -1)) if area[end] > CUT_SHARE * largest]
    length = lungs.length_mm
    if ends:
        text = f"The lung {' and '.join(ends)} are cut off ({length:.0f} mm of lung are in the image)."
        yield _line("warning", "chest_cut", text)
    else:
        yield _line("ok", "chest", f"The chest is covered from apex to base ({length:.0f} mm).")
    if lungs.touches_border:
        yield _line("warning", "fov_cut", "The field of view cuts off lung at the side.")
    if lungs.one_sided:
        side = "right" if lungs.sides_ml[0] < lungs.sides_ml[1] else "left"
        text = f"The {side} lung holds hardly any air; its side is computed as a mirror of the other."
        yield _line("warning", "one_lung", text)


def _blood(
    volume: Volume, blood: Enhancement | None, lungs: LungField, phase: Phase | None
) -> Iterator[CheckLine]:
    if phase == "contrast":
        yield from _enhancement(blood, lungs)
    elif phase == "noncontrast":
        yield from _no_enhancement(volume, blood, lungs)
    if lungs.found and blood is not None:
        yield from _noise(blood)


def _enhancement(blood: Enhancement | None, lungs: LungField) -> Iterator[CheckLine]:
    if not lungs.found:
        return
    if blood is None:
        yield _line("warning", "trunk_unseen", "The enhancement of the pulmonary trunk cannot be measured.")
        return
    where = "pulmonary trunk" if blood.trunk else "blood between the lungs"
    if blood.hu < NO_CONTRAST_HU:
        text = f"There is no contrast agent in the {where} ({blood.hu:.0f} HU): emboli cannot be seen."
        yield _line("warning", "not_enhanced", text)
    elif blood.hu < WEAK_CONTRAST_HU:
        text = f"The {where} is weakly enhanced ({blood.hu:.0f} HU; {WEAK_CONTRAST_HU:.0f} are wanted)."
        yield _line("warning", "weakly_enhanced", text)
    elif not blood.trunk:
        text = "The pulmonary trunk is not in the image; other blood between the lungs is enhanced to "
        yield _line("warning", "trunk_unseen", f"{text}{blood.hu:.0f} HU.")
    else:
        yield _line("ok", "enhanced", f"The {where} is enhanced to {blood.hu:.0f} HU.")


def _no_enhancement(volume: Volume, blood: Enhancement | None, lungs: LungField) -> Iterator[CheckLine]:
    """As a scan without contrast agent should be."""
    if not lungs.found:
        return
    if blood is None:
        yield _line(
            "warning", "trunk_unseen", "Whether there is contrast agent in the blood cannot be measured."
        )
        return
    where = "pulmonary trunk" if blood.trunk else "blood between the lungs"
    if blood.hu >= NO_CONTRAST_HU:
        text = f"This looks like a contrast scan: the {where} measures {blood.hu:.0f} HU."
        yield _line("error", "enhanced", text)
    elif volume.facts.contrast_agent:
        text = f"The file tells of contrast agent, but there is none in the {where} ({blood.hu:.0f} HU)."
        yield _line("warning", "agent_elsewhere", text)
    else:
        yield _line("ok", "plain", f"There is no contrast agent in the {where} ({blood.hu:.0f} HU).")


def _noise(blood: Enhancement) -> Iterator[CheckLine]:
    if blood.noise_hu > NOISY_HU:
        text = f"The image is noisy ({blood.noise_hu:.0f} HU): expect more false marks."
        yield _line("warning", "noise", text)


def _motion(hu: np.ndarray, lungs: LungField) -> Iterator[CheckLine]:
    if not lungs.found or hu.shape[0] < 8:
        return
    steps = outline_steps(hu, lungs)
    # A breath is one large step among small ones; where a lung tapers off, its neighbours are large as well.
    around = ndimage.generic_filter(steps, np.median, size=5)
    jumps = np.flatnonzero((steps > STEP_MM) & (steps > 2.5 * around) & (around > 0))
    if jumps.size:
        more = f" and {jumps.size - 1} times more" if jumps.size > 1 else ""
        text = f"The lungs' outline jumps between slices {jumps[0] + 1} and {jumps[0] + 2}{more}: "
        yield _line("warning", "motion", f"{text}breathing, or slices are missing.")
    else:
        yield _line("ok", "motion", "There is no sign of breathing between slices.")


def outline_steps(hu: np.ndarray, lungs: LungField) -> np.ndarray:
    """Mean sideways step (mm) of the lungs' outline from each slice to the next; 0 where hardly any lung is.

    The area that changes between lung and not lung, over the outline's length.
    """
    sz, sy, sx = lungs.stride
    _, dy, dx = lungs.coarse_spacing_mm
    steps = np.zeros(hu.shape[0] - 1)
    before: np.ndarray | None = None
    enough = 0.2 * lungs.solid.sum((1, 2)).max(initial=0)
    for k in range(hu.shape[0]):
        near = lungs.solid[to_coarse(k, sz, lungs.solid.shape[0])]
        if near.sum() < enough:
            before = None
            continue
        near = ndimage.binary_dilation(near, iterations=3)
        now = ndimage.binary_closing((hu[k, ::sy, ::sx] < AIR_HU) & near, iterations=2)
        if before is not None:
            outline = (now ^ ndimage.binary_erosion(now)).sum() * max(dy, dx)
            steps[k - 1] = (now ^ before).sum() * dy * dx / max(outline, 1.0)
        before = now
    return steps
