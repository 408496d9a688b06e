"""Owns the painting of organs onto the ideal HU: heart, airways, veins, arteries, clots."""

from __future__ import annotations

import numpy as np

from PESemiSegLib.phantom import bolus
from PESemiSegLib.phantom.anatomy import Anatomy, organ_generator
from PESemiSegLib.phantom.fields import Axes
from PESemiSegLib.phantom.heart import Blob
from PESemiSegLib.phantom.parameters import PatientParameters
from PESemiSegLib.phantom.raster import Canvas, Cones
from PESemiSegLib.phantom.shapes import Array, coverage
from PESemiSegLib.phantom.tissue import FAT, MUSCLE
from PESemiSegLib.phantom.trees import Tree

FAR_MM = 30.0


def paint_arms(hu: Array, axes: Axes, canvas: Canvas, patient: PatientParameters) -> None:
    """Arms beside the body, where they could not be raised: fat, muscle and bone, painted over air only."""
    reach = 150.0 * patient.size[0] + patient.fat_mm
    for side in (-1.0, 1.0):
        bone = np.array([(26.0, 18, 92), (34, 18, 40), (38, 10, -60), (40, -5, -160), (40, -10, -230)])
        bone *= (1.0, patient.size[1], patient.size[2])
        bone[:, 0] = side * (reach + bone[:, 0])
        free = hu < -500.0
        for radius, value in ((41.0, FAT), (33.0, MUSCLE), (11.5, 950.0), (7.5, 120.0)):
            canvas.draw(Cones.of_chain(bone, np.full(len(bone), radius), 0))
            index, share, _ = canvas.take()
            _mix(hu, index, share * free.reshape(-1)[index], value)
            canvas.clear()


def _mix(hu: Array, index: Array, share: Array, value: Array | float) -> None:
    flat = hu.reshape(-1)
    flat[index] += (value - flat[index]) * share


def paint_heart(hu: Array, axes: Axes, canvas: Canvas, anatomy: Anatomy) -> None:
    """Nodes, walls of the great vessels, the heart, then the vessels' lumen, each from its own pool."""
    patient, heart, mimicry = anatomy.patient, anatomy.heart, anatomy.mimicry
    for blob, node_hu in zip(mimicry.nodes, mimicry.node_hu, strict=True):
        _paint_blob(hu, axes, blob, node_hu)
    for tube in heart.tubes:
        if tube.pool in ("aorta", "svc"):
            canvas.draw(Cones.of_chain(tube.points, tube.radii + 1.3, 0))
    index, share, _ = canvas.take()
    _mix(hu, index, share, 48.0)
    canvas.clear()
    layering = patient.bolus.layering_hu * patient.contrast
    for blob in heart.painting_order:
        _paint_blob(hu, axes, blob, bolus.pool_hu(patient, blob.pool), layering)
    tubes = (*anatomy.column, *heart.tubes)
    pools = list(dict.fromkeys(tube.pool for tube in tubes))
    for tube in tubes:
        canvas.draw(Cones.of_chain(tube.points, tube.radii, pools.index(tube.pool)))
    index, share, owner = canvas.take()
    value = np.array([bolus.pool_hu(patient, pool) for pool in pools], np.float32)[owner]
    noise, amplitude = bolus.mixing_noise(patient, organ_generator(patient, "mixing"))
    swirl = owner == pools.index("svc")
    value[swirl] *= 1.0 + amplitude * noise(_places(axes, index[swirl]))[:, 0]
    _mix(hu, index, share, value)
    canvas.clear()


def _paint_blob(hu: Array, axes: Axes, blob: Blob, value: float, layering_hu: float = 0.0) -> None:
    """One ellipsoid; dense contrast sinks to its back."""
    box = axes.box(blob.centre - blob.radii.max() - 2, blob.centre + blob.radii.max() + 2)
    if any(s.stop <= s.start for s in box):
        return
    coords = axes.at(box)
    share = coverage(blob.sdf(coords), 1.5 * float(axes.spacing_mm[:2].mean()))
    level = value + layering_hu * np.clip((coords[1] - np.float32(blob.centre[1])) / 20.0, -1.0, 1.0)
    hu[box] += (level.astype(np.float32) - hu[box]) * share


def _places(axes: Axes, index: Array) -> Array:
    """(n, 3) mm of flat voxel indices."""
    k, j, i = np.unravel_index(index, axes.shape)
    return np.stack([axes.x[i], axes.y[j], axes.z[k]], 1)


def _draw_tree(canvas: Canvas, tree: Tree, radii: Array) -> None:
    """Draw all edges; the owner of a voxel is the node at the edge's end."""
    canvas.draw(Cones.of_tree(tree.points, tree.parents, radii))


def paint_airway_walls(hu: Array, canvas: Canvas, anatomy: Anatomy) -> None:
    tree = anatomy.vessels.airways
    _draw_tree(canvas, tree, tree.radii * 1.12 + 0.55)
    index, share, _ = canvas.take()
    _mix(hu, index, share, 20.0)
    canvas.clear()


def paint_airway_lumen(hu: Array, canvas: Canvas, anatomy: Anatomy, artery: Array) -> None:
    """Air or mucus; an artery in the way is left alone."""
    tree = anatomy.vessels.airways
    _draw_tree(canvas, tree, tree.radii)
    index, share, owner = canvas.take()
    value = np.full(len(tree), -990.0, np.float32)
    for node, mucus in anatomy.mimicry.plugs.items():
        value[node] = mucus
    _mix(hu, index, share * (artery.reshape(-1)[index] == 0), value[owner])
    canvas.clear()


def paint_veins(hu: Array, canvas: Canvas, anatomy: Anatomy) -> None:
    tree = anatomy.vessels.veins
    level = bolus.vein_hu(anatomy.patient, tree, organ_generator(anatomy.patient, "veins"))
    _draw_tree(canvas, tree, tree.radii)
    index, share, owner = canvas.take()
    _mix(hu, index, share, level[owner].astype(np.float32))
    canvas.clear()


def paint_arteries(hu: Array, canvas: Canvas, anatomy: Anatomy) -> Array:
    """Arteries with their blood; leaves the canvas drawn and returns the exact lumen."""
    tree = anatomy.vessels.arteries
    level = bolus.artery_hu(anatomy.patient, tree, anatomy.distal_loss)
    _draw_tree(canvas, tree, tree.radii)
    index, share, owner = canvas.take()
    blood = level[owner].astype(np.float32)
    _mix(hu, index, share, blood)
    if anatomy.patient.contrast:
        _paint_flow(hu, canvas, anatomy)
    return canvas.inside.copy()


def aorta_lumen(canvas: Canvas, anatomy: Anatomy, artery: Array) -> Array:
    """The exact lumen of the aorta, root to abdomen without its branches, uint8; what is artery stays artery.

    Takes an empty canvas and leaves it empty; draws nothing at random.
    """
    tube = next(tube for tube in anatomy.heart.tubes if tube.pool == "aorta")  # its branches come after it
    canvas.draw(Cones.of_chain(tube.points, tube.radii, 0))
    lumen: Array = canvas.inside * (artery == 0)
    canvas.clear()
    return lumen


def _paint_flow(hu: Array, canvas: Canvas, anatomy: Anatomy) -> None:
    """Badly mixed blood: darker spots with soft edges inside the arteries."""
    axes, pa_hu = canvas.axes, anatomy.patient.bolus.pa_hu
    for spot in anatomy.mimicry.flows:
        box = axes.box(spot.centre - 2.2 * spot.radius, spot.centre + 2.2 * spot.radius)
        if any(s.stop <= s.start for s in box):
            continue
        away2 = sum((c - m) ** 2 for c, m in zip(axes.at(box), spot.centre, strict=True))
        dark = spot.loss * (pa_hu - 60.0) * np.exp(-away2 / (0.9 * spot.radius) ** 2)
        hu[box] -= (dark * (canvas.share(box))).astype(np.float32)


def paint_clots(hu: Array, canvas: Canvas, anatomy: Anatomy) -> tuple[Array, Array, Array]:
    """Put each clot into the artery that the canvas holds; returns its distance field, exact mask and ids."""
    axes, patient = canvas.axes, anatomy.patient
    width = float(axes.spacing_mm[:2].mean())
    field_mm = np.full(axes.shape, FAR_MM, np.float16)
    lesions = np.zeros(axes.shape, np.int16)
    level = bolus.artery_hu(patient, anatomy.vessels.arteries, anatomy.distal_loss)
    for clot in anatomy.clots:
        box = axes.box(*clot.bounds)
        if any(s.stop <= s.start for s in box):
            continue
        x, y, z = axes.at(box)
        points = np.stack(np.broadcast_arrays(x, y, z), -1).reshape(-1, 3).astype(float)
        exact = clot.sdf(points)
        seen = np.where(exact < 3.0, clot.visible_sdf(points, exact), exact)
        shape = tuple(s.stop - s.start for s in box)
        exact, seen = exact.reshape(shape), seen.reshape(shape).astype(np.float32)
        blood = level[canvas.owner(box)].astype(np.float32)
        share = coverage(seen, width) * canvas.share(box)
        hu[box] += (clot.hu(patient.contrast) - blood) * share
        exact = np.where((exact < 0) & (canvas.inside[box] == 0), 0.05, exact)
        field_mm[box] = np.minimum(field_mm[box], exact.astype(np.float16))
        mine = (exact < 0) & (lesions[box] == 0)
        lesions[box][mine] = clot.lesion
    return field_mm, (lesions > 0).astype(np.uint8), lesions
