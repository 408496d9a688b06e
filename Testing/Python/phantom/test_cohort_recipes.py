"""Recipes and cohorts: round trips, refusals, independent random streams, the share without emboli."""

import json
from dataclasses import replace

import numpy as np
import pytest

from PESemiSegLib.errors import ConfigError, InputError
from PESemiSegLib.phantom.cohort import free_count, recipes
from PESemiSegLib.phantom.parameters import EMBOLUS_KINDS
from PESemiSegLib.phantom.recipe import GENERATOR_VERSION, Recipe


def test_a_recipe_survives_json() -> None:
    recipe = Recipe("B", 7, 3, "ci", pe=True, contrast=False, scanner_site="A", label_site="C")
    assert Recipe.from_json(recipe.to_json()) == recipe
    assert json.loads(recipe.to_json())["version"] == GENERATOR_VERSION


@pytest.mark.parametrize("version", [0, GENERATOR_VERSION + 1, "1", None])
def test_an_unknown_version_is_refused(version: object) -> None:
    values = json.loads(Recipe("A", 1, 1).to_json()) | {"version": version}
    with pytest.raises(ConfigError, match="version"):
        Recipe.from_json(json.dumps(values))


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        "{}",
        "not json",
        f'{{"version": {GENERATOR_VERSION}}}',
        f'{{"version": {GENERATOR_VERSION}, "site": "A", "seed": 1, "patient": 0, "x": 1}}',
    ],
)
def test_what_is_no_recipe_is_refused(text: str) -> None:
    with pytest.raises(InputError, match="recipe"):
        Recipe.from_json(text)


@pytest.mark.parametrize(
    "wrong",
    [{"site": "D"}, {"seed": -1}, {"seed": 1.5}, {"patient": True}, {"preset": "huge"}, {"label_site": "Z"}],
    ids=str,
)
def test_impossible_recipes_are_refused(wrong: dict) -> None:
    with pytest.raises(ConfigError):
        Recipe(**({"site": "A", "seed": 1, "patient": 0} | wrong))


def draws(recipe: Recipe, stream: str) -> list[int]:
    return recipe.rng(stream).integers(2**62, size=3).tolist()


def test_streams_are_apart_and_anatomy_ignores_what_is_no_anatomy() -> None:
    base = Recipe("A", 1, 0)
    streams = ["anatomy", "scene", "scanner", "image", "annotator", "breathing"]
    assert len({tuple(draws(base, stream)) for stream in streams}) == len(streams)
    for other in (
        replace(base, scanner_site="C"),
        replace(base, label_site="B"),
        replace(base, preset="ci"),
        replace(base, contrast=False),
    ):
        assert draws(other, "anatomy") == draws(base, "anatomy")
        assert draws(other, "scene") == draws(base, "scene")
    assert draws(replace(base, label_site="B"), "annotator") != draws(base, "annotator")
    assert draws(replace(base, label_site="B"), "image") == draws(base, "image")
    assert draws(replace(base, contrast=False), "image") != draws(base, "image")
    assert draws(replace(base, contrast=False), "scanner") == draws(base, "scanner")
    assert draws(replace(base, scanner_site="C"), "scanner") != draws(base, "scanner")
    for other in (replace(base, site="B"), replace(base, seed=2), replace(base, patient=1)):
        assert draws(other, "anatomy") != draws(base, "anatomy")


@pytest.mark.parametrize("patients", [3, 5, 6, *range(8, 120)])
def test_thirty_to_forty_percent_have_no_emboli(patients: int) -> None:
    free = sum(recipe.pe is False for recipe in recipes("A", patients, 7, "ci"))
    assert free == free_count(patients)
    assert 0.30 * patients <= free <= 0.40 * patients


@pytest.mark.parametrize(("patients", "free"), [(1, 0), (2, 1), (4, 1), (7, 2)])
def test_small_cohorts_come_as_near_as_they_can(patients: int, free: int) -> None:
    assert free_count(patients) == free


def test_a_cohort_is_deterministic_and_seeds_and_sites_differ() -> None:
    first = recipes("A", 20, 7, "ci")
    assert first == recipes("A", 20, 7, "ci")
    assert [r.pe for r in first] != [r.pe for r in recipes("A", 20, 8, "ci")]
    assert [r.pe for r in first] != [r.pe for r in recipes("B", 20, 7, "ci")]
    assert len({r.name for r in first}) == 20
    positions = np.flatnonzero([not r.pe for r in recipes("C", 60, 1, "ci")])
    assert positions.max() - positions.min() > 40  # not all at one end


@pytest.mark.parametrize("patients", [8, 12, 40])
def test_every_kind_of_embolus_is_asked_for_in_a_cohort(patients: int) -> None:
    for seed in range(3):
        kinds = [r.kind for r in recipes("B", patients, seed, "ci") if r.kind]
        assert sorted(kinds) == sorted(EMBOLUS_KINDS)


def test_a_wanted_kind_needs_a_patient_with_emboli() -> None:
    with pytest.raises(ConfigError, match="kind"):
        Recipe("A", 1, 0, pe=False, kind="saddle")
    with pytest.raises(ConfigError, match="kind"):
        Recipe("A", 1, 0, pe=True, kind="cannonball")


def test_an_empty_cohort_is_refused() -> None:
    with pytest.raises(ConfigError, match="at least 1"):
        recipes("A", 0, 1)
    with pytest.raises(ConfigError, match="site"):
        recipes("", 3, 1)
