"""The identify job: a scan without contrast agent to its probability of PE, plain arrays and files."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from PESemiSegLib.errors import ConfigError
from PESemiSegLib.jobs.context import Context
from PESemiSegLib.jobs.work.arrays import save_array
from PESemiSegLib.jobs.work.scan import MASK, save_files, scan_of, settings_of, to_ras, told

if TYPE_CHECKING:
    from PESemiSegLib.inference.identification import IdentifyResult

CAM, SUMMARY = "cam.npy", "identification.json"
SETTINGS = {
    *("scan_from", "any_phase", "device", "precision", "engine", "whole", "lung_filter", "threshold"),
    *("min_lesion_mm3", "threads", "strict"),
}


def work(context: Context) -> list[Path]:
    """Identify one scan.

    Parameters: as the segment job's, `settings` of `inference.identify`; `model` must be named.

    Results: `mask.npy` uint8 and `cam.npy` float32 (the Grad-CAM map as a share of its peak), axes k, j, i,
    on the grid of the event "grid"; `identification.json`, what `result.json` says and `ijk_to_ras`; and
    `result/*`. The event "check" comes before the windows, the event "probability" at the end.

    Raises what reading, identifying and saving raise.
    """
    from PESemiSegLib.inference.identify import identify, require_identifier
    from PESemiSegLib.inference.save_identification import save_identification
    from PESemiSegLib.models.store import Store

    settings, walk = settings_of(context, SETTINGS), told(context)
    if not (model := context.params.get("model")):
        raise ConfigError("an identify job needs a `model`: none of this kind comes with the program")
    context.progress("read")
    package = Store().find(model)
    require_identifier(package)
    volume = scan_of(context)
    context.check()
    result = identify(volume, package, **walk, **settings)
    context.progress("write")
    written = _save_arrays(result, context.folder)
    context.check()
    written += save_files(context, save_identification, result)
    grid = result.volume.output_grid
    context.event("grid", shape_kji=grid.shape, ijk_to_ras=to_ras(grid.affine))
    context.event("probability", value=round(result.pe_probability, 6))
    return written


def _save_arrays(result: IdentifyResult, folder: Path) -> list[Path]:
    from PESemiSegLib.inference.save_identification import summarise
    from PESemiSegLib.jobs.files import write_json

    written = [save_array(folder / MASK, result.output_mask()), save_array(folder / CAM, result.output_cam())]
    about = summarise(result) | {"ijk_to_ras": to_ras(result.volume.output_grid.affine)}
    write_json(folder / SUMMARY, about)
    return [*written, folder / SUMMARY]
