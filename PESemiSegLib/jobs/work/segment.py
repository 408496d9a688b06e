"""The segment job: a scan, from disk or as an array that Slicer wrote, to files and plain arrays."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from PESemiSegLib.jobs.context import Context
from PESemiSegLib.jobs.work.arrays import save_array
from PESemiSegLib.jobs.work.scan import MASK, save_files, scan_of, settings_of, to_ras, told
from PESemiSegLib.jobs.work.slabs import Slabs

if TYPE_CHECKING:
    import numpy as np

    from PESemiSegLib.inference.result import Result

CONFIDENCE, LABELS = "confidence.npy", "labels.npy"
NEAR, FINDINGS = "near.npy", "findings.json"
_SETTINGS = {
    *("device", "precision", "engine", "whole", "lung_filter", "threshold", "core_threshold"),
    *("min_lesion_mm3", "fill_holes", "batch", "threads", "strict", "kind"),
}


def work(context: Context) -> list[Path]:
    """Segment one scan.

    Parameters: `input` (a path, and maybe `series`), or else `ijk_to_ras` (4x4, of the array in input.npy,
    whose axes are k, j, i); `model` (a name or path); `settings` (of `inference.segment`); `files` (false:
    the arrays alone), `report`, `dicom_seg`.

    Results: `mask.npy` uint8, `labels.npy` (the number of the finding) and `confidence.npy` float32, axes
    k, j, i, on the grid of the event "grid", which is the input's own unless its slices are sheared or
    uneven; `near.npy`, the confidence near the marks; `findings.json`; and `result/*`. The event "check"
    comes before the slices, and before `strict` in the settings refuses an input that the check finds fault
    with. Meanwhile events "slab" hand out what is marked so far, see `slabs.Slabs`.

    Raises what reading, segmenting and saving raise.
    """
    from PESemiSegLib.inference.save import save_result
    from PESemiSegLib.inference.segment import segment
    from PESemiSegLib.models.store import Store

    settings, walk = settings_of(context, _SETTINGS), told(context)
    context.progress("read")
    package = Store().find(context.params.get("model", "demo"))
    volume = scan_of(context)
    context.check()
    with Slabs(context, to_ras(volume.affine)) as slabs:
        result = segment(volume, package, slice_done=slabs.add, **walk, **settings)
        slabs.flush()
        context.progress("write")
        written = _save_arrays(result, context.folder)
        context.check()
        written += save_files(context, save_result, result)
        context.event("grid", shape_kji=result.volume.output_grid.shape, ijk_to_ras=_ijk_to_ras(result))
        context.event("findings", count=len(result.findings), volume_mm3=result.total_volume_mm3)
    return written


def _ijk_to_ras(result: Result) -> list[list[float]]:
    return to_ras(result.volume.output_grid.affine)


def _save_arrays(result: Result, folder: Path) -> list[Path]:
    from PESemiSegLib.inference.uncertainty import finding_labels, near_marks
    from PESemiSegLib.jobs.files import write_json

    labels = result.volume.to_output(finding_labels(result))
    written = [
        save_array(folder / MASK, result.output_mask()),
        save_array(folder / LABELS, labels),
        save_array(folder / CONFIDENCE, result.output_confidence()),
    ]
    about = _findings(result, labels)
    if near := near_marks(result):
        written.append(save_array(folder / NEAR, near[0]))
        about["near_ijk_to_ras"] = to_ras(near[1])
    write_json(folder / FINDINGS, about)
    return [*written, folder / FINDINGS]


def _findings(result: Result, labels: np.ndarray) -> dict[str, Any]:
    """What a program that shows the result needs beside the arrays; boxes are of `labels`, k, j, i."""
    from scipy import ndimage

    from PESemiSegLib.inference.save import finding_row
    from PESemiSegLib.inference.uncertainty import marked_slices

    boxes = ndimage.find_objects(labels)
    rows = []
    for finding in result.findings:
        box = boxes[finding.id - 1] if finding.id <= len(boxes) else None
        extent = [[part.start, part.stop] for part in box] if box else None
        row = finding_row(result, finding) | {"box_kji": extent}
        if len(result.segments) > 1:
            segment = result.segments[finding.id - 1]
            row["segment"] = {
                "name": segment.name,
                "colour_rgb": segment.colour_rgb,
                "terminology": segment.terminology_entry,
            }
        rows.append(row)
    return {
        "findings": rows,
        "slices": marked_slices(result),
        "ijk_to_ras": _ijk_to_ras(result),
        "total_volume_mm3": result.total_volume_mm3,
        "model": result.provenance["model"],
        "program": result.provenance["program"],
    }
