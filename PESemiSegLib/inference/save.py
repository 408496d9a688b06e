"""Owns the saved result: which files a finished segmentation becomes, and what stands in them.

Nothing here names the patient: no name, identifier, date or input name, unless `identify` asks for it. The
exception is `segmentation.dcm`, which DICOM obliges to carry the attributes of the study it belongs to.
"""

from __future__ import annotations

import csv
import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from PESemiSegLib import __version__
from PESemiSegLib.errors import OutputError
from PESemiSegLib.inference.staging import KIND, SEAL, staged
from PESemiSegLib.plain import plain

if TYPE_CHECKING:
    import numpy as np

    from PESemiSegLib.inference.result import BoxArray, Finding, Result
    from PESemiSegLib.volumes.segments import SegmentInfo
    from PESemiSegLib.volumes.volume import Volume

NOTICE = "Research use only - not a medical device"
SEG_NRRD = "segmentation.seg.nrrd"
NIFTI = "segmentation.nii.gz"
CONFIDENCE, CAM = "confidence.nrrd", "cam.nrrd"
DICOM_SEG = "segmentation.dcm"
FINDINGS = "findings.csv"
REPORT = "report.html"
FILES = (SEG_NRRD, NIFTI, CONFIDENCE, DICOM_SEG, FINDINGS, REPORT, SEAL)
OWNED = (*FILES, CAM)
"""All files of a result of either sort: a segmentation, and an identified scan (`save_identification`)."""


class Marked(Protocol):
    """What has marks on a volume's working grid: a Result, and an IdentifyResult."""

    volume: Volume
    mask: np.ndarray
    segments: tuple[SegmentInfo, ...]


@dataclass(frozen=True)
class Saved:
    """Where a result lies: its folder, the names of its files, and what its `result.json` says."""

    folder: Path
    files: tuple[str, ...]
    summary: dict[str, Any] = field(repr=False)

    @property
    def notes(self) -> tuple[str, ...]:
        """Sentences about what was left out or done differently."""
        return tuple(self.summary["notes"])


def save_result(
    result: Result,
    folder: Path,
    *,
    overwrite: bool = False,
    dicom_seg: bool = True,
    report: bool = True,
    identify: bool = False,
) -> Saved:
    """Write all files of `result` into `folder`, which appears whole or not at all.

    Images lie on the input's own grid (`volume.output_grid`). `dicom_seg` and `report` leave those files
    out when False; `identify` puts the patient's ID and the input's name into the report and the JSON.
    Raises OutputError when the folder holds other files, holds a result and `overwrite` is False, or when
    the disk refuses.
    """
    notes: list[str] = []
    with staged(Path(folder), OWNED, overwrite=overwrite) as stage:
        write_marks(result, stage)
        write_map(result.confidence, result.volume, stage / CONFIDENCE)
        if dicom_seg:
            notes += write_dicom(result, stage)
        summary = summarise(result, notes=notes, identify=identify)
        write_csv(summary["findings"], stage / FINDINGS)
        if report:
            from PESemiSegLib.inference.report import render

            write_page(stage, render(result, summary))
        names = seal(stage, FILES, summary)
    return Saved(Path(folder), names, summary)


def write_page(stage: Path, page: str) -> None:
    """Write the report, also where it names a file whose name is no text."""
    (stage / REPORT).write_text(page, encoding="utf-8", errors="backslashreplace")


def seal(stage: Path, files: tuple[str, ...], summary: dict[str, Any]) -> tuple[str, ...]:
    """Write `result.json`, the last file; returns the names of those of `files` that are there."""
    names = tuple(name for name in files if name == SEAL or (stage / name).exists())
    summary["files"] = list(names)
    text = json.dumps(summary, indent=2, allow_nan=False)
    (stage / SEAL).write_text(text + "\n", encoding="utf-8")
    return names


def summarise(result: Result, *, notes: list[str] | None = None, identify: bool = False) -> dict[str, Any]:
    """What `result.json` holds, in plain types: findings, input check, provenance, the input's grid."""
    summary = {
        "kind": KIND,
        "format_version": 1,
        "notice": NOTICE,
        "program": f"PESemiSeg {__version__}",
        "total_volume_mm3": result.total_volume_mm3,
        "findings": [finding_row(result, finding) for finding in result.findings],
        "check": result.check.to_dict(),
        "input": input_facts(result.volume),
        "provenance": result.provenance,
        "notes": notes or [],
    }
    if result.burden is not None:
        summary["burden"] = result.burden.to_dict()
    if identify:
        summary["identity"] = _identity(result)
    facts: dict[str, Any] = plain(summary)
    return facts


def input_facts(volume: Volume) -> dict[str, Any]:
    """What is known of the scan and its grid; nothing of the patient."""
    grid = volume.output_grid
    return {
        "kind": volume.facts.kind,
        "modality": volume.facts.modality,
        "shape_zyx": grid.shape,
        "spacing_mm_xyz": grid.spacing_mm,
        "affine_lps": grid.affine.tolist(),
        "warnings": volume.facts.warnings,
    }


def finding_row(result: Marked, finding: Finding) -> dict[str, Any]:
    """One finding as a flat row. Slices count from 1 at the feet; positions are patient LPS in mm."""
    first, last = finding.slice_range
    bottom, top = (result.volume.grid.to_lps((0, 0, k))[2] for k in finding.slice_range)
    left, posterior, superior = finding.centroid_lps_mm
    return {
        "id": finding.id,
        **({"name": finding.name} if finding.name else {}),
        "volume_mm3": round(finding.volume_mm3, 3),
        "side": finding.side,
        "slice_first": first + 1,
        "slice_last": last + 1,
        "z_first_mm": round(float(bottom), 3),
        "z_last_mm": round(float(top), 3),
        "centroid_l_mm": round(left, 3),
        "centroid_p_mm": round(posterior, 3),
        "centroid_s_mm": round(superior, 3),
        "longest_axis_mm": round(finding.longest_axis_mm, 3),
        "mean_probability": round(finding.mean_probability, 4),
        "mean_confidence": round(finding.mean_confidence, 4),
    }


COLUMNS = (
    *("id", "volume_mm3", "side", "slice_first", "slice_last", "z_first_mm", "z_last_mm"),
    *("centroid_l_mm", "centroid_p_mm", "centroid_s_mm"),
    *("longest_axis_mm", "mean_probability", "mean_confidence"),
)


def write_marks(result: Marked, stage: Path) -> None:
    """The mask on the input's grid, as Slicer and as any other program opens it."""
    from PESemiSegLib.volumes.seg_nrrd import write_seg_nrrd
    from PESemiSegLib.volumes.write import write_nifti

    grid, mask = result.volume.output_grid, result.volume.to_output(result.mask)
    write_seg_nrrd(stage / SEG_NRRD, mask, grid, result.segments)
    write_nifti(stage / NIFTI, mask, grid, description=NOTICE)


def write_map(values: BoxArray, volume: Volume, path: Path) -> None:
    """A map of `volume`'s working grid on the input's, float32 NRRD, plane by plane."""
    from PESemiSegLib.inference.result import Box
    from PESemiSegLib.volumes.planes import output_planes
    from PESemiSegLib.volumes.write import write_nrrd

    planes = output_planes(volume, lambda start, stop: values.crop(Box(start, stop)), linear=True)
    write_nrrd(path, planes, volume.output_grid, dtype="float32", key_values={"notice": NOTICE})


def write_dicom(result: Marked, stage: Path) -> list[str]:
    """The DICOM SEG, where the input was DICOM; returns sentences about what was left out."""
    if result.volume.facts.kind != "dicom":
        return []  # nobody expects one
    from PESemiSegLib.volumes.dicom_seg import write_dicom_seg

    outcome = write_dicom_seg(stage / DICOM_SEG, result.mask, result.volume, result.segments)
    return [outcome.note] if outcome.note else []


def write_csv(rows: list[dict[str, Any]], path: Path, columns: tuple[str, ...] = COLUMNS) -> None:
    """One line per finding; `columns` are those of a table without any."""
    columns = tuple(rows[0]) if rows else columns
    with path.open("w", encoding="utf-8", newline="") as handle:
        table = csv.DictWriter(handle, columns, lineterminator="\n")
        table.writeheader()
        table.writerows(rows)


def _identity(result: Result) -> dict[str, Any]:
    """The input's name, files that could not be read and, of a DICOM series, the patient's ID."""
    facts = result.volume.facts
    identity: dict[str, Any] = {"input": facts.source_name, "left_out": list(facts.left_out)}
    if facts.source_files:
        from pydicom import dcmread

        try:
            header = dcmread(facts.source_files[0], specific_tags=["PatientID"], force=True)
        except OSError as error:
            raise OutputError(f"cannot read the patient ID again: {error.strerror}") from error
        identity["patient_id"] = str(header.get("PatientID", ""))
    return identity
