"""Ground glass and consolidations: where they lie, how they look, what they leave alone, their exact map."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from scipy import ndimage

from PESemiSegLib.errors import ConfigError, OutputError
from PESemiSegLib.phantom.anatomy import Anatomy, build_anatomy, with_opacities
from PESemiSegLib.phantom.breathing import Breath
from PESemiSegLib.phantom.cohort import recipes
from PESemiSegLib.phantom.opacities import (
    CONSOLIDATION,
    GROUND_GLASS,
    HEALTHY_LUNG,
    draw_opacities,
)
from PESemiSegLib.phantom.patient import PhantomCase, _map_after, plan
from PESemiSegLib.phantom.recipe import Recipe
from PESemiSegLib.phantom.scene import Scene, render
from PESemiSegLib.phantom.write import write_case
from PESemiSegLib.volumes.grid import Grid, make_affine

RECIPE = Recipe("A", 7, 2, "ci", opacities="mixed")
GRID = Grid((60, 120, 120), make_affine((3.0, 3.0, 5.0), (-180.0, -170.0, -180.0)))


@pytest.fixture(scope="module")
def healthy() -> Anatomy:
    return build_anatomy(plan(RECIPE)[0])


@pytest.fixture(scope="module")
def sick(healthy: Anatomy) -> Anatomy:
    return with_opacities(healthy, "mixed", RECIPE.rng("opacities"))


@pytest.fixture(scope="module")
def before(healthy: Anatomy) -> Scene:
    bare = replace(healthy, mimicry=replace(healthy.mimicry, patches=()))
    return render(bare, GRID, RECIPE.rng("scene"))


@pytest.fixture(scope="module")
def scene(sick: Anatomy) -> Scene:
    return render(sick, GRID, RECIPE.rng("scene"))


@pytest.fixture(scope="module")
def plain(sick: Anatomy) -> Scene:
    """Without contrast agent."""
    return render(replace(sick, patient=sick.patient.without_contrast()), GRID, RECIPE.rng("scene"))


def lesion(scene: Scene, label: int) -> np.ndarray:
    assert scene.opacities is not None
    return scene.opacities == label


def test_lesions_change_the_lungs_and_nothing_else(before: Scene, scene: Scene) -> None:
    for name in ("clot", "artery", "lesions", "aorta"):
        np.testing.assert_array_equal(getattr(before, name), getattr(scene, name))
    assert before.opacities is None
    assert scene.opacities is not None
    assert np.unique(scene.opacities).tolist() == [0, GROUND_GLASS, CONSOLIDATION, HEALTHY_LUNG]
    changed = before.hu != scene.hu
    assert changed[lesion(scene, GROUND_GLASS)].mean() > 0.8  # the rest is vessel
    assert not changed[~ndimage.binary_dilation(scene.opacities > 0)].any()
    assert (scene.hu >= before.hu).all()
    facts = scene.facts["opacities"]
    volume_ml = lesion(scene, CONSOLIDATION).sum() * GRID.voxel_volume_mm3 / 1000
    assert facts["consolidation_ml"] == pytest.approx(volume_ml, abs=0.1)
    assert facts["involved_share"] == pytest.approx(
        np.isin(scene.opacities, (1, 2)).sum() / (scene.opacities > 0).sum(), abs=1e-4
    )
    assert "opacities" not in before.facts


def test_the_lesions_of_a_recipe_stay_what_they_are(scene: Scene) -> None:
    """As first released: a change needs another GENERATOR_VERSION. Other processors may round otherwise."""
    assert scene.opacities is not None
    counts = np.bincount(scene.opacities.ravel())[1:]
    assert counts.tolist() == pytest.approx([7_036, 3_889, 67_159], abs=10)
    means = [float(scene.hu[scene.opacities == label].mean()) for label in (GROUND_GLASS, CONSOLIDATION)]
    assert means == pytest.approx([-538.7, 3.2], abs=1.0)


def test_ground_glass_is_hazy_and_lets_vessels_through(before: Scene, scene: Scene) -> None:
    haze = ndimage.binary_erosion(lesion(scene, GROUND_GLASS), np.ones((1, 3, 3)))
    tissue = haze & (before.hu < -700)
    assert tissue.sum() > 500
    assert -720 < np.median(scene.hu[tissue]) < -380
    assert np.median(scene.hu[tissue]) > np.median(before.hu[lesion(scene, HEALTHY_LUNG)]) + 120
    vessels = haze & (before.hu > -450)  # small ones, of which 3 mm show a part
    assert vessels.sum() > 20
    assert np.median(scene.hu[vessels]) > np.median(scene.hu[tissue]) + 150


def test_consolidation_is_airless_and_swallows_vessels_without_contrast_agent(
    scene: Scene, plain: Scene
) -> None:
    solid = ndimage.binary_erosion(lesion(scene, CONSOLIDATION), np.ones((1, 3, 3)))
    vessels = solid & (scene.artery > 0)
    assert vessels.sum() > 5
    rest = solid & (scene.artery == 0)
    assert -100 < np.median(plain.hu[rest]) < 80
    seen, hidden = (float(np.median(one.hu[vessels]) - np.median(one.hu[rest])) for one in (scene, plain))
    assert seen > 20  # small vessels, of which 3 mm show a part
    assert abs(hidden) < seen / 2
    np.testing.assert_array_equal(scene.opacities, plain.opacities)


def test_lesions_are_many_on_both_sides_and_lie_by_the_pleura_and_the_back(healthy: Anatomy) -> None:
    rng = np.random.default_rng(0)
    drawn = [draw_opacities("mixed", healthy.chest, rng) for _ in range(30)]
    assert min(len(each.lesions) for each in drawn) >= 5
    centres = np.array([each.centre for one in drawn for each in one.lesions])
    depth = -healthy.chest.lung.at(centres)
    box = rng.uniform((-130, -95, -160), (130, 115, 85), (4000, 3))
    inside = box[healthy.chest.lung.at(box) < -2]
    assert np.median(depth) < 0.7 * np.median(-healthy.chest.lung.at(inside))
    assert np.mean(centres[:, 1]) > np.mean(inside[:, 1]) + 15
    both = [len({np.sign(each.centre[0]) for each in one.lesions}) == 2 for one in drawn]
    assert np.mean(both) > 0.9
    hazy = [each for one in drawn for each in one.lesions if each.label == GROUND_GLASS]
    solid = [each for one in drawn for each in one.lesions if each.label == CONSOLIDATION]
    assert all(-700 <= each.hu <= -400 for each in hazy)
    assert all(-50 <= each.hu <= 60 for each in solid)
    assert {each.label for each in draw_opacities("ground_glass", healthy.chest, rng).lesions} == {1}
    assert draw_opacities("none", healthy.chest, rng).lesions == ()
    with pytest.raises(ConfigError, match="pattern"):
        draw_opacities("all", healthy.chest, rng)


def test_a_recipe_without_them_is_the_one_of_before() -> None:
    without = replace(RECIPE, opacities=None)
    assert "opacities" not in json.loads(without.to_json())
    assert Recipe.from_json(without.to_json()) == without
    assert Recipe.from_json(RECIPE.to_json()) == RECIPE
    for stream in ("anatomy", "scene", "scanner", "image", "annotator", "breathing"):
        assert RECIPE.rng(stream).integers(2**62) == without.rng(stream).integers(2**62)
    with pytest.raises(ConfigError, match="opacities"):
        replace(RECIPE, opacities="some")


def test_a_cohort_holds_every_pattern_and_the_same_patients() -> None:
    plain, mapped = recipes("B", 10, 3, "ci"), recipes("B", 10, 3, "ci", opacities=True)
    assert [replace(recipe, opacities=None) for recipe in mapped] == plain
    found = [recipe.opacities for recipe in mapped]
    assert {name: found.count(name) for name in set(found)} == {"mixed": 4, "ground_glass": 4, "none": 2}
    assert {recipe.opacities for recipe in recipes("A", 2, 5, opacities=True)} <= set(found)


def test_a_cohort_of_clean_lungs_has_the_same_patients() -> None:
    """No airless lung either: a scan of which it is known that it holds no opacity."""
    clean, plain = recipes("A", 6, 3, "ci", opacities="none"), recipes("A", 6, 3, "ci")
    assert [replace(recipe, opacities=None) for recipe in clean] == plain
    assert {recipe.opacities for recipe in clean} == {"none"}
    with pytest.raises(ConfigError, match="opacities"):
        recipes("A", 6, 3, opacities="some")


def test_the_map_of_a_scan_without_contrast_breathes_with_it() -> None:
    parameters, _, _ = plan(RECIPE)
    labels = np.zeros((50, 16, 16), np.uint8)
    labels[4:20], labels[8:12, 4:9] = 3, 1
    grid = Grid(labels.shape, make_affine((3.0, 3.0, 1.0), (0.0, 0.0, parameters.scan_range_mm[0])))
    moved = _map_after(Breath(3.0, 0.0), labels, grid, parameters)
    assert np.flatnonzero(moved[:, 0, 0]).tolist() == list(range(7, 23))
    assert np.flatnonzero(moved[:, 6, 6] == 1).tolist() == list(range(11, 15))
    assert np.unique(moved).tolist() == [0, 1, 3]


def test_the_map_is_written_where_there_is_one(tmp_path: Path) -> None:
    shape = (3, 16, 16)
    nothing = np.zeros(shape, np.uint8)
    case = PhantomCase(
        hu=nothing.astype(np.int16),
        affine=np.eye(4),
        clot=nothing,
        clot_exact=nothing,
        artery=nothing,
        lesions=nothing.astype(np.int16),
        recipe=RECIPE,
    )
    assert not (write_case(case, tmp_path / "one", "nifti") / "opacities.nii.gz").exists()
    case.opacities = nothing + 1
    assert (write_case(case, tmp_path / "two", "nifti") / "opacities.nii.gz").exists()
    with pytest.raises(OutputError):
        write_case(case, tmp_path / "two", "nifti")
