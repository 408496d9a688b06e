"""PESemiSeg: marks pulmonary emboli in CT pulmonary angiograms. Research use only, not a medical device."""

__version__ = "0.1.0"
