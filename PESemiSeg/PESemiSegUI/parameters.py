"""Owns the scene state of the module: what is saved with a scene and bound to the panels' widgets."""

from typing import Annotated

import slicer
from slicer.parameterNodeWrapper import Decimals, WithinRange, parameterNodeWrapper


@parameterNodeWrapper
class PESemiSegParameterNode:
    """Settings of the user within one scene. Facts about this computer are in `machine`, not here."""

    inputVolume: slicer.vtkMRMLScalarVolumeNode
    plainVolume: slicer.vtkMRMLScalarVolumeNode
    segmentation: slicer.vtkMRMLSegmentationNode
    model: str = "demo"
    wholeSlices: bool = False
    ownThreshold: bool = False
    threshold: Annotated[float, WithinRange(0.05, 1.0), Decimals(2)] = 0.5
    ownCore: bool = False
    coreThreshold: Annotated[float, WithinRange(0.05, 1.0), Decimals(3)] = 0.9
    smallestMarkMm3: Annotated[float, WithinRange(-1.0, 1000.0), Decimals(0)] = -1.0
    overlayVisible: bool = True
    nearMarksOnly: bool = True
    overlayOpacity: Annotated[float, WithinRange(0.0, 1.0), Decimals(2)] = 0.5
    overlayThreshold: Annotated[float, WithinRange(0.0, 1.0), Decimals(2)] = 0.0
    legendVisible: bool = True
