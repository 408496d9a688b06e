"""Owns the files that identifying a scan becomes. As in `save`, none but the DICOM SEG names the patient."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from PESemiSegLib import __version__
from PESemiSegLib.inference import save
from PESemiSegLib.inference.staging import KIND, SEAL, staged
from PESemiSegLib.models.kinds import IDENTIFICATION
from PESemiSegLib.plain import plain

if TYPE_CHECKING:
    from PESemiSegLib.inference.identification import IdentifyResult

TASK = "identification"
FILES = (save.SEG_NRRD, save.NIFTI, save.CAM, save.DICOM_SEG, save.FINDINGS, save.REPORT, SEAL)


def save_identification(
    result: IdentifyResult,
    folder: Path,
    *,
    overwrite: bool = False,
    dicom_seg: bool = True,
    report: bool = True,
) -> save.Saved:
    """Write all files of `result` into `folder`, which appears whole or not at all; see `save.save_result`.

    `cam.nrrd` is the Grad-CAM map as a share of its highest value, which `result.json` states in log-odds.
    Raises OutputError.
    """
    notes: list[str] = []
    with staged(Path(folder), save.OWNED, overwrite=overwrite) as stage:
        save.write_marks(result, stage)
        save.write_map(result.cam, result.volume, stage / save.CAM)
        if dicom_seg:
            notes += save.write_dicom(result, stage)
        summary = summarise(result, notes=notes)
        save.write_csv(summary["findings"], stage / save.FINDINGS, tuple(map(_renamed, save.COLUMNS)))
        if report:
            from PESemiSegLib.inference.report.identification import render

            save.write_page(stage, render(result, summary))
        names = save.seal(stage, FILES, summary)
    return save.Saved(Path(folder), names, summary)


def summarise(result: IdentifyResult, *, notes: list[str] | None = None) -> dict[str, Any]:
    """What `result.json` holds, in plain types."""
    facts: dict[str, Any] = plain(
        {
            "kind": KIND,
            "format_version": 1,
            "task": TASK,
            "notice": save.NOTICE,
            "warning": IDENTIFICATION.warning,
            "program": f"PESemiSeg {__version__}",
            "pe_probability": round(result.pe_probability, 6),
            "window_probabilities": [round(share, 6) for share in result.window_probabilities],
            "cam_peak_log_odds": round(result.cam_peak, 6),
            "total_volume_mm3": result.total_volume_mm3,
            "findings": [finding_row(result, n) for n in range(len(result.findings))],
            "check": result.check.to_dict(),
            "input": save.input_facts(result.volume),
            "provenance": result.provenance,
            "notes": notes or [],
        }
    )
    return facts


def finding_row(result: IdentifyResult, number: int) -> dict[str, Any]:
    """One mark as a flat row: that of `save.finding_row`, with the map's mean instead of the confidence."""
    row = save.finding_row(result, result.findings[number])
    return {_renamed(name): value for name, value in row.items()}


def _renamed(column: str) -> str:
    return "mean_cam" if column == "mean_confidence" else column
