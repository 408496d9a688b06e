"""The segment job: a scan, from disk or as an array that Slicer wrote, to files and plain arrays."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from PESemiSegLib.errors import ConfigError, InputError
from PESemiSegLib.jobs.context import Context
from PESemiSegLib.jobs.work.arrays import save_array
from PESemiSegLib.jobs.work.slabs import Slabs

if TYPE_CHECKING:
    import numpy as np

    from PESemiSegLib.inference.result import InputCheck, Result
    from PESemiSegLib.volumes.volume import Volume

ARRAY, RESULT = "input.npy", "result"
MASK, CONFIDENCE, LABELS = "mask.npy", "confidence.npy", "labels.npy"
NEAR, FINDINGS = "near.npy", "findings.json"
_SETTINGS = {
    *("device", "precision", "engine", "whole", "lung_filter", "threshold", "core_threshold"),
    *("min_lesion_mm3", "fill_holes", "batch", "threads", "strict", "kind"),
}
_OTHERS = {"input", "series", "ijk_to_ras", "facts", "model", "settings", "files", "report", "dicom_seg"}


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
    import SimpleITK as sitk

    from PESemiSegLib.inference.progress import Progress
    from PESemiSegLib.inference.segment import segment
    from PESemiSegLib.models.store import Store

    params = context.params
    if unknown := (set(params) - _OTHERS) | (set(params.get("settings", {})) - _SETTINGS):
        raise ConfigError(f"a segment job knows no parameter {', '.join(sorted(unknown))}")
    sitk.ProcessObject.SetGlobalWarningDisplay(False)  # its warnings name files, past the log's redaction

    def tell(progress: Progress) -> None:
        context.progress(progress.stage, progress.done, progress.total, progress.seconds_left)

    def tell_check(check: InputCheck) -> None:
        context.event("check", level=check.level, sentences=[line.text for line in check.problems])

    context.progress("read")
    package = Store().find(params.get("model", "demo"))
    volume = scan_of(context)
    context.check()
    with Slabs(context, to_ras(volume.affine)) as slabs:
        result = segment(
            volume,
            package,
            progress=tell,
            cancelled=context.cancelled,
            checked=tell_check,
            slice_done=slabs.add,
            **params.get("settings", {}),
        )
        slabs.flush()
        context.progress("write")
        written = _save_arrays(result, context.folder)
        context.check()
        if params.get("files", True):
            written += _save_files(result, context)
        context.event("grid", shape_kji=result.volume.output_grid.shape, ijk_to_ras=_ijk_to_ras(result))
        context.event("findings", count=len(result.findings), volume_mm3=result.total_volume_mm3)
    return written


def scan_of(context: Context) -> Volume:
    """The scan that a job's parameters name, or that Slicer has put into its folder."""
    params = context.params
    if "ijk_to_ras" not in params:
        from PESemiSegLib.volumes.reader import read

        if not params.get("input"):
            raise ConfigError("a segment job needs `input`, or `ijk_to_ras` with an array in input.npy")
        return read(params["input"], series=params.get("series"))
    return _from_array(context.folder / ARRAY, params["ijk_to_ras"], params.get("facts", {}))


def _from_array(path: Path, ijk_to_ras: Any, facts: dict[str, Any]) -> Volume:
    """The volume of a Slicer node: (k, j, i) in `path`, placed by its IJKToRAS matrix."""
    import numpy as np

    from PESemiSegLib.volumes.volume import from_array

    try:
        array = np.load(path, mmap_mode="r", allow_pickle=False)
        matrix = np.asarray(ijk_to_ras, dtype=np.float64).reshape(4, 4)
    except (OSError, ValueError, TypeError) as error:
        raise InputError(f"{path.name} or its matrix cannot be read: {error}") from error
    try:
        return from_array(array, np.diag([-1.0, -1.0, 1.0, 1.0]) @ matrix, **facts)
    except (ValueError, TypeError) as error:
        raise InputError(f"the volume cannot be used: {error}") from error


def _ijk_to_ras(result: Result) -> list[list[float]]:
    return to_ras(result.volume.output_grid.affine)


def to_ras(affine_lps: np.ndarray) -> list[list[float]]:
    """IJKToRAS, as Slicer has it, of an affine to LPS."""
    import numpy as np

    matrix: list[list[float]] = (np.diag([-1.0, -1.0, 1.0, 1.0]) @ affine_lps).tolist()
    return matrix


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


def _save_files(result: Result, context: Context) -> list[Path]:
    from PESemiSegLib.inference.save import save_result

    saved = save_result(
        result,
        context.folder / RESULT,
        overwrite=True,
        dicom_seg=context.params.get("dicom_seg", True),
        report=context.params.get("report", True),
    )
    return [saved.folder / name for name in saved.files]
