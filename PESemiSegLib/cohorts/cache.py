"""The slice cache: each volume once, at the model's in-plane spacing, as memory-mapped int16 with index."""

from __future__ import annotations

import errno
import hashlib
import json
import logging
import shutil
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from PESemiSegLib.atomic import whole_folder
from PESemiSegLib.cohorts.anchors import find_anchors
from PESemiSegLib.cohorts.fingerprint import scan_files
from PESemiSegLib.cohorts.labelmap import read_on_grid
from PESemiSegLib.cohorts.manifest import Case
from PESemiSegLib.cohorts.warp import cut
from PESemiSegLib.errors import InputError, OutputError
from PESemiSegLib.volumes.preprocess import resample_matrix, spacing_differs

_LOG = logging.getLogger(__name__)
_VERSION = 5
_WHOLE = np.int16(10_000)  # of a voxel's share, as int16
_FILES = ("image.npy", "mask.npy", "anchors.npy")


@dataclass(frozen=True)
class CachedVolume:
    """One volume of the cache; arrays are read-only memory maps, `(z, y, x)` at (spacing_mm, slice_mm)."""

    site: str
    image: np.ndarray  # int16 HU
    mask: np.ndarray | None  # uint8, None when the case has no label
    anchors: np.ndarray  # int16 (N, 4): kind, z, y, x
    spacing_mm: float
    slice_mm: float


class SliceCache:
    """A folder of resampled volumes; built once, checked on opening, rebuilt when source or cache differ.

    slice_mm: distance of the slices; None leaves them as they are, for networks that see one at a time.
    """

    def __init__(
        self, folder: Path | str, spacing_mm: float, classes: int = 2, *, slice_mm: float | None = None
    ) -> None:
        if not 0.2 <= spacing_mm <= 5.0:
            raise InputError(f"An in-plane spacing of {spacing_mm} mm is outside 0.2 to 5 mm.")
        self.folder = Path(folder)
        self.spacing_mm, self.slice_mm = float(spacing_mm), slice_mm
        self.classes = classes  # with two, every marked voxel counts; with more, masks hold 0 to classes - 1

    def open(self, case: Case) -> CachedVolume:
        """The case's volume, built first where it is missing, stale or damaged.

        Raises InputError (unreadable source, mask on another grid), OutputError (disk full, no permission).
        """
        entry = self._entry(case)
        stamp = source_stamp(case)
        volume = _load(entry, case, stamp)
        if volume is None:
            if entry.exists():
                _LOG.info("a cached volume is stale or damaged and is built again")
            self._build(case, entry, stamp)
            volume = _load(entry, case, stamp)
            if volume is None:
                raise OutputError("A volume written to the slice cache cannot be read back; check the disk.")
        return volume

    def open_all(
        self,
        cases: Iterable[Case],
        *,
        progress: Callable[[int, int], None] | None = None,
    ) -> list[CachedVolume]:
        """Every case in order; `progress(done, total)` after each."""
        cases = list(cases)
        volumes = []
        for done, case in enumerate(cases, start=1):
            volumes.append(self.open(case))
            if progress is not None:
                progress(done, len(cases))
        return volumes

    def _entry(self, case: Case) -> Path:
        # a hash, because patient identifiers do not belong in file names
        name = f"{case.key}|{case.image.resolve()}|{case.mask and case.mask.resolve()}|{self.spacing_mm:.4f}"
        name += f"|{self.classes} classes" if self.classes > 2 else ""
        name += f"|blocks {self.slice_mm:.4f}" if self.slice_mm else ""
        return self.folder / hashlib.sha256(name.encode()).hexdigest()[:20]

    def _build(self, case: Case, entry: Path, stamp: str) -> None:
        hu, mask, spacing, slice_mm = _read_pair(case, self.classes)
        image = resample_slices(hu, spacing, self.spacing_mm)
        label = None
        if mask is not None and self.slice_mm:
            label = resample_blocks(mask, (*spacing, slice_mm), self.spacing_mm, self.slice_mm)
        elif mask is not None:
            label = resample_mask(mask, spacing, self.spacing_mm, self.classes)
        if self.slice_mm and spacing_differs((slice_mm,), self.slice_mm):
            image = resample_stack(image, slice_mm, self.slice_mm)
            slice_mm = self.slice_mm
        rng = np.random.default_rng(int(hashlib.sha256(stamp.encode()).hexdigest()[:8], 16))
        anchors = find_anchors(image, label, (self.spacing_mm, slice_mm), rng, self.classes)
        arrays = {"image.npy": image, "mask.npy": label, "anchors.npy": anchors}
        try:
            with whole_folder(entry, overwrite=True) as aside:
                sizes = {}
                for name, array in arrays.items():
                    if array is not None:
                        np.save(aside / name, array)
                        sizes[name] = (aside / name).stat().st_size
                index = {
                    "version": _VERSION,
                    "stamp": stamp,
                    "site": case.site,
                    "spacing_mm": self.spacing_mm,
                    "slice_mm": slice_mm,
                    "sizes": sizes,
                }
                (aside / "index.json").write_text(json.dumps(index))
        except OSError as error:
            free = shutil.disk_usage(self.folder).free if self.folder.exists() else 0
            full = error.errno == errno.ENOSPC or free < image.nbytes
            advice = "the disk is full; free some space or choose another folder" if full else str(error)
            raise OutputError(f"The slice cache {self.folder.name} cannot be written: {advice}.") from error


def resample_slices(hu: np.ndarray, spacing_mm: tuple[float, float], target_mm: float) -> np.ndarray:
    """In-plane resampling as at inference: int16 (z, y, x) at spacing (x, y) -> int16 at target_mm.

    Edges stay put. Linear, and as wide as an output pixel where it shrinks. Spacings within 5 % are kept.
    """
    if not spacing_differs(spacing_mm, target_mm):
        return np.ascontiguousarray(hu, dtype=np.int16)
    rows = resample_matrix(hu.shape[1], max(16, round(hu.shape[1] * spacing_mm[1] / target_mm)))
    columns = resample_matrix(hu.shape[2], max(16, round(hu.shape[2] * spacing_mm[0] / target_mm))).T
    out = np.empty((hu.shape[0], rows.shape[0], columns.shape[1]), np.int16)
    for plane, resampled in zip(hu, out, strict=True):
        resampled[:] = np.rint(rows @ plane.astype(np.float32) @ columns)
    return out


def resample_stack(values: np.ndarray, slice_mm: float, target_mm: float) -> np.ndarray:
    """Resampling along z as `resample_slices` does it in the plane: int16 (z, y, x) -> int16 at target_mm."""
    matrix = resample_matrix(len(values), max(1, round(len(values) * slice_mm / target_mm)))
    out = np.empty((len(matrix), *values.shape[1:]), np.int16)
    for row in range(values.shape[1]):
        out[:, row] = np.rint(matrix @ values[:, row].astype(np.float32))
    return out


def resample_blocks(
    mask: np.ndarray, spacing_mm: tuple[float, float, float], target_mm: float, target_slice_mm: float
) -> np.ndarray:
    """The mask (z, y, x) of spacing (x, y, z) on the grid of `resample_slices` and `resample_stack`, 0 and 1.

    One share of all three axes, cut by `warp.cut`: an embolus that fills no voxel by half does not vanish.
    """
    x, y, z = spacing_mm
    share = resample_slices((mask > 0).astype(np.int16) * _WHOLE, (x, y), target_mm)
    if spacing_differs((z,), target_slice_mm):
        share = resample_stack(share, z, target_slice_mm)
    return cut(share.astype(np.float32) / _WHOLE).astype(np.uint8)


def resample_mask(
    mask: np.ndarray, spacing_mm: tuple[float, float], target_mm: float, classes: int = 2
) -> np.ndarray:
    """The mask on the grid of `resample_slices`: linear, cut at one half; of more classes the largest."""
    if classes > 2:
        best = resample_slices((mask == 0).astype(np.int16) * 1000, spacing_mm, target_mm)
        chosen = np.zeros(best.shape, np.uint8)
        for value in range(1, classes):
            share = resample_slices((mask == value).astype(np.int16) * 1000, spacing_mm, target_mm)
            chosen[share > best] = value
            np.maximum(best, share, out=best)
        return chosen
    return (resample_slices((mask > 0).astype(np.int16) * 1000, spacing_mm, target_mm) >= 500).astype(
        np.uint8
    )


def _read_pair(case: Case, classes: int) -> tuple[np.ndarray, np.ndarray | None, tuple[float, float], float]:
    from PESemiSegLib.volumes.reader import read

    volume = read(case.image)
    mask = None
    if case.mask is not None:
        labels = read_on_grid(case.mask, volume)
        mask = labels > 0 if classes == 2 else _checked(labels, classes, case.mask.name)
    x, y, z = volume.spacing_mm
    return volume.hu, mask, (x, y), z


def _checked(labels: np.ndarray, classes: int, name: str) -> np.ndarray:
    """The labels as uint8; InputError where there are others than 0 to classes - 1."""
    low, high = int(labels.min()), int(labels.max())
    if low < 0 or high >= classes:
        raise InputError(f"The mask {name} holds the labels {low} to {high}; expected 0 to {classes - 1}.")
    return labels.astype(np.uint8)


def source_stamp(case: Case) -> str:
    """Sizes and times of the source files: cheap, and different as soon as one of them is written again."""
    parts = []
    for path in (case.image, case.mask):
        if path is not None:
            try:
                parts += [f"{s.st_size}:{s.st_mtime_ns}" for s in (p.stat() for p in scan_files(path))]
            except OSError as error:
                raise InputError(f"{path.name} of the manifest cannot be read: {error.strerror}.") from error
    return hashlib.sha256("|".join(parts).encode()).hexdigest()


def _load(entry: Path, case: Case, stamp: str) -> CachedVolume | None:
    """The entry's arrays, or None where anything about it is not as it was written."""
    try:
        index: dict[str, Any] = json.loads((entry / "index.json").read_text())
        if index["version"] != _VERSION or index["stamp"] != stamp:
            return None
        arrays: dict[str, np.ndarray] = {}
        for name, size in index["sizes"].items():
            if name not in _FILES or (entry / name).stat().st_size != size:
                return None
            arrays[name] = np.load(entry / name, mmap_mode="r", allow_pickle=False)
        return CachedVolume(
            site=case.site,
            image=arrays["image.npy"],
            mask=arrays.get("mask.npy"),
            anchors=np.array(arrays["anchors.npy"]),
            spacing_mm=float(index["spacing_mm"]),
            slice_mm=float(index["slice_mm"]),
        )
    except (OSError, ValueError, KeyError, TypeError):
        return None
