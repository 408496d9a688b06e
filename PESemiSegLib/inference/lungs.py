"""Owns the lung field: where the lungs lie, found from the HU alone, and the box around them."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from scipy import ndimage

from PESemiSegLib.inference.result import Box
from PESemiSegLib.inference.surroundings import IN_PLANE, SQUARE, VOID_HU, find_surroundings

AIR_HU = -320  # lung parenchyma, airways and gas lie below; method-main 1A.7
SKIN_MM = 9.0  # how far the blurred edge between skin and room air may reach
GAS_HU = -940  # a tenth of a gas bubble lies below, hardly any of a healthy lung
BUBBLE_MM2 = 4000.0  # mean section; gas in bowel or stomach stays below, a lung does not
COARSE_MM = 3.0  # sampling of the coarse copy
BOX_MARGIN_MM = 10.0  # around the lungs on every side; the hull between them holds the mediastinum anyway
TRACHEA_MM2 = 900.0  # a windpipe's section stays below; 2.1 to 3.3 cm across at most
MIN_LUNG_MM2 = 2000.0  # less lung than this in every slice is no lung
CLOSING_MM = 12.0  # fills segmental vessels and septa, not the mediastinum
EDGE_LUNG_MM2 = 100.0  # the least that makes a slice of the lung's range


@dataclass(frozen=True)
class LungField:
    """The lungs on a coarse grid: coarse voxel c is full voxel c * stride.

    `mask` and `airway` are bool (z, y, x) on the coarse grid; `airway` is trachea and main bronchi, which
    are not lung. `midline` is the full-grid column between the lungs (or of the body where one is missing).
    """

    mask: np.ndarray
    airway: np.ndarray
    stride: tuple[int, int, int]
    full_shape: tuple[int, int, int]
    spacing_mm: tuple[float, float, float]  # (x, y, z) of the full grid
    midline: float
    touches_border: bool  # lung is cut off at the in-plane border of the image

    @property
    def coarse_spacing_mm(self) -> tuple[float, float, float]:
        """(z, y, x) spacing of the coarse grid, array order."""
        sz, sy, sx = self.stride
        x, y, z = self.spacing_mm
        return (z * sz, y * sy, x * sx)

    @property
    def _voxel_ml(self) -> float:
        return float(np.prod(self.coarse_spacing_mm)) / 1000

    @property
    def area_mm2(self) -> np.ndarray:
        """Lung area of each coarse slice."""
        _, dy, dx = self.coarse_spacing_mm
        return self.mask.sum((1, 2)) * (dy * dx)

    @property
    def found(self) -> bool:
        """Whether any slice holds enough lung to speak of lungs."""
        return bool(self.area_mm2.max(initial=0.0) >= MIN_LUNG_MM2)

    @property
    def volume_ml(self) -> float:
        """Air-filled lung within the image."""
        return float(self.mask.sum() * self._voxel_ml)

    def held_ml(self, box: Box) -> float:
        """Lung in a box of the full grid, to half a coarse voxel; a lung without air counts as the other."""
        here = tuple(
            slice(*(-(-edge // step) for edge in edges))
            for *edges, step in zip(box.start, box.stop, self.stride, strict=True)
        )
        return float(self.both_sides[here].sum() * self._voxel_ml)

    @property
    def sides_ml(self) -> tuple[float, float]:
        """Lung volume (patient's right, left) of the midline; columns ascend to the patient's left."""
        split = round(self.midline / self.stride[2])
        right, left = self.mask[..., :split], self.mask[..., split:]
        return float(right.sum() * self._voxel_ml), float(left.sum() * self._voxel_ml)

    @property
    def one_sided(self) -> bool:
        """Whether one lung is missing, collapsed or opaque (less than 15 % of the other)."""
        small, large = sorted(self.sides_ml)
        return large > 0 and small < 0.15 * large

    @property
    def slice_range(self) -> tuple[int, int]:
        """First and last full-grid slice with lung, both inside, to half a coarse step."""
        ks = np.flatnonzero(self.area_mm2 >= EDGE_LUNG_MM2)
        step = self.stride[0]
        first, last = int(ks[0]) * step - step // 2, int(ks[-1]) * step + step // 2
        return max(0, first), min(last, self.full_shape[0] - 1)

    @property
    def length_mm(self) -> float:
        """Length of lung along z within the image."""
        first, last = self.slice_range
        return (last - first + 1) * self.spacing_mm[2]

    @cached_property
    def both_sides(self) -> np.ndarray:
        """The mask, with the only lung mirrored about the midline when the other is not visible."""
        if not self.one_sided:
            return self.mask
        columns = np.arange(self.mask.shape[2])
        mirror = np.rint(2 * self.midline / self.stride[2] - columns).astype(int)
        inside = (mirror >= 0) & (mirror < columns.size)
        out = self.mask.copy()
        out[..., columns[inside]] |= self.mask[..., mirror[inside]]
        return out

    def solid_at(self, kji: np.ndarray) -> np.ndarray:
        """Whether full-grid voxels (n, 3) lie in the lungs or their vessels; bool (n,)."""
        index = tuple(to_coarse(kji[:, a], self.stride[a], self.mask.shape[a]) for a in range(3))
        return np.asarray(self.solid[index])

    @cached_property
    def solid(self) -> np.ndarray:
        """The mask with vessels and walls inside the lungs filled in, slice by slice (closing of 12 mm)."""
        _, dy, dx = self.coarse_spacing_mm
        steps = max(1, round(CLOSING_MM / 2 / max(dy, dx)))
        padded = np.pad(self.mask, ((0, 0), (steps, steps), (steps, steps)))
        closed = ndimage.binary_closing(padded, IN_PLANE, iterations=steps)[:, steps:-steps, steps:-steps]
        return np.stack([ndimage.binary_fill_holes(plane) for plane in closed])

    def box(self, margin_mm: float = BOX_MARGIN_MM) -> Box:
        """Full-grid box of both lungs with everything between them, and `margin_mm` on every side.

        The whole grid when no lung was found.
        """
        if not self.found:
            return Box.whole(self.full_shape)
        support = self.both_sides
        support = support & (self.area_mm2 >= EDGE_LUNG_MM2)[:, None, None]
        start, stop = [], []
        for axis, step, size, mm in zip(
            range(3), self.stride, self.full_shape, self.spacing_mm[::-1], strict=True
        ):
            hit = np.flatnonzero(support.any(tuple(a for a in range(3) if a != axis)))
            margin = int(np.ceil(margin_mm / mm)) + step - 1  # what lies between coarse samples counts too
            start.append(max(0, int(hit[0]) * step - margin))
            stop.append(min(size, int(hit[-1]) * step + margin + 1))
        return Box((start[0], start[1], start[2]), (stop[0], stop[1], stop[2]))


def to_coarse(index: int | np.ndarray, step: int, size: int) -> np.ndarray:
    """The coarse index nearest to each full-grid index along one axis of `size` coarse voxels."""
    return np.minimum((np.asarray(index) + step // 2) // step, size - 1)


def lung_mask(hu: np.ndarray, spacing_mm: tuple[float, float, float]) -> LungField:
    """Find the lungs of `hu` int16 (z, y, x) with `spacing_mm` (x, y, z), by HU, size, place and texture.

    Steps (1A.7, made robust) on a coarse copy: air below -320 HU with body on three of its four sides, less
    room air and padding (joined to the in-plane border, emptier than lung), less trachea and main bronchi
    (small, central, empty sections), less bowel gas. Lungs cut by the border or by the round field of view,
    single lungs and two-slice volumes are found as well.
    """
    x_mm, y_mm, z_mm = spacing_mm
    stride = tuple(max(1, round(COARSE_MM / mm)) for mm in (z_mm, y_mm, x_mm))
    sub = hu[:: stride[0], :: stride[1], :: stride[2]]
    mm = (z_mm * stride[0], y_mm * stride[1], x_mm * stride[2])
    surroundings = find_surroundings(sub)
    rim = max(1, round(SKIN_MM / min(mm[1:])))
    near_void = ndimage.binary_dilation(surroundings.void, IN_PLANE, iterations=rim)
    air = (sub < AIR_HU) & ~near_void & surroundings.enclosed(sub > AIR_HU)
    centre = surroundings.centre_column()
    airway = _airways(sub, air, mm, centre)
    lungs = _lung_components(sub, air & ~airway, mm)
    return LungField(
        mask=lungs,
        airway=airway,
        stride=(stride[0], stride[1], stride[2]),
        full_shape=(hu.shape[0], hu.shape[1], hu.shape[2]),
        spacing_mm=(float(x_mm), float(y_mm), float(z_mm)),
        midline=_midline(lungs, centre, mm) * stride[2],
        touches_border=bool((lungs & surroundings.edge).any(0).sum() * max(mm[1], mm[2]) > 20.0),
    )


def _airways(sub: np.ndarray, air: np.ndarray, mm: tuple[float, ...], centre: float) -> np.ndarray:
    """Sections of trachea and main bronchi: small, in the body's middle, or near it and emptier than lung."""
    labels, count = ndimage.label(air, IN_PLANE)
    if not count:
        return np.zeros_like(air)
    flat = labels.ravel()
    size = np.bincount(flat, minlength=count + 1)
    safe = np.maximum(size, 1)
    mean_hu = np.bincount(flat, sub.ravel(), count + 1) / safe
    empty = np.bincount(flat, sub.ravel() < VOID_HU, count + 1) / safe
    columns = np.broadcast_to(np.arange(sub.shape[2], dtype=np.float32), sub.shape)
    column = np.bincount(flat, columns.ravel(), count + 1) / safe
    tube = size * mm[1] * mm[2] < TRACHEA_MM2
    off_mm = np.abs(column - centre) * mm[2]
    tube &= (off_mm < 25.0) | ((off_mm < 40.0) & ((mean_hu < -860) | (empty > 0.4)))
    tube[0] = False
    return np.asarray(tube[labels])


def _lung_components(sub: np.ndarray, air: np.ndarray, mm: tuple[float, ...]) -> np.ndarray:
    """The components of `air` that are lung: large beside the largest, and not gas."""
    labels, count = ndimage.label(air)
    if not count:
        return np.zeros_like(air)
    flat = labels.ravel()
    size = np.bincount(flat, minlength=count + 1).astype(float)
    empty = np.bincount(flat, sub.ravel() < GAS_HU, count + 1) / np.maximum(size, 1)
    height = np.array([0] + [p[0].stop - p[0].start if p else 1 for p in ndimage.find_objects(labels)])
    section_mm2 = size / np.maximum(height, 1) * mm[1] * mm[2]
    keep = (empty < 0.1) | (section_mm2 > BUBBLE_MM2)  # emphysema is as empty as a bubble, but large
    core = np.bincount(flat, ndimage.binary_opening(air, SQUARE).ravel(), count + 1)
    keep &= core > 0.3 * size  # a film of air between skin and couch has no core
    keep[0] = False
    if keep.any():
        keep &= size >= 0.03 * size[keep].max()
    return np.asarray(keep[labels])


def _midline(lungs: np.ndarray, centre: float, mm: tuple[float, ...]) -> float:
    """Column (coarse) with the least lung within 60 mm of the body's middle; the middle when unclear."""
    profile = ndimage.uniform_filter1d(lungs.sum((0, 1)).astype(float), max(1, round(9 / mm[2])))
    columns = np.arange(profile.size)
    near = np.abs(columns - centre) * mm[2] <= 60
    if not lungs.any() or not near.any():
        return centre
    lowest = columns[near & (profile <= profile[near].min() + 0.02 * profile.max())]
    sides = profile[: lowest[0]].max(initial=0), profile[lowest[-1] :].max(initial=0)
    return float(lowest.mean()) if min(sides) > 0.15 * profile.max() else centre
