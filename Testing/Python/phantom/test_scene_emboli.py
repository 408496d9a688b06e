"""Clots: the shape of each kind on a straight artery, the exact truth, consequences, PE-free patients."""

from dataclasses import replace

import numpy as np
import pytest
from scipy import ndimage

from PESemiSegLib.phantom.anatomy import Anatomy, build_anatomy, organ_generator
from PESemiSegLib.phantom.bolus import artery_hu
from PESemiSegLib.phantom.emboli import Clot, burden_index, distal_loss, place_emboli
from PESemiSegLib.phantom.heart import build_heart
from PESemiSegLib.phantom.parameters import EMBOLUS_KINDS, Embolus, PatientParameters, draw_parameters
from PESemiSegLib.phantom.scene import Scene, render
from PESemiSegLib.phantom.trees import Tree
from PESemiSegLib.volumes.grid import Grid

RADIUS = 5.0


def embolus(kind: str, level: str = "segmental", **changes: float) -> Embolus:
    drawn = Embolus(
        kind, level, 35.0, 24.0, 0.7, {"occlusive": 1.15, "chronic": 0.8}.get(kind, 1.0), 0.3, 62.0
    )
    return replace(drawn, **changes)


def tube(kind: str, ratio: float = 0.7) -> Clot:
    """A clot in a straight artery along z, radius 5 mm, of one segment."""
    n = 31
    points = np.column_stack([np.zeros(n), np.zeros(n), 4.0 * np.arange(n)])
    tree = Tree(points, np.arange(n) - 1, np.zeros(n, int), np.full(n, RADIUS), np.full(n, 3))
    (clot,) = place_emboli(tree, (embolus(kind, ratio=ratio),), np.random.default_rng(3))
    return clot


def section(clot: Clot) -> tuple[np.ndarray, np.ndarray, float]:
    """Clot or not on a fine cross-section through its middle: mask, (n, n, 2) offsets, lumen radius."""
    middle = clot.line[len(clot.line) // 2]
    line = np.arange(-8, 8.01, 0.1)
    x, y = np.meshgrid(line, line, indexing="ij")
    points = np.column_stack([x.ravel(), y.ravel(), np.zeros(x.size)]) + middle
    radius = float(clot.lumen[len(clot.line) // 2])
    return clot.sdf(points).reshape(x.shape) < 0, np.stack([x, y], -1), radius


@pytest.mark.parametrize("kind", [k for k in EMBOLUS_KINDS if k != "saddle"])
def test_every_clot_stays_in_its_lumen(kind: str) -> None:
    mask, offset, radius = section(tube(kind))
    assert mask.any()
    assert np.linalg.norm(offset[mask], axis=1).max() <= radius + 0.01


def test_polo_mint_is_ringed_by_contrast() -> None:
    mask, offset, radius = section(tube("polo", ratio=0.6))
    away = np.linalg.norm(offset, axis=-1)
    assert mask[away < 0.4 * radius].all()
    assert not mask[(away > 0.8 * radius) & (away < radius)].any()
    assert mask.sum() * 0.01 == pytest.approx(np.pi * (0.6 * radius) ** 2, rel=0.05)


def test_railway_track_runs_along_the_vessel() -> None:
    """In the long section the clot is a band with contrast on both sides, and its ends are closed."""
    clot = tube("polo")
    z = clot.line[:, 2]
    on_axis = (
        clot.sdf(np.column_stack([np.zeros(200), np.zeros(200), np.linspace(z[0] - 6, z[-1] + 6, 200)])) < 0
    )
    assert np.abs(np.diff(on_axis.astype(int))).sum() == 2
    assert on_axis.mean() > 0.5


def test_mural_clot_touches_one_wall_only_at_acute_angles() -> None:
    clot = tube("mural", ratio=0.6)
    mask, offset, radius = section(clot)
    away = np.linalg.norm(offset, axis=-1)
    rim = mask[(away > 0.95 * radius) & (away < 0.99 * radius)]
    assert 0.05 < rim.mean() < 0.6
    lean = offset @ clot.side[:2]
    assert lean[mask].mean() > 0.2 * radius
    # Acute: the clot's free surface bulges into the lumen, so the clot is wider inside than at the wall.
    along_wall = np.abs(offset @ np.array([-clot.side[1], clot.side[0]]))
    assert along_wall[mask].max() > 0.9 * 0.6 * radius


def test_occlusive_clot_fills_a_distended_vessel() -> None:
    mask, offset, radius = section(tube("occlusive"))
    assert radius == pytest.approx(1.15 * RADIUS, rel=0.01)
    assert mask[np.linalg.norm(offset, axis=-1) < 0.98 * radius].all()


def test_chronic_band_narrows_the_vessel_and_lines_the_wall() -> None:
    mask, offset, radius = section(tube("chronic", ratio=0.6))
    assert radius == pytest.approx(0.8 * RADIUS, rel=0.01)
    away = np.linalg.norm(offset, axis=-1)
    assert not mask[away < 0.2 * radius].any()
    assert 0.2 < mask[(away > 0.93 * radius) & (away < 0.99 * radius)].mean() < 0.95


def test_web_crosses_the_lumen() -> None:
    mask, offset, radius = section(tube("chronic", ratio=0.8))
    assert mask[np.linalg.norm(offset, axis=-1) < 0.1 * radius].any()


def test_contrast_is_lost_behind_an_occlusion() -> None:
    n = 31
    points = np.column_stack([np.zeros(n), np.zeros(n), 4.0 * np.arange(n)])
    tree = Tree(points, np.arange(n) - 1, np.zeros(n, int), np.full(n, RADIUS), np.full(n, 3))
    clots = place_emboli(tree, (embolus("occlusive"),), np.random.default_rng(3))
    patient = draw_parameters(np.random.default_rng(0), pe=False)
    level = artery_hu(patient, tree, distal_loss(tree, clots))
    last = clots[0].nodes[-1]
    assert level[last + 1] < 0.75 * level[clots[0].nodes[0] - 1]
    assert (artery_hu(patient.without_contrast(), tree, distal_loss(tree, clots)) == 41.0).all()
    assert burden_index(clots) == pytest.approx(1 / 18)


@pytest.fixture(scope="module")
def crowd() -> PatientParameters:
    """A patient with every kind of embolus, in scans of 2.4 mm about the hila."""
    drawn = draw_parameters(np.random.default_rng(5), pe=True)
    emboli = (
        embolus("saddle", "central", length_mm=40.0),
        embolus("polo", "lobar"),
        embolus("mural", "central", length_mm=20.0),
        embolus("occlusive", "segmental"),
        embolus("chronic", "lobar", hu=100.0),
        embolus("occlusive", "subsegmental", length_mm=8.0),
    )
    calm = replace(drawn.mimics, flow_artefacts=2, mucus_plugs=2, effusion_mm=0.0)
    return replace(drawn, emboli=emboli, mimics=calm)


def box(step: float) -> Grid:
    affine = np.diag([step, step, step, 1.0])
    affine[:3, 3] = (-126, -90, -126)
    return Grid((int(192 / step), int(180 / step), int(252 / step)), affine)


@pytest.fixture(scope="module")
def anatomy(crowd: PatientParameters) -> Anatomy:
    return build_anatomy(crowd)


@pytest.fixture(scope="module")
def scene(anatomy: Anatomy) -> Scene:
    return render(anatomy, box(1.5))


@pytest.fixture(scope="module")
def coarse(anatomy: Anatomy) -> Scene:
    return render(anatomy, box(3.0))


def test_every_kind_is_drawn_where_the_artery_is(scene: Scene) -> None:
    assert {lesion["kind"] for lesion in scene.facts["lesions"]} == set(EMBOLUS_KINDS)
    assert (scene.clot <= scene.artery).all()
    assert np.array_equal(scene.clot > 0, scene.lesions > 0)
    assert np.array_equal(scene.clot > 0, scene.clot_sdf_mm < 0)
    ids = {lesion["id"] for lesion in scene.facts["lesions"]}
    assert set(np.unique(scene.lesions)) - {0} <= ids


def test_saddle_reaches_into_both_lungs_arteries(scene: Scene) -> None:
    (saddle,) = (lesion for lesion in scene.facts["lesions"] if lesion["kind"] == "saddle")
    i = np.nonzero(scene.lesions == saddle["id"])[2]
    x = scene.grid.affine[0, 3] + scene.grid.affine[0, 0] * i
    assert x.min() < 8
    assert x.max() > 24


def test_clots_are_darker_than_blood_and_have_their_own_hu(scene: Scene, crowd: PatientParameters) -> None:
    for lesion in scene.facts["lesions"]:
        deep = scene.clot_sdf_mm < -1.6
        core = scene.hu[(scene.lesions == lesion["id"]) & deep]
        if len(core) > 20:
            assert np.median(core) == pytest.approx(lesion["hu"], abs=12)
    free = ndimage.binary_erosion(scene.artery > 0, iterations=2) & (scene.clot_sdf_mm > 4)
    assert np.median(scene.hu[free]) == pytest.approx(crowd.bolus.pa_hu, abs=45)


def test_volume_does_not_depend_on_the_grid(scene: Scene, coarse: Scene) -> None:
    assert len(coarse.facts["lesions"]) == len(scene.facts["lesions"])
    for fine, rough in zip(scene.facts["lesions"], coarse.facts["lesions"], strict=True):
        assert fine["kind"] == rough["kind"]
        if fine["volume_mm3"] > 1500:
            assert rough["volume_mm3"] == pytest.approx(fine["volume_mm3"], rel=0.15)


def test_plain_scan_shows_the_same_clots_in_plain_blood(crowd: PatientParameters, coarse: Scene) -> None:
    plain = render(build_anatomy(crowd.without_contrast()), box(3.0))
    assert np.array_equal(plain.clot, coarse.clot)
    assert np.array_equal(plain.artery, coarse.artery)
    assert plain.hu[plain.artery > 0].max() < 110
    assert np.median(plain.hu[plain.clot_sdf_mm < -2]) == pytest.approx(62, abs=4)


def test_a_patient_without_emboli_has_no_clot(crowd: PatientParameters) -> None:
    free = render(build_anatomy(replace(crowd, emboli=())), box(3.0))
    assert not free.clot.any()
    assert not free.lesions.any()
    assert (free.clot_sdf_mm > 0).all()
    assert free.facts["lesions"] == []
    assert free.facts["burden_index"] == 0


def test_drawn_emboli_are_those_of_the_literature() -> None:
    drawn = [draw_parameters(np.random.default_rng(seed), pe=True) for seed in range(400)]
    counts = [len(p.emboli) for p in drawn]
    assert min(counts) >= 1
    assert max(counts) <= 12
    emboli = [e for p in drawn for e in p.emboli]
    assert {e.kind for e in emboli} == set(EMBOLUS_KINDS)
    peripheral = np.mean([e.level in ("segmental", "subsegmental") for e in emboli])
    assert peripheral == pytest.approx(2 / 3, abs=0.06)  # FUMPE: 67 %
    acute = [e.hu for e in emboli if e.kind != "chronic"]
    assert np.mean(acute) == pytest.approx(33, abs=2)  # Wittram 2005
    assert np.std(acute) == pytest.approx(15, abs=2.5)
    assert all(54 <= e.hu <= 155 for e in emboli if e.kind == "chronic")
    assert all(1.1 <= e.wall_scale <= 1.2 for e in emboli if e.kind == "occlusive")
    assert not draw_parameters(np.random.default_rng(1), pe=False).emboli
    free = np.mean([not draw_parameters(np.random.default_rng(s)).emboli for s in range(300)])
    assert 0.3 <= free <= 0.4


def test_large_burden_strains_the_right_ventricle(crowd: PatientParameters) -> None:
    calm, strained = (build_heart(crowd, organ_generator(crowd, "heart"), s).rv_lv_ratio for s in (0.0, 1.0))
    assert calm < 1.0 < strained
