"""Owns the walk from a volume and a model package to a Result, slice by slice."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np

from PESemiSegLib.inference import findings as marks
from PESemiSegLib.inference.check import check
from PESemiSegLib.inference.engines.base import Engine, numbers
from PESemiSegLib.inference.engines.select import Choice, choose, open_engine
from PESemiSegLib.inference.lung_filter import LungFilter, Mode, make_filter
from PESemiSegLib.inference.lungs import LungField, lung_mask
from PESemiSegLib.inference.organs import find_organs
from PESemiSegLib.inference.prepare import SlicePreparer, grow_to_multiple
from PESemiSegLib.inference.progress import (
    CancelCheck,
    Clock,
    ProgressCallback,
    Reporter,
    in_background,
    wait_for,
)
from PESemiSegLib.inference.provenance import provenance
from PESemiSegLib.inference.result import Box, BoxArray, InputCheck, Result
from PESemiSegLib.inference.settings import Settings

if TYPE_CHECKING:
    from PESemiSegLib.models.package import ModelPackage
    from PESemiSegLib.volumes.volume import Volume

log = logging.getLogger(__name__)

SliceDone = Callable[[Box, np.ndarray], None]
"""A box of one slice on the working grid, and what is marked in it, uint8 (1, y, x).

It is cut at the plain threshold: what makes up a mark, and so its size and its core, later slices tell.
"""


def segment(
    volume: Volume,
    package: ModelPackage,
    *,
    device: str = "auto",
    precision: str = "auto",
    engine: str = "auto",
    whole: bool = False,
    lung_filter: Mode = "hull",
    threshold: float | None = None,
    core_threshold: float | None = None,
    min_lesion_mm3: float | None = None,
    fill_holes: bool = False,
    batch: int | None = None,
    threads: int | None = None,
    strict: bool = False,
    progress: ProgressCallback | None = None,
    cancelled: CancelCheck | None = None,
    checked: Callable[[InputCheck], None] = lambda check: None,
    slice_done: SliceDone = lambda box, marked: None,
    kind: str = "emboli",
    region: np.ndarray | None = None,
    judge: bool = True,
) -> Result:
    """Segment pulmonary emboli (1A.1, 1A.6, 1A.7) and map the discriminator's confidence (1A.3).

    The discriminator sees the probability, not the thresholded mask (1A.5), and the encoder's features, which
    it standardises per slice: the confidence therefore depends a little on the box that is computed.

    Args:
        volume: the CT. The result lies on its working grid.
        package: a verified model package.
        device, precision, engine: see `engines.select.choose`.
        whole: compute every slice completely; else only the box of both lungs, see `LungField.box`.
        lung_filter: "hull", "paper" or "none", see `lung_filter.make_filter`.
        threshold: least probability of a marked voxel; the package's by default.
        core_threshold: least probability of a voxel of a mark's core; a mark without a core is removed. The
            package's by default, or `threshold` where that is given or the package has none.
        min_lesion_mm3: marks with a smaller core are removed; the package's by default.
        fill_holes: fill holes of marks within slices.
        batch: slices at once on CUDA. threads: CPU threads.
        strict: refuse an input that the check finds fault with.
        progress: called at least once per stage and about every 0.1 s while slices run.
        cancelled: asked every 0.1 s; when true, the run stops.
        checked: told what the input check found, before the slices run and before `strict` refuses.
        slice_done: told each slice as it is finished, see SliceDone.
        kind: what the model must mark. With several classes, such as "arteries", each pixel takes its
            likeliest class; threshold, smallest mark and lung filter are then not used.
        region: bool (z, y, x) of the working grid, where marks may stand; None: everywhere.
        judge: False leaves the discriminator out, where masks are all that counts: its map is NaN.

    Raises:
        InputError: `strict`, and the check found fault. ConfigError: a setting out of range.
        DeviceError: the device cannot be used, or its memory is too small. Cancelled: the caller stopped it.
    """
    package.require(kind)
    segments = package.info.what.segments
    several = len(segments) > 1
    wanted = Settings(
        device=device,
        precision=precision,
        engine=engine,
        whole=whole,
        lung_filter=lung_filter,
        threshold=threshold,
        core_threshold=core_threshold,
        min_lesion_mm3=min_lesion_mm3,
        fill_holes=fill_holes,
        batch=batch,
        threads=threads,
    )
    settings = wanted.resolved(package)
    clock = Clock()
    reporter = Reporter(progress, cancelled)
    choice = choose(device, precision, engine)
    reporter.start("check")
    lungs = lung_mask(volume.hu, volume.spacing_mm)
    preparer, box = plan(volume, package, lungs, whole=whole)
    log.info("running %s", choice.reason)
    loading = in_background(lambda: _open(choice, package, preparer, settings, judge))  # during the check
    inspected = check(volume, lungs, phase="contrast" if package.info.what.contrast else None)
    checked(inspected)
    inspected.require(strict)
    allowed = make_filter("none" if several else lung_filter, volume.hu, lungs)
    clock.lap("check")

    reporter.start("load")
    running = wait_for(loading, reporter.check_cancelled)
    clock.lap("load")
    try:
        marked, probability, confidence = _run(
            running, preparer, box, volume.shape, settings, reporter, allowed, slice_done, judge
        )
    finally:
        running.close()
    clock.lap("slices")

    reporter.start("findings")
    grid = volume.grid
    if region is not None:
        marked[~region[box.slices]] = 0
    if not several:
        marks.clean(
            marked,
            grid.voxel_volume_mm3,
            min_mm3=settings.min_lesion_mm3 or 0.0,
            fill_holes=settings.fill_holes,
            counted=marks.CORE if settings.has_core else marks.EDGE,
        )
    mask = np.zeros(volume.shape, dtype=np.uint8)
    mask[box.slices] = marked
    measured = (grid, probability, confidence, lungs)
    found = find_organs(mask, segments, *measured) if several else marks.find(mask, *measured)
    clock.lap("findings")
    origin = provenance(volume, package, settings, running.info, choice, box, clock.seconds)
    reporter.check_cancelled()
    maps = (mask, probability, confidence)
    return Result(volume, *maps, found, inspected, origin, lungs, segments, allowed=allowed)


def plan(
    volume: Volume, package: ModelPackage, lungs: LungField, *, whole: bool = False
) -> tuple[SlicePreparer, Box]:
    """The box to compute and what prepares its slices. Without lungs the box is the whole volume."""
    box = Box.whole(volume.shape) if whole else lungs.box()
    info = package.info

    def preparer(box: Box) -> SlicePreparer:
        return SlicePreparer(
            volume.hu,
            box,
            volume.spacing_mm,
            hu_window=info.hu_window,
            wanted_mm=info.spacing_mm,
            context=info.context,
        )

    first = preparer(box)
    if first.resampled:
        return first, box
    box = grow_to_multiple(box, volume.shape)
    return preparer(box), box


def _open(
    choice: Choice, package: ModelPackage, preparer: SlicePreparer, settings: Settings, judge: bool
) -> Engine:
    size = preparer.input_shape
    return open_engine(choice, package, size, batch=settings.batch, threads=settings.threads, judge=judge)


def _run(
    engine: Engine,
    preparer: SlicePreparer,
    box: Box,
    full_shape: tuple[int, int, int],
    settings: Settings,
    reporter: Reporter,
    allowed: LungFilter,
    slice_done: SliceDone,
    judge: bool,
) -> tuple[np.ndarray, BoxArray, BoxArray]:
    """Run the engine over the slices of `box`: what is marked and may stand, probability and confidence.

    What is marked is levels, see `findings.levels`, or labels where the model has several classes.
    """
    marked = np.zeros(box.shape, dtype=np.uint8)
    probability = np.zeros(box.shape, dtype=np.float16)
    nothing = np.broadcast_to(np.float32(np.nan), box.shape)  # takes no memory
    confidence = np.zeros(box.shape, dtype=np.float32) if judge else nothing
    first, last = box.start[0], box.stop[0]
    reporter.start("slices", last - first)
    outputs = engine.run((preparer.input(k) for k in range(first, last)), reporter.check_cancelled)
    told = numbers(outputs, engine.info)
    for n, (p, *judgement) in zip(range(last - first), told, strict=True):
        # Decided before it is rounded to float16, so that the mask is the engine's own.
        if p.ndim == 2:
            plane = preparer.back(p)
            marked[n] = marks.levels(plane, *settings.cuts)
        else:
            planes = np.stack([preparer.back(share) for share in p])
            marked[n], plane = planes.argmax(0), 1.0 - planes[0]
        probability[n] = plane
        if judge:
            confidence[n] = preparer.back(judgement[0])
        one = Box((first + n, *box.start[1:]), (first + n + 1, *box.stop[1:]))
        here = allowed.apply(marked[n : n + 1], one)
        slice_done(one, np.minimum(here, 1) if p.ndim == 2 else here)
        reporter.advance(n + 1)
    return marked, BoxArray(probability, box, full_shape), BoxArray(confidence, box, full_shape)
