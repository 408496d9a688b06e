"""CPMN's strategy in the one trainer: whom each term teaches, rows of the tables, resumed runs, settings."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image

from PESemiSegLib.cohorts.anchors import EMBOLUS, LUNG
from PESemiSegLib.cohorts.cache import CachedVolume
from PESemiSegLib.cohorts.manifest import Case, Manifest
from PESemiSegLib.cohorts.phases import NO_CONTRAST
from PESemiSegLib.cohorts.volume_crops import PhaseStack, VolumeCrops
from PESemiSegLib.errors import Cancelled, ConfigError, InputError
from PESemiSegLib.networks.config import NetworkConfig, VolumeConfig
from PESemiSegLib.training import blocks, rehearsal, run
from PESemiSegLib.training.config import TrainConfig, read_yaml, write_yaml
from PESemiSegLib.training.crops import Crops
from PESemiSegLib.training.example import Examples
from PESemiSegLib.training.plain import from_plain, to_plain
from PESemiSegLib.training.presets import PRESETS, preset
from PESemiSegLib.training.presets_cpmn import CPMN
from PESemiSegLib.training.run import RunOptions, prepare
from PESemiSegLib.training.trainer import Trainer

SIZE = (32, 32, 32)
NETWORK = NetworkConfig(width=2, architecture="cpmn", volume=VolumeConfig(SIZE, 3.0))


def tiny(name="cpmn_small", **changes):
    config = preset(name)
    volume = replace(NETWORK.volume, phase=config.network.volume.phase)
    small = {
        "network": replace(NETWORK, volume=volume),
        "sampling": replace(config.sampling, batch=2),
        "iterations": 4,
        "validate_every": 2,
        "validation_batches": 2,
        "checkpoint_every": 2,
    }
    return replace(config, **(small | changes))


def patient(number, *, emboli):
    rng = np.random.default_rng(number)
    mask = np.zeros((34, 40, 36), np.uint8)
    if emboli:
        mask[12:18, 14:20, 10:16] = 1
    anchors = [[LUNG, 16, 20, 18]]
    if emboli:
        anchors.append([EMBOLUS, 15, 17, 13])
    phases = []
    for blood, clot in ((41, 66), (300, 60)):
        image = rng.normal(blood, 5, mask.shape)
        image[mask > 0] += clot - blood
        phases.append(CachedVolume("A", image.astype(np.int16), mask, np.array(anchors, np.int16), 3.0, 3.0))
    return PhaseStack(tuple(phases))


def crops_of(config, phases=2):
    stacks = [patient(1, emboli=True), patient(2, emboli=False)]
    own = slice(1, 2) if config.network.volume.phase == "contrast" else slice(phases)
    stacks = [PhaseStack(stack.phases[own]) for stack in stacks]
    alone = [PhaseStack(stack.phases[:1]) for stack in stacks]
    size = config.network.volume.crop
    return Crops(
        VolumeCrops(stacks, size, config.sampling, 1),
        VolumeCrops(alone, size, replace(config.sampling, emboli=1.0), 2),
    )


def weights(module):
    return torch.cat([p.detach().flatten() for p in module.parameters()])


def test_a_step_gives_every_term_and_moves_both_pathways(tmp_path):
    config, events = tiny(iterations=2), []
    trainer = Trainer(config, crops_of(config), tmp_path, listen=events.append)
    before = {name: weights(learner.module) for name, learner in trainer.strategy.learners.items()}
    assert set(before) == {"segmenter", "contrast"}
    assert trainer.discriminator is None
    trainer.run()
    step = next(event for event in events if event["kind"] == "step")
    terms = {name for name in step if name.startswith("L_")}
    one = {"L_seg", "L_cls", "L_disc"}
    assert terms == one | {"L_KL", "L_align"} | {f"{name}_contrast" for name in one}
    assert all(np.isfinite(step[name]) for name in terms)
    assert step["lr"] == pytest.approx(1e-3)
    for name, learner in trainer.strategy.learners.items():
        assert not torch.equal(before[name], weights(learner.module))
    looks = [event for event in events if event["kind"] == "validation"]
    assert {"dice", "sensitivity", "precision"} <= set(looks[-1])
    drawn = Examples(tmp_path, trainer.crops.validation).draw(trainer)
    assert Image.open(drawn).size == (64, 64)


def test_dense_centres_wait_for_their_start(tmp_path):
    """A run that ends before they begin is the one without them."""
    found = []
    for number, (centres, start) in enumerate([(0.0, 0.0), (0.1, 0.9), (0.1, 0.0)]):
        losses = replace(preset("cpmn_small").losses, centres=centres, centres_start=start)
        config = tiny(iterations=2, losses=losses)
        folder = tmp_path / str(number)
        folder.mkdir()
        trainer = Trainer(config, crops_of(config), folder)
        trainer.run()
        found.append(weights(trainer.strategy.learners["contrast"].module))
    without, waiting, at_once = found
    assert torch.equal(without, waiting)
    assert not torch.equal(without, at_once)


def gradients_of(trainer, config, number):
    """Gradient norms (own pathway, contrast pathway) of what the pathways learn from each other."""
    batch = trainer.crops.train.batch(number)
    image = torch.from_numpy(batch.image)
    learners = list(trainer.strategy.learners.values())
    readings = [learner.module.read(image[:, n : n + 1]) for n, learner in enumerate(learners)]
    found = []
    for terms in trainer.strategy._taught(*readings):
        norms = []
        for learner in learners:
            learner.module.zero_grad()
            if terms:
                torch.stack(list(terms.values())).sum().backward(retain_graph=True)
            grads = [p.grad for p in learner.module.parameters() if p.grad is not None]
            norms.append(float(sum(g.abs().sum() for g in grads)) if grads else 0.0)
        found.append(norms)
    return found


def test_the_contrast_pathway_is_taught_nothing(tmp_path):
    config = tiny()
    trainer = Trainer(config, crops_of(config), tmp_path)
    (own, other), none = gradients_of(trainer, config, 0)
    assert own > 0
    assert other == 0
    assert none == [0, 0]


def test_in_mutual_learning_each_teaches_the_other(tmp_path):
    config = tiny("cpmn_dml_small")
    trainer = Trainer(config, crops_of(config), tmp_path)
    first, second = gradients_of(trainer, config, 0)
    assert first[0] > 0
    assert first[1] == 0
    assert second[0] == 0
    assert second[1] > 0


@pytest.mark.parametrize(
    ("name", "terms", "phase"),
    [
        ("cpmn_ctpa_small", {"L_seg", "L_cls"}, "contrast"),
        ("cpmn_nct_small", {"L_seg", "L_cls"}, "noncontrast"),
    ],
)
def test_single_phases_have_one_pathway(tmp_path, name, terms, phase):
    config, events = tiny(name, iterations=1), []
    assert config.network.volume.phase == phase
    trainer = Trainer(config, crops_of(config, phases=1), tmp_path, listen=events.append)
    assert list(trainer.strategy.learners) == ["segmenter"]
    trainer.run()
    step = next(event for event in events if event["kind"] == "step")
    assert {key for key in step if key.startswith("L_")} == terms


def test_rows_differ_by_their_terms():
    rows = {name.removesuffix("_small"): preset(name) for name in CPMN if name.endswith("_small")}
    assert rows.pop("cpmn2d").network.volume is None
    assert set(rows) == {"cpmn", "cpmn_ctpa", "cpmn_nct", "cpmn_mls", "cpmn_ifa", "cpmn_dml"}
    weights = {
        name: (c.semi.cpmn.divergence, c.semi.cpmn.alignment, c.losses.centres) for name, c in rows.items()
    }
    assert weights["cpmn"] == (0.25, 10.0, 0.1)
    assert weights["cpmn_ifa"] == (0.25, 10.0, 0.0)
    assert weights["cpmn_mls"] == (0.25, 0.0, 0.0)
    assert weights["cpmn_dml"] == (1.0, 0.0, 0.0)
    assert weights["cpmn_nct"][2] == 0.0
    assert set(CPMN) <= set(PRESETS)
    published = preset("cpmn")
    assert published.network.volume.crop == (96, 224, 224)
    assert (published.sampling.batch, published.segmenter_optimiser.lr) == (6, 1e-3)


def test_the_rate_falls_along_a_cosine():
    optimiser = preset("cpmn").segmenter_optimiser
    rates = [optimiser.lr * optimiser.factor(share) for share in (0.0, 0.25, 0.5, 1.0)]
    half = 1e-5 + (1e-3 - 1e-5) / 2
    quarter = 1e-5 + (1e-3 - 1e-5) * (1 + np.sqrt(0.5)) / 2
    np.testing.assert_allclose(rates, [1e-3, quarter, half, 1e-5])


def test_a_resumed_run_is_the_same_bit_for_bit(tmp_path):
    """EfficientNet skips blocks at random: those draws, too, depend on seed and iteration alone."""
    config = tiny(ema_decay=0.9, iterations=3)
    torch.manual_seed(1)
    crops = replace(crops_of(config), validation=None)
    whole = Trainer(config, crops, tmp_path / "whole")
    (tmp_path / "whole").mkdir()
    whole.run()
    (tmp_path / "parts").mkdir()
    torch.manual_seed(2)
    seen = []
    first = Trainer(
        config, crops, tmp_path / "parts", listen=seen.append, cancelled=lambda: first.iteration >= 1
    )
    with pytest.raises(Cancelled):
        first.run()
    torch.manual_seed(3)
    second = Trainer(config, crops, tmp_path / "parts")
    second.resume()
    assert second.iteration == 1
    second.run()
    for name, learner in whole.strategy.learners.items():
        assert torch.equal(weights(learner.module), weights(second.strategy.learners[name].module))
    mean = dict(whole.average.state())
    for name, value in second.average.state().items():
        assert torch.equal(value, mean[name])


@pytest.mark.parametrize(
    ("first", "then"), [("cpmn_small", "cpmn_nct_small"), ("cpmn_nct_small", "cpmn_small")]
)
def test_a_run_of_other_pathways_is_not_resumed(tmp_path, first, then):
    Trainer(tiny(first), crops_of(tiny(first)), tmp_path).save()
    other = Trainer(tiny(then), crops_of(tiny(then)), tmp_path)
    with pytest.raises(InputError, match=r"holds (contrast, segmenter; .* segmenter|segmenter; .* contrast)"):
        other.resume()


def test_a_pair_that_fails_is_told_by_its_number(tmp_path, monkeypatch):
    """Each phase of every made-up patient is called ct.nii.gz."""

    def failing(contrast, plain, folder, **options):
        raise InputError(f"{plain.image.name} cannot be read")

    monkeypatch.setattr(blocks, "on_one_grid", failing)
    with pytest.raises(InputError, match=r"^Pair 1 of 2: ct\.nii\.gz cannot"):
        blocks.open_blocks(tiny(), pairs(tmp_path), tmp_path / "cache")


def pairs(folder):
    return Manifest(
        tuple(
            Case(f"p{n}", "A", folder / f"{n}" / "ct.nii.gz", role=role, split=split, problems=problems)
            for n, split in ((0, "val"), (1, "train"))
            for role, problems in (("labelled", ()), ("excluded", (NO_CONTRAST,)))
        )
    )


def test_who_wants_to_stop_is_heard_while_a_pair_is_registered(tmp_path, monkeypatch):
    asked = []

    def registering(contrast, plain, folder, *, registered, check):
        for _ in range(9):
            check()

    # No scan is there to take a fingerprint of.
    known = (replace(case, fingerprint=f"v-{n}") for n, case in enumerate(pairs(tmp_path)))
    cohort = Manifest(tuple(known))
    monkeypatch.setattr(run, "read_manifest", lambda path: cohort)
    monkeypatch.setattr(blocks, "on_one_grid", registering)
    options = RunOptions(manifest=tmp_path / "m.csv", folder=tmp_path / "run")
    with pytest.raises(Cancelled):
        prepare(tiny(), options, cancelled=lambda: asked.append(1) or len(asked) == 3)
    assert len(asked) == 3


def test_a_dry_run_takes_patients_with_both_scans(tmp_path, monkeypatch):
    """Not the first ones of the manifest, of whom there may be one scan only."""
    alone = tuple(Case(f"q{n}", "A", tmp_path / f"q{n}.nii.gz", split="train") for n in range(3))
    cohort = Manifest((*alone, *pairs(tmp_path).cases))
    asked = []
    monkeypatch.setattr(rehearsal, "read_manifest", lambda path: cohort)
    monkeypatch.setattr(
        rehearsal, "crops_of", lambda config, options, few: asked.append(few) or crops_of(config)
    )
    found = rehearsal.rehearse(tiny(), RunOptions(manifest=tmp_path / "m.csv", folder=tmp_path / "run"))
    assert [(case.patient, case.role) for case in asked[0]] == [("p1", "labelled"), ("p1", "excluded")]
    assert found.seconds_per_iteration > 0
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("name", list(CPMN))
def test_settings_survive_yaml(tmp_path, name):
    config = preset(name)
    assert from_plain(TrainConfig, to_plain(config)) == config
    write_yaml(config, tmp_path / "settings.yaml")
    assert read_yaml(tmp_path / "settings.yaml") == config


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"kind": "emboli"}, "belong together"),
        ({"strategy": "supervised"}, "belong together"),
        ({"strategy": "cpmn+cross_site_mix"}, "belong together"),
        ({"network": NetworkConfig()}, "belong together"),
        (
            {"network": replace(NETWORK, volume=VolumeConfig(SIZE, 3.0, "contrast"))},
            "two pathways are trained for scans without",
        ),
    ],
)
def test_settings_that_do_not_go_together(changes, message):
    with pytest.raises(ConfigError, match=message):
        replace(tiny(), **changes)


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_the_pathways_learn_side_by_side(tmp_path):
    """Some minutes: each pathway tells the clot of the patient it learns from from all else, in its phase."""
    network, losses = replace(NETWORK, width=4), preset("cpmn").losses
    config = tiny(network=network, losses=losses, iterations=160, validate_every=80)
    trainer = Trainer(config, crops_of(config), tmp_path)
    trainer.run()
    low, high = config.sampling.hu_window
    inside = tuple(slice(2, 2 + size) for size in SIZE)
    for phase, name in zip(patient(1, emboli=True).phases, ("segmenter", "contrast"), strict=True):
        clot = torch.as_tensor(phase.mask[inside]) > 0
        image = torch.as_tensor(phase.image[inside], dtype=torch.float32)
        seen = ((image - low) / (high - low) * 2 - 1).clamp(-1, 1)[None, None]
        with torch.no_grad():
            logits = trainer.strategy.learners[name].module.eval().read(seen).logits[0, 0]
        assert logits[clot].mean() > logits[~clot].mean() + 1.5
