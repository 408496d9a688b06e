"""Owns the walk with two models: the arteries first, then the emboli inside them and the clot burden."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from PESemiSegLib.inference.burden import clot_burden, search_region
from PESemiSegLib.inference.result import CheckLine, InputCheck
from PESemiSegLib.inference.segment import segment
from PESemiSegLib.volumes.segments import PULMONARY_ARTERY

if TYPE_CHECKING:
    from PESemiSegLib.inference.result import Result
    from PESemiSegLib.models.package import ModelPackage
    from PESemiSegLib.volumes.volume import Volume

_NO_ARTERY = CheckLine(
    "warning",
    "no_artery",
    "The artery model found no pulmonary artery: emboli were searched for everywhere, and there is no clot "
    "burden.",
)
_OF_EMBOLI = ("kind", "threshold", "core_threshold", "min_lesion_mm3", "slice_done")


def segment_within(volume: Volume, package: ModelPackage, tree: ModelPackage, **settings: Any) -> Result:
    """Segment emboli in and near the pulmonary arteries that the model `tree` finds, and measure their share.

    settings: of `inference.segment`; `slice_done` is told the slices of emboli alone, and `checked` once,
    with the arteries. Where no artery is found, the emboli are searched for everywhere, there is no burden,
    and a warning of the input check says so. Raises what `segment` raises, and ConfigError for a `tree` that
    marks no arteries.
    """
    about = {name: value for name, value in settings.items() if name not in _OF_EMBOLI}
    settings.pop("checked", None)
    artery = segment(volume, tree, kind="arteries", judge=False, **about)
    found = artery.mask == artery.segments.index(PULMONARY_ARTERY) + 1
    inspected = artery.check
    del artery
    model = {"name": tree.info.name, "sha256": tree.sha256}
    if found.any():
        result = segment(volume, package, region=search_region(found, volume.spacing_mm), **settings)
        result.burden = clot_burden(result.mask, found, volume.spacing_mm, model)
    else:
        _warned(inspected).require(settings.get("strict", False))
        result = segment(volume, package, **settings)
        result.check = _warned(result.check)
    result.provenance["artery_model"] = model
    return result


def _warned(check: InputCheck) -> InputCheck:
    return replace(check, sentences=[*check.sentences, _NO_ARTERY])
