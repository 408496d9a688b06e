"""StitchNet's strategy: the bound rises, unlabelled crops teach, and what tells whether they do."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from PESemiSegLib.cohorts.anchors import find_anchors
from PESemiSegLib.cohorts.augment import NO_AUGMENTATION
from PESemiSegLib.cohorts.cache import CachedVolume
from PESemiSegLib.cohorts.sampling import LabelledCrops, SamplingConfig, UnlabelledCrops
from PESemiSegLib.errors import Cancelled, ConfigError
from PESemiSegLib.networks.config import DiscriminatorConfig, NetworkConfig
from PESemiSegLib.training import elbo
from PESemiSegLib.training.config import OptimiserConfig, TrainConfig
from PESemiSegLib.training.crops import Crops, placed
from PESemiSegLib.training.presets import preset
from PESemiSegLib.training.settings import MIX, CrossSiteMixConfig, SemiConfig, StitchNetConfig
from PESemiSegLib.training.strategies.base import Clock, ImageTensors, LabelledTensors
from PESemiSegLib.training.strategies.stitchnet import StitchNet
from PESemiSegLib.training.trainer import Trainer

CONFIG = TrainConfig(
    strategy="stitchnet",
    kind="opacities",
    network=NetworkConfig(width=4, architecture="stitchnet", classes=4),
    discriminator=DiscriminatorConfig(channels=(4, 4)),
    sampling=SamplingConfig(batch=2, crop=32, classes=4, hu_window=(-1000.0, 200.0), augment=NO_AUGMENTATION),
    semi=SemiConfig(batch=3),
    segmenter_optimiser=OptimiserConfig("adam", lr=2e-2, warmup_iterations=0),
    iterations=2,
    validate_every=2,
    checkpoint_every=2,
)
CLOCK = Clock(0, 0.5)


@pytest.fixture(autouse=True)
def _one_thread() -> None:
    torch.set_num_threads(1)


def _volume(seed: int) -> CachedVolume:
    """A lung with a square of ground glass and one of consolidation, in a chest."""
    rng = np.random.default_rng(seed)
    mask = np.zeros((4, 64, 64), np.uint8)
    mask[:, 12:52, 12:52] = 3
    mask[:, 16:30, 16:30], mask[:, 36:48, 34:48] = 1, 2
    hu = np.array([40, -600, 0, -850])[mask] + rng.normal(0, 20, mask.shape)
    image = hu.astype(np.int16)
    return CachedVolume("A", image, mask, find_anchors(image, mask, (1.0, 2.0), rng, 4), 1.0, 2.0)


def _trainer(config: TrainConfig, folder: Path, unlabelled: bool = True, **options: Any) -> Trainer:
    others = UnlabelledCrops([_volume(5)], replace(config.sampling, batch=config.semi.batch), 9)
    crops = Crops(LabelledCrops([_volume(4)], config.sampling, 1), None, others if unlabelled else None)
    return Trainer(config, crops, folder, **options)


def _batches(trainer: Trainer) -> tuple[LabelledTensors, ImageTensors]:
    known, unknown = placed(*trainer.draw(0), trainer.device)
    assert unknown is not None
    return known, unknown


def _with(**changes: Any) -> TrainConfig:
    return replace(CONFIG, semi=replace(CONFIG.semi, stitchnet=StitchNetConfig(**changes)))


def test_the_bound_of_one_batch_rises(tmp_path: Path) -> None:
    trainer = _trainer(_with(supervised_weight=0.0), tmp_path)
    known, unknown = _batches(trainer)
    found = [trainer.strategy.step(known, unknown, Clock(n, 0.5)).figures for n in range(6)]
    bounds = [sum(f[n] for n in ("L_seg", "L_x", "L_kl", "L_semi", "L_kl_unlabelled")) for f in found]
    assert np.mean(bounds[-2:]) < np.mean(bounds[:2]) - 1.0
    for name in ("L_seg", "L_x", "L_semi"):
        assert found[-1][name] < found[0][name] - 0.1
    assert "L_focal" not in found[0]


def test_the_terms_are_the_bound_written_out(tmp_path: Path) -> None:
    """Eq. 9 and 10, class by class and in plain sums, on the latents that the step drew."""
    trainer = _trainer(_with(supervised_weight=2.0), tmp_path)
    known, unknown = _batches(trainer)
    strategy = trainer.strategy
    assert isinstance(strategy, StitchNet)
    with torch.no_grad():
        seen = strategy._explained(torch.cat([known.image, unknown.image]), CLOCK)
    figures = strategy.step(known, unknown, CLOCK).figures
    labels, pixels = seen.logits.softmax(1).double(), 32 * 32
    image = torch.cat([known.image, unknown.image])
    density = elbo.log_appearance(image, seen.styles, "beta").double().exp()
    of_label = (labels[:2] * known.mask).sum(1)
    assert figures["L_seg"] == pytest.approx(-of_label.log().mean().item(), rel=1e-5)
    of_image = (density[:2] * known.mask).sum(1)
    assert figures["L_x"] == pytest.approx(-of_image.log().mean().item(), rel=1e-4)
    summed = (labels[2:] * density[2:]).sum(1)
    assert figures["L_semi"] == pytest.approx(-summed.log().mean().item(), rel=1e-4)
    focal = -((1 - of_label) ** 2 * of_label.log()).mean().item()
    assert figures["L_focal"] == pytest.approx(2 * focal, rel=1e-5)
    for name, images in (("L_kl", slice(2)), ("L_kl_unlabelled", slice(2, None))):
        levels = [*seen.z.of(images).divergences(), *seen.k.of(images).divergences()]
        per_image = sum(level.sum((1, 2, 3)) for level in levels)
        assert isinstance(per_image, Tensor)
        assert figures[name] == pytest.approx(per_image.mean().item() / pixels, rel=1e-4)
    assert figures["L_kl"] == pytest.approx(figures["kl_z"] + figures["kl_k"], rel=1e-5)


def test_unlabelled_crops_reach_every_part_of_the_network(tmp_path: Path) -> None:
    trainer = _trainer(CONFIG, tmp_path)
    _, unknown = _batches(trainer)
    strategy = trainer.strategy
    assert isinstance(strategy, StitchNet)
    found = strategy._explained(unknown.image, CLOCK)
    (-elbo.log_mixture(strategy._log_joint(unknown.image, found)).mean()).backward()
    for name, part in trainer.segmenter.module.named_children():
        moved = [float(p.grad.abs().max()) for p in part.parameters() if p.grad is not None]
        assert max(moved) > 0, name


def test_without_the_weight_of_labels_only_unlabelled_crops_teach(tmp_path: Path) -> None:
    """The report's run on unlabelled images alone: what the labels say changes no weight."""
    found = []
    for turned in (False, True):
        trainer = _trainer(_with(labelled_weight=0.0), tmp_path)
        known, unknown = _batches(trainer)
        mask = known.mask.roll(1, 1) if turned else known.mask
        trainer.strategy.step(LabelledTensors(known.image, mask), unknown, CLOCK)
        found.append(trainer.segmenter.state()[0])
    assert [name for name, value in found[0].items() if not torch.equal(value, found[1][name])] == []


def test_pixels_without_a_label_count_as_unlabelled(tmp_path: Path) -> None:
    found = []
    for turned in (False, True):
        trainer = _trainer(CONFIG, tmp_path, unlabelled=False)
        known, _ = placed(*trainer.draw(0), trainer.device)
        valid, mask = torch.ones_like(known.mask[:, :1]), known.mask.clone()
        valid[..., 20:] = 0.0
        if turned:
            mask[..., 20:] = mask[..., 20:].roll(1, 1)
        found.append(trainer.strategy.step(LabelledTensors(known.image, mask, valid), None, CLOCK).figures)
    assert {n: v for n, v in found[0].items() if not n.startswith(("L_D", "D_"))} == {
        n: v for n, v in found[1].items() if not n.startswith(("L_D", "D_"))
    }


def test_divergences_warm_up_and_the_unlabelled_term_has_its_start_and_weight(tmp_path: Path) -> None:
    trainer = _trainer(_with(kl_warmup=0.5, start=0.2, weight=0.5), tmp_path)
    known, unknown = _batches(trainer)
    early = trainer.strategy.step(known, unknown, Clock(0, 0.1)).figures
    assert "L_semi" not in early
    assert early["L_kl"] == pytest.approx(0.2 * (early["kl_z"] + early["kl_k"]), rel=1e-5)
    late = trainer.strategy.step(known, unknown, Clock(1, 0.9)).figures
    asked = late["kl_z_unlabelled"] + late["kl_k_unlabelled"]
    assert late["L_kl_unlabelled"] == pytest.approx(0.5 * asked, rel=1e-5)


def test_a_stopped_run_goes_on_bit_for_bit(tmp_path: Path) -> None:
    """Around it cross-site mixing, which adds crops that are labelled in part."""
    mix = CrossSiteMixConfig(start=0, threshold=0.5)
    config = replace(CONFIG, strategy=f"stitchnet+{MIX}", semi=replace(CONFIG.semi, cross_site_mix=mix))
    for name in ("whole", "parts"):
        (tmp_path / name).mkdir()
    whole = _trainer(config, tmp_path / "whole")
    whole.run()
    first = _trainer(config, tmp_path / "parts", cancelled=lambda: first.iteration >= 1)
    with pytest.raises(Cancelled):
        first.run()
    second = _trainer(config, tmp_path / "parts")
    second.resume()
    second.run()
    one, two = (run.segmenter.state()[0] for run in (whole, second))
    assert [name for name in one if not torch.equal(one[name], two[name])] == []


def test_it_needs_its_network_and_can_do_without_unlabelled_scans(tmp_path: Path) -> None:
    assert CONFIG.takes_unlabelled
    assert not CONFIG.needs_unlabelled
    assert replace(CONFIG, strategy=f"stitchnet+{MIX}").needs_unlabelled
    unet = NetworkConfig(width=4, architecture="unet2d", classes=4)
    with pytest.raises(ConfigError, match="stitchnet"):
        replace(CONFIG, network=unet)
    network, sampling = replace(CONFIG.network, classes=3), replace(CONFIG.sampling, classes=3)
    with pytest.raises(ConfigError, match="last class is healthy tissue"):
        replace(CONFIG, kind="arteries", strategy="supervised", network=network, sampling=sampling)
    for wrong in ({"likelihood": "poisson"}, {"supervised_weight": -1.0}, {"kl_warmup": 2.0}):
        with pytest.raises(ConfigError, match="stitchnet"):
            StitchNetConfig(**wrong)  # type: ignore[arg-type]
    plan = _trainer(CONFIG, tmp_path).strategy.timeline()
    assert "100 focal" in plan[0]
    assert "summed over labels" in plan[1]
    assert "L_D" in plan[-1]


def test_the_presets_are_the_report_and_its_later_code() -> None:
    report, later = preset("stitchnet_seed"), preset("stitchnet_beta")
    assert report.kind == later.kind == "opacities"
    assert (report.network.width, report.network.depth, report.network.classes) == (16, "full", 4)
    assert report.sampling == later.sampling
    assert report.sampling.crop == 64
    assert report.sampling.hu_window == preset("unet_pl").sampling.hu_window
    one, other = report.semi.stitchnet, later.semi.stitchnet
    assert (one.likelihood, one.supervised_weight, one.kl_warmup, one.free_bits) == ("bernoulli", 0, 0, 0)
    assert (other.likelihood, other.supervised_weight, other.focal_gamma) == ("beta", 100, 2)
    optimiser = later.segmenter_optimiser
    assert (optimiser.kind, optimiser.lr, optimiser.clip_norm, optimiser.poly_power) == ("adam", 3e-4, 1, 0)
    for name in ("stitchnet_seed_small", "stitchnet_beta_small"):
        assert preset(name).name == name
        assert preset(name).semi.stitchnet == preset(name.removesuffix("_small")).semi.stitchnet
