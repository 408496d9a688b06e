"""Owns how a segment is made: from an array on a grid, with a name, a colour and a term."""

import numpy as np
import slicer
from vtk.util.numpy_support import numpy_to_vtk

EMBOLUS = (
    "Segmentation category and type - DICOM master list~SCT^49755003^Morphologically Altered Structure"
    "~SCT^55584005^Embolus~^^~Anatomic codes - DICOM master list~SCT^81040000^Pulmonary artery~^^"
)
COLOUR = (150 / 255, 98 / 255, 83 / 255)  # of Embolus in the DICOM master list


def addSegment(
    node: "slicer.vtkMRMLSegmentationNode",
    identity: str,
    name: str,
    image: "slicer.vtkOrientedImageData",
    *,
    colour: "tuple[float, float, float] | list[float]" = COLOUR,
    terminology: str = EMBOLUS,
) -> "slicer.vtkSegment":
    """A segment from its labelmap; an embolus unless told otherwise."""
    segmentation = node.GetSegmentation()
    segmentation.SetSourceRepresentationName(labelmap())
    segment = slicer.vtkSegment()
    segment.SetName(name)
    segment.SetColor(*colour)
    segment.SetTag(segment.GetTerminologyEntryTagName(), terminology)
    segment.AddRepresentation(labelmap(), image)
    segmentation.AddSegment(segment, identity)
    return segment


def labelmap() -> str:
    """Slicer's name of the representation that a result is stored in."""
    return slicer.vtkSegmentationConverter.GetSegmentationBinaryLabelmapRepresentationName()


def orientedImage(
    start_ijk: list[int], array: np.ndarray, matrix: list[list[float]]
) -> "slicer.vtkOrientedImageData":
    """A mask (k, j, i) that begins at a voxel of a grid, on that grid: a segment's labelmap. Memory is copied."""
    image = slicer.vtkOrientedImageData()
    extent = [(first, first + size - 1) for first, size in zip(start_ijk, reversed(array.shape), strict=True)]
    image.SetExtent(*(bound for pair in extent for bound in pair))
    values = np.ascontiguousarray(array).astype(np.uint8)
    image.GetPointData().SetScalars(numpy_to_vtk(values.reshape(-1), deep=True))
    image.SetGeometryFromImageToWorldMatrix(slicer.util.vtkMatrixFromArray(np.asarray(matrix)))
    return image
