"""Reading and writing CT: DICOM, NIfTI, NRRD, DICOM SEG; geometry."""

from .grid import Grid
from .reader import read
from .volume import SeriesFacts, Volume, from_array

__all__ = ["Grid", "SeriesFacts", "Volume", "from_array", "read"]
