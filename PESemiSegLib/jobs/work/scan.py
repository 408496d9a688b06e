"""Owns what the jobs on one scan share: their parameters, the scan, their words and files."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from PESemiSegLib.errors import ConfigError, InputError
from PESemiSegLib.jobs.context import Context
from PESemiSegLib.jobs.folder import INPUT

if TYPE_CHECKING:
    from collections.abc import Callable, Collection

    import numpy as np

    from PESemiSegLib.inference.progress import Progress
    from PESemiSegLib.inference.result import InputCheck
    from PESemiSegLib.inference.save import Saved
    from PESemiSegLib.volumes.volume import Volume

RESULT, MASK = "result", "mask.npy"
_PARAMETERS = {"input", "series", "ijk_to_ras", "facts", "model", "settings", "files", "report", "dicom_seg"}


def settings_of(context: Context, known: Collection[str]) -> dict[str, Any]:
    """The job's `settings`. Raises ConfigError for a parameter or setting that it does not know."""
    settings: dict[str, Any] = context.params.get("settings", {})
    if unknown := (set(context.params) - _PARAMETERS) | (set(settings) - set(known)):
        raise ConfigError(f"this job knows no parameter {', '.join(sorted(unknown))}")
    return settings


def told(context: Context) -> dict[str, Any]:
    """The callbacks of `segment` and `identify`: progress and the event "check" go to the job's folder."""
    import SimpleITK as sitk

    sitk.ProcessObject.SetGlobalWarningDisplay(False)  # its warnings name files, past the log's redaction

    def tell(progress: Progress) -> None:
        context.progress(progress.stage, progress.done, progress.total, progress.seconds_left)

    def tell_check(check: InputCheck) -> None:
        context.event("check", level=check.level, sentences=[line.text for line in check.problems])

    return {"progress": tell, "cancelled": context.cancelled, "checked": tell_check}


def scan_of(context: Context) -> Volume:
    """The scan that a job's parameters name, or that Slicer has put into its folder."""
    params = context.params
    if "ijk_to_ras" not in params:
        from PESemiSegLib.volumes.reader import read

        if not params.get("input"):
            raise ConfigError("this job needs `input`, or `ijk_to_ras` with an array in input.npy")
        return read(params["input"], series=params.get("series"))
    return _from_array(context.folder / INPUT, params["ijk_to_ras"], params.get("facts", {}))


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


def to_ras(affine_lps: np.ndarray) -> list[list[float]]:
    """IJKToRAS, as Slicer has it, of an affine to LPS."""
    import numpy as np

    matrix: list[list[float]] = (np.diag([-1.0, -1.0, 1.0, 1.0]) @ affine_lps).tolist()
    return matrix


def save_files(context: Context, save: Callable[..., Saved], result: Any) -> list[Path]:
    """The files that `save`, such as `save_result`, writes into `result/`; none where `files` is false."""
    params = context.params
    if not params.get("files", True):
        return []
    saved = save(
        result,
        context.folder / RESULT,
        overwrite=True,
        dicom_seg=params.get("dicom_seg", True),
        report=params.get("report", True),
    )
    return [saved.folder / name for name in saved.files]
