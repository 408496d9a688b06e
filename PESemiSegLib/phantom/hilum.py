"""Owns the hila: named stems of arteries, veins and airways as anatomy books draw them (atlas mm)."""

from __future__ import annotations

import numpy as np

from PESemiSegLib.phantom.heart import Tube
from PESemiSegLib.phantom.parameters import PatientParameters
from PESemiSegLib.phantom.shapes import curve
from PESemiSegLib.phantom.trees import TreeBuilder

CENTRAL = 100  # tag of stems before the segments

# name: (parent, points in atlas mm, radii relative to `scale`, what scales them)
Stem = tuple[str, list[tuple[float, float, float]], list[float], str]
ARTERY_STEMS: dict[str, Stem] = {
    "trunk": (
        "",
        [(19, -45, -38), (20, -36, -27), (20, -25, -16), (17, -17, -13)],
        [0.98, 1, 1, 0.97],
        "mpa",
    ),
    "rpa": ("trunk", [(5, -7, -16), (-12, 0, -20), (-30, 3, -22), (-43, 4, -24)], [1, 1, 0.98, 0.82], "rpa"),
    "truncus": ("rpa:-22,2,-21", [(-36, -2, -13), (-46, -1, -3)], [0.56, 0.5], "rpa"),
    "interlobar R": ("rpa", [(-52, 9, -34), (-56, 16, -47)], [0.74, 0.66], "rpa"),
    "basal R": ("interlobar R", [(-59, 22, -60), (-61, 27, -70)], [0.56, 0.5], "rpa"),
    "lpa": (
        "trunk",
        [(27, -7, -6), (36, 7, -3), (44, 20, -8), (49, 26, -20)],
        [1, 1, 0.95, 0.84],
        "lpa",
    ),
    "interlobar L": ("lpa", [(52, 28, -34), (55, 28, -48)], [0.74, 0.64], "lpa"),
    "lingula": ("lpa:50,26,-28", [(60, 15, -33), (71, 4, -37)], [0.42, 0.38], "lpa"),
    "basal L": ("interlobar L", [(58, 29, -61), (61, 31, -71)], [0.56, 0.5], "lpa"),
}
ARTERY_SEGMENTS = {  # segment: (stem, place where it leaves)
    "RS1": ("truncus", None),
    "RS2": ("truncus", None),
    "RS3": ("truncus", (-38, -2, -10)),
    "RS4": ("interlobar R", (-54, 12, -39)),
    "RS5": ("interlobar R", (-53, 10, -36)),
    "RS6": ("interlobar R", (-56, 15, -45)),
    "RS7": ("basal R", (-59, 22, -60)),
    "RS8": ("basal R", (-60, 24, -65)),
    "RS9": ("basal R", None),
    "RS10": ("basal R", None),
    "LS1+2": ("lpa", (37, 9, -3)),
    "LS3": ("lpa", (32, 1, -4)),
    "LS4": ("lingula", None),
    "LS5": ("lingula", None),
    "LS6": ("lpa", (49, 26, -20)),
    "LS7+8": ("basal L", (59, 29, -63)),
    "LS9": ("basal L", None),
    "LS10": ("basal L", None),
}
VEIN_STEMS: dict[str, Stem] = {
    "RSPV": ("", [(-18, 6, -43), (-32, -4, -39), (-46, -11, -35)], [8, 7.5, 6.5], "mm"),
    "RUL": ("RSPV", [(-56, -14, -24), (-62, -13, -12)], [5.5, 5], "mm"),
    "RML": ("RSPV", [(-56, -18, -44)], [4], "mm"),
    "RLL": ("", [(-18, 16, -57), (-36, 23, -60), (-48, 29, -65), (-58, 36, -72)], [7.5, 7, 6.5, 5.5], "mm"),
    "LUL": ("", [(30, 4, -43), (42, -6, -34), (52, -12, -22), (60, -12, -8)], [8, 7, 6, 5], "mm"),
    "LLL": ("", [(28, 17, -57), (42, 25, -59), (52, 31, -66), (60, 38, -74)], [7.5, 7, 6, 5.5], "mm"),
}
AIRWAY_STEMS: dict[str, Stem] = {
    "trachea": (
        "",
        [(1, 18, 135), (1, 20, 90), (0, 18, 45), (0, 15, 10), (0, 15, 0)],
        [8.8, 8.8, 8.8, 8.8, 8],
        "mm",
    ),
    "right main": ("trachea", [(-12, 16, -9), (-26, 17, -16)], [7, 6.6], "mm"),
    "B-RUL": ("right main", [(-38, 16, -13), (-45, 15, -10)], [4.8, 4.2], "mm"),
    "intermedius": ("right main", [(-34, 18, -27), (-43, 19, -42)], [5.6, 5.2], "mm"),
    "B-RML": ("intermedius", [(-50, 8, -48), (-56, -2, -52)], [3.4, 3], "mm"),
    "B-RLL": ("intermedius", [(-48, 24, -56), (-52, 29, -69)], [4.6, 3.8], "mm"),
    "left main": ("trachea", [(14, 16, -11), (30, 16, -21), (40, 16, -26)], [6.4, 6, 5.8], "mm"),
    "B-LUL": ("left main", [(49, 9, -24), (57, 4, -20)], [4.8, 4], "mm"),
    "B-LLL": ("left main", [(45, 22, -38), (49, 26, -54), (53, 31, -68)], [4.8, 4.4, 3.8], "mm"),
}
AIRWAY_OF = {"RUL": "B-RUL", "RML": "B-RML", "RLL": "B-RLL", "LUL": "B-LUL", "LLL": "B-LLL"}


def stem_tubes(patient: PatientParameters) -> tuple[Tube, ...]:
    """The stems as tubes, for the mediastinum to enclose."""
    tubes = []
    for stems in (ARTERY_STEMS, VEIN_STEMS, AIRWAY_STEMS):
        builder = TreeBuilder()
        plant(builder, stems, patient, {})
        tubes.append(Tube("stem", np.array(builder.points), np.array(builder.radii)))
    return tuple(tubes)


def _unit(unit: str, patient: PatientParameters) -> float:
    return {
        "mpa": patient.mpa_diameter_mm / 2,
        "rpa": patient.rpa_diameter_mm / 2,
        "lpa": patient.lpa_diameter_mm / 2,
        "mm": float(np.mean(patient.size)),
    }[unit]


def plant(
    builder: TreeBuilder, stems: dict[str, Stem], patient: PatientParameters, tag_of: dict[str, int]
) -> None:
    """Lay the named stems, each joined to the end of its parent or the node nearest to 'parent:x,y,z'."""
    scale = np.array(patient.size)
    for name, (origin, points, radii, unit) in stems.items():
        table = np.column_stack([np.array(points) * scale, np.array(radii) * _unit(unit, patient)])
        parent = -1
        if origin:
            trunk, _, place = origin.partition(":")
            parent = builder.ends[trunk]
            if place:
                parent = builder.nearest(trunk, np.array([float(v) for v in place.split(",")]) * scale)
            table = np.vstack([[*builder.points[parent], table[0, 3]], table])
        fine = curve(table, 3.0)[1 if origin else 0 :]
        builder.stem(name, fine[:, :3], fine[:, 3], tag_of.get(name, CENTRAL), parent)
