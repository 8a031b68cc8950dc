"""What a fit's summary tells of a fit that may have learned less than training on one machine."""

import pytest

from airflow_provider_distkeras.training import trainers
from airflow_provider_distkeras.training.settings import WorkerSettings
from airflow_provider_distkeras.training.summary import TrainingSummary


def summary(trainer="ADAG", rows=(500, 500), stale=0, loss=(1.0,)):
    counts = [1000 - stale, *[0] * 63, stale]
    workers = [{"worker": number, "rows": count} for number, count in enumerate(rows)]
    return TrainingSummary(
        trainer, sum(rows), sum(rows), len(loss), {"loss": [*loss]}, None, 1.0, 1000, 1000, 0.0, counts, workers
    )


def warnings(trainer="ADAG", divided=False, *, batch_size=32, reach=1.0, **fit):
    made = trainers.get(trainer)(batch_size=batch_size, num_workers=2)
    return summary(trainer, **fit).warnings(made.divided(has_bounded_steps=False) if divided else made, reach)


def test_a_fit_of_equal_workers_with_enough_rows_is_not_warned_of():
    assert warnings() == warnings(divided=True) == warnings(stale=50) == []


@pytest.mark.parametrize(
    ("divided", "batch_size", "text"),
    [
        (False, 32, "Worker 1 has 40 rows, 2 batches of 32: so few steps an epoch learn little. Set a smaller batch_size or num"),
        (
            True,
            64,
            "Worker 1 has 40 rows, 2 batches of 32: so few steps an epoch learn little. Set a smaller batch_size, or more",
        ),
    ],
)
def test_few_batches_are_told_with_what_to_set(divided, batch_size, text):
    (warning,) = warnings(divided=divided, batch_size=batch_size, rows=(500, 40))
    assert warning.startswith(text)


@pytest.mark.parametrize("trainer", ["ADAG", "DOWNPOUR", "DynSGD", "Experimental"])
def test_stale_updates_are_told_with_what_to_set(trainer):
    (warning,) = warnings(trainer, stale=100)
    assert warning.startswith(f"10% of the updates were overtaken by more than 8 others: {trainer} moves the weights")


@pytest.mark.parametrize("trainer", ["AEASGD", "EAMSGD", "LocalSGD"])
def test_trainers_to_whose_updates_staleness_means_nothing_do_not_warn_of_it(trainer):
    assert warnings(trainer, stale=100) == []


def test_the_published_settings_of_a_trainer_that_move_the_weights_little_are_told_with_the_rate_to_set():
    options = {"optimizer": "adam", "learning_rate": 0.003, "lr_decay": 0.0}
    settings = WorkerSettings.raw(trainers.ADAG(num_workers=2, communication_window=12), options)
    (warning,) = warnings(reach=settings.reach)
    assert warning.startswith(
        "An epoch moved the weights about 0.083 times as far as one of keras.Model.fit at this learning_rate."
    )
    assert "learning_rate 12 times as high, or settings='keras'" in warning
    assert warnings(reach=WorkerSettings.derived(trainers.ADAG(num_workers=2), options).reach) == []


def test_a_loss_that_does_not_fall_is_told():
    (warning,) = warnings(loss=[1.28, 1.1, 1.46])
    assert warning.startswith("The loss did not fall: 1.28 in the first epoch, 1.46 in the last. Set a lower learning_rate")
    assert warnings(loss=[1.28, 1.46]) == warnings(loss=[1.28, 1.46, 1.2]) == []
