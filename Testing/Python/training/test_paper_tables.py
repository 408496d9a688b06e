"""The benchmark of the paper's tables: the plan is whole, cells run once, the page shows what is stored."""

import importlib
import json
import sys
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from PESemiSegLib.cohorts.manifest import Case
from PESemiSegLib.phantom import patient
from PESemiSegLib.phantom.recipe import Recipe
from PESemiSegLib.phantom.write import MASKS
from PESemiSegLib.volumes.grid import Grid
from PESemiSegLib.volumes.write import write_nifti

FOLDER = Path(__file__).resolve().parents[2] / "Benchmarks" / "paper_tables"
NAMES = ("scales", "plan", "cohort", "running", "many", "rendering")


@pytest.fixture(scope="module")
def tables() -> Any:
    """The modules of the benchmark by name."""
    sys.path.insert(0, str(FOLDER))
    try:
        return {name: importlib.import_module(name) for name in NAMES}
    finally:
        sys.path.remove(str(FOLDER))


def _case(folder: Path, site: str, split: str) -> Case:
    """A small chest with a clot, in the place of a made-up patient."""
    zz, yy, xx = np.mgrid[:8, :48, :48]
    hu = np.full(zz.shape, 40.0)
    for x0 in (14, 34):
        hu[((yy - 24) / 16) ** 2 + ((xx - x0) / 8) ** 2 < 1] = -850
        hu[np.hypot(yy - 24, xx - x0) < 4] = 320
    mask = ((np.hypot(yy - 24, xx - 14) < 3) & (abs(zz - 4) < 2)).astype(np.uint8)
    hu[mask > 0] = 40
    noise = np.random.default_rng([ord(site[0]), ord(split[1])]).normal(0, 10, hu.shape)
    paths = folder / f"{site}-{split}.nii.gz", folder / f"{site}-{split}-mask.nii.gz"
    if not paths[0].exists():
        folder.mkdir(parents=True, exist_ok=True)
        for path, array in zip(paths, ((hu + noise).astype(np.int16), mask), strict=True):
            write_nifti(path, array, Grid(hu.shape, np.diag([3.0, 3.0, 5.0, 1.0])))
    return Case(f"{site}-{split}", site, paths[0], paths[1], "labelled", split)


def test_every_row_has_its_cells_and_every_cell_its_settings(tables: Any) -> None:
    for scale in tables["scales"].SCALES.values():
        whole = tables["plan"].plan(scale)
        seen: set[str] = set()
        for cell in whole.cells.values():
            config = tables["running"].settings(cell, scale)
            assert not cell.base or whole.cells[cell.base.name] == cell.base
            assert bool(cell.target) == bool(cell.base)
            assert config.seed == cell.seed
            lessons = config.head_start.iterations  # as many as the scale asks for are taken
            assert scale.name == "micro" or lessons <= config.iterations
            assert config.semi.cps.second == ("copy" if cell.base else "fresh")
        for table in whole.tables:
            for row in table.rows:
                seen |= set(row.cells)
                assert all(row.site in whole.cells[name].tests for name in row.cells), row
        assert seen == set(whole.cells)
        later = [tables["running"].settings(cell, scale) for cell in whole.cells.values() if cell.base]
        assert len({config.iterations for config in later}) == 1
        unlabelled = [0 if config.strategy == "supervised" else config.semi.batch for config in later]
        crops = {config.sampling.batch + more for config, more in zip(later, unlabelled, strict=True)}
        assert len(crops) == 1, "compute is matched"
    reduced, full = (tables["scales"].SCALES[name] for name in ("reduced", "full"))
    assert min(reduced.seeds, full.seeds) >= 3
    assert [(full.counts[site].train, full.counts[site].test) for site in "ABC"] == [
        (27, 6),
        (63, 7),
        (5, 22),
    ]


def test_image_and_label_shift_are_told_apart(tables: Any) -> None:
    micro = tables["scales"].MICRO
    for site, scanner, annotator in (("B-image", "B", "A"), ("B-label", "A", "B")):
        (recipe,) = tables["cohort"].patients(micro, site, "test")
        assert (recipe.site, recipe.scanner_site, recipe.label_site) == ("A", scanner, annotator)
    full = tables["scales"].FULL
    test, train = (tables["cohort"].patients(full, "C", split) for split in ("test", "train"))
    assert [recipe.pe for recipe in test] == [True] * 22 + [False] * 11
    assert not {recipe.name for recipe in test} & {recipe.name for recipe in train}


def test_only_patients_of_the_plan_and_of_this_generator_are_used(
    tables: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = []

    def small(recipe: Recipe) -> SimpleNamespace:
        made.append(recipe.patient)
        hu = np.full((4, 8, 8), recipe.patient, np.int16)
        masks = dict.fromkeys(MASKS, np.zeros(hu.shape, np.uint8))
        grid = Grid(hu.shape, np.eye(4))
        return SimpleNamespace(
            recipe=recipe, hu=hu, grid=grid, opacities=None, facts={"lesions": []}, **masks
        )

    monkeypatch.setattr(patient, "make_case", small)
    few = tables["scales"].MICRO
    more = replace(few, counts={"A": replace(few.counts["A"], free=1)})
    make, held_out = tables["cohort"].make, tables["cohort"].held_out
    names = ["A-s3202-p0000", "A-s3202-p0001"]
    home = make(few, "A", "test", tmp_path)
    assert [case.patient for case in held_out(more, "A", tmp_path)] == names
    assert [case.patient for case in held_out(few, "A", tmp_path)] == names[:1]
    assert made == [0, 1]
    recipe = home / names[0] / "recipe.json"
    recipe.write_text(recipe.read_text().replace('"version": ', '"version": -'))
    make(more, "A", "test", tmp_path)
    assert made == [0, 1, 0]
    assert '"version": -' not in recipe.read_text()


def test_a_cell_is_run_once_and_stored_whole(
    tables: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    running, micro = tables["running"], tables["scales"].MICRO
    monkeypatch.setattr(
        tables["cohort"], "_cases", lambda scale, site, split, folder: [_case(folder, site, split)]
    )
    whole = tables["plan"].plan(micro)
    first = replace(whole.cells["A.ours.s0"], tests=("A",))
    second = replace(whole.cells["B.ours.adversarial_feature.s0"], tests=("A",))
    small = replace(whole, cells={first.name: first, second.name: second}, tables=(whole.tables[2],))
    places = running.Places(tmp_path / "work", tmp_path / "results")
    for cell in small.cells.values():
        assert running.stored(cell, micro, places) is None
        running.run(cell, micro, places, lambda: False)
        running.tidy(cell, micro, places, keep_model=small.is_base(cell))
    stored = {cell.name: running.stored(cell, micro, places) for cell in small.cells.values()}
    assert [entry["iterations"] for entry in stored.values()] == [2, 2]
    models = [path.parent.name for path in (tmp_path / "work" / "runs").glob("*/model")]
    assert [name.rsplit("-", 1)[0] for name in models] == ["A.ours.s0"]
    page = tables["rendering"].render(micro, small, stored)
    assert "| HRNet Large + CARAFE w/o stage 4 |" in page
    assert "| ours + feature |" in page
    assert "Not run yet: ours." in page
    other = replace(micro, second={**micro.second, "iterations": 3})
    assert running.stored(first, other, places) is not None
    assert running.stored(second, other, places) is None
    longer = replace(micro, first={**micro.first, "iterations": 3})  # of its ancestor
    assert running.stored(second, longer, places) is None
    assert running.stored(replace(second, tests=("A", "B")), micro, places) is None
    places.result(second).write_text(places.result(second).read_text()[:-40])
    assert running.stored(second, micro, places) is None


def test_no_cell_runs_beside_its_ancestor(tables: Any) -> None:
    whole = tables["plan"].plan(tables["scales"].MICRO)
    cells = list(reversed(whole.needed(["T5"])))
    queue, generations = tables["many"].Queue(cells), []
    while ready := queue.ready():
        assert queue.ready() == []  # each is given once
        generations.append(ready)
        for cell in ready:
            queue.finished(cell)
    assert queue.left == 0
    assert sorted(cell.name for group in generations for cell in group) == sorted(c.name for c in cells)
    number = {cell.name: n for n, group in enumerate(generations) for cell in group}
    assert all(number[cell.base.name] < number[cell.name] for cell in cells if cell.base)
    # What starts from a stored model need not wait for it.
    assert tables["many"].Queue(cells[:1]).ready() == cells[:1]
    # With a cell that failed go all that start from it, and theirs.
    queue = tables["many"].Queue(cells)
    (first,) = queue.ready()
    queue.finished(first)
    assert {cell.name for cell in queue.drop(first)} == {c.name for c in cells} - {first.name}
    assert (queue.left, queue.ready()) == (0, [])


def test_a_model_that_is_gone_is_made_once_before_those_that_start_from_it(
    tables: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    micro, running, many = tables["scales"].MICRO, tables["running"], tables["many"]
    whole = tables["plan"].plan(micro)
    work = many.Work(whole, micro, running.Places(tmp_path / "work", tmp_path / "results"))
    cells = whole.needed(["T4"])
    first, others = cells[0], cells[1:]
    monkeypatch.setattr(running, "stored", lambda cell, *_: {} if cell == first else None)
    assert many.wanted(work, cells) == cells
    monkeypatch.setattr(running, "has_model", lambda cell, *_: cell == first)
    assert many.wanted(work, cells) == others
    monkeypatch.setattr(running, "stored", lambda cell, *_: {})
    assert many.wanted(work, cells) == []


def _result(cell: str, dice: list[float], site: str = "B") -> dict[str, Any]:
    paper = {"slices": 2, "iou_sum": 0.5, "dice_sum": 1.0, "sensitivity_sum": 1.5}
    patients = [
        {"patient": f"p{n}", "dice": value, "emboli": 4, "found": 3, "false_marks": n, "paper": paper}
        for n, value in enumerate(dice)
    ]
    patients.append(patients[0] | {"patient": "free", "dice": None, "emboli": 0, "found": 0})
    return {
        "cell": cell,
        "machine": "a machine",
        "seconds": 90.0,
        "parameters": 1_500_000,
        "figures": {site: {"patients": patients}},
        "recipe": {"settings": {"strategy": cell.split(".")[2]}},
        "health": {"figures": {"D_on_masks": 0.6, "D_on_predictions": 0.35}},
    }


def test_the_page_by_hand(tables: Any) -> None:
    micro = replace(tables["scales"].MICRO, seeds=2)
    whole = tables["plan"].plan(micro)
    values = {
        "supervised": ([0.2, 0.4], [0.3, 0.5]),
        "adversarial_feature": ([0.4, 0.6], [0.2, 0.5]),
        "oracle": ([0.6, 0.8], [0.6, 0.8]),
    }
    results = {
        (name := f"B.ours.{strategy}.s{seed}"): _result(name, dice)
        for strategy, seeds in values.items()
        for seed, dice in enumerate(seeds)
    }
    page = tables["rendering"].render(micro, whole, json.loads(json.dumps(results)))
    line = next(text for text in page.splitlines() if text.startswith("| adversarial_feature |"))
    cells = [cell.strip() for cell in line.strip("|").split("|")]
    # Patients' means over seeds: 0.3 and 0.55, against 0.25 and 0.45 of supervised and 0.6 and 0.8.
    assert cells[1].startswith("0.425 [")
    assert cells[2] == "0.500 0.350"
    assert cells[3].startswith("+0.075 [")
    assert cells[5] == "1 of 2"
    assert cells[6] == "21%"  # (0.425 - 0.35) / (0.7 - 0.35)
    assert cells[7:11] == ["0.75", "0.3", "0.250 / 0.500 / 0.750", "0.60 / 0.35"]
    supervised = next(text for text in page.splitlines() if text.startswith("| supervised |"))
    assert "0.60 / 0.35" not in supervised  # nobody listened to D there
    # Of what is unfinished only common seeds are compared.
    del results["B.ours.oracle.s1"]
    page = tables["rendering"].render(micro, whole, json.loads(json.dumps(results)))
    line = next(text for text in page.splitlines() if text.startswith("| adversarial_feature |"))
    assert line.split("|")[7].strip() == "50%"  # (0.5 - 0.3) / (0.7 - 0.3), of the first seed
    assert np.isnan(tables["rendering"].closed(0.5, 0.4, 0.4))
