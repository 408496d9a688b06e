"""The read job: a scan on disk, with its series choice and warnings, to a plain array for another program."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from PESemiSegLib.errors import ConfigError
from PESemiSegLib.jobs.context import Context
from PESemiSegLib.jobs.folder import VOLUME

if TYPE_CHECKING:
    from PESemiSegLib.volumes.dicom_scan import Scan
    from PESemiSegLib.volumes.volume import Volume

DESCRIPTION = "volume.json"


def work(context: Context) -> list[Path]:
    """Read one scan, or list what can be read.

    Parameters: `input` (a DICOM folder or an image file), `series` (as for `volumes.reader.read`), `list`
    (true: only tell which series there are); or `made_up` (a number: a patient of the phantom instead).

    Results: `volume.npy` int16 HU, axes k, j, i, and `volume.json` with `ijk_to_ras`, `warnings` and
    `series`; for a list `volume.json` with `series`, one entry per stack of images: `choice` (the `series`
    to ask for), `label` (without patient data) and `usable`.

    Raises what reading raises.
    """
    from PESemiSegLib.jobs.files import write_json

    params = context.params
    if unknown := set(params) - {"input", "series", "list", "made_up"}:
        raise ConfigError(f"a read job knows no parameter {', '.join(sorted(unknown))}")
    target = context.folder / DESCRIPTION
    context.progress("read")
    if "made_up" in params:
        return _written(context, _made_up(int(params["made_up"])))
    if not params.get("input"):
        raise ConfigError("a read job needs an `input`")
    path = Path(params["input"])
    if params.get("list"):
        write_json(target, {"series": _series(path)})
        return [target]
    from PESemiSegLib.volumes.reader import read

    return _written(context, read(path, series=params.get("series")))


def _made_up(seed: int) -> Volume:
    """A patient with emboli who never lived; the same number, the same patient."""
    from PESemiSegLib.phantom.patient import make_case
    from PESemiSegLib.phantom.recipe import Recipe
    from PESemiSegLib.volumes.volume import from_array

    case = make_case(Recipe(site="A", seed=seed, patient=0, preset="medium", pe=True))
    return from_array(case.hu, case.affine, source_name="made-up patient")


def _written(context: Context, volume: Volume) -> list[Path]:
    """The volume's voxels and facts in the job's folder."""
    import numpy as np

    from PESemiSegLib.jobs.files import write_json

    target = context.folder / DESCRIPTION
    context.check()
    context.progress("write")
    np.save(context.folder / VOLUME, volume.hu, allow_pickle=False)
    to_ras = np.diag([-1.0, -1.0, 1.0, 1.0]) @ volume.affine
    facts = volume.facts
    write_json(
        target,
        {
            "ijk_to_ras": to_ras.tolist(),
            "shape_kji": list(volume.shape),
            "modality": facts.modality,
            "series": facts.series,
            "warnings": list(facts.warnings),
        },
    )
    return [context.folder / VOLUME, target]


def _series(path: Path) -> list[dict[str, Any]]:
    """The stacks of a DICOM folder; nothing for an image file, which has no choice."""
    if path.is_file() and path.name.lower().endswith(_image_endings()):
        return []
    import warnings

    from PESemiSegLib.volumes.dicom_scan import scan
    from PESemiSegLib.volumes.dicom_series import build_stacks

    with warnings.catch_warnings():  # pydicom warns of each odd value in each file
        warnings.simplefilter("ignore")
        found: Scan = scan(path)
        stacks, _ = build_stacks(found.planes)
    return [
        {"choice": f"index:{number}", "label": stack.label, "usable": not stack.unfit}
        for number, stack in enumerate(stacks, start=1)
    ]


def _image_endings() -> tuple[str, ...]:
    from PESemiSegLib.volumes.reader import FILE_KINDS

    return tuple(FILE_KINDS)
