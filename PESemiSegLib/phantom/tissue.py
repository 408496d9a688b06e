"""Owns the slice-by-slice background: air, skin, fat, muscle, lung parenchyma, abdominal organs, table."""

from __future__ import annotations

import numpy as np

from PESemiSegLib.phantom.fields import Axes, CoarseField, lattice_noise
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
    low, high = LOW * chest.scale, HIGH * chest.scale
    muscle_rng, fine_rng, patch_rng = rng.spawn(3)
    body, cavity, lung, dome, fissure = (
        f.bind(axes) for f in (chest.body, chest.cavity, chest.lung, chest.diaphragm, chest.fissure)
    )
    marbling = lattice_noise(muscle_rng, low, high, 9.0).bind(axes)
    fine = lattice_noise(fine_rng, low, high, 2.6).bind(axes)
    patchy = lattice_noise(patch_rng, low, high, 18.0).bind(axes)
    width = float(axes.spacing_mm[:2].mean())
    hu = np.empty(axes.shape, np.float32)
    contrast = 1.0 if patient.contrast else 0.0
    for k in range(axes.shape[0]):
        skin, inner = body.plane(k), cavity.plane(k)
        plane = np.full(skin.shape, AIR, np.float32)
        soft = MUSCLE + 4.0 * marbling.plane(k) + 6.0 * contrast
        seam = marbling.plane(k)
        muscle = _muscle(axes, k, patient, chest, skin, inner, seam)
        tissue = FAT + 8.0 * seam + (soft - FAT - 8.0 * seam) * muscle
        inside = coverage(inner + 1.5, 2.5)
        neck = float(np.clip((axes.z[k] / chest.scale[2] - 72.0) / 20.0, 0.0, 0.85))
        centre_fat = FAT + 6.0 * seam + neck * (MUSCLE - FAT)
        tissue += (centre_fat - tissue) * inside
        below = coverage(dome.plane(k) + 2.0, 3.0) * coverage(inner + 2.0, 2.0)
        if below.max() > 0:
            tissue += (_abdomen(axes, k, chest, contrast, seam, dome.plane(k), inner) - tissue) * below
        tissue += (SKIN - tissue) * coverage(-skin - 1.6, 1.2)
        plane += (tissue - plane) * coverage(skin, width)
        _breathe(plane, axes, k, patient, patches, lung.plane(k), fissure, fine, patchy, width)
        hu[k] = plane
    _table(hu, axes, patient)
    return hu


def _muscle(
    axes: Axes, k: int, patient: PatientParameters, chest: Chest, skin: Array, inner: Array, seam: Array
) -> Array:
    """Share of muscle: a layer on the ribs, thicker at back and shoulders, under the fat of the skin."""
    x = np.abs(axes.x[None, :]) / np.float32(chest.scale[0])
    y = axes.y[:, None] / np.float32(chest.scale[1])
    z = float(axes.z[k]) / float(chest.scale[2])
    thick = np.interp(z, [-200, -60, 0, 40, 80, 110], [14, 15, 18, 26, 55, 70])
    chest_front = 9.0 * np.exp(-(((z - 15) / 45) ** 2)) * np.exp(-(((x - 70) / 45) ** 2)) * (y < -40)
    beside_spine = 26.0 * np.exp(-(((x - 26) / 20) ** 2)) * (y > 50)
    flank = 9.0 * np.exp(-(((y - 35) / 40) ** 2)) * (x > 90)
    layer = coverage(inner - (thick + chest_front + beside_spine + flank), 3.0)
    under = coverage(skin + 0.8 * patient.fat_mm * (1.0 - 0.5 * np.exp(-((x / 50) ** 2)) * (y > 60)), 3.0)
    groups = coverage(seam - 1.5 + 0.018 * np.clip(inner - 12.0, 0.0, 40.0), 0.35)
    glands = 0.55 * coverage(1.1 - seam, 0.8) * coverage(10.0 + skin, 6.0) * (y < -40) * (z < 20)
    return np.maximum(layer * under * groups, glands * (1 - layer) * float(patient.breasts_mm > 0))


def _breathe(
    plane: Array,
    axes: Axes,
    k: int,
    patient: PatientParameters,
    patches: tuple[Patch, ...],
    lung: Array,
    fissure: CoarseField,
    fine: CoarseField,
    patchy: CoarseField,
    width: float,
) -> None:
    """Lung parenchyma of one slice: dependent gradient, patches, fine vessel texture and fissures."""
    rows, columns = np.flatnonzero((lung < 3).any(1)), np.flatnonzero((lung < 3).any(0))
    if not len(rows):
        return
    box = (slice(rows[0], rows[-1] + 1), slice(columns[0], columns[-1] + 1))
    depth = (axes.y[box[0], None] - 10.0) / 180.0
    grain = fine.plane(k, *box)
    patch = patchy.plane(k, *box)
    air = patient.lung_hu + 95.0 * depth + 14.0 * patch + 16.0 * grain
    air += 70.0 * np.maximum(grain - 1.15, 0.0) ** 1.5
    if patient.emphysema > 0:
        air -= 70.0 * patient.emphysema * coverage(0.9 - patch, 0.6)
    air += 90.0 * np.exp(-((fissure.plane(k, *box) / 0.7) ** 2)) * min(1.0, 0.8 / width + 0.3)
    air = np.minimum(air, -350.0)
    for p in patches:
        if abs(axes.z[k] - p.centre[2]) < 1.6 * p.radius:
            away = np.hypot(axes.x[None, box[1]] - p.centre[0], axes.y[box[0], None] - p.centre[1])
            ball = np.hypot(away, axes.z[k] - p.centre[2]) - p.radius * (1.0 + 0.16 * patch)
            air += (p.hu + 20.0 * grain - air) * coverage(ball, 7.0)
    if patient.mimics.effusion_mm > 0:
        low = np.clip((axes.y[box[0], None] - 15.0) / 70.0, 0, 1) * np.clip((-10.0 - axes.z[k]) / 90.0, 0, 1)
        fluid = -lung[box] - 2.2 * patient.mimics.effusion_mm * low
        air += (12.0 - air) * coverage(fluid + 1.0, 1.5)
    share = coverage(lung[box], width)
    plane[box] += (air - plane[box]) * share


def _abdomen(
    axes: Axes, k: int, chest: Chest, contrast: float, seam: Array, dome: Array, inner: Array
) -> Array:
    """Liver, spleen, stomach with its gas, fat: what the domes rest on."""
    x = axes.x[None, :] / np.float32(chest.scale[0])
    y = axes.y[:, None] / np.float32(chest.scale[1])
    z = float(axes.z[k]) / float(chest.scale[2])
    out = np.full((len(axes.y), len(axes.x)), -98.0, np.float32) + 6.0 * seam
    liver = np.maximum(x - np.interp(z, [-180, -120], [-5, 38]) + 0.25 * (y + 20), inner + 3.0)
    liver = np.maximum(liver, dome + 4.0)
    out += (58.0 + 30.0 * contrast + 3.0 * seam - out) * coverage(liver, 3.0)
    spleen = (np.sqrt(((x - 92) / 36) ** 2 + ((y - 48) / 44) ** 2 + ((z + 168) / 46) ** 2) - 1) * 38
    out += (50.0 + 45.0 * contrast - out) * coverage(np.maximum(spleen, inner + 3), 3.0)
    stomach = (np.sqrt(((x - 62) / 42) ** 2 + ((y + 22) / 46) ** 2 + ((z + 160) / 40) ** 2) - 1) * 40
    out += (40.0 - out) * coverage(stomach, 2.5)
    gas = np.maximum(stomach + 4.0, y + 30.0)
    out += (-950.0 - out) * coverage(gas, 2.0)
    return out


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
