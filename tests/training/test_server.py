"""The parameter server over real sockets."""

import socket
import threading

import numpy as np
import pytest

from airflow_provider_distkeras.training import wire
from airflow_provider_distkeras.training.algorithms import ADAG
from airflow_provider_distkeras.training.server import ParameterServer
from airflow_provider_distkeras.training.wire import Frame, Op, WireError

SIZE = 4
ONE = np.ones(SIZE, np.float32)


@pytest.fixture
def server():
    with ParameterServer(np.zeros(SIZE, np.float32), ADAG(SIZE, 2), "127.0.0.1") as server:
        yield server


@pytest.fixture
def connect(server):
    """Opens connections that are closed in the end."""
    opened = []

    def open_one(to=server, secret=None):
        opened.append(wire.connect(("127.0.0.1", to.port), secret or to.secret))
        return opened[-1]

    yield open_one
    for connection in opened:
        connection.close()


def ask(connection, frame):
    wire.send(connection, frame)
    return wire.receive(connection, 1024)


def hello(connection, worker=0, attempt=0):
    return ask(connection, Frame(Op.HELLO, worker, attempt))


def commit(connection, update=ONE, *, worker=0, attempt=0, sequence=1, rows=8):
    return ask(connection, Frame(Op.COMMIT, worker, attempt, sequence, 2, 0, rows, 4.0, wire.as_payload(update)))


def test_a_commit_moves_the_center_and_is_booked(server, connect):
    worker = connect()
    assert hello(worker).vector().tolist() == [0, 0, 0, 0]
    reply = commit(worker, 2 * ONE)
    assert (reply.sequence, reply.steps, reply.vector().tolist()) == (1, 2, [2, 2, 2, 2])
    ledger = server.ledger
    assert (ledger.rows, ledger.updates, ledger.epoch_loss) == (8, 1, [4.0])


def test_a_commit_that_is_sent_again_is_applied_once(server, connect):
    worker = connect()
    hello(worker)
    for _ in range(3):
        assert commit(worker, sequence=1).sequence == 1
    assert server.center.tolist() == [1, 1, 1, 1]
    assert server.ledger.rows == 8


def test_a_new_attempt_goes_on_where_the_old_one_was_and_shuts_it_out(server, connect):
    old, new = connect(), connect()
    hello(old, attempt=1)
    commit(old, attempt=1)
    assert hello(new, attempt=2).sequence == 1
    assert commit(old, attempt=1, sequence=2).op == Op.REFUSED
    assert commit(new, attempt=2, sequence=2).sequence == 2
    assert server.ledger.rows == 16


def test_staleness_counts_the_updates_that_came_between(server, connect):
    one, other = connect(), connect()
    hello(one, worker=0)
    hello(other, worker=1)
    commit(one, worker=0)
    commit(other, worker=1)
    assert server.ledger.staleness == 1


def test_when_one_worker_fails_the_others_are_told(server, connect):
    one, other = connect(), connect()
    hello(one, worker=0)
    hello(other, worker=1)
    assert ask(one, Frame(Op.FAILED, payload=b"boom")).op == Op.REFUSED
    assert commit(other, worker=1).op == Op.REFUSED
    assert server.failure == "boom"


def test_a_peer_without_the_secret_is_not_served(server, connect):
    with pytest.raises((WireError, ConnectionError)):
        connect(secret=b"x" * 32)
    assert hello(connect()).op == Op.CENTER


def test_a_worker_does_not_trust_a_server_without_the_secret():
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def impostor():
            connection, _ = listener.accept()
            with connection:
                connection.sendall(b"c" * 32)
                connection.recv(64)
                connection.sendall(b"p" * 32)

        thread = threading.Thread(target=impostor)
        thread.start()
        with pytest.raises(WireError, match="does not know this run's secret"):
            wire.connect(listener.getsockname(), b"s" * 32)
        thread.join()


@pytest.mark.parametrize(
    "garbage",
    [
        b"x" * 200,
        b"GET / HTTP/1.1\r\n\r\n" * 10,
        wire._HEADER.pack(b"DKW1", Op.COMMIT, 0, 0, 1, 1, 0, 1, 0.0, 2**60),
        wire._HEADER.pack(b"DKW1", 99, 0, 0, 1, 1, 0, 1, 0.0, 0),
        wire._HEADER.pack(b"DKW1", Op.COMMIT, 0, 0, 1, 1, 0, 1, 0.0, 8) + b"12345678",
        wire._HEADER.pack(b"DKW1", Op.CENTER, 0, 0, 1, 1, 0, 1, 0.0, 0),
    ],
)
def test_what_is_not_a_frame_ends_the_connection_and_changes_nothing(server, connect, garbage):
    peer = connect()
    peer.sendall(garbage)
    with pytest.raises(ConnectionError):
        wire.receive(peer, 1024)
    assert server.center.tolist() == [0, 0, 0, 0]
    assert hello(connect()).op == Op.CENTER


def test_two_runs_at_once_never_mix(server, connect):
    with ParameterServer(np.zeros(SIZE, np.float32), ADAG(SIZE, 1), "127.0.0.1") as other:
        assert other.port != server.port
        with pytest.raises((WireError, ConnectionError)):
            connect(to=other, secret=server.secret)
        mine, theirs = connect(), connect(to=other)
        hello(mine)
        hello(theirs)
        commit(mine, ONE)
        commit(theirs, -ONE)
        assert (server.center[0], other.center[0]) == (1, -1)


def test_many_workers_at_once_lose_nothing(server, connect):
    commits, workers = 50, 8

    def work(number, connection):
        hello(connection, worker=number)
        for sequence in range(1, commits + 1):
            commit(connection, worker=number, sequence=sequence)

    threads = [threading.Thread(target=work, args=(number, connect())) for number in range(workers)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert server.center.tolist() == [commits * workers] * SIZE
    assert server.ledger.rows == commits * workers * 8


def test_a_closed_server_is_gone(server):
    with ParameterServer(np.zeros(SIZE, np.float32), ADAG(SIZE, 1), "127.0.0.1") as other:
        port, secret = other.port, other.secret
    with pytest.raises(WireError, match=f"Cannot reach the parameter server at 127.0.0.1:{port}"):
        wire.connect(("127.0.0.1", port), secret)
