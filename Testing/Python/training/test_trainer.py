"""The loop: who gets gradients, overfitting one batch, resuming bit for bit, stopping when a loss breaks."""

import contextlib
import itertools
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from PESemiSegLib.cohorts.anchors import find_anchors
from PESemiSegLib.cohorts.augment import AugmentConfig
from PESemiSegLib.cohorts.cache import CachedVolume
from PESemiSegLib.cohorts.sampling import LabelledBatch, LabelledCrops, SamplingConfig
from PESemiSegLib.errors import Cancelled, InputError
from PESemiSegLib.networks.config import DiscriminatorConfig, NetworkConfig
from PESemiSegLib.training import trainer as trainer_room
from PESemiSegLib.training.checkpoint import load_checkpoint
from PESemiSegLib.training.config import LessonsConfig, LossConfig, OptimiserConfig, TrainConfig
from PESemiSegLib.training.crops import Crops
from PESemiSegLib.training.finish import When, lessons, settings_of, teach
from PESemiSegLib.training.layout import tensor_on
from PESemiSegLib.training.learner import NonFiniteLoss
from PESemiSegLib.training.rehearsal import two_steps
from PESemiSegLib.training.settings import AdversarialConfig, BcpConfig, SemiConfig
from PESemiSegLib.training.strategies.base import Clock, LabelledTensors, Outcome
from PESemiSegLib.training.trainer import CHECKPOINT, Event, Trainer
from PESemiSegLib.training.unread import unread

CONFIG = TrainConfig(
    network=NetworkConfig(width=8, context=3, upsample="bilinear"),
    sampling=SamplingConfig(batch=2, crop=32, context=3, augment=AugmentConfig()),
    losses=LossConfig(dice_over="batch", real_label=0.9, soften_mask_pixels=1.0, background_weight=0.1),
    segmenter_optimiser=OptimiserConfig("adamw", lr=5e-3, warmup_iterations=2),
    iterations=4,
    ema_decay=0.9,
    validate_every=2,
    validation_batches=1,
    checkpoint_every=2,
)


def _volume() -> CachedVolume:
    """Noise, bright squares, some of them with a dark clot that is the mask."""
    rng = np.random.default_rng(4)
    hu = rng.normal(-800, 20, (8, 64, 64))
    mask = np.zeros(hu.shape, np.uint8)
    for z, y, x in ((2, 10, 10), (3, 30, 40), (5, 44, 20), (6, 20, 50)):
        hu[z, y - 5 : y + 5, x - 5 : x + 5] = 300
    for z, y, x in ((2, 10, 10), (5, 44, 20)):
        hu[z, y - 3 : y + 3, x - 3 : x + 3] = 40
        mask[z, y - 3 : y + 3, x - 3 : x + 3] = 1
    image = hu.astype(np.int16)
    return CachedVolume("A", image, mask, find_anchors(image, mask, (1.0, 2.0), rng), 1.0, 2.0)


def _crops(config: TrainConfig = CONFIG) -> Crops:
    return Crops(
        LabelledCrops([_volume()], config.sampling, 1), LabelledCrops([_volume()], config.sampling, 2)
    )


def _batch(trainer: Trainer, index: int = 0) -> LabelledTensors:
    batch = trainer.crops.train.batch(index)
    return LabelledTensors(tensor_on(trainer.device, batch.image), tensor_on(trainer.device, batch.mask))


@pytest.fixture(autouse=True)
def _one_thread() -> None:
    torch.set_num_threads(1)


def _state(trainer: Trainer) -> dict[str, torch.Tensor]:
    both = {"s": trainer.segmenter, "d": trainer.discriminator}
    return {f"{k}/{n}": v.clone() for k, p in both.items() for n, v in p.state()[0].items()}


def test_the_loss_of_d_leaves_no_gradient_in_s_and_the_reverse(tmp_path: Path) -> None:
    trainer = Trainer(CONFIG, _crops(), tmp_path)
    batch = _batch(trainer)
    trainer.segmenter.optimiser.zero_grad(set_to_none=True)
    logits, features = trainer.segmenter.module.forward_features(batch.image)  # type: ignore[operator]
    teach(
        trainer.discriminator, trainer.config.losses, batch.mask, logits.detach().sigmoid(), features.detach()
    )
    assert all(p.grad is None for p in trainer.segmenter.module.parameters())
    assert all(p.grad is not None for p in trainer.discriminator.module.parameters())

    trainer = Trainer(replace(CONFIG, discriminator_start=1.0), _crops(), tmp_path)
    before = {n: v.clone() for n, v in trainer.discriminator.module.state_dict().items()}
    figures = trainer.strategy.step(batch, None, Clock(0, 0.0)).figures
    assert "L_D" not in figures
    assert all(p.grad is None for p in trainer.discriminator.module.parameters())
    for name, value in trainer.discriminator.module.state_dict().items():
        assert torch.equal(value, before[name]), name


def test_s_learns_the_same_with_and_without_d_beside_it(tmp_path: Path) -> None:
    finals = []
    for start in (0.0, 1.0):
        trainer = Trainer(replace(CONFIG, discriminator_start=start), _crops(), tmp_path)
        trainer.run()
        finals.append(trainer.segmenter.module.state_dict())
    for name, value in finals[0].items():
        assert torch.equal(value, finals[1][name]), name


def test_one_batch_can_be_learnt_by_heart(tmp_path: Path) -> None:
    trainer = Trainer(replace(CONFIG, discriminator_start=1.0), _crops(), tmp_path)
    batch = next(b for b in (_batch(trainer, i) for i in range(20)) if b.mask.sum() > 20)
    losses, steps = [], 60
    for iteration in range(steps):
        for group in trainer.segmenter.optimiser.param_groups:
            group["lr"] = 1e-2 * (1 - iteration / steps)  # comes to rest, whatever the last digits
        losses.append(trainer.strategy.step(batch, None, Clock(iteration, 0.0)).figures["L_seg"])
    assert losses[0] > 0.8
    assert losses[-1] < 0.2, losses[::6]


@pytest.mark.parametrize(("kind", "stop"), [("adamw", 3), ("sgd", 4)])  # 4: where hard spots are renewed
def test_a_resumed_run_is_the_uninterrupted_one_bit_for_bit(
    tmp_path: Path, kind: str, stop: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(trainer_room, "_STRETCH", 2)
    config = replace(
        CONFIG,
        sampling=replace(CONFIG.sampling, replay=0.5),
        segmenter_optimiser=OptimiserConfig(kind, lr=5e-3, warmup_iterations=2),
        iterations=6,
    )
    (tmp_path / "whole").mkdir()
    (tmp_path / "parts").mkdir()
    whole = Trainer(config, _crops(config), tmp_path / "whole")
    whole.run()
    first = Trainer(config, _crops(config), tmp_path / "parts", cancelled=lambda: first.iteration >= stop)
    with pytest.raises(Cancelled):
        first.run()
    second = Trainer(config, _crops(config), tmp_path / "parts")
    second.resume()
    assert second.iteration == stop
    second.run()
    assert len(whole.crops.train.hard) > 0
    np.testing.assert_array_equal(whole.crops.train.hard.state(), second.crops.train.hard.state())
    for one, two in ((_state(whole), _state(second)), (whole.average.state(), second.average.state())):
        assert one.keys() == two.keys()
        assert [name for name in one if not torch.equal(one[name], two[name])] == []


def test_what_a_network_draws_by_itself_follows_from_the_iteration(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """EfficientNet skips blocks by torch's own numbers, which no checkpoint holds."""
    drawn: dict[int, list[float]] = {}

    def step(labelled: LabelledTensors, unlabelled: None, clock: Clock) -> Outcome:
        drawn.setdefault(clock.iteration, []).append(float(torch.rand(1)))
        return Outcome({}, None)

    for chance in (1, 2):
        torch.manual_seed(chance)
        trainer = Trainer(CONFIG, _crops(), tmp_path)
        monkeypatch.setattr(trainer.strategy, "step", step)
        before = torch.get_rng_state()
        trainer.run()
        two_steps(trainer)
        assert torch.equal(before, torch.get_rng_state())
    assert [len(set(values)) for values in drawn.values()] == [1] * CONFIG.iterations
    assert len({values[0] for values in drawn.values()}) == CONFIG.iterations


def test_a_broken_loss_stops_names_its_term_and_keeps_the_last_good_state(tmp_path: Path) -> None:
    class Poisoned(LabelledCrops):
        def batch(self, iteration: int) -> LabelledBatch:
            batch = super().batch(iteration)
            if iteration == 3:
                batch.image[0, 0, 0, 0] = np.nan
            return batch

    crops = Crops(Poisoned([_volume()], CONFIG.sampling, 1))
    trainer = Trainer(CONFIG, crops, tmp_path)
    with pytest.raises(NonFiniteLoss, match="L_seg"):
        trainer.run()
    assert trainer.iteration == 3
    tensors, scalars = load_checkpoint(tmp_path / CHECKPOINT)
    assert scalars["iteration"] == 2
    assert all(torch.isfinite(value).all() for value in tensors.values() if value.is_floating_point())


def test_a_broken_gradient_is_not_applied(tmp_path: Path) -> None:
    trainer = Trainer(CONFIG, _crops(), tmp_path)
    before = {n: p.clone() for n, p in trainer.segmenter.module.named_parameters()}
    parameter = next(trainer.segmenter.module.parameters())
    # sqrt has a finite value and an infinite slope at 0
    with pytest.raises(NonFiniteLoss, match="gradient of trap"):
        trainer.segmenter.descend({"trap": (parameter * 0).abs().sum().sqrt()})
    for name, value in trainer.segmenter.module.named_parameters():
        assert torch.equal(value, before[name]), name


def test_the_time_limit_ends_the_schedule(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ticks = itertools.count()
    monkeypatch.setattr(trainer_room.time, "monotonic", lambda: 10.0 * next(ticks))
    config = replace(CONFIG, iterations=10_000, max_minutes=1.0)
    events: list[Event] = []
    trainer = Trainer(config, _crops(config), tmp_path, listen=events.append)
    trainer.run()
    assert trainer.iteration == 6  # steps of 10 s
    assert events[-1]["kind"] == "done"
    rates = [event["lr"] for event in events if event["kind"] == "step"]
    assert rates[-1] < max(rates) / 2
    assert load_checkpoint(tmp_path / CHECKPOINT)[1]["iteration"] == 6


def test_the_plan_ends_with_settings_that_nothing_looks_at(tmp_path: Path) -> None:
    told = replace(CONFIG, semi=SemiConfig(bcp=BcpConfig(box=0.5)))
    assert Trainer(told, _crops(), tmp_path).timeline()[-1] == "without effect here: semi.bcp.box"
    trainer = Trainer(CONFIG, _crops(), tmp_path)
    assert trainer.timeline() == trainer.strategy.timeline()


def test_events_tell_the_plan_the_figures_and_the_health(tmp_path: Path) -> None:
    events: list[Event] = []
    Trainer(CONFIG, _crops(), tmp_path, listen=events.append).run()
    kinds = [event["kind"] for event in events]
    assert kinds[0] == "timeline"
    assert kinds[-1] == "done"
    assert kinds.count("step") == 4
    assert kinds.count("validation") == kinds.count("health") == kinds.count("checkpoint") == 2
    assert "L_D" in next(event for event in events if event["kind"] == "health")["figures"]


def test_a_checkpoint_of_another_network_or_half_of_one_is_refused(tmp_path: Path) -> None:
    Trainer(CONFIG, _crops(), tmp_path).save()
    other = replace(CONFIG, network=NetworkConfig(width=4, context=3))
    with pytest.raises(InputError, match="another network"):
        Trainer(other, _crops(), tmp_path).resume()
    sgd = replace(CONFIG, segmenter_optimiser=OptimiserConfig("sgd"))
    for other, what in ((sgd, "optimiser"), (replace(CONFIG, ema_decay=0.0), "ema_decay")):
        with pytest.raises(InputError, match=what):
            Trainer(other, _crops(), tmp_path).resume()
    path = tmp_path / CHECKPOINT
    path.write_bytes(path.read_bytes()[:2000])
    with pytest.raises(InputError, match="cannot be read"):
        Trainer(CONFIG, _crops(), tmp_path).resume()
    path.unlink()
    with pytest.raises(InputError, match="cannot be read"):
        Trainer(CONFIG, _crops(), tmp_path).resume()


def test_the_average_forgets_the_start_and_follows_the_weights(tmp_path: Path) -> None:
    trainer = Trainer(CONFIG, _crops(), tmp_path)
    with torch.no_grad():
        for parameter in trainer.segmenter.module.parameters():
            parameter.fill_(1.0)
    for iteration in range(1, 200):
        trainer.average.update(iteration)
    assert all(
        torch.allclose(v, torch.ones(())) for n, v in trainer.average.state().items() if n.endswith("weight")
    )


def test_the_average_holds_the_norms_statistics_of_the_same_steps_as_the_weights(tmp_path: Path) -> None:
    trainer = Trainer(CONFIG, _crops(), tmp_path)
    name = next(n for n, _ in trainer.segmenter.module.named_buffers() if n.endswith("running_var"))
    buffer = trainer.segmenter.module.get_buffer(name)
    expected = trainer.average.state()[name].clone().double()
    for iteration in range(1, 40):
        buffer.fill_(float(iteration % 5))
        trainer.average.update(iteration)
        decay = min(CONFIG.ema_decay, (1.0 + iteration) / (10.0 + iteration))
        expected = decay * expected + (1.0 - decay) * buffer.double()
    torch.testing.assert_close(trainer.average.state()[name].double(), expected, rtol=1e-5, atol=1e-6)


def test_the_last_lessons_move_d_alone_and_resume_bit_for_bit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    finishing = replace(CONFIG, finish=LessonsConfig(iterations=4, batch=1, crop=48), checkpoint_every=1)
    for name in ("plain", "whole", "broken"):
        (tmp_path / name).mkdir()
    plain = Trainer(CONFIG, _crops(), tmp_path / "plain")
    plain.run()
    told: list[Event] = []

    def listen(event: Event) -> None:  # a picture is drawn with each report, within the lessons too
        told.append(event)
        with whole.average.applied() as segmenter:
            assert not segmenter.training

    pupils = []

    def spied(config: TrainConfig, when: When, segmenter: torch.nn.Module, *rest: Any) -> Any:
        pupils.append(segmenter.state_dict())
        return lessons(config, when, segmenter, *rest)

    monkeypatch.setattr(trainer_room, "lessons", spied)
    whole = Trainer(finishing, _crops(finishing), tmp_path / "whole", listen=listen)
    whole.run()
    assert all(torch.equal(value, pupils[0][name]) for name, value in whole.average.state().items())
    assert "D alone, for up to 4 steps after the last iteration" in whole.timeline()
    assert whole.taught["finish"] == 4
    last = [event for event in told if event["kind"] == "health"][-1]
    assert "L_seg" in last["figures"]  # of the training; the lessons' stand beside it
    assert any("last lessons" in sentence for sentence in last["sentences"])
    for name, value in plain.average.state().items():
        assert torch.equal(value, whole.average.state()[name]), name
    moved = [
        not torch.equal(a, b)
        for a, b in zip(
            plain.discriminator.module.parameters(), whole.discriminator.module.parameters(), strict=True
        )
    ]
    assert all(moved)

    resumed, _ = _broken_off(finishing, tmp_path / "broken", "finish")
    assert (resumed.iteration, resumed.taught["finish"]) == (4, 2)
    resumed.run()
    for name, value in _state(whole).items():
        assert torch.equal(value, _state(resumed)[name]), name


def _broken_off(config: TrainConfig, folder: Path, when: When) -> tuple[Trainer, set[str]]:
    """A run that was stopped after two lessons, to be gone on with; and whose weights had moved by then."""
    first = Trainer(config, _crops(config), folder, cancelled=lambda: first.taught[when] >= 2)
    before = _state(first)
    with pytest.raises(Cancelled):
        first.run()
    after = _state(first)
    resumed = Trainer(config, _crops(config), folder)
    resumed.resume()
    return resumed, {name.split("/")[0] for name in before if not torch.equal(before[name], after[name])}


def _adversarial(**changes: Any) -> TrainConfig:
    return replace(
        CONFIG,
        strategy="adversarial_mask",
        discriminator=DiscriminatorConfig(kind="mask_only", channels=(4, 4)),
        semi=SemiConfig(
            adversarial=AdversarialConfig(labelled_first=True, adversarial_start=0.5, semi_start=1.0)
        ),
        head_start=LessonsConfig(iterations=3, batch=1, crop=48),
        checkpoint_every=1,
    ).with_overrides(**changes)


def test_a_head_start_moves_d_alone_before_the_run_and_resumes_bit_for_bit(
    tmp_path: Path,
) -> None:
    config = _adversarial()
    for name in ("whole", "broken"):
        (tmp_path / name).mkdir()
    whole = Trainer(config, _crops(config), tmp_path / "whole")
    assert whole.timeline()[0] == "D alone, for up to 3 steps before the first iteration"
    whole.run()
    assert whole.taught["head_start"] == 3

    resumed, moved = _broken_off(config, tmp_path / "broken", "head_start")
    assert moved == {"d"}
    assert (resumed.iteration, resumed.taught["head_start"]) == (0, 2)
    resumed.run()
    for name, value in _state(whole).items():
        assert torch.equal(value, _state(resumed)[name]), name
    # Nobody listens to D in a supervised run, and a short run has a short head start.
    assert "head_start" in unread(replace(config, strategy="supervised"))
    assert settings_of(replace(config, iterations=2), "head_start").iterations == 2


def test_what_is_over_stays_over_when_a_run_is_resumed(tmp_path: Path) -> None:
    """Lessons whose time was up, and a run that was ended by hand."""
    short = replace(CONFIG, max_minutes=60.0, finish=LessonsConfig(50, 1e-9, 1, 48))
    trainer = Trainer(short, _crops(short), tmp_path, enough=lambda: trainer.iteration >= 2)
    trainer.run()
    assert trainer.iteration == 2
    before = _state(trainer)
    again = Trainer(short, _crops(short), tmp_path)
    again.resume()
    again.run()
    assert (again.iteration, again.taught["finish"]) == (2, 50)
    for name, value in _state(again).items():
        assert torch.equal(value, before[name]), name
    told: list[Event] = []
    longer = Trainer(replace(short, iterations=6), _crops(short), tmp_path, listen=told.append)
    longer.resume()
    longer.run()
    assert longer.iteration == 6
    assert any(event["kind"] == "lesson" for event in told)  # about another segmenter now


class _Clock:
    """Every look at it is 10 s later."""

    def __init__(self) -> None:
        self.now = 0.0

    def monotonic(self) -> float:
        self.now += 10.0
        return self.now


def test_the_time_of_the_lessons_is_their_own_and_goes_on_after_a_stop(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(trainer_room, "time", _Clock())
    config = _adversarial(max_minutes=1.0, iterations=50, finish=LessonsConfig(40, 0.5, 1, 48))
    config = replace(
        config,
        head_start=replace(config.head_start, most_time=100.0),
        discriminator_optimiser=replace(config.discriminator_optimiser, warmup_iterations=0),
    )

    def run(folder: Path, every: int) -> tuple[Trainer, list[Event]]:
        """To the end, stopped at every so many looks at the wish to stop."""
        folder.mkdir()
        told: list[Event] = []
        looks = itertools.count(1)
        while not told or told[-1]["kind"] != "done":
            trainer = Trainer(
                config, _crops(config), folder, listen=told.append, cancelled=lambda: next(looks) % every == 0
            )
            if (folder / CHECKPOINT).exists():
                trainer.resume()
            with contextlib.suppress(Cancelled):
                trainer.run()
        return trainer, [event for event in told if event["kind"] == "lesson" and event["iteration"]]

    whole, lessons_of_whole = run(tmp_path / "whole", 1000)
    parts, lessons_of_parts = run(tmp_path / "parts", 3)
    for trainer, last in ((whole, lessons_of_whole), (parts, lessons_of_parts)):
        # 60 s of iterations, whatever the head start took; behind them more than 30 s of lessons are none.
        assert (trainer.iteration, trainer.seconds) == (6, 60.0)
        assert [event["number"] for event in last] == [1, 2, 3, 4]
        assert trainer.spent_s == 60.0 + sum(trainer.taught_s.values())
        rate = trainer.discriminator.optimiser.param_groups[0]["lr"]
        assert rate < 0.1 * config.discriminator_optimiser.lr  # they end gently


def test_a_look_that_a_stop_left_out_is_made_up_for(tmp_path: Path) -> None:
    events: list[Event] = []
    first = Trainer(CONFIG, _crops(), tmp_path, listen=events.append, cancelled=lambda: first.iteration >= 2)
    with pytest.raises(Cancelled):
        first.run()
    second = Trainer(CONFIG, _crops(), tmp_path, listen=events.append)
    second.resume()
    second.run()
    assert [e["iteration"] for e in events if e["kind"] == "validation"] == [2, 4]


def test_the_best_networks_kept_get_no_lessons_that_would_be_lost(tmp_path: Path) -> None:
    config = replace(CONFIG, keep="best", finish=LessonsConfig(4, 0.15, 1, 48))
    trainer = Trainer(config, _crops(config), tmp_path)
    trainer.run()
    assert trainer.taught["finish"] == 0
    assert any("finish.iterations" in line for line in trainer.timeline())
