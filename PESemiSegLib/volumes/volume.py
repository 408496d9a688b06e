"""The CT volume that everything passes on: HU on an axial grid, facts of the series, and the way back."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from .file_values import hu_from_slabs
from .grid import FloatArray, Grid
from .native import NativeGrid, arrange


@dataclass(frozen=True)
class SeriesFacts:
    """What is known of a series besides its voxels. Holds no patient name, identifier or date.

    `warnings` are sentences for a radiologist; `series` names the stack taken, `other_series` what else is
    there;
    `description` is the site's free text and may contain anything, and so may the file names in `left_out`
    (files that could not be read): both are shown only when asked for.
    `source_files` (DICOM) are the files in the order of `Volume.to_source`; for a multi-frame file there is
    one, and `source_frames` holds the frame number (from 1) of each slice.
    """

    kind: str = "array"  # dicom, nifti, nrrd, metaimage, array
    source_name: str = ""
    modality: str = "CT"
    contrast_agent: bool | None = None
    description: str = field(default="", repr=False)
    series: str = ""
    warnings: tuple[str, ...] = ()
    other_series: tuple[str, ...] = ()
    slice_thickness_mm: float | None = None
    kvp: float | None = None
    left_out: tuple[str, ...] = field(default=(), repr=False)
    source_files: tuple[Path, ...] = field(default=(), repr=False)
    source_frames: tuple[int, ...] = field(default=(), repr=False)

    def with_warnings(self, *sentences: str) -> SeriesFacts:
        """The same facts with more warnings, each said once."""
        return replace(self, warnings=tuple(dict.fromkeys((*self.warnings, *sentences))))


@dataclass(frozen=True, eq=False)
class Volume:
    """A CT on an axial grid, with the way back to the grid it came from.

    Args:
        hu: (z, y, x) int16 HU, C-contiguous; x runs to the patient's left, y to posterior, z to superior.
        affine: 4x4 float64, voxel (i, j, k) of `hu` -> LPS mm.
        facts: what is known of the series.
        native: how the input lay; private to `volumes`.
    """

    hu: npt.NDArray[np.int16]
    affine: FloatArray
    facts: SeriesFacts
    native: NativeGrid = field(repr=False)

    @property
    def shape(self) -> tuple[int, int, int]:
        return self.grid.shape

    @property
    def grid(self) -> Grid:
        """The working grid, that of `hu`."""
        return self.native.working

    @property
    def spacing_mm(self) -> tuple[float, float, float]:
        """(x, y, z) of the working grid."""
        return self.grid.spacing_mm

    @property
    def slice_gap_mm(self) -> float:
        """The largest distance between neighbouring source slices, whichever way they were acquired."""
        return self.native.slice_gap_mm

    @property
    def output_grid(self) -> Grid:
        """Where results are written: the input's grid if regular and orthogonal, else the working grid."""
        return self.native.output_grid

    @property
    def source_grid(self) -> Grid:
        """The input's slices as a regular stack (slices, rows, columns), the grid of `from_source`."""
        return self.native.stack

    def to_output(
        self, array: npt.NDArray[Any], *, linear: bool = False, fill: float = 0
    ) -> npt.NDArray[Any]:
        """An array (z, y, x) on the working grid, brought to `output_grid`.

        Exact (axes swapped and flipped) unless the input was oblique by more than 5 degrees; then read by
        nearest neighbour, or linearly for probabilities. Raises ValueError for another shape.
        """
        return self.native.to_output(array, linear=linear, fill=fill)

    def to_source(
        self, array: npt.NDArray[Any], *, linear: bool = False, fill: float = 0
    ) -> npt.NDArray[Any]:
        """An array (z, y, x) on the working grid, brought to the source slices (n, rows, columns).

        The order is that of `facts.source_files` or `facts.source_frames`; planes that were interpolated
        into gaps have no source slice and are left out.
        """
        return self.native.to_source(array, linear=linear, fill=fill)

    def from_source(self, array: npt.NDArray[Any], *, fill: float = 0) -> npt.NDArray[Any]:
        """An array on the source slices (n, rows, columns), brought to the working grid (z, y, x).

        The inverse of `to_source`, for masks that are kept slice by slice: source order as there, values
        never mixed. For one-file images the source is the file's own array. Raises ValueError for another
        shape.
        """
        return self.native.from_source(array, fill=fill)


def from_array(hu: npt.NDArray[Any], affine_lps: npt.ArrayLike, **facts: Any) -> Volume:
    """A volume from an array in memory (a Slicer node, the phantom, a test).

    Args:
        hu: (z, y, x) HU in any orientation and real dtype; copied, clipped to [-1024, 32767], made axial.
        affine_lps: 4x4, voxel (i, j, k) -> LPS mm.
        facts: fields of `SeriesFacts`.

    Raises:
        ValueError: if `hu` is not three-dimensional or the affine is not usable.
        InputError: if its values cannot be HU.
    """
    if hu.ndim != 3:
        raise ValueError(f"hu has three axes (z, y, x), got shape {hu.shape}")
    stack, warnings = hu_from_slabs([hu], hu.shape, str(facts.get("source_name") or "volume"))
    affine = np.asarray(affine_lps, dtype=np.float64)
    return build_volume(stack, affine, SeriesFacts(**facts).with_warnings(*warnings))


def build_volume(
    stack: npt.NDArray[np.int16],
    affine: FloatArray,
    facts: SeriesFacts,
    *,
    writes_stack: bool = True,
    slice_positions: FloatArray | None = None,
    labels: bool = False,
) -> Volume:
    """Turn a stack (slices, rows, columns) of HU, or labels, into an axial `Volume`; it is given away."""
    hu, native = arrange(
        stack, affine, writes_stack=writes_stack, slice_positions=slice_positions, labels=labels
    )
    return Volume(hu, native.working.affine, facts, native)
