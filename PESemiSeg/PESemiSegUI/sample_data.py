"""Owns the made-up patient among Slicer's sample data: made on this computer when asked for, never downloaded."""

import slicer
from slicer.i18n import tr as _

from .loading import Loader

SEED = 7
_loader: Loader | None = None


def register(icon: str) -> None:
    """Add the patient to the Sample Data module, where Slicer has one."""
    if not hasattr(slicer.modules, "sampledata"):
        return
    import SampleData

    SampleData.SampleDataLogic.registerCustomSampleDataSource(
        category="PESemiSeg",
        sampleName=_("A made-up patient with emboli, computed on this computer"),  # what is shown
        thumbnailFileName=icon,
        uris="",  # there must be some
        customDownloader=lambda _source: make(),
    )


def make() -> list:
    """Start making the patient; the volume comes into the scene when it is done, in about a minute."""
    global _loader
    if _loader is None:
        _loader = Loader(_show, slicer.util.showStatusMessage)
    _loader.makeUp(SEED)
    return []


def _show(volume, _warnings: "tuple[str, ...]") -> None:
    volume.SetName(slicer.mrmlScene.GenerateUniqueName(_("Made-up patient")))
    slicer.util.setSliceViewerLayers(background=volume, fit=True)
