"""Every strategy's terms against float64 worked out by hand, on networks of one weight."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from torch import Tensor, nn
from torch.nn import functional as F

from PESemiSegLib.networks.config import DiscriminatorConfig, NetworkConfig
from PESemiSegLib.training.config import OptimiserConfig, TrainConfig
from PESemiSegLib.training.ema import WeightAverage
from PESemiSegLib.training.learner import Learner
from PESemiSegLib.training.plain import from_plain
from PESemiSegLib.training.settings import (
    MIX,
    BcpConfig,
    SemiConfig,
)
from PESemiSegLib.training.strategies import adversarial as adversarial_room
from PESemiSegLib.training.strategies import bcp as bcp_room
from PESemiSegLib.training.strategies import build_strategy
from PESemiSegLib.training.strategies import cross_site_mix as mix_room
from PESemiSegLib.training.strategies import fixmatch as fixmatch_room
from PESemiSegLib.training.strategies import unimatch as unimatch_room
from PESemiSegLib.training.strategies.base import Clock, ImageTensors, LabelledTensors

AT_ONCE = from_plain(SemiConfig, yaml.safe_load(Path(__file__).with_name("at_once.yaml").read_text()))


class _Scale(nn.Module):
    """logits = w x; features = x at half the size; head = w f."""

    def __init__(self, weight: float) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.tensor(weight))

    def forward(self, image: Tensor) -> Tensor:
        return self.forward_features(image)[0]

    def forward_features(self, image: Tensor) -> tuple[Tensor, Tensor]:
        return self.weight * image, F.avg_pool2d(image, 2)

    def head(self, features: Tensor) -> Tensor:
        return self.weight * features


class _Judge(nn.Module):
    """Confidence logits = a (p - 0.4) + the mean feature."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.tensor(3.0))

    def forward(self, probability: Tensor, features: Tensor) -> Tensor:
        return self.weight * (probability - 0.4) + features.mean((1, 2, 3), keepdim=True)


def _sigmoid(x: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-x))


def _bce(x: np.ndarray, y: Any, valid: Any = 1.0) -> float:
    p, valid = _sigmoid(x), np.broadcast_to(valid, x.shape)
    each = -(y * np.log(p) + (1 - y) * np.log(1 - p)) * valid
    return float(each.sum() / max(1.0, valid.sum()))


def _seg(x: np.ndarray, y: np.ndarray, valid: Any = 1.0) -> float:
    p, y = _sigmoid(x) * valid, y * valid
    axes = (1, 2, 3)
    dice = (2 * (p * y).sum(axes) + 1e-5) / (p.sum(axes) + y.sum(axes) + 1e-5)
    return 0.5 * _bce(x, y, valid) + 1 - float(dice.mean())


def _judged(x: np.ndarray, seen: np.ndarray | None = None) -> np.ndarray:
    """Of a mask beside the features of x; without one, of the prediction."""
    seen = _sigmoid(1.5 * x) if seen is None else seen
    return 3.0 * (seen - 0.4) + x.mean((1, 2, 3), keepdims=True)


class _Stage:
    """A strategy on one-weight networks, whose descents are written down instead of done."""

    def __init__(self, strategy: str, semi: SemiConfig = AT_ONCE) -> None:
        learners = [
            Learner(name, module, OptimiserConfig("sgd"))
            for name, module in (("segmenter", _Scale(1.5)), ("discriminator", _Judge()))
        ]
        config = TrainConfig(
            strategy=strategy,
            network=NetworkConfig(width=4),
            discriminator=DiscriminatorConfig(channels=(8, 4)),
            semi=semi,
        )
        self.strategy = build_strategy(learners[0], learners[1], config)
        self.terms: dict[str, float] = {}
        for learner in self.strategy.learners.values():
            learner.descend = self._note  # type: ignore[method-assign]
        rng = np.random.default_rng(3)
        self.x, self.u = rng.uniform(-1, 1, (2, 1, 8, 8)), rng.uniform(-1, 1, (3, 1, 8, 8))
        self.m = (rng.random((2, 1, 8, 8)) < 0.3).astype(float)

    def _note(self, terms: dict[str, Tensor]) -> float:
        self.terms |= {name: float(term.detach()) for name, term in terms.items()}
        return 0.0

    def step(self, valid: np.ndarray | None = None, progress: float = 0.5) -> dict[str, float]:
        known = LabelledTensors(_tensor(self.x), _tensor(self.m), None if valid is None else _tensor(valid))
        return self.strategy.step(known, ImageTensors(_tensor(self.u)), Clock(0, progress)).figures


def _tensor(array: np.ndarray) -> Tensor:
    return torch.from_numpy(array.astype(np.float32))


def _teach_with(average: WeightAverage, weight: float) -> None:
    with torch.no_grad():
        average.state()["weight"].fill_(weight)


def _close(terms: dict[str, float], **expected: float) -> None:
    for name, value in expected.items():
        assert terms[name] == pytest.approx(value, rel=2e-5, abs=1e-7), name


@pytest.mark.parametrize("trust", [0.5, "q0.25"])
def test_adversarial_terms_by_hand(trust: float | str) -> None:
    stage = _Stage(
        "adversarial_feature", semi=replace(AT_ONCE, adversarial=replace(AT_ONCE.adversarial, trust=trust))
    )
    figures = stage.step()

    confidence = _sigmoid(_judged(stage.u))
    threshold = 0.5 if trust == 0.5 else np.sort(confidence.ravel())[round(0.25 * confidence.size) - 1]
    trusted = confidence >= threshold
    marked = 1.5 * stage.u > 0
    semi = _bce(1.5 * stage.u, marked, trusted)
    real, fake = _judged(stage.x, stage.m), _judged(stage.x)
    _close(
        stage.terms,
        L_seg=_seg(1.5 * stage.x, stage.m),
        L_adv=0.3 * _bce(_judged(stage.x), 1.0),
        L_adv_unlabelled=0.2 * _bce(_judged(stage.u), 1.0),
        L_semi=0.7 * semi,
        L_D=0.5 * _bce(real, 1.0) + 0.5 * _bce(fake, 0.0),
    )
    assert 0 < trusted.mean() < 1
    _close(
        figures,
        trusted_share=trusted.mean(),
        trusted_positive_share=(trusted & marked).sum() / marked.sum(),
        positive_fraction_unlabelled=marked.mean(),
        D_on_unlabelled=confidence.mean(),
    )


def test_the_strong_view_learns_what_d_trusts_of_the_weak_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(adversarial_room, "strong", lambda image, *_: 0.5 * image - 0.1)
    own = replace(AT_ONCE.adversarial, trust=0.5, strong_view=True)
    stage = _Stage("adversarial_feature", semi=replace(AT_ONCE, adversarial=own))
    stage.step()
    trusted = _sigmoid(_judged(stage.u)) >= 0.5
    semi = _bce(1.5 * (0.5 * stage.u - 0.1), 1.5 * stage.u > 0, trusted)
    _close(stage.terms, L_seg=_seg(1.5 * stage.x, stage.m), L_semi=0.7 * semi)


def test_what_d_trusts_must_be_sure_of_itself_too_where_that_is_asked() -> None:
    own = replace(AT_ONCE.adversarial, trust=0.5, sure=0.6)
    stage = _Stage("adversarial_feature", semi=replace(AT_ONCE, adversarial=own))
    stage.step()
    p = _sigmoid(1.5 * stage.u)
    trusted, sure = _sigmoid(_judged(stage.u)) >= 0.5, np.maximum(p, 1 - p) >= 0.6
    assert (trusted & sure).sum() < min(trusted.sum(), sure.sum())
    semi = _bce(1.5 * stage.u, p > 0.5, trusted & sure)
    _close(stage.terms, L_seg=_seg(1.5 * stage.x, stage.m), L_semi=0.7 * semi)


def test_marked_and_unmarked_have_a_quantile_each_and_still_weigh_as_they_are() -> None:
    own = replace(AT_ONCE.adversarial, trust="q0.5", balance="trust")
    stage = _Stage("adversarial_feature", semi=replace(AT_ONCE, adversarial=own))
    stage.step()
    confidence, marked = _sigmoid(_judged(stage.u)), stage.u > 0
    least = {group: np.quantile(confidence[marked == group], 0.5, method="lower") for group in (True, False)}
    trusted = confidence >= np.where(marked, least[True], least[False])
    _close(stage.terms, L_semi=0.7 * _bce(1.5 * stage.u, marked, trusted))


def test_d_remain_adds_unlabelled_predictions_to_the_fakes() -> None:
    settings = replace(AT_ONCE, adversarial=replace(AT_ONCE.adversarial, remain=True))
    stage = _Stage("adversarial_feature", semi=settings)
    stage.step()

    fakes = np.concatenate([_judged(stage.x), _judged(stage.u)])
    _close(stage.terms, L_D=0.5 * _bce(_judged(stage.x, stage.m), 1.0) + 0.5 * _bce(fakes, 0.0))


def test_pseudo_label_terms_by_hand() -> None:
    stage = _Stage("pseudo_label")
    stage.step()
    p = _sigmoid(1.5 * stage.u)
    semi = _seg(1.5 * stage.u, p > 0.5, np.maximum(p, 1 - p) >= 0.7)
    _close(stage.terms, L_seg=_seg(1.5 * stage.x, stage.m), L_semi=0.4 * semi)


def test_mean_teacher_terms_by_hand() -> None:
    stage = _Stage("mean_teacher")
    _teach_with(stage.strategy.averages["teacher"], 0.5)
    stage.step()
    difference = _sigmoid(1.5 * stage.u) - _sigmoid(0.5 * stage.u)
    _close(stage.terms, L_seg=_seg(1.5 * stage.x, stage.m), L_semi=0.4 * float((difference**2).mean()))


def test_cps_terms_by_hand(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("PESemiSegLib.training.strategies.cps.build_segmenter", lambda *_, **__: _Scale(-0.5))
    stage = _Stage("cps")
    stage.step()
    first, second = 1.5 * stage.u, -0.5 * stage.u
    _close(
        stage.terms,
        L_seg=_seg(1.5 * stage.x, stage.m),
        L_seg_second=_seg(-0.5 * stage.x, stage.m),
        L_semi=0.4 * _seg(first, second > 0),
        L_semi_second=0.4 * _seg(second, first > 0),
    )


@pytest.mark.parametrize("teacher", [None, 0.8])
def test_fixmatch_terms_by_hand(monkeypatch: pytest.MonkeyPatch, teacher: float | None) -> None:
    monkeypatch.setattr(fixmatch_room, "strong", lambda image, *_: 0.5 * image + 0.1)
    settings = replace(AT_ONCE.fixmatch, teacher_decay=0.9 if teacher else 0.0)
    stage = _Stage("fixmatch", semi=replace(AT_ONCE, fixmatch=settings))
    if teacher:
        _teach_with(stage.strategy.averages["teacher"], teacher)
    stage.step()
    p = _sigmoid((teacher or 1.5) * stage.u)
    semi = _seg(1.5 * (0.5 * stage.u + 0.1), p > 0.5, np.maximum(p, 1 - p) >= 0.7)
    _close(stage.terms, L_seg=_seg(1.5 * stage.x, stage.m), L_semi=0.4 * semi)


def test_unimatch_terms_by_hand(monkeypatch: pytest.MonkeyPatch) -> None:
    box = np.zeros((3, 1, 8, 8))
    box[:, :, 2:5, 1:6] = 1
    monkeypatch.setattr(unimatch_room, "strong", lambda image, *_: 0.5 * image + 0.1)
    monkeypatch.setattr(unimatch_room, "cutmix_boxes", lambda *_: _tensor(box))
    stage = _Stage("unimatch")
    stage.step()
    p = _sigmoid(1.5 * stage.u)
    label, sure = p > 0.5, np.maximum(p, 1 - p) >= 0.7

    def mixed(x: np.ndarray) -> np.ndarray:
        return np.where(box > 0, np.roll(x, 1, 0), x)

    strong = _seg(1.5 * (0.5 * mixed(stage.u) + 0.1), mixed(label), mixed(sure))
    half = F.avg_pool2d(torch.from_numpy(stage.u), 2)
    whole = F.interpolate(1.5 * half, scale_factor=2, mode="bilinear", align_corners=False).numpy()
    expected = 2 * 0.25 * strong + 0.5 * _seg(whole, label, sure)
    _close(stage.terms, L_seg=_seg(1.5 * stage.x, stage.m), L_semi=0.4 * expected)


def test_bcp_terms_by_hand(monkeypatch: pytest.MonkeyPatch) -> None:
    box = np.zeros((3, 1, 8, 8))
    box[:, :, 1:6, 2:7] = 1
    monkeypatch.setattr(bcp_room, "boxes", lambda like, *_: _tensor(box[: len(like)]))
    stage = _Stage("bcp")
    _teach_with(stage.strategy.averages["teacher"], -0.7)
    stage.step()
    image, mask = stage.x[[0, 1, 0]], stage.m[[0, 1, 0]]  # the shorter batch is repeated
    guess = -0.7 * stage.u > 0
    inward, outward = (1.5 * np.where(box > 0, a, b) for a, b in ((image, stage.u), (stage.u, image)))
    own = 0.5 * (_seg(inward, mask, box) + _seg(outward, mask, 1 - box))
    other = 0.5 * (_seg(inward, guess, 1 - box) + _seg(outward, guess, box))
    _close(stage.terms, L_seg=own, L_semi=0.4 * other)


def test_bcp_begins_with_copy_paste_among_labelled_crops(monkeypatch: pytest.MonkeyPatch) -> None:
    box = np.zeros((2, 1, 8, 8))
    box[:, :, 1:6, 2:7] = 1
    monkeypatch.setattr(bcp_room, "boxes", lambda *_: _tensor(box))
    stage = _Stage("bcp", semi=replace(AT_ONCE, bcp=BcpConfig(start=0.9)))
    stage.step()
    image, mask = (np.where(box > 0, a[::-1], a) for a in (stage.x, stage.m))
    _close(stage.terms, L_seg=_seg(1.5 * image, mask))
    assert "L_semi" not in stage.terms


def test_mixing_adds_crops_of_both_sites_that_s_alone_learns_from(monkeypatch: pytest.MonkeyPatch) -> None:
    box = np.zeros((1, 1, 8, 8))
    box[:, :, 2:6, 2:6] = 1
    seen: list[Tensor] = []

    def others(high: int, size: tuple[int], **_: Any) -> Tensor:
        return torch.tensor([2, 0])

    monkeypatch.setattr(mix_room, "boxes", lambda *_: _tensor(box))
    monkeypatch.setattr(mix_room.torch, "randint", others)
    settings = replace(AT_ONCE, cross_site_mix=replace(AT_ONCE.cross_site_mix, style_probability=0.0))
    stage = _Stage(MIX, semi=settings)
    judge = stage.strategy.learners["discriminator"].module
    judge.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    _teach_with(stage.strategy.averages["mix_teacher"], 0.8)
    stage.step()
    strange = stage.u[[2]]
    p = _sigmoid(0.8 * strange)
    image = np.concatenate([stage.x, np.where(box > 0, stage.x[:1], strange)])
    mask = np.concatenate([stage.m, np.where(box > 0, stage.m[:1], p > 0.5)])
    valid = np.concatenate([np.ones_like(stage.m), np.where(box > 0, 1, np.maximum(p, 1 - p) >= 0.6)])
    assert 0.2 < valid[2].mean() < 1
    _close(stage.terms, L_seg=_seg(1.5 * image, mask, valid))
    assert [len(each) for each in seen] == [4]  # two annotators' masks and two predictions
