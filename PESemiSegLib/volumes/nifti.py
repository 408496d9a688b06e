"""NIfTI-1 and -2 files: header, orientation checks, and voxels streamed slab by slab.

Image libraries fill a truncated .nii.gz with zeros, trust one of two contradicting orientations and refuse or
straighten sheared ones, all without a word; hence this small reader.
"""

from __future__ import annotations

import gzip
import io
import struct
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, Literal

import numpy as np
import numpy.typing as npt

from ..errors import InputError
from .file_values import hu_from_slabs
from .grid import FloatArray, Grid

DTYPES = {
    2: "u1",
    4: "i2",
    8: "i4",
    16: "f4",
    64: "f8",
    256: "i1",
    512: "u2",
    768: "u4",
    1024: "i8",
    1280: "u8",
}
COLOURS = (128, 2304)
COMPLEX = (32, 1792, 2048)
UNIT_MM = {1: 1000.0, 3: 0.001}  # metres and micrometres; everything else is taken for mm
SLAB_BYTES = 8 << 20
_FARTHEST = 1 << 30  # bytes before the voxels that a header may hold
RAS_TO_LPS = np.diag([-1.0, -1.0, 1.0, 1.0])


@dataclass(frozen=True)
class NiftiHeader:
    """What is needed of a header. Affines are 4x4 voxel (i, j, k) -> RAS mm, None where not given."""

    dims: tuple[int, ...]
    dtype: np.dtype[Any]
    data_start: int
    slope: float
    intercept: float
    sform: FloatArray | None
    qform: FloatArray | None


def read_nifti(path: Path) -> tuple[npt.NDArray[np.int16], FloatArray, list[str]]:
    """Read a NIfTI volume.

    Returns:
        stack (k, j, i) int16 HU, affine 4x4 (i, j, k) -> LPS mm (sheared if the file says so), warnings.

    Raises:
        InputError: if it is damaged, has no or two orientations, or is no single grey volume.
    """
    with _refusing(path), _open(path) as file:
        header = parse_header(file, path.name)
        shape = _volume_shape(header, path.name)
        warnings: list[str] = []
        affine = _affine_lps(header, shape, path.name, warnings)
        file.read(header.data_start - file.tell())
        slabs = _slabs(file, header, shape)
        stack, value_warnings = hu_from_slabs(slabs, shape, path.name)
        file.read(1)  # at the end of a .gz its checksum is compared
    return stack, affine, warnings + value_warnings


def read_nifti_grid(path: Path) -> Grid:
    """The grid of a NIfTI volume as it is stored, by its header alone; raises InputError as `read_nifti`."""
    with _refusing(path), _open(path) as file:
        header = parse_header(file, path.name)
        shape = _volume_shape(header, path.name)
        return Grid(shape, _affine_lps(header, shape, path.name, []))


@contextmanager
def _refusing(path: Path) -> Iterator[None]:
    """What goes wrong with the file, as an InputError."""
    try:
        yield
    except (EOFError, gzip.BadGzipFile, zlib.error, struct.error) as error:
        raise InputError(f"{path.name}: it is truncated or damaged; copy or export it again") from error
    except OSError as error:
        raise InputError(f"{path.name}: it cannot be read ({error.strerror or 'damaged'})") from error


def _open(path: Path) -> BinaryIO:
    with path.open("rb") as file:
        zipped = file.read(2) == b"\x1f\x8b"
    return io.BufferedReader(gzip.open(path, "rb"), 1 << 20) if zipped else path.open("rb")


def parse_header(file: BinaryIO, name: str) -> NiftiHeader:
    """Read the header at the start of a file. Raises InputError if it is none."""
    head = file.read(348)
    order: Literal["<", ">"] = "<" if int.from_bytes(head[:4], "little") in (348, 540) else ">"
    size = int.from_bytes(head[:4], "little" if order == "<" else "big")
    if len(head) < 348 or size not in (348, 540):
        raise InputError(f"{name}: it is no NIfTI file, or its first bytes are damaged")
    second = size == 540
    if second:
        head += file.read(540 - 348)

    def get(fmt: str, first_at: int, second_at: int, second_fmt: str = "") -> tuple[Any, ...]:
        fmt, at = (second_fmt or fmt, second_at) if second else (fmt, first_at)
        return struct.unpack_from(order + fmt, head, at)

    magic = head[4:7] if second else head[344:347]
    if magic not in (b"n+1", b"n+2"):
        raise InputError(f"{name}: it is not a NIfTI file in one piece (.nii or .nii.gz)")
    dim = get("8h", 40, 16, "8q")
    if not 1 <= dim[0] <= 7 or min(dim[1 : dim[0] + 1]) < 1:
        raise InputError(f"{name}: its NIfTI header gives impossible dimensions; export it again")
    code = get("h", 70, 12)[0]
    if code in COLOURS:
        raise InputError(f"{name}: it is a colour image; give the CT in Hounsfield units")
    if code not in DTYPES:
        kind = "complex numbers" if code in COMPLEX else f"data type {code}"
        raise InputError(f"{name}: it holds {kind}; give the CT in Hounsfield units")
    start = get("f", 108, 168, "q")[0]
    if not 0 <= start < _FARTHEST:
        raise InputError(f"{name}: its NIfTI header is damaged; export it again")
    pixdim = np.array(get("8f", 76, 104, "8d"))
    unit = UNIT_MM.get(get("B", 123, 500, "i")[0] & 7, 1.0)
    slope, intercept = get("2f", 112, 176, "2d")
    scaled = np.isfinite(slope) and np.isfinite(intercept) and slope != 0
    qform_code, sform_code = get("2h", 252, 344, "2i")
    rows = np.array(get("12f", 280, 400, "12d")).reshape(3, 4)
    quaternion, offset = np.array(get("6f", 256, 352, "6d")).reshape(2, 3)
    return NiftiHeader(
        dims=tuple(int(n) for n in dim[1 : dim[0] + 1]),
        dtype=np.dtype(DTYPES[code]).newbyteorder(order),
        data_start=max(int(start), 544 if second else 352),
        slope=float(slope) if scaled else 1.0,
        intercept=float(intercept) if scaled else 0.0,
        sform=_scaled(np.vstack([rows, [0, 0, 0, 1]]), unit) if sform_code > 0 else None,
        qform=_scaled(_quaternion_affine(quaternion, offset, pixdim), unit) if qform_code > 0 else None,
    )


def _quaternion_affine(bcd: FloatArray, offset: FloatArray, pixdim: FloatArray) -> FloatArray:
    """The affine of a qform (NIfTI-1 standard, method 2)."""
    rest = 1.0 - float(bcd @ bcd)
    if rest < 3 * np.finfo(np.float32).eps:  # half a turn: single precision must not add a turn of its own
        bcd, rest = bcd / np.linalg.norm(bcd), 0.0
    a, (b, c, d) = np.sqrt(rest), bcd
    rotation = np.array(
        [
            [a * a + b * b - c * c - d * d, 2 * (b * c - a * d), 2 * (b * d + a * c)],
            [2 * (b * c + a * d), a * a + c * c - b * b - d * d, 2 * (c * d - a * b)],
            [2 * (b * d - a * c), 2 * (c * d + a * b), a * a + d * d - b * b - c * c],
        ]
    )
    affine = np.eye(4)
    affine[:3, :3] = rotation * pixdim[1:4] * [1, 1, -1 if pixdim[0] < 0 else 1]
    affine[:3, 3] = offset
    return affine


def _scaled(affine: FloatArray, unit_mm: float) -> FloatArray:
    return np.asarray(np.diag([unit_mm, unit_mm, unit_mm, 1.0]) @ affine)


def _volume_shape(header: NiftiHeader, name: str) -> tuple[int, int, int]:
    dims = header.dims
    while len(dims) > 3 and dims[-1] == 1:
        dims = dims[:-1]
    if len(dims) > 3:
        raise InputError(f"{name}: it holds {int(np.prod(dims[3:]))} volumes; give a file with one of them")
    if len(dims) < 3:
        raise InputError(f"{name}: it is a single picture, not a volume")
    return dims[2], dims[1], dims[0]


def _affine_lps(
    header: NiftiHeader, shape: tuple[int, int, int], name: str, warnings: list[str]
) -> FloatArray:
    """The one orientation of the file. Raises InputError for none, two, or one that makes no sense."""
    given = [affine for affine in (header.sform, header.qform) if affine is not None]
    if not given:
        raise InputError(
            f"{name}: it does not say how the patient lies (qform and sform are unset); convert it "
            "again from DICOM"
        )
    try:
        grids = [Grid(shape, RAS_TO_LPS @ affine) for affine in given]
    except ValueError as error:
        raise InputError(f"{name}: its orientation makes no sense ({error}); convert it again") from error
    if len(grids) == 2:
        apart = np.linalg.norm(grids[0].corners_lps() - grids[1].corners_lps(), axis=1).max()
        if apart > 0.5 * min(grids[0].spacing_mm):
            raise InputError(
                f"{name}: its two orientations (sform and qform) disagree by up to {apart:.1f} mm, and "
                "nothing says which is right; convert it again, or remove the wrong one"
            )
        if apart > 0.05:
            warnings.append(
                f"The file's two orientations differ by up to {apart:.2f} mm; the sform was used."
            )
    return grids[0].affine


def _slabs(file: BinaryIO, header: NiftiHeader, shape: tuple[int, int, int]) -> Iterator[npt.NDArray[Any]]:
    """Scaled values (n, j, i), a few slices at a time. Raises EOFError if the file ends early."""
    slice_bytes = shape[1] * shape[2] * header.dtype.itemsize
    step = max(1, SLAB_BYTES // slice_bytes)
    for start in range(0, shape[0], step):
        depth = min(step, shape[0] - start)
        data = file.read(depth * slice_bytes)
        if len(data) < depth * slice_bytes:
            raise EOFError
        values = np.frombuffer(data, header.dtype).reshape(depth, *shape[1:])
        if (header.slope, header.intercept) != (1.0, 0.0):
            values = values * header.slope + header.intercept
        yield values
