"""The learning rate that a loss which stands still lowers: the parameter server decides for all workers."""

import keras
import numpy as np
import pytest

from airflow_provider_distkeras.training.algorithms.independent import EnsembleRule
from airflow_provider_distkeras.training.server.ledger import Plateau
from tests.training.server.loopback_server import SIZE, start


@pytest.mark.parametrize("min_delta", [0.0, 0.3])
@pytest.mark.parametrize("min_lr", [0.0, 0.02, 5.0])
def test_the_rate_is_lowered_where_keras_lowers_it(min_delta, min_lr):
    losses = [3.0, 2.0, 2.0, 1.9, 1.95, 1.9, 2.5, 1.0, 1.2, 1.1, 1.0, 1.0, 1.0, 0.8, 0.9, 0.9, 0.9]
    keras_callback = keras.callbacks.ReduceLROnPlateau("loss", factor=0.5, patience=2, min_delta=min_delta, min_lr=min_lr)
    keras_callback.set_model(keras.Sequential([keras.Input((1,)), keras.layers.Dense(1)]))
    keras_callback.model.compile(keras.optimizers.SGD(0.1))
    keras_callback.on_train_begin()
    plateau = Plateau(0.5, 2, min_delta, min_lr / 0.1)
    ours, theirs = [], []
    for epoch, loss in enumerate(losses):
        keras_callback.on_epoch_end(epoch, {"loss": loss})
        plateau.judge(loss)
        theirs.append(float(keras.ops.convert_to_numpy(keras_callback.model.optimizer.learning_rate)))
        ours.append(0.1 * plateau.rate_factor)
    np.testing.assert_allclose(ours, theirs, rtol=1e-6)
    assert (ours[-1] < 0.1) == (min_lr < 0.1)


def test_every_worker_is_told_by_the_answers_to_what_it_sends(connect):
    with start() as server:
        server.store.state.plateau = Plateau(0.5, 1, 0.0, 0.0)
        one, other = connect(0, to=server), connect(1, to=server)
        assert [one.hello().loss, other.hello().loss] == [1.0, 1.0]
        for epoch, loss in enumerate([1.0, 2.0]):
            sequence = epoch + 1
            assert one.commit(sequence=sequence, epoch=epoch).loss == 1.0
            assert other.commit(sequence=sequence, epoch=epoch).loss == 1.0
            assert one.evaluated(loss, epoch).loss == 1.0
            last = other.evaluated(loss, epoch).loss
        assert last == 0.5
        assert one.commit(sequence=3, epoch=2).loss == 0.5
        assert [epoch.rate_factor for epoch in server.store.ledger.epochs[:2]] == [1.0, 1.0]


def test_workers_are_told_the_rows_that_the_run_has_as_far_as_they_are_known(connect):
    with start() as server:
        assert connect(0, to=server).hello(rows=10).rows == 20
        assert connect(1, to=server).hello(rows=4).rows == 14


def test_workers_that_train_networks_of_their_own_have_clocks_of_their_own(connect):
    with start(EnsembleRule(SIZE, 2)) as server:
        one, other = connect(0, to=server), connect(1, to=server)
        assert [one.hello(rows=10).rows, other.hello(rows=4).rows] == [10, 4]
        assert [one.commit(rows=4).steps, other.commit(rows=4).steps] == [2, 2]
        assert one.commit(rows=4, sequence=2).steps == 4
