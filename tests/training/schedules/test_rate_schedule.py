"""Learning rates by step: those of Keras, those over a whole fit, and those of workers that share out a batch."""

import keras
import numpy as np
import pytest
from keras.optimizers import schedules

from airflow_provider_distkeras.contract.errors import SpecError
from airflow_provider_distkeras.contract.params.network import HYPERPARAMETERS
from airflow_provider_distkeras.training.schedules.rate_schedule import RateSchedule

STEPS = np.array([0, 1, 4, 5, 6, 9, 10, 11, 14, 15, 20, 30, 31, 70, 71, 199])


def rate_schedule(value, rate=0.1, share=1.0):
    config = HYPERPARAMETERS["lr_schedule"].cast("lr_schedule", value)
    return RateSchedule.of({"learning_rate": rate, "lr_decay": 0.0, "lr_schedule": config}, share)


def rates(value, rows=100, num_epoch=1, batch_size=1, steps=STEPS, **options):
    return rate_schedule(value, **options).table(rows, num_epoch, batch_size).rates(np.asarray(steps))


def of_keras(schedule):
    return [float(keras.ops.convert_to_numpy(schedule(int(step)))) for step in STEPS]


@pytest.mark.parametrize(
    "schedule",
    [
        schedules.ExponentialDecay(0.1, 10, 0.5),
        schedules.ExponentialDecay(0.1, 10, 0.5, staircase=True),
        schedules.InverseTimeDecay(0.1, 10, 0.5),
        schedules.InverseTimeDecay(0.1, 10, 0.5, staircase=True),
        schedules.PiecewiseConstantDecay([5, 10], [0.1, 0.2, 0.01]),
        schedules.PolynomialDecay(0.1, 15, 0.02, power=2.0),
        schedules.PolynomialDecay(0.0, 15, 0.1),
        schedules.PolynomialDecay(0.1, 15, 0.02, cycle=True),
        schedules.CosineDecay(0.1, 30, alpha=0.1),
        schedules.CosineDecay(0.01, 30, warmup_target=0.1, warmup_steps=10),
        schedules.CosineDecayRestarts(0.1, 10, t_mul=2.0, m_mul=0.9, alpha=0.1),
        schedules.CosineDecayRestarts(0.1, 10, t_mul=1.0),
    ],
    ids=lambda schedule: type(schedule).__name__,
)
def test_the_schedules_of_keras_have_its_rates(schedule):
    np.testing.assert_allclose(rates(schedules.serialize(schedule)), of_keras(schedule), rtol=1e-5, atol=1e-8)


def test_learning_rate_is_the_first_rate_of_a_schedule_without_one():
    short = {"name": "ExponentialDecay", "decay_steps": 10, "decay_rate": 0.5}
    np.testing.assert_allclose(rates(short, rate=0.3), of_keras(schedules.ExponentialDecay(0.3, 10, 0.5)), rtol=1e-5)
    assert rate_schedule(short, rate=0.3).rate == 0.3


@pytest.mark.parametrize(
    ("schedule", "highest"),
    [
        (schedules.PiecewiseConstantDecay([5, 10], [0.1, 0.2, 0.01]), 0.2),
        (schedules.PolynomialDecay(0.0, 15, 0.1), 0.1),
        (schedules.CosineDecay(0.01, 30, warmup_target=0.4, warmup_steps=10), 0.4),
    ],
)
def test_a_schedule_with_rates_of_its_own_sets_the_learning_rate(schedule, highest):
    assert rate_schedule(schedules.serialize(schedule), rate=9.0).rate == highest


@pytest.mark.parametrize(
    ("name", "schedule"),
    [
        ({"name": "cosine", "alpha": 0.1}, schedules.CosineDecay(0.1, 200, alpha=0.1)),
        ("warmup_cosine", schedules.CosineDecay(0.0, 180, warmup_target=0.1, warmup_steps=20)),
        ({"name": "warmup", "warmup_share": 0.05}, schedules.PolynomialDecay(0.0, 10, 0.1)),
    ],
)
def test_a_schedule_by_name_spans_all_steps_of_the_fit(name, schedule):
    np.testing.assert_allclose(rates(name, rows=797, num_epoch=2, batch_size=8), of_keras(schedule), rtol=1e-5, atol=1e-8)


@pytest.mark.parametrize("name", ["cosine", "warmup_cosine", "warmup"])
def test_a_fit_of_one_step_takes_the_whole_rate(name):
    assert rates(name, rows=5, batch_size=8, steps=[0]) == [0.1]


def test_four_workers_that_share_out_a_batch_take_four_steps_at_the_rate_of_one():
    alone = rates("warmup_cosine", rows=640, batch_size=64, steps=range(10))
    together = rates("warmup_cosine", rows=640, batch_size=16, steps=range(40), share=1 / 4)
    np.testing.assert_allclose(together, np.repeat(alone, 4))
    thirds = rates("warmup_cosine", rows=640, batch_size=21, steps=range(30), share=1 / 3)
    np.testing.assert_array_equal(np.diff(thirds.reshape(10, 3)), 0.0)


def test_rates_are_those_of_any_step_in_any_order_of_calls():
    table = rate_schedule("cosine").table(10_000, 1, 1)
    expected = 0.05 * (1 + np.cos(np.pi * np.arange(10_000) / 10_000))
    for start in (0, 1020, 1023, 1024, 9_000, 5, 2_000):
        np.testing.assert_allclose(table.rates(np.arange(start, start + 40)), expected[start : start + 40])


@keras.saving.register_keras_serializable("tests")
class Triangle(schedules.LearningRateSchedule):
    """Takes all steps at once."""

    def __call__(self, step):
        step = keras.ops.cast(step, "float32")
        return 0.1 * keras.ops.abs(1.0 - step / 50.0)

    def get_config(self):
        return {}


@keras.saving.register_keras_serializable("tests")
class Stairs(schedules.LearningRateSchedule):
    """Takes one step at a time."""

    def __init__(self, top):
        self.top = top

    def __call__(self, step):
        return keras.ops.convert_to_tensor(self.top if int(step) < 10 else self.top / 2)

    def get_config(self):
        return {"top": self.top}


@pytest.mark.parametrize("schedule", [Triangle(), Stairs(0.3)], ids=["all steps", "one step"])
def test_a_schedule_of_ones_own_is_asked_for_its_rates(schedule):
    np.testing.assert_allclose(rates(schedules.serialize(schedule)), of_keras(schedule), rtol=1e-6)


@keras.saving.register_keras_serializable("tests")
def no_schedule():
    """Registered, and something else."""


@pytest.mark.parametrize("name", ["tests>Missing", "tests>no_schedule"])
def test_a_schedule_of_ones_own_must_be_registered(name):
    unknown = rate_schedule({**schedules.serialize(Stairs(0.3)), "registered_name": name})
    with pytest.raises(SpecError, match=rf"no learning-rate schedule registered as '{name}'.*custom_objects"):
        unknown.check()
    rate_schedule(schedules.serialize(Stairs(0.3))).check()
