"""Owns the slice-by-slice background: air, skin, fat, muscle, lung parenchyma, abdominal organs, table."""

from __future__ import annotations

import numpy as np

from PESemiSegLib.phantom.fields import Axes, lattice_noise
from PESemiSegLib.phantom.lungs import HIGH, LOW, Chest
from PESemiSegLib.phantom.mimics import Patch
from PESemiSegLib.phantom.parameters import PatientParameters
from PESemiSegLib.phantom.shapes import Array, coverage

AIR, FAT, MUSCLE, SKIN = -1000.0, -102.0, 52.0, 30.0


def paint_background(
    axes: Axes,
    patient: PatientParameters,
    chest: Chest,
    patches: tuple[Patch, ...],
    rng: np.random.Generator,
) -> Array:
    """Ideal HU (z, y, x) of everything but bones, heart, vessels and airways."""
    painter = _Painter(axes, patient, chest, patches, rng)
    hu = np.full(axes.shape, AIR, np.float32)
    for k in range(axes.shape[0]):
        painter.paint(hu[k], k)
    _table(hu, axes, patient)
    return hu


class _Painter:
    """What one slice needs, ready to be read on the grid."""

    def __init__(
        self,
        axes: Axes,
        patient: PatientParameters,
        chest: Chest,
        patches: tuple[Patch, ...],
        rng: np.random.Generator,
    ) -> None:
        low, high = LOW * chest.scale, HIGH * chest.scale
        muscle_rng, fine_rng, patch_rng = rng.spawn(3)
        self.axes, self.patient, self.patches = axes, patient, patches
        self.contrast = float(patient.contrast)
        self.width = float(axes.spacing_mm[:2].mean())
        self.scale = chest.scale.astype(np.float32)
        self.body, self.cavity = chest.body.bind(axes), chest.cavity.bind(axes)
        self.lung, self.fissure = chest.lung.bind(axes), chest.fissure.bind(axes)
        self.dome = chest.diaphragm.bind(axes)
        self.marbling = lattice_noise(muscle_rng, low, high, 9.0).bind(axes)
        self.fine = lattice_noise(fine_rng, low, high, 2.6).bind(axes)
        self.patchy = lattice_noise(patch_rng, low, high, 18.0).bind(axes)

    def paint(self, plane: Array, k: int) -> None:
        """Paint slice k into `plane` (y, x), which holds air."""
        skin = self.body.plane(k)
        box = _around(skin < 2.0)
        skin, inner, seam = skin[box], self.cavity.plane(k, *box), self.marbling.plane(k, *box)
        x, y = self._atlas(box)
        z = float(self.axes.z[k] / self.scale[2])
        fat = FAT + 8.0 * seam
        muscle = self._muscle(x, y, z, skin, inner, seam, self.patchy.plane(k, *box))
        tissue = fat + (MUSCLE + 6.0 * self.contrast + 4.0 * seam - fat) * muscle
        neck = float(np.clip((z - 72.0) / 20.0, 0.0, 0.85))
        tissue += (FAT + 6.0 * seam + neck * (MUSCLE - FAT) - tissue) * coverage(inner + 1.5, 2.5)
        dome = self.dome.plane(k, *box)
        if (dome < 1.0).any():
            below = coverage(dome + 2.0, 3.0) * coverage(inner + 2.0, 2.0)
            tissue += (self._abdomen(x, y, z, seam, dome, inner) - tissue) * below
        tissue += (SKIN - tissue) * coverage(-skin - 1.6, 1.2)
        plane[box] += (tissue - plane[box]) * coverage(skin, self.width)
        self._breathe(plane, k)

    def _atlas(self, box: tuple[slice, slice]) -> tuple[Array, Array]:
        x, y = self.axes.x[None, box[1]], self.axes.y[box[0], None]
        return x / self.scale[0], y / self.scale[1]

    def _muscle(
        self, x: Array, y: Array, z: float, skin: Array, inner: Array, seam: Array, patch: Array
    ) -> Array:
        """Share of muscle: a layer on the ribs, thicker at back and shoulders, under the fat of the skin."""
        x, patient = np.abs(x), self.patient
        thick = np.interp(z, [-200, -60, 0, 40, 80, 110], [14, 15, 18, 26, 55, 70])
        pectoral = 9.0 * np.exp(-(((z - 15) / 45) ** 2)) * np.exp(-(((x - 70) / 45) ** 2)) * (y < -40)
        beside_spine = 26.0 * np.exp(-(((x - 26) / 20) ** 2)) * (y > 50)
        flank = 9.0 * np.exp(-(((y - 35) / 40) ** 2)) * (x > 90)
        layer = coverage(inner - (thick + pectoral + beside_spine + flank), 3.0)
        layer *= coverage(
            skin + 0.8 * patient.fat_mm * (1.0 - 0.5 * np.exp(-((x / 50) ** 2)) * (y > 60)), 3.0
        )
        planes = np.exp(-((patch / 0.13) ** 2)) * np.clip(
            (inner - 14.0) / 10.0, 0.0, 1.0
        )  # fat between muscles
        groups = (1.0 - 0.9 * planes) * coverage(seam - 1.7, 0.35)
        if not patient.breasts_mm:
            return layer * groups
        glands = 0.55 * coverage(1.1 - seam, 0.8) * coverage(10.0 + skin, 6.0) * (y < -40) * (z < 20)
        return np.maximum(layer * groups, glands * (1 - layer))

    def _breathe(self, plane: Array, k: int) -> None:
        """Lung parenchyma: dependent gradient, fine vessel texture, fissures, airless lung, fluid."""
        lung, patient, axes = self.lung.plane(k), self.patient, self.axes
        if lung.min() > 2.0:
            return
        box = _around(lung < 3.0)
        lung = lung[box]
        x, y, z = axes.x[None, box[1]], axes.y[box[0], None], float(axes.z[k])
        grain, patch = self.fine.plane(k, *box), self.patchy.plane(k, *box)
        air = patient.lung_hu + 95.0 * (y - 10.0) / 180.0 + 14.0 * patch + 16.0 * grain
        air += 70.0 * np.maximum(grain - 1.15, 0.0) ** 1.5
        if patient.emphysema > 0:
            air -= 70.0 * patient.emphysema * coverage(0.9 - patch, 0.6)
        sheet = np.exp(-((self.fissure.plane(k, *box) / 0.7) ** 2))
        air = np.minimum(air + 90.0 * min(1.0, 0.8 / self.width + 0.3) * sheet, -350.0)
        for p in self.patches:
            if abs(z - p.centre[2]) < 1.6 * p.radius:
                away = np.hypot(np.hypot(x - p.centre[0], y - p.centre[1]), z - p.centre[2])
                air += (p.hu + 20.0 * grain - air) * coverage(away - p.radius * (1.0 + 0.16 * patch), 7.0)
        fluid = effusion_mm(lung, y, z, patient)
        if fluid is not None:
            air += (12.0 - air) * coverage(fluid, 1.5)
        plane[box] += (air - plane[box]) * coverage(lung, self.width)

    def _abdomen(self, x: Array, y: Array, z: float, seam: Array, dome: Array, inner: Array) -> Array:
        """Liver, spleen, stomach with its gas, fat: what the domes rest on."""
        out = -98.0 + 6.0 * seam
        liver = np.maximum(x - np.interp(z, [-180, -120], [-5, 38]) + 0.25 * (y + 20), inner + 3.0)
        out += (58.0 + 30.0 * self.contrast + 3.0 * seam - out) * coverage(np.maximum(liver, dome + 4.0), 3.0)
        spleen = (np.sqrt(((x - 92) / 36) ** 2 + ((y - 48) / 44) ** 2 + ((z + 168) / 46) ** 2) - 1) * 38
        out += (50.0 + 45.0 * self.contrast - out) * coverage(np.maximum(spleen, inner + 3), 3.0)
        stomach = (np.sqrt(((x - 62) / 42) ** 2 + ((y + 22) / 46) ** 2 + ((z + 160) / 40) ** 2) - 1) * 40
        out += (40.0 - out) * coverage(stomach, 2.5)
        out += (-950.0 - out) * coverage(np.maximum(stomach + 4.0, y + 30.0), 2.0)
        return out


def effusion_mm(lung: Array, y: Array, z: float, patient: PatientParameters) -> Array | None:
    """Distance to the fluid behind the lungs on a slice (y, x), mm, negative inside; None: there is none."""
    if patient.mimics.effusion_mm <= 0:
        return None
    low = np.clip((y - 15.0) / 70.0, 0, 1) * np.clip((-10.0 - z) / 90.0, 0, 1)
    return 1.0 - lung - 2.2 * patient.mimics.effusion_mm * low


def _around(mask: Array) -> tuple[slice, slice]:
    """Bounding (rows, columns) of a mask; empty slices where there is nothing."""
    rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    if not len(rows):
        return slice(0, 0), slice(0, 0)
    return slice(int(rows[0]), int(rows[-1]) + 1), slice(int(columns[0]), int(columns[-1]) + 1)


def _table(hu: Array, axes: Axes, patient: PatientParameters) -> None:
    """A curved table of carbon fibre under the back."""
    back = (125.0 + 0.8 * patient.fat_mm) * patient.size[1] + 6.0
    bow = axes.x[None, :] ** 2 / 1400.0
    depth = axes.y[:, None] - (back + 12.0 - bow)
    shell = np.minimum(np.abs(depth), np.abs(depth - 26.0)) - 1.0
    board = np.where((depth > 0) & (depth < 26), -930.0, AIR)
    board = board + (-420.0 - board) * coverage(shell, 2.0)
    board = np.where((np.abs(axes.x[None, :]) < 215) & (depth > -2) & (depth < 28), board, AIR).astype(
        np.float32
    )
    for plane in hu:
        empty = plane < -990
        plane[empty] = np.maximum(plane, board)[empty]
