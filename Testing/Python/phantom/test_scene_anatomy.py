"""Made-up chests against the literature: HU, vessel diameters, branching angles, Murray exponent."""

from dataclasses import replace

import numpy as np
import pytest
from scipy import ndimage

from PESemiSegLib.errors import InputError
from PESemiSegLib.phantom.anatomy import Anatomy, build_anatomy
from PESemiSegLib.phantom.hilum import CENTRAL
from PESemiSegLib.phantom.lungs import LOBES, SEGMENTS
from PESemiSegLib.phantom.parameters import PatientParameters, draw_parameters
from PESemiSegLib.phantom.scene import Scene, build_scene, render
from PESemiSegLib.phantom.trees import Tree
from PESemiSegLib.phantom.vessels import segment_roots
from PESemiSegLib.volumes.grid import Grid


def patient(seed: int, pe: bool = False, contrast: bool = True) -> PatientParameters:
    drawn = draw_parameters(np.random.default_rng(seed), pe=pe, contrast=contrast)
    calm = replace(drawn.mimics, effusion_mm=0.0, consolidations=0, flow_artefacts=0)
    return replace(drawn, mimics=calm)


def grid(low: tuple[float, float, float], high: tuple[float, float, float], step: float) -> Grid:
    counts = [round((h - lo) / step) for lo, h in zip(low, high, strict=True)]
    affine = np.diag([step, step, step, 1.0])
    affine[:3, 3] = low
    return Grid((counts[2], counts[1], counts[0]), affine)


WHOLE = grid((-175, -140, -180), (175, 160, 115), 3.0)


@pytest.fixture(scope="module")
def anatomies() -> list[Anatomy]:
    return [build_anatomy(patient(seed)) for seed in (0, 1, 2)]


@pytest.fixture(scope="module")
def scene(anatomies: list[Anatomy]) -> Scene:
    return render(anatomies[0], WHOLE)


def hu_at(scene: Scene, place: np.ndarray, radius: int = 1) -> float:
    i, j, k = (round(v) for v in scene.grid.to_ijk(place))
    cube = tuple(slice(v - radius, v + radius + 1) for v in (k, j, i))
    return float(np.median(scene.hu[cube]))


def children_of(tree: Tree) -> list[list[int]]:
    children: list[list[int]] = [[] for _ in range(len(tree))]
    for child, parent in enumerate(tree.parents):
        if parent >= 0:
            children[parent].append(child)
    return children


def forks(tree: Tree) -> list[tuple[int, list[int]]]:
    """Forks inside the segments, with their two branches."""
    inside = (tree.tags != CENTRAL) & (tree.parents >= 0)
    return [(node, below) for node, below in enumerate(children_of(tree)) if len(below) == 2 and inside[node]]


def branching_angles(tree: Tree, steps: int = 2) -> np.ndarray:
    """Angles (degrees) between what arrives at a fork and each branch, over about 8 mm of unforked vessel."""
    children, angles = children_of(tree), []
    for node, below in forks(tree):
        back = tree.parents[node]
        while len(children[back]) == 1 and tree.parents[back] >= 0:
            back = tree.parents[back]
            if np.linalg.norm(tree.points[node] - tree.points[back]) > 4.0 * steps:
                break
        arriving = tree.points[node] - tree.points[back]
        for child in below:
            on = child
            for _ in range(steps):
                on = children[on][0] if len(children[on]) == 1 else on
            leaving = tree.points[on] - tree.points[node]
            cosine = arriving @ leaving / np.linalg.norm(arriving) / np.linalg.norm(leaving)
            angles.append(np.degrees(np.arccos(np.clip(cosine, -1, 1))))
    return np.array(angles)


def test_angles_are_those_of_human_arteries(anatomies: list[Anatomy]) -> None:
    """Dong 2020: 28.2 +- 15.1 degrees."""
    angles = np.concatenate([branching_angles(a.vessels.arteries) for a in anatomies])
    assert angles.mean() == pytest.approx(28.2, abs=3.0)
    assert angles.std() == pytest.approx(15.1, abs=3.0)


def test_facts_tell_the_angles(scene: Scene, anatomies: list[Anatomy]) -> None:
    told = scene.facts["branching_angle_deg"]
    measured = branching_angles(anatomies[0].vessels.arteries)
    assert told["mean"] == pytest.approx(measured.mean(), abs=2.0)
    assert told["sd"] == pytest.approx(measured.std(), abs=2.0)


def test_radii_obey_murray_with_the_drawn_exponent(anatomies: list[Anatomy]) -> None:
    """Dong 2020: 2.92 +- 1.07; the exponent is solved from each fork's three radii."""
    for anatomy in anatomies:
        tree, solved = anatomy.vessels.arteries, []
        for node, below in forks(tree):
            parent, a, b = tree.radii[node], *tree.radii[below]
            if min(a, b) < 0.65 or parent <= max(a, b):
                continue
            exponents = np.linspace(1.0, 8.0, 701)
            solved.append(
                exponents[np.argmin(np.abs((a / parent) ** exponents + (b / parent) ** exponents - 1))]
            )
        assert np.median(solved) == pytest.approx(anatomy.patient.murray_exponent, abs=0.1)
        assert abs(np.median(solved) - 2.92) < 1.07


def test_segmental_and_subsegmental_diameters(anatomies: list[Anatomy]) -> None:
    for anatomy in anatomies:
        tree = anatomy.vessels.arteries
        roots = segment_roots(tree)
        assert len(roots) == len(SEGMENTS)
        assert 4.0 < np.median(2 * tree.radii[roots]) < 7.0
        subsegmental = 2 * tree.radii[tree.orders == 4]
        assert 2.0 < np.median(subsegmental) < 4.0
        assert tree.radii.min() >= 0.6 * 0.7  # chronic clots may narrow


@pytest.mark.parametrize(
    ("place", "wanted"),
    [
        ((20, -30, -21), "mpa_diameter_mm"),
        ((-12, 0, -20), "rpa_diameter_mm"),
        ((36, 7, -3), "lpa_diameter_mm"),
    ],
)
def test_central_diameters_measured_on_the_mask(
    anatomies: list[Anatomy], place: tuple[float, float, float], wanted: str
) -> None:
    """The largest ball inside the drawn lumen, near the place, is as wide as the patient's artery."""
    anatomy = anatomies[1]
    middle = np.array(place) * anatomy.patient.size
    drawn = render(anatomy, grid(tuple(middle - 22), tuple(middle + 22), 1.0))
    depth = ndimage.distance_transform_edt(drawn.artery)
    measured = 2 * depth[15:29, 15:29, 15:29].max()
    assert measured == pytest.approx(drawn.facts[wanted], abs=2.6)


def test_drawn_central_diameters_follow_the_literature() -> None:
    drawn = [draw_parameters(np.random.default_rng(seed)) for seed in range(300)]
    mpa = np.array([p.mpa_diameter_mm for p in drawn])
    assert mpa.mean() == pytest.approx(27.0, abs=1.0)
    assert 1.5 < mpa.std() < 3.5
    assert np.mean([p.rpa_diameter_mm for p in drawn]) == pytest.approx(22.0, abs=1.5)
    suboptimal = np.mean([p.bolus.pa_hu < 200 for p in drawn])
    assert 0.03 < suboptimal < 0.14
    assert all(130 <= p.bolus.pa_hu <= 500 for p in drawn)


def test_tissues_have_their_hu(anatomies: list[Anatomy], scene: Scene) -> None:
    anatomy, hu = anatomies[0], scene.hu
    bolus, size = anatomy.patient.bolus, np.array(anatomy.patient.size)
    assert hu_at(scene, np.array([20, -30, -21]) * size) == pytest.approx(bolus.pa_hu, abs=20)
    assert hu_at(scene, np.array([26, 42, -60]) * size) == pytest.approx(
        bolus.pa_hu + bolus.vein_lag_hu + bolus.aorta_lag_hu, abs=25
    )
    assert hu_at(scene, np.array([0, 18, 60]) * size) < -950  # trachea
    assert 80 <= hu_at(scene, np.array([-70, 20, -160]) * size) <= 110  # liver
    z, y, x = np.meshgrid(*(np.arange(n) for n in hu.shape), indexing="ij")
    places = scene.grid.to_lps(np.stack([x, y, z], -1).reshape(-1, 3))
    depth = anatomy.chest.lung.at(places)
    lung = hu.reshape(-1)[depth < -8]
    assert np.median(lung) == pytest.approx(-850, abs=60)
    y_lung = places[depth < -8, 1]
    front, back = np.median(lung[y_lung < -30]), np.median(lung[y_lung > 60])
    assert 20 < back - front < 120  # blood sinks
    wall = hu.reshape(-1)[(anatomy.chest.body.at(places) < -4) & (anatomy.chest.cavity.at(places) > 4)]
    fat, muscle = wall[(wall < -60) & (wall > -140)], wall[(wall > 30) & (wall < 80)]
    assert len(fat) > 2000
    assert len(muscle) > 2000
    assert np.median(fat) == pytest.approx(-100, abs=8)
    assert np.median(muscle) == pytest.approx(55, abs=8)
    assert (wall > 450).sum() > 500  # cortical bone
    assert np.median(hu.reshape(-1)[anatomy.chest.body.at(places) > 40]) == pytest.approx(-1000, abs=1)


def test_the_lungs_look_like_lungs(anatomies: list[Anatomy]) -> None:
    for anatomy in anatomies:
        lung = anatomy.chest.lung
        inside = lung.values < 0
        litres = inside.sum() * np.prod(lung.step) / 1e6
        assert 3.0 < litres < 7.5
        pieces, count = ndimage.label(inside)
        sizes = np.sort(np.bincount(pieces.ravel())[1:])
        assert count == 1 or sizes[-2] > 0.6 * sizes[-1]
        k, j, i = np.nonzero(inside)
        lobes = anatomy.chest.lobes_of(np.stack([i, j, k], 1) * lung.step + lung.origin)
        shares = np.bincount(lobes, minlength=len(LOBES)) / len(lobes)
        assert (shares > 0.06).all()
        assert shares[:3].sum() == pytest.approx(0.53, abs=0.05)  # the heart takes from the left


def test_peripheral_vessels_stay_in_the_lung(anatomies: list[Anatomy]) -> None:
    for anatomy in anatomies:
        for tree in (anatomy.vessels.arteries, anatomy.vessels.veins):
            far = tree.points[np.abs(tree.points[:, 0]) > 65 * anatomy.patient.size[0]]
            assert (anatomy.chest.lung.at(far) > 1.0).mean() < 0.01


def test_the_artery_tree_is_one_connected_lumen(anatomies: list[Anatomy]) -> None:
    middle = np.array([-45.0, 10.0, -30.0])
    drawn = render(anatomies[1], grid(tuple(middle - 30), tuple(middle + 30), 0.8))
    pieces, _ = ndimage.label(drawn.artery, np.ones((3, 3, 3)))
    sizes = np.bincount(pieces.ravel())[1:]
    assert sizes.max() > 0.9 * sizes.sum()


def test_the_same_patient_gives_the_same_bits(scene: Scene) -> None:
    again = build_scene(patient(0), WHOLE)
    assert np.array_equal(again.hu, scene.hu)
    assert np.array_equal(again.artery, scene.artery)


def test_anatomy_does_not_depend_on_the_grid(anatomies: list[Anatomy]) -> None:
    """A coarse scan of a region has the mean HU of a fine one."""
    low, high = (-60.0, -60.0, -60.0), (60.0, 60.0, 0.0)
    fine, coarse = (render(anatomies[0], grid(low, high, step)) for step in (1.5, 3.0))
    blocks = fine.hu.reshape(20, 2, 40, 2, 40, 2).mean((1, 3, 5))
    away = ndimage.minimum_filter(np.abs(ndimage.laplace(blocks)) < 60, 3)
    difference = np.abs(blocks - coarse.hu)[away]
    assert away.sum() > 1500
    assert np.median(difference) < 12


def test_a_rotated_grid_is_refused() -> None:
    turned = np.array(WHOLE.affine)
    turned[:3, :3] = np.diag([3.0, -3.0, 3.0])
    with pytest.raises(InputError, match="axial LPS"):
        build_scene(patient(0), Grid(WHOLE.shape, turned))


def test_a_grid_beside_the_patient_is_air(anatomies: list[Anatomy]) -> None:
    drawn = render(anatomies[0], grid((300, -400, 0), (330, -370, 30), 3.0))
    assert drawn.hu.max() < -900
    assert not drawn.artery.any()


def test_unknown_traits_are_refused() -> None:
    with pytest.raises(KeyError, match="pa_hu"):
        draw_parameters(np.random.default_rng(0), site_traits={"pa_hue": 1.0})
