"""Owns how a segment is made, and read: from an array on a grid, with a name, a colour and a term."""

import numpy as np
import slicer
import vtk
from vtk.util.numpy_support import numpy_to_vtk, vtk_to_numpy

from PESemiSegLib import __version__

EMBOLUS = (
    "Segmentation category and type - DICOM master list~SCT^49755003^Morphologically Altered Structure"
    "~SCT^55584005^Embolus~^^~Anatomic codes - DICOM master list~SCT^81040000^Pulmonary artery~^^"
)
COLOUR = (150 / 255, 98 / 255, 83 / 255)  # of Embolus in the DICOM master list
ALGORITHM_TYPE, ALGORITHM_NAME = "DICOM.SegmentAlgorithmType", "DICOM.SegmentAlgorithmName"  # its tags
SCALARS = "ImageScalars"  # Slicer's DICOM export takes a segment whose array has another name for empty

Part = tuple[np.ndarray, np.ndarray]
"""Of one segment: uint8 (k, j, i), and 4x4 from its voxels to RAS."""


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
    segment.SetTag(ALGORITHM_TYPE, "AUTOMATIC")  # else Slicer's DICOM export says that it was drawn by hand
    segment.SetTag(ALGORITHM_NAME, f"PESemiSeg {__version__}")
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
    scalars = numpy_to_vtk(values.reshape(-1), deep=True)
    scalars.SetName(SCALARS)
    image.GetPointData().SetScalars(scalars)
    image.SetGeometryFromImageToWorldMatrix(slicer.util.vtkMatrixFromArray(np.asarray(matrix)))
    return image


def tag(segment: "slicer.vtkSegment", name: str) -> str:
    """A tag of a segment; empty where it has none."""
    stored = vtk.reference("")
    return str(stored) if segment.GetTag(name, stored) else ""


def partOf(node: "slicer.vtkMRMLSegmentationNode", identity: str) -> "Part | None":
    """A copy of a segment's voxels, in its own box; None where it has none."""
    image = slicer.vtkOrientedImageData()
    if not node.GetBinaryLabelmapRepresentation(identity, image) or image.IsEmpty():
        return None
    return arrayOf(image)


def arrayOf(image: "slicer.vtkOrientedImageData") -> Part:
    """A labelmap as an array."""
    extent, matrix = image.GetExtent(), vtk.vtkMatrix4x4()
    values = vtk_to_numpy(image.GetPointData().GetScalars())
    shape = (extent[5] - extent[4] + 1, extent[3] - extent[2] + 1, extent[1] - extent[0] + 1)
    image.GetImageToWorldMatrix(matrix)
    to_ras = slicer.util.arrayFromVTKMatrix(matrix)
    to_ras[:3, 3] += to_ras[:3, :3] @ extent[::2]  # of the first voxel, not of the grid's origin
    return (values.reshape(shape) > 0).astype(np.uint8), to_ras
