"""Fingerprints of scans: of the files as they lie on the disk, and of the voxels whatever the file format."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np

from PESemiSegLib.volumes.files import files_of


def scan_files(path: Path) -> list[Path]:
    """All files of a scan or a mask: those of its folder, or it and what its header names; raises OSError."""
    return sorted(p for p in path.rglob("*") if p.is_file()) if path.is_dir() else files_of(path)


def fingerprint_of(path: Path) -> str:
    """SHA-256 (16 hex digits) of a file's bytes, or of a scan's files whatever their names and order."""
    digests = []
    for file in scan_files(path):
        with file.open("rb") as stream:
            digests.append(hashlib.file_digest(stream, "sha256").hexdigest())
    return hashlib.sha256("".join(sorted(digests)).encode()).hexdigest()[:16]


def voxel_fingerprint(hu: np.ndarray) -> str:
    """`v-` and 16 hex digits of a volume's shape and HU, int16 (z, y, x) as `volumes.read` gives them.

    The same for one scan kept as DICOM, as NIfTI, or compressed anew: copies between data sets are found. The
    letter in front keeps spreadsheets from taking it for a number.
    """
    digest = hashlib.sha256(repr(hu.shape).encode())
    for plane in hu:
        digest.update(np.ascontiguousarray(plane, dtype="<i2").data)
    return f"v-{digest.hexdigest()[:16]}"
