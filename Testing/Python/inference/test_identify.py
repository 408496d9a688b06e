"""A whole scan to its probability of PE: against torch's gradients, between engines, and what is refused."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy import ndimage

from PESemiSegLib.errors import Cancelled, ConfigError, DeviceError, InputError
from PESemiSegLib.inference import identify as identify_room
from PESemiSegLib.inference.identification import IdentifyResult
from PESemiSegLib.inference.identify import WrongPhase, _on_the_lungs, identify, plan
from PESemiSegLib.inference.lungs import lung_mask
from PESemiSegLib.inference.result import Box
from PESemiSegLib.inference.segment import segment
from PESemiSegLib.models.package import ModelPackage, read_package
from PESemiSegLib.volumes.volume import Volume, from_array

torch = pytest.importorskip("torch")

SETTINGS: dict[str, Any] = {"engine": "openvino", "precision": "fp32", "threads": 1}


@pytest.fixture(scope="module")
def package(
    make_tiny_identifier: Callable[..., Path], tmp_path_factory: pytest.TempPathFactory
) -> ModelPackage:
    return read_package(make_tiny_identifier(tmp_path_factory.mktemp("identifier") / "tiny"))


@pytest.fixture(scope="module")
def plain(make_chest: Callable[..., Any]) -> Volume:
    return make_chest(blood_hu=42.0, shape=(60, 120, 144), spacing_mm=(2.6, 2.6, 3.0)).volume


@pytest.fixture(scope="module")
def result(plain: Volume, package: ModelPackage) -> IdentifyResult:
    return identify(plain, package, **SETTINGS)


def one_window() -> Volume:
    """Just what the network sees at once, at its own spacing: nothing is resampled, padded or blended."""
    hu = np.random.default_rng(3).normal(40, 150, (32, 64, 64))
    return from_array(np.clip(hu, -1024, 3000).astype(np.int16), np.diag([3.0, 3.0, 3.0, 1.0]))


@pytest.mark.parametrize("engine", ["openvino", "torch"])
def test_one_window_is_what_the_network_says_of_it(package: ModelPackage, engine: str) -> None:
    from PESemiSegLib.models.load import load_segmenter

    volume = one_window()
    found = identify(volume, package, whole=True, lung_filter="none", **(SETTINGS | {"engine": engine}))
    image = (np.clip(volume.hu.astype(np.float64), -160, 240) - 40) / 200
    pathway = load_segmenter(package).double()
    reading = pathway.read(torch.from_numpy(image)[None, None])  # type: ignore[operator]
    # Grad-CAM as it is defined (Selvaraju 2017), by the backward pass.
    deepest = reading.deepest.detach().requires_grad_()
    classes = pathway.classifier(deepest.flatten(2).mean(2))  # type: ignore[operator]
    (gradient,) = torch.autograd.grad(classes[0, 1] - classes[0, 0], deepest)
    weights = gradient.sum((2, 3, 4), keepdim=True)
    seen = (weights * deepest).sum(1).relu()[0].detach().numpy()

    assert found.pe_probability == pytest.approx(classes.softmax(1)[0, 1].item(), abs=2e-3)
    assert found.window_probabilities == [pytest.approx(found.pe_probability)]
    probability = reading.logits.sigmoid()[0, 0].detach().numpy()
    np.testing.assert_allclose(found.probability.full(), probability, atol=5e-3)
    assert 0.02 < (found.mask > 0).mean() < 0.98
    assert found.cam_peak == pytest.approx(seen.max(), rel=5e-3)
    assert seen.shape == (1, 2, 2)
    corners = found.cam.full()[[0, 0, 0, 0], [0, 0, 63, 63], [0, 63, 0, 63]]
    np.testing.assert_allclose(corners, seen.ravel() / seen.max(), atol=5e-3)


def test_both_engines_agree_over_many_windows(
    plain: Volume, package: ModelPackage, result: IdentifyResult
) -> None:
    other = identify(plain, package, **(SETTINGS | {"engine": "torch"}))
    np.testing.assert_allclose(other.window_probabilities, result.window_probabilities, atol=1e-3)
    np.testing.assert_allclose(other.probability.values, result.probability.values, atol=5e-3)
    np.testing.assert_allclose(other.cam.values, result.cam.values, atol=5e-3)


def test_a_scan_is_told_by_the_middle_window_or_by_all(
    plain: Volume, package: ModelPackage, result: IdentifyResult
) -> None:
    shares = result.window_probabilities
    assert len(shares) >= 4
    assert max(shares) - min(shares) > 1e-3  # else the test shows nothing
    middle = identify(plain, package, scan_from="middle", **SETTINGS)
    assert result.pe_probability in shares
    assert result.pe_probability > middle.pe_probability
    assert middle.pe_probability in shares
    # The map is of the windows that were asked.
    assert np.count_nonzero(middle.cam.values) < np.count_nonzero(result.cam.values)
    np.testing.assert_array_equal(middle.mask, result.mask)
    with pytest.raises(ConfigError, match="scan_from 'best' is unknown"):
        identify(plain, package, scan_from="best")  # type: ignore[arg-type]


def test_windows_beside_the_lungs_do_not_tell_the_scan(plain: Volume, package: ModelPackage) -> None:
    """Over the whole of a tall scan windows also show the neck and the belly; those are not asked."""
    tall = np.pad(plain.hu, ((40, 40), (0, 0), (0, 0)), mode="reflect")
    tall[:40][tall[:40] < -300] = 40  # no lung there
    tall[-40:][tall[-40:] < -300] = 40
    affine = np.array(plain.affine)
    found = identify(from_array(tall, affine), package, whole=True, **SETTINGS)
    lungs = lung_mask(tall, plain.spacing_mm)
    windows = plan(found.volume, package, lungs, whole=True)
    held = np.array([lungs.held_ml(windows.extent(place)) for place in windows.places])
    asked = held >= held.max() / 2
    assert 0 < asked.sum() < len(held)
    assert found.provenance["windows"]["on_lungs"] == asked.sum() == len(found.window_probabilities)
    assert found.pe_probability == max(found.window_probabilities)
    # By hand: the lowest windows lie below the lungs, and hold none.
    assert not held[[place[0] == 0 for place in windows.places]].any()


def test_without_lungs_every_window_is_asked(package: ModelPackage) -> None:
    found = identify(
        from_array(np.full((40, 80, 80), 40, np.int16), np.diag([3.0, 3, 3, 1])), package, **SETTINGS
    )
    assert found.provenance["windows"]["count"] == len(found.window_probabilities) > 1
    assert found.pe_probability == max(found.window_probabilities)


def test_gas_is_no_lung_and_a_lung_without_air_counts(package: ModelPackage) -> None:
    volume = from_array(np.full((40, 96, 96), 40, np.int16), np.diag([3.0, 3, 3, 1]))
    none = lung_mask(volume.hu, volume.spacing_mm)
    gas = replace(none, mask=none.mask.copy())
    gas.mask[2, 4:7, 4:7] = True
    windows = plan(volume, package, gas, whole=True)
    assert not gas.found
    assert _on_the_lungs(windows, gas) == set(windows.places)
    lung = replace(none, mask=none.mask.copy(), midline=47.5)
    lung.mask[:, 20:76, 8:40] = True  # of one side; the other is opaque
    assert lung.one_sided
    box = Box((0, 0, 48), (40, 96, 96))
    assert lung.held_ml(box) == pytest.approx(lung.held_ml(Box((0, 0, 0), (40, 96, 48))))


def test_what_it_hands_on(plain: Volume, result: IdentifyResult) -> None:
    assert result.check.has("plain")
    assert not result.check.has("enhanced")
    assert result.mask.shape == plain.shape
    assert result.findings
    assert result.total_volume_mm3 == pytest.approx((result.mask > 0).sum() * plain.grid.voxel_volume_mm3)
    assert result.provenance["model"]["marks"] == "identification"
    assert result.provenance["windows"]["on_lungs"] == len(result.window_probabilities)
    assert result.cam.full().max() <= 1.0
    assert result.output_cam().shape == plain.output_grid.shape


def test_marks_without_a_core_are_dropped_and_the_others_stay_whole(
    plain: Volume, package: ModelPackage, result: IdentifyResult
) -> None:
    labels, count = ndimage.label(result.mask, np.ones((3, 3, 3)))
    tops = ndimage.maximum(result.probability.full().astype(float), labels, range(1, count + 1))
    low, high = np.unique(tops)[[0, -1]]
    core = float(low + high) / 2
    assert (abs(tops - core) > 1e-3).all()  # else rounding to 16 bits would tell
    cored = replace(package, info=replace(package.info, core_threshold=core))
    found = identify(plain, cored, **SETTINGS)
    assert 0 < (tops >= core).sum() < count
    kept = np.flatnonzero(tops >= core) + 1
    np.testing.assert_array_equal(found.mask, np.isin(labels, kept) * result.mask)


def test_a_contrast_scan_is_refused_unless_it_is_wanted(
    make_chest: Callable[..., Any], package: ModelPackage
) -> None:
    volume = make_chest(blood_hu=350.0, shape=(60, 120, 144), spacing_mm=(2.6, 2.6, 3.0)).volume
    told = []
    with pytest.raises(
        WrongPhase, match=r"looks like a contrast scan: the pulmonary trunk measures 3\d\d HU"
    ) as raised:
        identify(volume, package, checked=told.append, **SETTINGS)
    assert str(raised.value).endswith("reads scans without contrast agent.")  # how to go on, each door says
    assert "\n" not in str(raised.value)
    assert told[0].level == "error"
    assert identify(volume, package, any_phase=True, **SETTINGS).check.has("enhanced")


def test_the_other_pathway_refuses_the_other_scan(plain: Volume, package: ModelPackage) -> None:
    seen = package.info.network["volume"] | {"phase": "contrast"}
    info = replace(package.info, network=package.info.network | {"volume": seen})
    contrast = replace(package, info=info)
    with pytest.raises(InputError, match=r"no contrast agent .* reads scans with contrast agent"):
        identify(plain, contrast, **SETTINGS)


def test_a_scan_without_contrast_is_no_surprise_to_segment(plain: Volume, tiny_package: ModelPackage) -> None:
    with pytest.raises(InputError, match="There is no contrast agent in the pulmonary trunk"):
        segment(plain, tiny_package, strict=True, threads=1)


def test_a_model_of_another_kind_is_refused_in_one_line(
    plain: Volume, package: ModelPackage, tiny_package: ModelPackage
) -> None:
    with pytest.raises(ConfigError, match="marks emboli and cannot identify a scan: use it with `segment`"):
        identify(plain, tiny_package)
    with pytest.raises(ConfigError, match="tiny-identifier"):
        segment(plain, package)


def test_it_refuses_what_is_no_number(
    plain: Volume, package: ModelPackage, monkeypatch: pytest.MonkeyPatch
) -> None:
    true = identify_room.open_engine

    def broken(*arguments: Any, **settings: Any) -> Any:
        engine = true(*arguments, **settings)
        run = engine.run
        engine.run = lambda *a: ((voxels * np.nan, *rest) for voxels, *rest in run(*a))
        return engine

    monkeypatch.setattr(identify_room, "open_engine", broken)
    with pytest.raises(DeviceError, match="no number"):
        identify(plain, package, **SETTINGS)


def test_it_stops_when_asked(plain: Volume, package: ModelPackage) -> None:
    seen = []
    with pytest.raises(Cancelled):
        identify(
            plain,
            package,
            progress=seen.append,
            cancelled=lambda: any(step.stage == "windows" and step.done for step in seen),
            **SETTINGS,
        )
    assert [step.stage for step in seen][:3] == ["check", "load", "windows"]
