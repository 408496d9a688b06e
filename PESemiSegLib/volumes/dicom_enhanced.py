"""Multi-frame CT (Enhanced, Legacy Converted Enhanced): one plane per frame from the functional groups."""

from __future__ import annotations

from copy import copy
from typing import TYPE_CHECKING

from .dicom_headers import Plane, fill_contrast, fill_geometry
from .dicom_values import integer, number, text

if TYPE_CHECKING:
    from pydicom.dataset import Dataset

MACROS = (
    "PixelMeasuresSequence",
    "PlanePositionSequence",
    "PlaneOrientationSequence",
    "PixelValueTransformationSequence",
    "CTReconstructionSequence",
    "CTXRayDetailsSequence",
    "CTImageFrameTypeSequence",
    "UnassignedSharedConvertedAttributesSequence",
    "UnassignedPerFrameConvertedAttributesSequence",
)


def frame_planes(whole: Plane, ds: Dataset) -> list[Plane]:
    """One plane per frame; what a frame does not say is taken from the shared groups, then from the file.

    Raises:
        ValueError: if there are fewer descriptions than frames.
    """
    assert whole.pixels is not None
    per_frame = ds.PerFrameFunctionalGroupsSequence
    shared = ds.get("SharedFunctionalGroupsSequence") or []
    if len(per_frame) != whole.pixels.frames:
        raise ValueError(f"it describes {len(per_frame)} frames but holds {whole.pixels.frames}")
    for groups in shared:
        _fill(whole, groups)
    planes = []
    for index, groups in enumerate(per_frame):
        plane = copy(whole)
        plane.phase = dict(whole.phase)
        plane.frame = index
        _fill(plane, groups)
        planes.append(plane)
    return planes


def _fill(plane: Plane, groups: Dataset) -> None:
    for macro in MACROS:
        for item in groups.get(macro) or ():
            fill_geometry(plane, item)
            fill_contrast(plane, item)
            frame_type = text(item, "FrameType")
            if frame_type:
                plane.image_type = tuple(frame_type.upper().split("\\"))
    for item in groups.get("ContrastBolusUsageSequence") or ():
        plane.contrast_agent = text(item, "ContrastBolusAgentAdministered") == "YES"
    for item in groups.get("FrameContentSequence") or ():
        for keyword in ("StackID", "TemporalPositionIndex", "FrameAcquisitionNumber"):
            value = text(item, keyword)
            if value:
                plane.phase[keyword] = value
        acquired = number(item, "FrameAcquisitionDateTime")
        if acquired is not None:
            plane.phase["FrameAcquisitionDateTime"] = acquired
        position = integer(item, "InStackPositionNumber")
        plane.instance_number = position if position is not None else plane.instance_number
    for item in groups.get("CardiacSynchronizationSequence") or ():
        phase = number(item, "NominalPercentageOfCardiacPhase")
        if phase is not None:
            plane.phase["NominalPercentageOfCardiacPhase"] = phase
