"""Reading and writing CT: DICOM, NIfTI, NRRD, DICOM SEG; geometry."""
