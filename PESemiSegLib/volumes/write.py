"""Owns the writing of images, slice by slice through gzip: NRRD and NIfTI on any grid.

A confidence map of 512x512x300 float32 fills 300 MB, so the writers take planes one at a time and never
hold a second copy. NIfTI is written here, not by SimpleITK, because SimpleITK 2.5 reports nothing when the
disk is full and leaves a file cut short (tried); here a full disk is an OutputError.
"""

from __future__ import annotations

import errno
import gzip
import struct
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

import numpy as np

from PESemiSegLib.errors import OutputError

if TYPE_CHECKING:
    from PESemiSegLib.volumes.grid import Grid

_NRRD_TYPES = {"uint8": "unsigned char", "int16": "short", "uint16": "unsigned short", "float32": "float"}
_NIFTI_TYPES = {"uint8": 2, "int16": 4, "float32": 16, "uint16": 512}
_ADVICE = {
    errno.ENOSPC: "free some space or choose another folder",
    errno.EDQUOT: "free some space or choose another folder",
    errno.EACCES: "choose a folder that you may write to",
    errno.EPERM: "choose a folder that you may write to",
    errno.ENAMETOOLONG: "choose a shorter name",
    errno.EROFS: "choose a folder that you may write to",
}


def output_error(path: Path, error: OSError) -> OutputError:
    """The one-line OutputError for an operating-system error at `path`."""
    advice = _ADVICE.get(error.errno or 0, "check the folder and its disk")
    return OutputError(f"cannot write {path.name}: {error.strerror or error}; {advice}")


@contextmanager
def writing(path: Path) -> Iterator[BinaryIO]:
    """Open `path` for writing; on any failure the file is gone, and OSError has become OutputError."""
    try:
        with path.open("wb") as handle:
            yield handle
    except BaseException as error:
        path.unlink(missing_ok=True)
        if isinstance(error, OSError):
            raise output_error(path, error) from error
        raise


def write_nrrd(
    path: Path,
    planes: np.ndarray | Iterable[np.ndarray],
    grid: Grid,
    *,
    dtype: np.typing.DTypeLike | None = None,
    key_values: Mapping[str, str] | None = None,
    compression: int = 1,
) -> None:
    """Write a gzip NRRD in the space left-posterior-superior.

    `planes` is an array (z, y, x) or an iterable of planes (y, x) in the order of `grid`, which then needs
    `dtype`. `key_values` become NRRD key/value pairs. Raises OutputError when the disk refuses, ValueError
    when the planes do not fit the grid.
    """
    kind = _dtype(planes, dtype)
    header = _nrrd_header(_NRRD_TYPES[kind.name], grid, key_values or {})
    with writing(path) as handle:
        handle.write(header)
        with gzip.GzipFile("", "wb", compression, handle, mtime=0) as stream:
            _write_planes(stream, planes, grid, kind)


def write_nifti(
    path: Path,
    planes: np.ndarray | Iterable[np.ndarray],
    grid: Grid,
    *,
    dtype: np.typing.DTypeLike | None = None,
    description: str = "",
    compression: int = 1,
) -> None:
    """Write a NIfTI-1 file (.nii.gz) whose sform and qform both state the grid, in scanner coordinates.

    Arguments and errors as in `write_nrrd`; the grid must be orthogonal, or the qform could not hold it.
    """
    kind = _dtype(planes, dtype)
    with writing(path) as handle, gzip.GzipFile("", "wb", compression, handle, mtime=0) as stream:
        stream.write(_nifti_header(kind, grid, description))
        _write_planes(stream, planes, grid, kind)


def _dtype(planes: np.ndarray | Iterable[np.ndarray], dtype: np.typing.DTypeLike | None) -> np.dtype:
    if dtype is None and not isinstance(planes, np.ndarray):
        raise ValueError("planes that are not one array need a dtype")
    kind = np.dtype(planes.dtype if dtype is None and isinstance(planes, np.ndarray) else dtype)
    if kind.name not in _NRRD_TYPES:
        raise ValueError(f"voxels of type {kind.name} are not written; use one of {', '.join(_NRRD_TYPES)}")
    return kind.newbyteorder("<")


def _write_planes(
    stream: gzip.GzipFile, planes: np.ndarray | Iterable[np.ndarray], grid: Grid, kind: np.dtype
) -> None:
    depth, *plane_shape = grid.shape
    count = 0
    for plane in planes:
        if plane.shape != tuple(plane_shape):
            raise ValueError(f"plane {count} is {plane.shape}, the grid has {tuple(plane_shape)}")
        stream.write(np.ascontiguousarray(plane, dtype=kind).data)
        count += 1
    if count != depth:
        raise ValueError(f"{count} planes were given, the grid has {depth}")


def _nrrd_header(voxel_type: str, grid: Grid, key_values: Mapping[str, str]) -> bytes:
    columns = np.asarray(grid.affine, dtype=float)[:3].T  # i, j, k, origin
    *directions, origin = ("(" + ",".join(repr(float(v)) for v in column) + ")" for column in columns)
    lines = [
        "NRRD0004",
        "# Complete NRRD file format specification at:",
        "# http://teem.sourceforge.net/nrrd/format.html",
        f"type: {voxel_type}",
        "dimension: 3",
        "space: left-posterior-superior",
        "sizes: " + " ".join(str(n) for n in reversed(grid.shape)),
        "space directions: " + " ".join(directions),
        "kinds: domain domain domain",
        "endian: little",
        "encoding: gzip",
        f"space origin: {origin}",
    ]
    lines += [f"{key}:={_escaped(value)}" for key, value in key_values.items()]
    return ("\n".join(lines) + "\n\n").encode("utf-8")


def _escaped(value: str) -> str:
    return value.replace("\\", "\\\\").replace("\n", "\\n")


def _nifti_header(kind: np.dtype, grid: Grid, description: str) -> bytes:
    """The 348 bytes of nifti1.h and the empty extension flag."""
    ras = np.diag([-1.0, -1.0, 1.0, 1.0]) @ np.asarray(grid.affine, dtype=float)
    spacing = np.linalg.norm(ras[:3, :3], axis=0)
    quaternion, qfac = _quaternion(ras[:3, :3] / spacing)
    shape = tuple(reversed(grid.shape))
    return struct.pack(
        "<i10s18sihcB8h3f4h8f3fhBB4f2i80s24s2h6f12f16s4s4x",
        *(348, b"", b"", 0, 0, b"r", 0),
        *(3, *shape, 1, 1, 1, 1),
        *(0.0, 0.0, 0.0),
        *(0, _NIFTI_TYPES[kind.name], 8 * kind.itemsize, 0),
        *(qfac, *spacing, 0.0, 0.0, 0.0, 0.0),
        *(352.0, 1.0, 0.0),
        *(0, 0, 2),  # slice_end, slice_code, units: mm
        *(0.0, 0.0, 0.0, 0.0),
        *(0, 0),
        *(description.encode("ascii", "replace")[:79], b""),
        *(1, 1),  # both forms: scanner coordinates
        *(*quaternion, *ras[:3, 3]),
        *ras[:3].ravel(),
        *(b"", b"n+1\x00"),
    )


def _quaternion(rotation: np.ndarray) -> tuple[tuple[float, float, float], float]:
    """NIfTI's (b, c, d) and qfac of three orthonormal columns; qfac -1 where they are left-handed."""
    from scipy.spatial.transform import Rotation

    qfac = 1.0 if np.linalg.det(rotation) > 0 else -1.0
    b, c, d, _ = Rotation.from_matrix(rotation * [1.0, 1.0, qfac]).as_quat(canonical=True)
    return (float(b), float(c), float(d)), qfac
