"""What workers take so that together they train as one network with the user's settings does."""

import pytest

from airflow_provider_distkeras.training import trainers
from airflow_provider_distkeras.training.algorithms.independent import SequentialRule
from airflow_provider_distkeras.training.settings import WorkerSettings

OPTIONS = {"optimizer": "sgd", "learning_rate": 0.12, "lr_decay": 1e-3}


def derived(trainer, optimizer="sgd", lr_schedule=None, **parameters):
    made = trainers.get(trainer)(**{"batch_size": 64, "num_workers": 4, **parameters})
    return WorkerSettings.derived(made, {**OPTIONS, "optimizer": optimizer, "lr_schedule": lr_schedule})


@pytest.mark.parametrize(
    ("trainer", "given", "rate"),
    [
        ("DOWNPOUR", {}, 0.03),
        ("DOWNPOUR", {"communication_window": 5}, 0.03),
        ("ADAG", {}, 0.03),
        ("ADAG", {"communication_window": 4}, 0.12),
        ("Experimental", {"communication_window": 2}, 0.06),
        ("DynSGD", {}, 0.03),
        ("LocalSGD", {}, 0.12),
        ("AveragingTrainer", {}, 0.12),
        ("AEASGD", {}, 0.15),
        ("EAMSGD", {"momentum": 0.9}, 0.15),
        ("EAMSGD", {}, 0.015),
    ],
)
def test_a_round_of_all_workers_moves_the_server_as_one_step_of_sgd_does(trainer, given, rate):
    settings = derived(trainer, **given)
    assert settings.learning_rate == pytest.approx(rate)
    assert settings.trainer.batch_size == 16
    assert settings.trainer.communication_window == given.get("communication_window", 1)
    assert (settings.schedule.decay, settings.schedule.share) == (1e-3, 1 / 4)


@pytest.mark.parametrize("optimizer", ["adam", "AdamW", {"name": "rmsprop", "rho": 0.8}])
def test_an_optimizer_that_divides_by_the_size_of_gradients_takes_the_root_of_the_share(optimizer):
    assert derived("LocalSGD", optimizer).learning_rate == pytest.approx(0.24)
    assert derived("DOWNPOUR", optimizer).learning_rate == pytest.approx(0.06)


@pytest.mark.parametrize(
    ("trainer", "optimizer", "workers", "window"),
    [
        ("ADAG", "adam", 2, 4),
        ("ADAG", {"name": "AdamW"}, 8, 8),
        ("Experimental", "rmsprop", 4, 4),
        ("AEASGD", "adam", 2, 4),
        ("EAMSGD", "adam", 2, 4),
        ("EAMSGD", "sgd", 2, 1),
        ("LocalSGD", "adam", 2, 4),
        ("AveragingTrainer", "adam", 8, 8),
        ("LocalSGD", {"name": "sgd", "momentum": 0.9}, 8, 1),
        ("DOWNPOUR", "adam", 2, 1),
        ("DynSGD", "adam", 2, 1),
    ],
)
def test_windows_are_averaged_where_the_optimizer_bounds_its_steps(trainer, optimizer, workers, window):
    settings = derived(trainer, optimizer, num_workers=workers)
    assert settings.trainer.communication_window == window
    if trainer != "AveragingTrainer":
        assert derived(trainer, optimizer, num_workers=workers, communication_window=3).trainer.communication_window == 3


def test_weights_decay_as_fast_as_in_one_network():
    adamw = {"name": "adamw", "weight_decay": 0.004}
    settings = derived("LocalSGD", adamw)
    assert settings.learning_rate * settings.optimizer["weight_decay"] == pytest.approx(0.12 * 0.004)
    assert adamw["weight_decay"] == 0.004


@pytest.mark.parametrize("clip", ["clipnorm", "global_clipnorm", "clipvalue"])
def test_gradients_are_clipped_where_the_user_says(clip):
    settings = derived("LocalSGD", {"name": "sgd", clip: 0.5})
    assert settings.optimizer == {"name": "sgd", clip: 0.5}
    assert settings.learning_rate == derived("LocalSGD").learning_rate


def test_a_schedule_goes_by_the_batches_of_the_user_whatever_the_workers_take():
    schedule = {"name": "ExponentialDecay", "initial_learning_rate": 0.3, "decay_steps": 10.0, "decay_rate": 0.5}
    settings = derived("ADAG", lr_schedule=schedule)
    assert settings.learning_rate == pytest.approx(0.3 / 4)
    assert (settings.schedule.rate, settings.schedule.share) == (0.3, 1 / 4)


@pytest.mark.parametrize("trainer", ["SingleTrainer", "EnsembleTrainer"])
def test_workers_that_share_nothing_take_what_the_user_set(trainer):
    settings = WorkerSettings.derived(trainers.get(trainer)(batch_size=64), OPTIONS)
    assert (settings.learning_rate, settings.schedule.decay, settings.trainer.batch_size) == (0.12, 1e-3, 64)


@pytest.mark.parametrize(
    "trainer", ["DOWNPOUR", "ADAG", "Experimental", "DynSGD", "AEASGD", "EAMSGD", "LocalSGD", "AveragingTrainer"]
)
def test_one_worker_trains_as_one_network_does(trainer):
    settings = derived(trainer, "adam", num_workers=1)
    assert (settings.learning_rate, settings.schedule.decay, settings.trainer.batch_size) == (0.12, 1e-3, 64)
    assert isinstance(settings.trainer.rule(8, 0.12), SequentialRule)
    assert settings.trainer.communication_window == 32


def test_more_workers_than_a_batch_has_rows_take_a_row_each_at_a_higher_rate():
    settings = derived("LocalSGD", batch_size=2)
    assert settings.trainer.batch_size == 1
    assert settings.learning_rate == pytest.approx(0.24)  # rounds are of 4 rows, twice the batch


def test_what_the_workers_take_is_said_in_one_line():
    assert derived("ADAG").description == (
        "ADAG: 4 workers take batches of 16 rows, commit after every step, and have a learning rate of 0.03; derived from batches of "
        "64 rows and a learning rate of 0.12."
    )
    assert "commit after every 2 steps" in derived("ADAG", communication_window=2).description


@pytest.mark.parametrize(
    ("trainer", "alike"),
    [("ADAG", "0.01"), ("DOWNPOUR", "0.12"), ("AEASGD", "0.024"), ("LocalSGD", "0.03"), ("AveragingTrainer", "0.03")],
)
def test_the_algorithms_own_settings_say_what_rate_of_one_network_they_amount_to(trainer, alike):
    made = trainers.get(trainer)(batch_size=64, num_workers=4)
    description = WorkerSettings.raw(made, OPTIONS).description
    assert description.startswith(f"{trainer}: 4 workers take batches of 64 rows")
    assert description.endswith(f"about as far as one of keras.Model.fit with such batches does at {alike}.")


@pytest.mark.parametrize("trainer", ["SingleTrainer", "EnsembleTrainer"])
def test_of_workers_that_share_nothing_nothing_is_said(trainer):
    for settings in (WorkerSettings.raw, WorkerSettings.derived):
        assert settings(trainers.get(trainer)(batch_size=64), OPTIONS).description is None
