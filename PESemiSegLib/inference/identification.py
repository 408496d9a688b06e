"""Owns what identifying a scan hands on: the probability of PE, mask and Grad-CAM map."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from PESemiSegLib.inference.result import Box, BoxArray, Finding, InputCheck
from PESemiSegLib.volumes.segments import SegmentInfo

if TYPE_CHECKING:
    from PESemiSegLib.inference.lungs import LungField
    from PESemiSegLib.volumes.volume import Volume


@dataclass
class IdentifyResult:
    """What a model says of a whole scan, on the volume's working grid (axial, LPS).

    pe_probability: of the scan, 0 to 1; window_probabilities: of each window on the lungs, upwards. mask
    uint8 (z, y, x) and probability: per voxel. cam: the Grad-CAM map of the windows that the scan's
    probability was told from, as a share of its highest value; cam_peak: that value, in log-odds of PE (0:
    nothing speaks for PE).
    Outside the computed box nothing was computed and all maps are 0.
    """

    volume: Volume
    pe_probability: float
    window_probabilities: list[float]
    mask: np.ndarray
    probability: BoxArray
    cam: BoxArray
    cam_peak: float
    findings: list[Finding]
    check: InputCheck
    provenance: dict[str, Any]
    lungs: LungField
    segments: tuple[SegmentInfo, ...]

    @property
    def box(self) -> Box:
        """The part of the working grid that was computed."""
        return self.probability.box

    def output_mask(self) -> np.ndarray:
        """The mask on the input's own grid, uint8, array order of `volume.output_grid`."""
        return self.volume.to_output(self.mask)

    def output_cam(self) -> np.ndarray:
        """The map on the input's own grid, float32; 0 where nothing was computed."""
        return self.volume.to_output(self.cam.full(), linear=True)

    @property
    def total_volume_mm3(self) -> float:
        """Volume of all findings together."""
        return float(sum(finding.volume_mm3 for finding in self.findings))
