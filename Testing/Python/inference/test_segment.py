"""The walk from volume to Result: with a pointwise fake engine where exactness counts."""

import json
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import numpy as np
import pytest

from PESemiSegLib.errors import Cancelled, ConfigError, DeviceError, InputError
from PESemiSegLib.inference import segment as walk
from PESemiSegLib.inference.engines.base import EngineInfo
from PESemiSegLib.inference.provenance import fingerprint
from PESemiSegLib.inference.result import Box
from PESemiSegLib.inference.segment import segment
from PESemiSegLib.inference.settings import Settings
from PESemiSegLib.volumes.preprocess import window
from PESemiSegLib.volumes.volume import from_array


class Pointwise:
    """Marks what is as bright as contrast-filled blood; confidence is the windowed value itself."""

    info = EngineInfo("fake", "cpu", "none", "fp32", "0")

    def __init__(self, delay_s=0.0):
        self.delay_s, self.closed, self.ran = delay_s, False, 0

    def run(self, inputs, poll):
        for item in inputs:
            poll()
            time.sleep(self.delay_s)
            self.ran += 1
            plane = item[len(item) // 2]
            yield (plane > 0.99).astype(np.float32), plane / 2 + 0.5

    def close(self):
        self.closed = True


@pytest.fixture
def fake(monkeypatch):
    engine = Pointwise()
    monkeypatch.setattr(walk, "open_engine", lambda *a, **k: engine)
    return engine


def test_the_result_lies_on_the_working_grid(chest, tiny_package, fake):
    result = segment(chest.volume, tiny_package)
    bright = chest.trunk | chest.vessels
    assert result.mask.shape == chest.hu.shape
    assert result.mask.dtype == np.uint8
    np.testing.assert_array_equal(result.mask[bright], 1)
    assert result.mask.sum() < 1.05 * bright.sum()
    k, (_, y, x) = 40, result.box.slices
    seen = (window(chest.hu[k, y, x], tiny_package.info.hu_window) + 1) / 2
    np.testing.assert_allclose(result.confidence.slice(k)[y, x], seen, atol=1e-6)
    np.testing.assert_allclose(result.probability.slice(k)[y, x], seen > 0.995)
    assert result.confidence.box == result.box
    np.testing.assert_array_equal(result.output_mask(), result.mask)
    confidence = result.output_confidence()
    assert confidence.dtype == np.float32
    outside = np.ones(chest.hu.shape, bool)
    outside[result.box.slices] = False
    assert not confidence[outside].any()
    assert fake.closed


def test_a_model_that_gives_no_numbers_finds_nothing_out(chest, tiny_package, fake, monkeypatch):
    """Not a number is below every threshold: a damaged model would call every scan free of emboli."""
    sound = Pointwise().run
    monkeypatch.setattr(fake, "run", lambda *a: ((p * np.nan, c) for p, c in sound(*a)))
    with pytest.raises(DeviceError, match="no number"):
        segment(chest.volume, tiny_package)
    assert fake.closed


def test_slices_are_handed_out_as_they_finish(chest, tiny_package, fake):
    seen = []

    def slice_done(box, marked):
        assert len(seen) == fake.ran - 1  # at once, not at the end
        seen.append((box, marked.copy()))

    result = segment(chest.volume, tiny_package, min_lesion_mm3=0.0, slice_done=slice_done)
    mask = np.zeros_like(result.mask)
    for box, marked in seen:
        mask[box.slices] = marked
    np.testing.assert_array_equal(mask, result.mask)  # the lung filter has been at it already
    assert len(seen) == result.box.shape[0]


def test_box_and_whole_agree_inside_the_box(chest, tiny_package, fake):
    boxed = segment(chest.volume, tiny_package, lung_filter="none")
    whole = segment(chest.volume, tiny_package, lung_filter="none", whole=True)
    assert whole.box == Box.whole(chest.hu.shape)
    inside = boxed.box.slices
    np.testing.assert_array_equal(boxed.mask[inside], whole.mask[inside])
    np.testing.assert_array_equal(boxed.confidence.values, whole.confidence.values[inside])
    assert boxed.box.voxels < 0.7 * whole.box.voxels


def test_real_networks_agree_between_box_and_whole_up_to_the_border(chest, tiny_package):
    """The network sees zeros beyond its input, the discriminator standardises over it: near, not equal."""
    volume = from_array(chest.hu[30:34], np.diag([*chest.spacing_mm, 1.0]))
    boxed = segment(volume, tiny_package, precision="fp32", device="cpu")
    whole = segment(volume, tiny_package, precision="fp32", device="cpu", whole=True)
    difference = np.abs(boxed.probability.values.astype(float) - whole.probability.values[boxed.box.slices])
    assert np.quantile(difference, 0.9) < 0.05
    assert difference.max() > 0


def test_segmenting_twice_gives_the_same_bits(chest, tiny_package):
    volume = from_array(chest.hu[30:36], np.diag([*chest.spacing_mm, 1.0]))
    first, second = (segment(volume, tiny_package, device="cpu", threshold=0.52) for _ in range(2))
    np.testing.assert_array_equal(first.mask, second.mask)
    np.testing.assert_array_equal(first.confidence.values, second.confidence.values)
    assert first.findings == second.findings
    assert first.provenance["input"] == second.provenance["input"]


def test_openvino_and_torch_give_the_same_mask(chest, tiny_package):
    volume = from_array(chest.hu[30:34], np.diag([*chest.spacing_mm, 1.0]))
    plain = segment(volume, tiny_package, device="cpu", precision="fp32", engine="torch")
    cut = float(np.quantile(plain.probability.values, 0.98))
    a, b = (
        segment(volume, tiny_package, device="cpu", precision="fp32", engine=e, threshold=cut)
        for e in ("torch", "openvino")
    )
    assert a.mask.sum() > 100
    assert (a.mask != b.mask).mean() < 1e-5
    np.testing.assert_allclose(a.confidence.values, b.confidence.values, atol=2e-5)


def test_without_the_discriminator_the_marks_are_the_same_and_no_map_is_held(chest, tiny_package):
    volume = from_array(chest.hu[30:34], np.diag([*chest.spacing_mm, 1.0]))
    judged, plain = (segment(volume, tiny_package, threshold=0.5, judge=judge) for judge in (True, False))
    np.testing.assert_array_equal(plain.mask, judged.mask)
    assert np.isfinite(judged.confidence.values).all()
    assert np.isnan(plain.confidence.values).all()
    assert plain.confidence.values.strides == (0, 0, 0)


def test_progress_counts_the_slices_and_estimates_the_rest(chest, tiny_package, fake):
    fake.delay_s = 0.003
    told = []
    result = segment(chest.volume, tiny_package, progress=told.append)
    assert told[0].stage == "check"
    assert {p.stage for p in told} == {"check", "load", "slices", "findings"}
    counted = [p for p in told if p.stage == "slices"]
    assert [p.done for p in counted] == sorted(p.done for p in counted)
    assert counted[0].seconds_left is None
    assert counted[-1].done == counted[-1].total == result.box.shape[0]
    assert counted[-1].seconds_left == 0
    assert counted[-1].fraction == 1


def test_cancel_stops_soon_and_releases_the_engine(chest, tiny_package, fake):
    fake.delay_s = 0.05
    began = time.monotonic()
    with pytest.raises(Cancelled):
        segment(chest.volume, tiny_package, cancelled=lambda: fake.ran >= 2)
    assert fake.ran <= 4
    assert fake.closed
    assert time.monotonic() - began < 10


def test_cancel_is_heard_while_the_model_loads(chest, tiny_package, monkeypatch):
    opening = []

    def slow(*args, **kwargs):
        opening.append(time.monotonic())
        time.sleep(3)
        return Pointwise()

    monkeypatch.setattr(walk, "open_engine", slow)
    with pytest.raises(Cancelled):
        segment(chest.volume, tiny_package, cancelled=lambda: bool(opening))
    assert time.monotonic() - opening[0] < 2


def test_an_engine_that_fails_is_closed(chest, tiny_package, fake):
    def fails(inputs, poll):
        raise DeviceError("memory ran out")
        yield

    fake.run = fails
    with pytest.raises(DeviceError):
        segment(chest.volume, tiny_package)
    assert fake.closed


def test_without_lungs_everything_is_computed_and_said(tiny_package, fake):
    hu = np.full((4, 48, 48), 40, np.int16)
    volume = from_array(hu, np.diag([2.0, 2.0, 2.0, 1.0]))
    result = segment(volume, tiny_package)
    assert result.box == Box.whole(hu.shape)
    assert result.check.has("no_lungs")
    with pytest.raises(InputError, match="input check failed"):
        segment(volume, tiny_package, strict=True)


def test_strict_refuses_before_anything_is_computed(make_chest, tiny_package, fake):
    with pytest.raises(InputError, match="contrast"):
        segment(make_chest(blood_hu=40.0).volume, tiny_package, strict=True)
    assert fake.ran == 0


@pytest.mark.parametrize("mode", ["hull", "paper", "none"])
def test_the_lung_filter_is_applied(chest, tiny_package, fake, mode):
    result = segment(chest.volume, tiny_package, lung_filter=mode)
    assert (
        result.mask[chest.trunk].mean() > 0.99 if mode != "paper" else result.mask[chest.trunk].mean() < 0.5
    )


def test_findings_add_up_to_the_mask(chest, tiny_package, fake):
    result = segment(chest.volume, tiny_package, min_lesion_mm3=200)
    voxel = chest.volume.grid.voxel_volume_mm3
    assert result.total_volume_mm3 == pytest.approx(result.mask.sum() * voxel)
    assert all(f.volume_mm3 >= 200 for f in result.findings)
    volumes = [f.volume_mm3 for f in result.findings]
    assert volumes == sorted(volumes, reverse=True)
    for finding in result.findings:
        assert result.finding_mask(finding).sum() * voxel == pytest.approx(finding.volume_mm3)


class Shades(Pointwise):
    """Probability by the brightness of the blood: trunk and vessels differ."""

    def run(self, inputs, poll):
        for item in inputs:
            plane = (item[len(item) // 2] + 1) / 2
            yield plane.astype(np.float32), plane


def test_a_core_drops_marks_whole_and_the_default_is_none(chest, tiny_package, monkeypatch):
    monkeypatch.setattr(walk, "open_engine", lambda *a, **k: Shades())
    slices = []

    def run(**settings):
        slices.clear()
        return segment(
            chest.volume,
            tiny_package,
            threshold=0.9,
            slice_done=lambda _, m: slices.append(m.max()),
            **settings,
        )

    before, same = run(), run(core_threshold=0.9)
    np.testing.assert_array_equal(before.mask, same.mask)
    assert before.findings == same.findings
    assert before.provenance["settings"]["core_threshold"] == 0.9
    least = before.findings[0].volume_mm3 * 0.5
    cored = run(core_threshold=0.999, min_lesion_mm3=least)
    assert max(slices) == 1  # what is shown meanwhile is a mask
    assert set(np.unique(cored.mask)) == {0, 1}
    assert cored.provenance["settings"]["core_threshold"] == 0.999
    cores = [
        (before.probability.crop(f.box)[before.finding_mask(f)] >= 0.999).sum()
        * chest.volume.grid.voxel_volume_mm3
        for f in before.findings
    ]
    kept = [f.volume_mm3 for f, core in zip(before.findings, cores, strict=True) if core >= least]
    assert [f.volume_mm3 for f in cored.findings] == kept
    assert 0 < len(kept) < len(before.findings)


def test_whose_core_counts(tiny_package):
    """The caller's before the package's, which belongs to the package's own threshold."""
    package = replace(tiny_package, info=replace(tiny_package.info, threshold=0.5, core_threshold=0.9))
    assert Settings().resolved(package).cuts == (0.5, 0.9)
    assert Settings(threshold=0.3).resolved(package).cuts == (0.3, 0.3)
    assert Settings(threshold=0.3, core_threshold=0.8).resolved(package).cuts == (0.3, 0.8)
    assert Settings(core_threshold=0.95).resolved(package).cuts == (0.5, 0.95)
    assert Settings(core_threshold=0.5).resolved(package).cuts == (0.5, 0.5)
    assert not Settings(core_threshold=0.5).resolved(package).has_core
    assert Settings().resolved(tiny_package).cuts == (0.5, 0.5)


def test_other_spacing_is_resampled_and_brought_back(chest, tiny_package, fake):
    """The package wants 2 mm: in the same chest at 1 mm the trunk is marked in the same place."""
    part = slice(40, 52)
    fine = np.repeat(np.repeat(chest.hu[part], 2, axis=1), 2, axis=2)
    result = segment(from_array(fine, np.diag([1.0, 1.0, 3.0, 1.0])), tiny_package, lung_filter="none")
    assert result.provenance["input"]["spacing_mm_xyz"] == [1, 1, 3]
    trunk = chest.trunk[part]
    marked = result.mask[:, ::2, ::2] * trunk.any(0)  # leaves out the vessels, thinner than the filter
    assert 2 * marked[trunk].sum() / (marked.sum() + trunk.sum()) > 0.8
    np.testing.assert_allclose(np.argwhere(marked).mean(0), np.argwhere(trunk).mean(0), atol=0.7)


def test_context_slices_reach_the_engine(chest, context_package, monkeypatch):
    shapes = []

    class Spy(Pointwise):
        def run(self, inputs, poll):
            for item in inputs:
                shapes.append(item.shape)
                yield item[1] * 0, item[1] * 0

    monkeypatch.setattr(walk, "open_engine", lambda *a, **k: Spy())
    segment(chest.volume, context_package)
    assert {s[0] for s in shapes} == {3}
    assert all(n % 16 == 0 for s in shapes for n in s[1:])


@pytest.mark.parametrize(
    "setting",
    [
        {"threshold": 0.0},
        {"threshold": 1.5},
        {"threshold": 0.7, "core_threshold": 0.6},
        {"core_threshold": 0.3},
        {"core_threshold": 1.5},
        {"min_lesion_mm3": -1},
        {"batch": 0},
        {"threads": 0},
        {"lung_filter": "x"},
    ],
)
def test_settings_out_of_range_are_refused(chest, tiny_package, fake, setting):
    with pytest.raises(ConfigError):
        segment(chest.volume, tiny_package, **setting)
    assert fake.ran == 0


def test_provenance_tells_how_and_not_who(chest, tiny_package, fake):
    volume = from_array(
        chest.hu, chest.volume.affine, source_name="DOE_JANE.nii.gz", description="Jane Doe 1970"
    )
    result = segment(volume, tiny_package, threshold=0.6)
    text = json.dumps(result.provenance)
    for private in ("DOE", "Jane", "1970"):
        assert private not in text
    record = result.provenance
    assert record["model"]["sha256"] == tiny_package.sha256
    assert record["settings"]["threshold"] == 0.6
    assert record["settings"]["lung_filter"] == "hull"
    assert record["engine"]["precision"] == "fp32"
    assert record["input"]["sha256"] == fingerprint(volume)
    assert set(record["seconds"]) == {"check", "load", "slices", "findings", "total"}


def test_fingerprint_tells_volumes_and_geometries_apart(chest):
    a = fingerprint(chest.volume)
    assert a == fingerprint(from_array(chest.hu.copy(), chest.volume.affine))
    moved = [chest.volume.affine.copy() for _ in range(2)]
    moved[0][0, 3], moved[1][0, 3] = -1e-9, 0.0  # rounds to -0.0, whose bytes are others than those of 0.0
    assert len({fingerprint(from_array(chest.hu, affine)) for affine in moved}) == 1
    changed = chest.hu.copy()
    changed[0, 0, 0] += 1
    assert a != fingerprint(from_array(changed, chest.volume.affine))
    assert a != fingerprint(from_array(chest.hu, np.diag([2.0, 2.0, 3.1, 1.0])))


def test_memory_stays_near_what_the_box_needs(chest, tiny_package, fake):
    """By proportion: a few bytes a voxel above the volume itself, none of them float copies of it."""
    import tracemalloc

    volume = chest.volume
    segment(volume, tiny_package)  # imports and caches
    tracemalloc.start()
    try:
        result = segment(volume, tiny_package)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    # mask: 1 byte a voxel; probability 2, confidence 4, labels 2 a voxel of the box; masks of the coarse grid
    allowed = volume.hu.size * 1 + result.box.voxels * 8 + 60 * volume.hu.size / 4
    assert peak < allowed


def test_two_volumes_at_once(chest, tiny_package):
    """Slicer may run two jobs in one process: no state is shared."""
    volume = from_array(chest.hu[30:33], np.diag([*chest.spacing_mm, 1.0]))
    alone = segment(volume, tiny_package, device="cpu", threads=1)
    with ThreadPoolExecutor(2) as pool:
        jobs = [pool.submit(segment, volume, tiny_package, device="cpu", threads=1) for _ in range(2)]
    for job in jobs:
        np.testing.assert_array_equal(job.result().confidence.values, alone.confidence.values)
