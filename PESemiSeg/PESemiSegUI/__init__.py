"""The panels of the PESemiSeg module: one file per panel, and what they share. Nothing here computes."""
