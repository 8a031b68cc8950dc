"""A fit by a single worker, against `keras.Model.fit` on the same rows in the same order."""

import json
from contextlib import suppress
from dataclasses import replace

import keras
import numpy as np
import pytest
from keras.optimizers import schedules

from airflow_provider_distkeras.contract.params.network import HYPERPARAMETERS
from airflow_provider_distkeras.training import checkpoint, trainers
from airflow_provider_distkeras.training.backends import NetworkPlan, arguments, weights
from airflow_provider_distkeras.training.dataset import Rows
from airflow_provider_distkeras.training.driver import TrainingConfig, worker_job
from airflow_provider_distkeras.training.schedules.rate_schedule import RateSchedule
from airflow_provider_distkeras.training.server.ledger import Plateau
from airflow_provider_distkeras.training.server.requests import RequestHandler
from airflow_provider_distkeras.training.server.store import ParameterStore, StoreState
from airflow_provider_distkeras.training.single_worker import SingleWorkerFit, _in_process_client
from airflow_provider_distkeras.training.worker import Worker

SEED, FEATURES = 7, 4


def made_rows(count, seed=1):
    random = np.random.default_rng(seed)
    features = random.normal(size=(count, FEATURES))
    labels = np.sin(features.sum(axis=1)) + random.normal(scale=0.3, size=count)
    return Rows(np.column_stack([features, labels, np.ones(count)]).astype(np.float32))


def made_network():
    keras.utils.set_random_seed(3)
    layers = [keras.layers.Dense(8, activation="tanh"), keras.layers.Dense(1)]
    return keras.Sequential([keras.Input((FEATURES,)), *layers])


def make_fit(network, batch_size, num_epoch, optimizer="sgd", plateau=None, validates=False, **hyperparameters):
    """A fit by SingleTrainer."""
    made = keras.optimizers.get({"class_name": optimizer, "config": {"learning_rate": 1.0}})
    config, values = arguments.extract(network.to_json())
    trainer = trainers.get("SingleTrainer")(batch_size=batch_size, num_epoch=num_epoch)
    options = {name: HYPERPARAMETERS[name].default for name in ("learning_rate", "lr_decay", "lr_schedule")} | {
        name: HYPERPARAMETERS[name].cast(name, value) for name, value in hyperparameters.items()
    }
    schedule = RateSchedule.of(options)
    training = TrainingConfig(
        trainer=trainer,
        plan=NetworkPlan(config, ("mse",), json.dumps(keras.optimizers.serialize(made))),
        values=values,
        trainable=weights.trainable_size(network),
        learning_rate=schedule.rate,
        schedule=schedule,
        seed=SEED,
        backend=keras.config.backend(),
        validates=validates,
        plateau=plateau,
    )
    job = worker_job(training, trainer.rule(training.trainable, schedule.rate))
    return SingleWorkerFit(job, "SingleTrainer", weights.get_flat(network)[None], plateau=plateau)


def keras_fit(network, rows, batch_size, num_epoch, rate, optimizer="sgd"):
    """Train by `keras.Model.fit`, each epoch on the rows in the order in which a worker takes them."""
    network.compile(keras.optimizers.get({"class_name": optimizer, "config": {"learning_rate": rate}}), "mse")
    for epoch in range(num_epoch):
        (window,) = rows.windows(batch_size, len(rows), [SEED, 0, epoch])
        taken = window.records.reshape(-1, FEATURES + 2)[: len(rows)]
        network.fit(taken[:, :FEATURES], taken[:, FEATURES], batch_size=batch_size, shuffle=False, verbose=0)
    return weights.get_flat(network)


NONE = made_rows(0)
#: 3 epochs of 13 steps.
COUNT, BATCH, EPOCHS = 100, 8, 3


@pytest.mark.parametrize(
    ("optimizer", "schedule", "equal"),
    [
        ("adam", "cosine", schedules.CosineDecay(0.05, 39)),
        (
            "sgd",
            {"name": "warmup_cosine", "warmup_share": 1 / 3, "alpha": 0.1},
            schedules.CosineDecay(0.0, 26, alpha=0.1, warmup_target=0.05, warmup_steps=13),
        ),
        ("sgd", {"name": "ExponentialDecay", "decay_steps": 10, "decay_rate": 0.5}, schedules.ExponentialDecay(0.05, 10, 0.5)),
        ("adam", None, schedules.PiecewiseConstantDecay([10, 20], [0.05, 0.1, 0.01])),
    ],
    ids=["cosine", "warm-up", "exponential", "serialized"],
)
def test_a_schedule_trains_as_keras_fit_does_with_it(optimizer, schedule, equal):
    rows = made_rows(COUNT)
    options = {"lr_schedule": schedule, "learning_rate": 0.05} if schedule else {"lr_schedule": schedules.serialize(equal)}
    (ours,), summary = make_fit(made_network(), BATCH, EPOCHS, optimizer, **options).train(rows, NONE)
    theirs = keras_fit(made_network(), rows, BATCH, EPOCHS, equal, optimizer)
    np.testing.assert_allclose(ours, theirs, atol=1e-5)
    ends = [float(keras.ops.convert_to_numpy(equal(step))) for step in (12, 25, 38)]
    np.testing.assert_allclose(summary.history["learning_rate"], ends, rtol=1e-5)


@pytest.mark.parametrize("validates", [True, False])
def test_a_plateau_lowers_the_rate_as_the_callback_of_keras_does(validates):
    rows, validation = made_rows(64), made_rows(40, seed=2)
    plateau = Plateau(0.5, 1, 0.01, 0.02 / 0.3)
    single = make_fit(made_network(), 64, 12, plateau=plateau, validates=validates, learning_rate=0.3)
    (ours,), summary = single.train(rows, validation if validates else NONE)
    network = made_network()
    network.compile(keras.optimizers.SGD(0.3), "mse")
    monitor = "val_loss" if validates else "loss"
    callback = keras.callbacks.ReduceLROnPlateau(monitor, factor=0.5, patience=1, min_delta=0.01, min_lr=0.02)
    of = lambda rows: (rows.records[:, :FEATURES], rows.records[:, FEATURES])  # noqa: E731 - it is used twice
    held_out = {"validation_data": of(validation)} if validates else {}
    history = network.fit(*of(rows), batch_size=64, epochs=12, verbose=0, callbacks=[callback], **held_out).history
    np.testing.assert_allclose(ours, weights.get_flat(network), atol=1e-5)
    np.testing.assert_allclose(summary.history["learning_rate"], history["learning_rate"], rtol=1e-5)
    assert history["learning_rate"][0] > history["learning_rate"][-1]


def test_a_rate_that_stays_is_not_in_the_history():
    _, summary = make_fit(made_network(), 8, 1).train(made_rows(16), NONE)
    assert set(summary.history) == {"loss"}


class _InterruptionError(Exception):
    """Ends a worker in the middle of its fit."""


def test_a_resumed_fit_goes_on_in_its_schedule_at_the_rate_that_the_loss_has_lowered():
    """SGD has no state of its own to lose."""
    rows, plateau = made_rows(COUNT), Plateau(0.5, 1, 0.1, 0.0)
    options = {"lr_schedule": "warmup_cosine", "learning_rate": 0.1, "plateau": plateau}
    single = make_fit(made_network(), BATCH, 6, **options)
    (whole,), _ = single.train(rows, NONE)

    def run(state, commits):
        handler = RequestHandler(ParameterStore(state, single.job.rule))
        client = _in_process_client(handler)
        commit = client.commit

        def interrupt(update, sequence, *rest):
            if sequence > commits:
                raise _InterruptionError
            return commit(update, sequence, *rest)

        client.commit = interrupt
        with suppress(_InterruptionError):
            Worker(single.job, 0, rows, NONE, client).train()
        client.close()
        return checkpoint.from_bytes(checkpoint.to_bytes([state]))[0]

    halfway = run(StoreState(single.weights.copy(), plateau=replace(plateau)), 4)
    assert halfway.rate_factor < 1.0
    np.testing.assert_array_equal(run(halfway, 6).store[0], whole)
