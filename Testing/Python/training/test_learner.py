"""One step of an optimiser: the rate's schedule, clipping, and what decays."""

import pytest
import torch
from torch import nn

from PESemiSegLib.training.config import OptimiserConfig
from PESemiSegLib.training.learner import Learner


def test_the_rate_rises_over_the_warm_up_and_falls_with_the_progress() -> None:
    config = OptimiserConfig(lr=0.1, warmup_iterations=4, poly_power=2.0, lr_end=0.02)
    learner = Learner("s", nn.Linear(2, 1), config)
    assert learner.schedule(0, 0.0) == pytest.approx(0.025)
    assert learner.schedule(1, 0.0) == pytest.approx(0.05)
    assert learner.schedule(100, 0.5) == pytest.approx(0.02 + 0.08 * 0.25)
    assert learner.optimiser.param_groups[0]["lr"] == pytest.approx(0.04)
    cosine = OptimiserConfig(lr=0.1, decay="cosine")
    assert [cosine.factor(share) for share in (0.0, 0.5, 1.0)] == pytest.approx([1.0, 0.5, 0.0])


def test_a_steep_step_is_clipped_and_its_whole_slope_told() -> None:
    for limit, length in ((0.5, 0.05), (0.0, 0.5)):
        module = nn.Linear(2, 1, bias=False)
        nn.init.zeros_(module.weight)
        config = OptimiserConfig("sgd", lr=0.1, weight_decay=0.0, momentum=0.0, clip_norm=limit)
        learner = Learner("s", module, config)
        norm = learner.descend({"L": (module.weight * torch.tensor([[3.0, 4.0]])).sum()})
        assert norm == pytest.approx(5.0)
        assert float(module.weight.detach().norm()) == pytest.approx(length)


def test_norms_and_biases_do_not_decay() -> None:
    module = nn.Sequential(nn.Conv2d(1, 2, 1), nn.BatchNorm2d(2))
    for parameter in module.parameters():
        nn.init.ones_(parameter)
    learner = Learner("s", module, OptimiserConfig("sgd", lr=0.1, weight_decay=0.5, momentum=0.0))
    learner.descend({"L": 0.0 * sum(parameter.sum() for parameter in module.parameters())})
    left = {name: float(parameter.detach().mean()) for name, parameter in module.named_parameters()}
    assert left.pop("0.weight") == pytest.approx(0.95)
    assert set(left.values()) == {1.0}
