"""U-Net+PL: when rounds are, what joins the pool and stays, how batches are mixed, going on, presets."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from PESemiSegLib.cli.main import main
from PESemiSegLib.cohorts.anchors import find_anchors
from PESemiSegLib.cohorts.augment import NO_AUGMENTATION
from PESemiSegLib.cohorts.cache import CachedVolume
from PESemiSegLib.cohorts.sampling import LabelledCrops, SamplingConfig, UnlabelledSlices
from PESemiSegLib.errors import Cancelled, ConfigError, InputError
from PESemiSegLib.networks.config import DiscriminatorConfig, NetworkConfig
from PESemiSegLib.training import parallel
from PESemiSegLib.training.config import LossConfig, OptimiserConfig, TrainConfig
from PESemiSegLib.training.crops import Crops, placed
from PESemiSegLib.training.losses import segmentation_loss
from PESemiSegLib.training.plain import from_plain, to_plain
from PESemiSegLib.training.pool import Pool
from PESemiSegLib.training.presets import preset
from PESemiSegLib.training.rehearsal import two_steps
from PESemiSegLib.training.settings import SemiConfig
from PESemiSegLib.training.settings_unet_pl import UNetPLConfig
from PESemiSegLib.training.strategies.base import Clock, LabelledTensors
from PESemiSegLib.training.trainer import Trainer

CONFIG = TrainConfig(
    kind="opacities",
    strategy="unet_pl",
    network=NetworkConfig(width=4, architecture="unet2d", classes=4),
    discriminator=DiscriminatorConfig("mask_only", channels=(4,)),
    sampling=SamplingConfig(batch=3, crop=32, classes=4, augment=NO_AUGMENTATION),
    losses=LossConfig(bce=1.0, dice=0.0, focal_gamma=2.0),
    semi=SemiConfig(batch=2, unet_pl=UNetPLConfig(start=0.25, max_pseudo=5)),
    segmenter_optimiser=OptimiserConfig("adam", lr=1e-2, warmup_iterations=0),
    iterations=8,
    validate_every=8,
    checkpoint_every=8,
)


@pytest.fixture(autouse=True)
def _one_thread() -> None:
    torch.set_num_threads(1)


def _volume(seed: int, mask: bool = True) -> CachedVolume:
    """Air within tissue, and in it a grey and a white square: healthy lung, ground glass, consolidation."""
    rng = np.random.default_rng(seed)
    hu = rng.normal(40, 10, (6, 48, 48))
    labels = np.zeros(hu.shape, np.uint8)
    for value, box, level in ((3, np.s_[:, 8:40, 8:40], -850), (1, np.s_[:, 12:20, 12:24], -500)):
        labels[box], hu[box] = value, rng.normal(level, 20, hu[box].shape)
    labels[:, 26:36, 26:36], hu[:, 26:36, 26:36] = 2, 20
    image = hu.astype(np.int16)
    anchors = find_anchors(image, labels, (2.0, 3.0), rng, 4)
    return CachedVolume("A", image, labels if mask else None, anchors, 2.0, 3.0)


def _trainer(config: TrainConfig, folder: Path, **options: Any) -> Trainer:
    folder.mkdir(exist_ok=True)
    others = replace(config.sampling, batch=config.semi.batch)
    deck = UnlabelledSlices([_volume(5)], others, 9)
    return Trainer(
        config, Crops(LabelledCrops([_volume(4)], config.sampling, 1), None, deck), folder, **options
    )


def _pool(trainer: Trainer) -> Pool:
    pool = trainer.strategy.pools["pool"]
    assert isinstance(pool, Pool)
    return pool


@given(st.integers(1, 300), st.floats(0, 1), st.integers(1, 40), st.integers(1, 400))
def test_the_rounds_come_in_turn_at_even_steps_and_end(
    iterations: int, start: float, images: int, most: int
) -> None:
    config = UNetPLConfig(start, most)
    found = [config.round_at(iteration, iterations, images) for iteration in range(iterations)]
    rounds = [number for number in found if number is not None]
    assert rounds == list(range(len(rounds)))
    assert len(rounds) <= -(-most // images)
    if iterations - config.first(iterations) >= config.rounds(images):
        assert len(rounds) == -(-most // images)
    places = [i for i, number in enumerate(found) if number is not None]
    assert len(set(np.diff(places).tolist())) <= 1
    assert not places or places[0] == config.first(iterations)


def test_the_published_procedure_is_a_hundred_rounds_of_sixteen() -> None:
    for name, most in (("unet_pl", 1600), ("unet_pl_small", 320)):
        config = preset(name)
        assert (config.semi.batch, config.semi.unet_pl.max_pseudo) == (16, most)
        assert config.semi.unet_pl.rounds(config.semi.batch) == most // 16
        assert (config.sampling.crop, config.sampling.lung_box, config.kind) == (64, True, "opacities")
        assert config.sampling.augment.cutout_probability == 0.25
        assert config.losses.focal_gamma == 2.0
        assert from_plain(TrainConfig, to_plain(config)) == config
    assert "ResNeXt-50" in str(preset("unet_pl").network)
    assert preset("unet_pl", strategy="supervised").strategy == "supervised"
    with pytest.raises(ConfigError, match="once"):
        preset("unet_pl", strategy="unet_pl+cross_site_mix")


def test_a_run_that_ends_before_its_rounds_says_so(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    config = replace(CONFIG, max_minutes=5.0)
    trainer = _trainer(config, tmp_path / "run", enough=lambda: True)
    assert "leaves rounds out" in trainer.strategy.timeline()[-1]
    trainer.run()
    assert "before any pseudo label" in caplog.text
    assert "time" not in _trainer(CONFIG, tmp_path / "other").strategy.timeline()[-1]


def test_a_round_keeps_what_the_network_says_of_new_slices_and_keeps_it_for_good(tmp_path: Path) -> None:
    trainer = _trainer(CONFIG, tmp_path / "run")
    deck = trainer.crops.unlabelled
    assert deck is not None
    assert (CONFIG.semi.unet_pl.first(8), CONFIG.semi.unet_pl.every(8, 2)) == (2, 2)
    sizes, expected = [], []
    for iteration in range(8):
        labelled, unlabelled = trainer.draw(iteration)
        assert (unlabelled is not None) is (iteration in (2, 4, 6))
        if unlabelled is not None:
            module = trainer.segmenter.module.eval()
            with torch.no_grad():
                expected.append(module(torch.from_numpy(unlabelled.image)).argmax(1).numpy())
            module.train()
        batches = placed(labelled, unlabelled, trainer.device)
        figures = trainer.strategy.step(*batches, Clock(iteration, iteration / 8)).figures
        sizes.append(len(_pool(trainer)))
        if unlabelled is not None:
            shares = [float((expected[-1] == value).mean()) for value in range(4)]
            assert [figures[f"class_{value}_unlabelled"] for value in range(4)] == pytest.approx(shares)
    assert sizes == [0, 0, 2, 2, 4, 4, 5, 5]  # the last round is cut at max_pseudo
    state = _pool(trainer).state()
    np.testing.assert_array_equal(state["labels"].numpy(), np.concatenate(expected)[:5])
    drawn = np.concatenate([deck.batch(number).image for number in range(3)])[:5]
    np.testing.assert_array_equal(state["images"].numpy(), np.rint(drawn * 32_767))


def test_batches_are_mixed_as_the_union_of_both_sets_is(tmp_path: Path) -> None:
    """6 annotated slices and a pool of 18: three quarters of a batch are of the pool, on average."""
    config = replace(CONFIG, sampling=replace(CONFIG.sampling, batch=8))
    trainer = _trainer(config, tmp_path / "run")
    strategy: Any = trainer.strategy
    known, _ = placed(*trainer.draw(0), trainer.device)
    assert known.slices == 6
    assert strategy._mixed(known, Clock(0, 0.0)) is known
    image = np.full((18, 1, 32, 32), 0.25, np.float32)
    _pool(trainer).add(image, np.full((18, 32, 32), 2))
    counts = []
    for iteration in range(40):
        batch = strategy._mixed(known, Clock(iteration, 0.5))
        counts.append(batch.mixed)
        kept = 8 - batch.mixed
        assert torch.equal(batch.image[:kept], known.image[:kept])
        assert torch.equal(batch.mask[:kept], known.mask[:kept])
        torch.testing.assert_close(batch.image[kept:], torch.full((batch.mixed, 1, 32, 32), 0.25))
        assert (batch.mask[kept:, 2] == 1).all()
    assert set(counts) == {6}
    assert strategy._mixed(LabelledTensors(known.image[:1], known.mask[:1], slices=6), Clock(0, 0)).mixed == 0


def test_d_learns_from_annotators_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from PESemiSegLib.training.strategies import method

    trainer = _trainer(CONFIG, tmp_path / "run")
    _pool(trainer).add(np.zeros((60, 1, 32, 32), np.float32), np.ones((60, 32, 32)))
    seen = []
    monkeypatch.setattr(method, "teach", lambda *args, **_: seen.append(args[2]) or {})
    known, _ = placed(*trainer.draw(0), trainer.device)
    outcome = trainer.strategy.step(known, None, Clock(0, 0.9))
    assert torch.equal(seen[0], known.mask[: len(seen[0])])
    assert 1 <= len(seen[0]) < 3
    assert outcome.probability is None
    assert outcome.figures["pool"] == 60
    assert "L_semi" in outcome.figures


def test_a_stopped_run_goes_on_bit_for_bit_with_its_pool(tmp_path: Path) -> None:
    flips = replace(NO_AUGMENTATION, flip_lr=True, cutout_probability=0.5, cutout_pixels=(8,))
    config = replace(CONFIG, sampling=replace(CONFIG.sampling, augment=flips))
    whole = _trainer(config, tmp_path / "whole")
    whole.run()
    first = _trainer(config, tmp_path / "parts", cancelled=lambda: first.iteration >= 5)
    with pytest.raises(Cancelled):
        first.run()
    second = _trainer(config, tmp_path / "parts")
    second.resume()
    assert len(_pool(second)) == 4
    second.run()
    for one, two in (
        (whole.segmenter.state()[0], second.segmenter.state()[0]),
        (_pool(whole).state(), _pool(second).state()),
    ):
        assert one.keys() == two.keys()
        assert [name for name in one if not torch.equal(one[name], two[name])] == []
    assert len(_pool(second)) == 5


def test_the_pool_gives_its_crops_back_and_changes_image_and_label_alike() -> None:
    rng = np.random.default_rng(3)
    image = rng.uniform(-1, 1, (1, 1, 32, 32)).astype(np.float32)
    labels = rng.integers(0, 4, (1, 32, 32))
    still = Pool(CONFIG.sampling)
    still.add(image, labels)
    drawn, mask = still.draw(2, rng)
    np.testing.assert_allclose(drawn[1], image[0], atol=2e-5)
    np.testing.assert_array_equal(mask[0].argmax(0), labels[0])
    turned = Pool(replace(CONFIG.sampling, augment=replace(NO_AUGMENTATION, flip_lr=True, flip_ud=True)))
    turned.add(image, labels)
    found = set()
    for drawn, mask in zip(*turned.draw(40, rng), strict=True):
        kind = next(
            (ud, lr)
            for ud in (1, -1)
            for lr in (1, -1)
            if np.allclose(drawn[0], image[0, 0, ::ud, ::lr], atol=2e-5)
        )
        np.testing.assert_array_equal(mask.argmax(0), labels[0, :: kind[0], :: kind[1]])
        found.add(kind)
    assert len(found) == 4
    with pytest.raises(InputError, match="another size"):
        Pool(replace(CONFIG.sampling, crop=48)).restore(still.state())


def test_the_pool_holds_two_bytes_per_pixel_and_loses_nothing_of_a_scan() -> None:
    """A 50th of a Hounsfield unit at most, black and white not even that; older checkpoints hold float32."""
    low, high = CONFIG.sampling.hu_window
    hu = np.linspace(low, high, 32 * 32, dtype=np.float32).reshape(1, 1, 32, 32)
    image = (hu - low) / np.float32((high - low) / 2) - 1
    pool, older = Pool(CONFIG.sampling), Pool(CONFIG.sampling)
    pool.add(image, np.zeros((1, 32, 32)))
    assert pool.state()["images"].element_size() == 2
    drawn, _ = pool.draw(1, np.random.default_rng(0))
    found = (drawn[0] + 1) * (high - low) / 2 + low
    np.testing.assert_allclose(found, hu[0], atol=0.02)
    assert drawn.min() == -1
    assert drawn.max() == 1
    older.restore({"images": torch.from_numpy(image), "labels": pool.state()["labels"]})
    assert torch.equal(older.state()["images"], pool.state()["images"])


def test_a_dry_run_reaches_a_round(tmp_path: Path) -> None:
    trainer = _trainer(CONFIG, tmp_path / "run")
    assert two_steps(trainer) > 0
    assert len(_pool(trainer)) == CONFIG.semi.batch


def _two_rounds(folder: Path) -> None:
    """Run in each process: a whole run and one in two parts; the pools, and how batches were mixed."""
    torch.set_num_threads(1)
    config = replace(
        CONFIG,
        network=NetworkConfig(width=4, upsample="bilinear", classes=4),  # quicker to load than MONAI's
        semi=replace(CONFIG.semi, unet_pl=UNetPLConfig(start=0.25, max_pseudo=8)),
    )
    whole = _trainer(config, folder / "whole")
    whole.run()
    first = _trainer(config, folder / "parts", cancelled=lambda: first.iteration >= 4)
    with pytest.raises(Cancelled):
        first.run()
    parallel.gather(np.zeros(1))  # the first process has written its checkpoint by then
    second = _trainer(config, folder / "parts")
    second.resume()
    second.run()
    held = []
    for trainer in (whole, second):
        tensors = _pool(trainer).state() | trainer.segmenter.state()[0]
        held.append(torch.cat([value.double().flatten() for _, value in sorted(tensors.items())]).numpy())
    everyone = parallel.gather(np.stack(held))
    assert (everyone == everyone[0]).all()
    deck = whole.crops.unlabelled
    assert deck is not None
    drawn = np.concatenate([deck.batch(number).image for number in range(4)])  # six slices: the last is empty
    np.testing.assert_array_equal(_pool(whole).state()["images"].numpy(), np.rint(drawn * 32_767))
    known, _ = placed(*whole.draw(3), whole.device)
    mixed = [whole.strategy._mixed(known, Clock(n, 0.5)).mixed for n in range(20)]  # type: ignore[attr-defined]
    assert (parallel.gather(np.array([mixed])) == mixed).all()
    assert [n for n in range(8) if whole.strategy.unlabelled_batch(n) is not None] == [2, 5]


def test_two_processes_share_one_pool_of_disjoint_slices_and_go_on_alike(tmp_path: Path) -> None:
    """8 pseudo labels are two rounds of two crops in each process, spread over what is left."""
    parallel.launch(_two_rounds, (tmp_path,), 2, tmp_path / ".meeting")


def test_the_focal_loss_is_monais() -> None:
    from monai.losses import FocalLoss  # here, since the processes below read this file, too

    generator = torch.Generator().manual_seed(3)
    logits = torch.randn(2, 4, 9, 7, generator=generator, dtype=torch.float64, requires_grad=True)
    labels = torch.randint(0, 4, (2, 1, 9, 7), generator=generator)
    target = torch.zeros_like(logits).scatter_(1, labels, 1.0)
    own = segmentation_loss(logits, target, 1.0, 0.0, focal_gamma=2.0)
    theirs = FocalLoss(gamma=2.0, use_softmax=True)(logits, target) * 4  # its mean is over classes, too
    assert own.item() == pytest.approx(theirs.item(), rel=1e-6)  # MONAI goes through float32
    (slope,) = torch.autograd.grad(own, logits)
    (other,) = torch.autograd.grad(theirs, logits)
    torch.testing.assert_close(slope, other, rtol=1e-4, atol=1e-7)
    one, mark = logits[:, :1], target[:, :1]
    binary = FocalLoss(gamma=2.0)(one, mark)
    assert segmentation_loss(one, mark, 1.0, 0.0, focal_gamma=2.0).item() == pytest.approx(binary.item())
    sure = torch.full((1, 1, 2, 2), 90.0, requires_grad=True)
    segmentation_loss(sure, torch.ones(1, 1, 2, 2), 1.0, 0.0, focal_gamma=2.0).backward()
    assert torch.isfinite(sure.grad).all()  # type: ignore[arg-type]


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_the_small_preset_learns_ground_glass_and_consolidation(tmp_path: Path) -> None:
    """From made-up scans to the report's table, by the commands; minutes long."""
    known, strange = tmp_path / "known", tmp_path / "strange"
    for folder, patients, seed in ((known, 5, "7"), (strange, 3, "8")):
        made = ["--opacities", "--preset", "ci", "--format", "nifti", "--patients", str(patients)]
        assert main(["phantom", *made, "--seed", seed, "-o", str(folder)]) == 0
    settings = ["--preset", "unet_pl_small", "--iterations", "400", "--name", "opacities"]
    run, tables = tmp_path / "run", tmp_path / "tables"
    data = ["--phantom", str(known), "--unlabelled", str(strange)]
    assert main(["train", *data, *settings, "-o", str(run)]) == 0
    assert "ground-glass opacity and consolidation" in (run / "model" / "README.md").read_text("utf-8")
    assert main(["evaluate", "--phantom", str(known), "--model", str(run / "model"), "-o", str(tables)]) == 0
    text = (tables / "summary.md").read_text(encoding="utf-8")
    assert "1.96" in text
    rows = json.loads((tables / "evaluation.json").read_text("utf-8"))["images"].popitem()[1]
    overall = next(row for row in rows if row["class"] == "overall")
    assert overall["F1-Score"]["mean"] > 0.45  # background alone is 0.33
