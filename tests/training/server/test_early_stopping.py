"""Early stopping, which the parameter server decides for all workers."""

from airflow_provider_distkeras.training.algorithms.additive import AdagRule
from airflow_provider_distkeras.training.server.ledger import EarlyStopping
from tests.training.server.loopback_server import ONE, SIZE, Worker, start


def test_training_stops_when_an_epochs_loss_has_not_become_better_and_the_best_weights_are_the_result():
    with start(AdagRule(SIZE, 1), stopping=EarlyStopping(patience=2)) as server:
        worker = Worker(server)
        worker.hello()
        for epoch, loss in enumerate([3.0, 1.0, 2.0, 1.5]):
            worker.commit(ONE, sequence=epoch + 1, epoch=epoch)
            assert worker.evaluated(loss, epoch).stop == (epoch == 3)
        assert server.store.stopped
        assert server.store.state.best[0].tolist() == [2, 2, 2, 2]
        assert server.store.state.stopping.best_epoch == 1
        worker.connection.close()


def test_without_validation_rows_the_training_loss_decides():
    with start(AdagRule(SIZE, 1), stopping=EarlyStopping(patience=1)) as server:
        worker = Worker(server)
        worker.hello()
        worker.commit(epoch=0)
        worker.evaluated(epoch=0, rows=0)
        worker.commit(sequence=2, epoch=1)
        assert worker.evaluated(epoch=1, rows=0).stop
        worker.connection.close()


def test_an_epoch_is_judged_when_all_workers_have_ended_it_by_their_rows(connect):
    with start(stopping=EarlyStopping(patience=1)) as server:
        one, other = connect(0, to=server), connect(1, to=server)
        one.hello()
        other.hello()
        one.evaluated(1.0, rows=1)
        assert server.store.state.stopping.judged == 0
        other.evaluated(5.0, rows=3)
        assert server.store.state.stopping.best_loss == 4.0


def test_a_callback_may_stop_everybody(server, connect):
    one, other = connect(0), connect(1)
    one.hello()
    other.hello()
    one.evaluated(stop=True)
    assert other.commit().stop
