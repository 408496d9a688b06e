"""Owns the walk from a scan and a model that identifies to a probability of PE, a mask and a Grad-CAM map."""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, get_args

import numpy as np

from PESemiSegLib.errors import ConfigError, InputError
from PESemiSegLib.inference import findings as marks
from PESemiSegLib.inference.blend import Blend, Cells
from PESemiSegLib.inference.check import check
from PESemiSegLib.inference.engines.base import Engine, numbers
from PESemiSegLib.inference.engines.select import choose, open_engine
from PESemiSegLib.inference.identification import IdentifyResult
from PESemiSegLib.inference.lung_filter import LungFilter, Mode, make_filter
from PESemiSegLib.inference.lungs import LungField, lung_mask
from PESemiSegLib.inference.progress import (
    CancelCheck,
    Clock,
    ProgressCallback,
    Reporter,
    in_background,
    wait_for,
)
from PESemiSegLib.inference.provenance import provenance
from PESemiSegLib.inference.result import Box, BoxArray, InputCheck
from PESemiSegLib.inference.settings import Settings
from PESemiSegLib.inference.windows import Place, Windows, grow_to_windows

if TYPE_CHECKING:
    from PESemiSegLib.models.package import ModelPackage
    from PESemiSegLib.volumes.volume import Volume

log = logging.getLogger(__name__)

KIND = "identification"
ScanFrom = Literal["all", "middle"]
"""Which windows tell the scan's probability: the highest of all on the lungs, or the middle one (paper)."""
WINDOW_RULE = 2
"""To be raised when other windows tell a scan's probability: stored results are then not reused."""
_ENOUGH = 0.5
"""Of the lung in the fullest window: what holds less shows shoulder or belly, as no crop of training does."""


class WrongPhase(InputError):
    """The scan shows contrast agent where the model reads scans without, or the other way round."""


def identify(
    volume: Volume,
    package: ModelPackage,
    *,
    scan_from: ScanFrom = "all",
    any_phase: bool = False,
    device: str = "auto",
    precision: str = "auto",
    engine: str = "auto",
    whole: bool = False,
    lung_filter: Mode = "hull",
    threshold: float | None = None,
    min_lesion_mm3: float | None = None,
    threads: int | None = None,
    strict: bool = False,
    progress: ProgressCallback | None = None,
    cancelled: CancelCheck | None = None,
    checked: Callable[[InputCheck], None] = lambda check: None,
) -> IdentifyResult:
    """Tell the probability of PE of a scan without contrast agent (CPMN, MICCAI 2024, Sections 2 and 3.2).

    A window slides over the box of the lungs, see `windows`. Voxels' probabilities are blended. The scan's is
    the highest of all windows that hold at least half as much lung as the fullest: in training a crop lies
    about the lungs, and its class is whether an embolus lies in it. The paper asks the middle window alone.
    The Grad-CAM map (24) is of the windows that were asked.

    Args:
        volume: the CT. package: a model of the kind "identification".
        scan_from: which windows tell the scan's probability and give the map.
        any_phase: go on with a scan of the other phase than the model reads.
        whole: compute the whole scan, not only the box of both lungs.
        device, precision, engine, lung_filter, threshold, min_lesion_mm3, threads, strict: as `segment`.
        progress, cancelled, checked: as `segment`; progress counts windows.

    Raises:
        WrongPhase: a scan of the other phase, without `any_phase`.
        InputError: `strict`, and the check found fault.
        ConfigError: a model of another kind, a setting out of range.
        DeviceError, Cancelled: as `segment`.
    """
    require_identifier(package)
    if scan_from not in get_args(ScanFrom):
        raise ConfigError(f"scan_from {scan_from!r} is unknown; choose {', '.join(get_args(ScanFrom))}")
    wanted = Settings(
        device=device,
        precision=precision,
        engine=engine,
        whole=whole,
        lung_filter=lung_filter,
        threshold=threshold,
        min_lesion_mm3=min_lesion_mm3,
        threads=threads,
    )
    settings = wanted.resolved(package)
    clock, reporter = Clock(), Reporter(progress, cancelled)
    choice = choose(device, precision, engine)
    reporter.start("check")
    lungs = lung_mask(volume.hu, volume.spacing_mm)
    windows = plan(volume, package, lungs, whole=whole)
    log.info("running %s, %d windows", choice.reason, len(windows.places))
    inspected = _inspect(volume, package, lungs, any_phase=any_phase, checked=checked)
    inspected.require(strict)
    allowed = make_filter(lung_filter, volume.hu, lungs)
    clock.lap("check")

    reporter.start("load")
    shape = (1, *windows.crop)
    loading = in_background(lambda: open_engine(choice, package, shape, threads=threads))
    running = wait_for(loading, reporter.check_cancelled)
    clock.lap("load")
    on_lungs = _on_the_lungs(windows, lungs)
    asked = {windows.middle} if scan_from == "middle" else on_lungs
    try:
        said = _run(running, windows, asked, reporter)
    finally:
        running.close()
    clock.lap("windows")

    reporter.start("findings")
    mask, probability = _marked(volume, windows, said.probability, settings, allowed)
    cam, peak = _map(volume, windows, said.cells)
    found = marks.find(mask, volume.grid, probability, cam, lungs)
    clock.lap("findings")
    origin = provenance(volume, package, settings, running.info, choice, windows.box, clock.seconds)
    origin["settings"] |= {"scan_from": scan_from, "any_phase": any_phase}
    counts = {"count": len(said.shares), "on_lungs": len(on_lungs)}
    origin["windows"] = counts | {"shape_zyx": list(windows.crop)}
    reporter.check_cancelled()
    return IdentifyResult(
        volume=volume,
        pe_probability=max(said.shares[place] for place in asked),
        window_probabilities=[share for place, share in said.shares.items() if place in on_lungs],
        mask=mask,
        probability=probability,
        cam=cam,
        cam_peak=peak,
        findings=found,
        check=inspected,
        provenance=origin,
        lungs=lungs,
        segments=package.info.what.segments,
    )


def require_identifier(package: ModelPackage) -> None:
    """Raise ConfigError unless the model reads whole scans."""
    what = package.info.what
    if what.name != KIND:
        raise ConfigError(
            f"The model {package.info.name} marks {what.name} and cannot identify a scan: use it with "
            "`segment`, or name a model of the kind pe-identifier."
        )


def plan(volume: Volume, package: ModelPackage, lungs: LungField, *, whole: bool = False) -> Windows:
    """The windows over the lungs, or over everything. Without lungs the box is the whole volume."""
    info = package.info
    seen = info.network_config.volume
    assert seen is not None  # of every package of this kind
    spacing_mm = volume.spacing_mm[::-1]
    wanted_mm = (seen.slice_mm, info.spacing_mm, info.spacing_mm)
    box = Box.whole(volume.shape) if whole else lungs.box()
    box = grow_to_windows(box, volume.shape, spacing_mm, wanted_mm, seen.crop)
    return Windows(volume.hu, box, spacing_mm, wanted_mm=wanted_mm, hu_window=info.hu_window, crop=seen.crop)


def _inspect(
    volume: Volume,
    package: ModelPackage,
    lungs: LungField,
    *,
    any_phase: bool,
    checked: Callable[[InputCheck], None],
) -> InputCheck:
    seen = package.info.network_config.volume
    assert seen is not None  # of every package of this kind
    inspected = check(volume, lungs, phase=seen.phase)
    checked(inspected)
    wrong = next((line for line in inspected.problems if line.code in ("enhanced", "not_enhanced")), None)
    if wrong is not None and not any_phase:
        reads = "with" if seen.phase == "contrast" else "without"
        raise WrongPhase(f"{wrong.text} The model {package.info.name} reads scans {reads} contrast agent.")
    return inspected


@dataclass
class _Said:
    """What the windows said: on the network's grid, of each window as a whole, and on the cells."""

    probability: np.ndarray
    shares: dict[Place, float]
    cells: np.ndarray


def _on_the_lungs(windows: Windows, lungs: LungField) -> set[Place]:
    """The windows with enough lung in them; all of them where no lung was found."""
    if not lungs.found:
        return set(windows.places)
    held = {place: lungs.held_ml(windows.extent(place)) for place in windows.places}
    enough = _ENOUGH * max(held.values())
    return {place for place, amount in held.items() if amount >= enough}


def _run(engine: Engine, windows: Windows, asked: Collection[Place], reporter: Reporter) -> _Said:
    """Run the engine over all windows; only the running sums of `Blend` are held. asked: those of the map."""
    places = windows.places
    blend, cells = Blend(windows), Cells(windows)
    shares: dict[Place, float] = {}
    reporter.start("windows", len(places))
    outputs = engine.run((windows.input(place) for place in places), reporter.check_cancelled)
    told = numbers(outputs, engine.info)
    for n, (place, (probability, share, seen)) in enumerate(zip(places, told, strict=True)):
        blend.add(place, probability)
        shares[place] = float(share[1])
        if place in asked:
            cells.add(place, seen)
        reporter.advance(n + 1)
    return _Said(blend.finish(), shares, cells.mean())


def _marked(
    volume: Volume, windows: Windows, voxels: np.ndarray, settings: Settings, allowed: LungFilter
) -> tuple[np.ndarray, BoxArray]:
    """The mask on the whole grid and the probability in the box."""
    box = windows.box
    probability = np.zeros(box.shape, dtype=np.float16)
    marked = np.zeros(box.shape, dtype=np.uint8)
    for n, plane in enumerate(windows.back(voxels)):
        probability[n], marked[n] = plane, marks.levels(plane, *settings.cuts)
    allowed.apply(marked, box)
    marks.clean(
        marked,
        volume.grid.voxel_volume_mm3,
        min_mm3=settings.min_lesion_mm3 or 0.0,
        counted=marks.CORE if settings.has_core else marks.EDGE,
    )
    mask = np.zeros(volume.shape, dtype=np.uint8)
    mask[box.slices] = marked
    return mask, BoxArray(probability, box, volume.shape)


def _map(volume: Volume, windows: Windows, cells: np.ndarray) -> tuple[BoxArray, float]:
    """The Grad-CAM map in the box as a share of its peak, and the peak."""
    peak = float(cells.max(initial=0.0))
    values = np.zeros(windows.box.shape, dtype=np.float16)
    if peak > 0:
        for n, plane in enumerate(windows.cells_back(cells / peak)):
            values[n] = plane
    return BoxArray(values, windows.box, volume.shape), peak
