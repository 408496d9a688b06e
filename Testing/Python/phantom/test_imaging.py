"""The CT image of the phantom: sharpness, noise colour, noise laws, contrast factor and number format."""

import numpy as np
import pytest
from scipy.special import erf

from PESemiSegLib.errors import ConfigError
from PESemiSegLib.phantom.beam import scan_field
from PESemiSegLib.phantom.imaging import apply_mtf, apply_tube_voltage, circle, image_scene, thick_slice
from PESemiSegLib.phantom.kernels import Kernel, NoiseSource, radial_frequency
from PESemiSegLib.phantom.landmarks import Landmarks
from PESemiSegLib.phantom.motion import blur_motion
from PESemiSegLib.phantom.projection import Projector
from PESemiSegLib.phantom.scanner import MEDIUM, SHARP, SOFT, Acquisition

KERNELS = (SOFT, MEDIUM, SHARP)


def water(matrix: int, slices: int, fov_mm: float, radius_mm: float = 110.0) -> np.ndarray:
    """A cylinder of water in air, HU."""
    place = (np.arange(matrix) - (matrix - 1) / 2) * fov_mm / matrix
    plane = np.where(np.hypot(place[:, None], place) < radius_mm, 0.0, -1000.0).astype(np.float32)
    return np.repeat(plane[None], slices, axis=0)


def scan(
    matrix: int = 192, slices: int = 10, seed: int = 0, radius_mm: float = 110.0, **settings
) -> np.ndarray:
    defaults = {"kernel": SOFT, "kvp": 120, "increment_mm": 1.0, "thickness_mm": 1.0, "noise_hu": 15.0}
    acquisition = Acquisition("test", matrix=matrix, fov_mm=350, **(defaults | settings))
    return image_scene(water(matrix, slices, 350.0, radius_mm), acquisition, np.random.default_rng(seed))


def centre(image: np.ndarray, half: int = 20) -> np.ndarray:
    """A cube in the middle, float64, without each slice's mean."""
    middle = image.shape[1] // 2
    part = image[:, middle - half : middle + half, middle - half : middle + half].astype(float)
    return part - part.mean(axis=(1, 2), keepdims=True)


@pytest.mark.parametrize("kernel", KERNELS, ids=lambda k: k.name)
def test_nps_of_the_noise_is_the_nps_of_the_kernel(kernel: Kernel) -> None:
    size, pixel = 128, 0.7
    source = NoiseSource(kernel, size, pixel, 4, 1.0, np.random.default_rng(0))
    ones = [np.ones((size, size), np.float32)] * 4
    slices = np.stack([source.next_slice(ones) for _ in range(60)])
    assert slices.std() == pytest.approx(1.0, rel=0.02)
    power = (np.abs(np.fft.fft2(slices)) ** 2).mean(axis=0)
    fx = np.fft.fftfreq(size, pixel)
    radius = np.hypot(fx[:, None], fx)
    bins = np.arange(0.02, 0.70, 0.04)
    which = np.digitize(radius, bins)
    measured = np.array([power[which == b].mean() for b in range(1, len(bins))])
    expected = np.array([kernel.nps(radius[which == b]).mean() for b in range(1, len(bins))])
    np.testing.assert_allclose(measured / measured.sum(), expected / expected.sum(), atol=0.006)
    peak = bins[:-1][np.argmax(measured)] + 0.02
    assert peak == pytest.approx(kernel.nps_peak_per_mm(), abs=0.04)


def test_sharper_kernels_have_noise_of_higher_frequency_and_ct_like_peaks() -> None:
    peaks = [kernel.nps_peak_per_mm() for kernel in KERNELS]
    assert peaks == sorted(peaks)
    assert 0.12 < peaks[0] < 0.30  # published soft-tissue kernels: about 0.15 to 0.3 / mm
    assert 0.30 < peaks[2] < 0.70


def test_noise_has_no_preferred_direction_where_all_views_are_alike() -> None:
    source = NoiseSource(SOFT, 128, 0.7, 4, 1.0, np.random.default_rng(1))
    ones = [np.ones((128, 128), np.float32)] * 4
    power = np.mean([np.abs(np.fft.fft2(source.next_slice(ones))) ** 2 for _ in range(80)], axis=0)
    fx = np.fft.fftfreq(128, 0.7)
    angle = np.arctan2(fx[:, None], fx) % np.pi
    ring = (np.hypot(fx[:, None], fx) > 0.1) & (np.hypot(fx[:, None], fx) < 0.4)
    shares = [power[ring & (np.floor(angle / np.pi * 8) == s)].mean() for s in range(8)]
    assert max(shares) / min(shares) < 1.08


def test_a_wedge_weighted_by_its_views_streaks_across_them() -> None:
    source = NoiseSource(SOFT, 128, 0.7, 4, 1.0, np.random.default_rng(1))
    gains = [np.full((128, 128), g, np.float32) for g in (0.5, 0.5, 2.0, 0.5)]  # the third looks along x
    power = np.mean([np.abs(np.fft.fft2(source.next_slice(gains))) ** 2 for _ in range(30)], axis=0)
    assert power[5:30, 0].mean() > 10 * power[0, 5:30].mean()  # changes along y: lines along x


@pytest.mark.parametrize(("ratio", "correlation"), [(1.0, 0.0), (1.25, 0.2), (1.5, 1 / 3), (2.0, 0.5)])
def test_neighbouring_slices_correlate_as_overlapping_boxes(ratio: float, correlation: float) -> None:
    source = NoiseSource(SOFT, 64, 0.7, 2, ratio, np.random.default_rng(2))
    ones = [np.ones((64, 64), np.float32)] * 2
    slices = np.stack([source.next_slice(ones) for _ in range(150)]).reshape(150, -1)
    measured = (slices[1:] * slices[:-1]).mean() / (slices**2).mean()
    second = (slices[2:] * slices[:-2]).mean() / (slices**2).mean()
    assert measured == pytest.approx(correlation, abs=0.02)
    assert second == pytest.approx(0.0, abs=0.02)


def test_noise_falls_with_the_root_of_the_thickness() -> None:
    thin = centre(scan(increment_mm=1.0, thickness_mm=1.0)).std()
    thick = centre(scan(increment_mm=3.0, thickness_mm=3.0)).std()
    assert thin / thick == pytest.approx(np.sqrt(3.0), rel=0.06)


def test_larger_patients_are_noisier_and_the_centre_more_than_the_rim() -> None:
    slim, stout = (scan(radius_mm=radius, slices=8) for radius in (90.0, 150.0))
    assert centre(stout).std() > 1.3 * centre(slim).std()
    middle = stout.shape[1] // 2
    rim = stout[:, middle - 8 : middle + 8, 14:24].astype(float)
    rim -= rim.mean(axis=0)
    inner = stout[:, middle - 8 : middle + 8, middle - 5 : middle + 5].astype(float)
    inner -= inner.mean(axis=0)
    assert inner.std() > 1.15 * rim.std()


@pytest.mark.parametrize("kernel", KERNELS, ids=lambda k: k.name)
def test_an_edge_blurs_as_the_mtf_says(kernel: Kernel) -> None:
    size, pixel, s = 400, 0.1, kernel.sigma_mm
    x = (np.arange(size) - size / 2 + 0.5) * pixel
    frequency, _ = radial_frequency(size, pixel)
    bar = np.tile(np.where(np.abs(x) < 10.0, 1.0, 0.0), (size, 1)).astype(np.float32)
    seen = apply_mtf(bar, kernel.mtf(frequency).astype(np.float32))[0]
    # closed form: an error function, less (by the overshoot) its second derivative
    left, right = (x + 10.0) / s, (10.0 - x) / s
    blurred = (erf(left / np.sqrt(2)) + erf(right / np.sqrt(2))) / 2
    curved = -(left * np.exp(-(left**2) / 2) + right * np.exp(-(right**2) / 2)) / np.sqrt(2 * np.pi)
    np.testing.assert_allclose(seen, blurred - kernel.overshoot / 2 * curved, atol=0.01)
    assert (seen.max() > 1.05) == (kernel.overshoot > 1.0)


def test_mtf_at_the_origin_is_one_and_soft_kernels_only_fall() -> None:
    f = np.linspace(0, 1, 200)
    for kernel in KERNELS:
        assert kernel.mtf(np.zeros(1))[0] == 1.0
    assert (np.diff(SOFT.mtf(f)) < 0).all()
    assert SHARP.mtf(f).max() > 1.1


@pytest.mark.parametrize(("kvp", "gain"), [(120, 1.0), (100, 1.25), (80, 1.6)])
def test_iodine_shows_more_at_low_voltage_and_tissue_does_not(kvp: int, gain: float) -> None:
    acquisition = Acquisition("t", SOFT, kvp, 64, 350, 1.0, 1.0, 10.0)
    assert acquisition.iodine_gain == pytest.approx(gain)
    hu = np.array([[[-1000, -850, -100, 33, 50, 355, 1200]]], np.float32)
    apply_tube_voltage(hu, acquisition.iodine_gain)
    np.testing.assert_allclose(hu[0, 0, :5], [-1000, -850, -100, 33, 50])
    assert hu[0, 0, 5] - 55 == pytest.approx(300 * gain, rel=1e-5)
    assert hu[0, 0, 6] == pytest.approx(55 + 595 * gain + 550 * np.sqrt(gain), rel=1e-5)  # bone gains less


def test_thick_slices_average_neighbours_and_keep_the_mean() -> None:
    stack = np.zeros((5, 1, 1), np.float32)
    stack[2] = 90.0
    seen = [float(thick_slice(stack, k, 2.0)[0, 0]) for k in range(5)]
    np.testing.assert_allclose(seen, [0, 22.5, 45.0, 22.5, 0])
    assert thick_slice(stack, 2, 1.0) is not None
    assert sum(seen) == pytest.approx(90.0)


def test_images_are_whole_hu_inside_a_round_field_of_view() -> None:
    image = scan(slices=3)
    assert image.dtype == np.int16
    assert (image[:, ~circle(192)] == -1024).all()
    assert image.min() >= -1024
    assert image.max() <= 3071
    assert image[:, 90:100, 90:100].mean() == pytest.approx(0, abs=12)


def test_same_seed_same_image_and_another_seed_another() -> None:
    np.testing.assert_array_equal(scan(slices=2, seed=5), scan(slices=2, seed=5))
    assert (scan(slices=2, seed=5) != scan(slices=2, seed=6)).any()


def test_cupping_lowers_the_middle() -> None:
    flat, cupped = (scan(slices=30, cup_hu=c, radius_mm=140, noise_hu=1.0) for c in (0.0, 10.0))
    depth = []
    for image in (flat, cupped):
        rows = slice(94, 98)
        depth.append(image[:, rows, 92:100].mean() - image[:, rows, 28:34].mean())
    assert depth[0] == pytest.approx(0, abs=1.0)
    assert -25 < depth[1] < -4


@pytest.mark.parametrize(
    "wrong", [{"thickness_mm": 0.5}, {"thickness_mm": 2.5}, {"kvp": 60}], ids=["gaps", "too thick", "voltage"]
)
def test_impossible_settings_are_refused(wrong: dict) -> None:
    with pytest.raises(ConfigError):
        scan(slices=1, **wrong)


def chest_with_vena_cava(contrast_hu: float) -> tuple[np.ndarray, Landmarks]:
    hu = water(192, 12, 350.0, 140.0)
    hu[:, 90:101, 70:81] = contrast_hu
    return hu, Landmarks((6.0, 95.0, 110.0), 50.0, np.full((12, 2), (95.0, 75.0)))


@pytest.mark.parametrize(("contrast_hu", "low", "high"), [(300.0, 0.0, 3.0), (900.0, 8.0, 60.0)])
def test_dense_contrast_in_the_vena_cava_streaks(contrast_hu: float, low: float, high: float) -> None:
    acquisition = Acquisition("t", SOFT, 120, 192, 350, 1.0, 1.0, 15.0, cup_hu=0.0, streak=1.0)
    hu, marks = chest_with_vena_cava(contrast_hu)
    field = scan_field(hu, acquisition, 4, np.random.default_rng(0), marks)
    y, x = np.mgrid[:96, :96] * 2 + 0.5
    distance = np.hypot(y - 95, x - 75) * acquisition.pixel_mm
    ring = field.artefact_hu[1][(distance > 16) & (distance < 45)]
    assert low <= ring.std() <= high


def test_heart_motion_doubles_edges_near_the_heart_only() -> None:
    hu, marks = chest_with_vena_cava(300.0)
    hu[:, 90:101, 56:60] = 300.0  # far from the heart
    still = hu.copy()
    acquisition = Acquisition("t", SOFT, 120, 192, 350, 1.0, 1.0, 15.0, motion_mm=3.0)
    blur_motion(hu, acquisition, marks, np.random.default_rng(1))
    changed = np.abs(hu - still)
    assert changed[:, 85:106, 66:85].max() > 20
    assert 0 < changed[:, 85:106, 55:61].max() < 0.25 * changed[:, 85:106, 66:85].max()
    assert hu.mean() == pytest.approx(still.mean(), abs=0.5)
    slices = changed.max(axis=(1, 2))
    assert slices.max() > 2 * slices.min()  # the beat swells and fades along z


def test_projection_of_a_disc_is_its_chord_and_backprojection_inverts_it() -> None:
    size, pixel, radius = 96, 2.0, 50.0
    place = (np.arange(size) - (size - 1) / 2) * pixel
    disc = (np.hypot(place[:, None], place) < radius).astype(np.float32)[None]
    projector = Projector(size, pixel, 90)
    sinogram = projector.forward(disc)[0]
    offset = (np.arange(projector.bins) - (projector.bins - 1) / 2) * pixel
    chord = 2 * np.sqrt(np.maximum(radius**2 - offset**2, 0))
    inside = np.abs(offset) < 0.8 * radius
    np.testing.assert_allclose(sinogram[:, inside].mean(axis=0), chord[inside], rtol=0.03)
    back = projector.filtered_back(projector.forward(disc))[0]
    distance = np.hypot(place[:, None], place)
    assert back[distance < 40].mean() == pytest.approx(1.0, abs=0.03)
    assert back[(distance > 60) & (distance < 80)].mean() == pytest.approx(0.0, abs=0.03)
