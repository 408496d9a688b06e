"""The CT scan of an ideal chest: from noiseless HU to the int16 image that a scanner would have shown."""

import numpy as np
import scipy.fft

from PESemiSegLib.phantom.beam import scan_field
from PESemiSegLib.phantom.kernels import NoiseSource, radial_frequency
from PESemiSegLib.phantom.landmarks import Landmarks
from PESemiSegLib.phantom.motion import blur_motion
from PESemiSegLib.phantom.projection import upsampling_matrix
from PESemiSegLib.phantom.scanner import Acquisition

HU_PADDING = -1024
HU_MAX = 3071
_SECTORS = 4
_IODINE_FROM_HU = 55.0
_BONE_FROM_HU = 650.0


def image_scene(
    hu: np.ndarray, acquisition: Acquisition, rng: np.random.Generator, landmarks: Landmarks | None = None
) -> np.ndarray:
    """Scan ``hu`` (z, y, x), float32, ideal and noiseless, as it lies on the grid of the acquisition.

    Returns int16 (z, y, x), clipped to [-1024, 3071], with -1024 outside the circular field of view. ``hu``
    is used as work space and changed. landmarks: where heart and vena cava lie, for motion and streaks.
    """
    apply_tube_voltage(hu, acquisition.iodine_gain)
    if acquisition.motion_mm and landmarks is not None:
        blur_motion(hu, acquisition, landmarks, rng)
    field = scan_field(hu, acquisition, _SECTORS, rng, landmarks)
    noise = NoiseSource(
        acquisition.kernel,
        acquisition.matrix,
        acquisition.pixel_mm,
        _SECTORS,
        acquisition.thickness_mm / acquisition.increment_mm,
        rng,
    )
    frequency, _ = radial_frequency(acquisition.matrix, acquisition.pixel_mm)
    mtf = acquisition.kernel.mtf(frequency).astype(np.float32)
    up = upsampling_matrix(acquisition.matrix, field.artefact_hu.shape[1])
    up_gain = upsampling_matrix(acquisition.matrix, field.noise_gain[0].shape[1])
    inside = circle(acquisition.matrix)
    image = np.empty(hu.shape, np.int16)
    for k in range(len(hu)):
        blurred = apply_mtf(thick_slice(hu, k, acquisition.thickness_mm / acquisition.increment_mm), mtf)
        blurred += up @ field.artefact_at(k) @ up.T
        blurred += noise.next_slice([up_gain @ gain @ up_gain.T for gain in field.gains_at(k)])
        image[k] = np.where(inside, quantise(blurred), HU_PADDING)
    return image


def apply_tube_voltage(hu: np.ndarray, iodine_gain: float) -> None:
    """Scale, in place, what iodine adds above soft tissue; bone, denser, grows by the root only."""
    if iodine_gain == 1.0:
        return
    for plane in hu:
        excess = np.maximum(plane - _IODINE_FROM_HU, 0.0)
        bone = np.maximum(plane - _BONE_FROM_HU, 0.0)
        plane += (iodine_gain - 1.0) * (excess - bone) + (np.sqrt(iodine_gain) - 1.0) * bone


def thick_slice(hu: np.ndarray, k: int, ratio: float) -> np.ndarray:
    """Slice k averaged over a box of ``ratio`` increments, 1 to 3 (the raster itself is one thick)."""
    wing = np.float32((ratio - 1.0) / 2.0)
    if wing <= 0:
        return hu[k]
    below, above = hu[max(k - 1, 0)], hu[min(k + 1, len(hu) - 1)]
    return (hu[k] + wing * (below + above)) / np.float32(ratio)


def apply_mtf(plane: np.ndarray, mtf: np.ndarray) -> np.ndarray:
    """The plane (y, x) seen through ``mtf``, given on its rfft2 grid."""
    return scipy.fft.irfft2(scipy.fft.rfft2(plane) * mtf, s=plane.shape)


def circle(size: int) -> np.ndarray:
    """True inside the circle that touches the edges of a (size, size) image."""
    centred = np.arange(size) - (size - 1) / 2.0
    return centred[:, None] ** 2 + centred[None, :] ** 2 <= (size / 2.0) ** 2


def quantise(plane: np.ndarray) -> np.ndarray:
    """Whole HU, int16, within what a 12-bit scanner can store."""
    return np.clip(np.rint(plane), HU_PADDING, HU_MAX).astype(np.int16)
