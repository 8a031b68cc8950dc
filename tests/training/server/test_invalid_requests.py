"""Frames that break the protocol are refused, and change nothing for others."""

import json

import pytest

from airflow_provider_distkeras.training.server import protocol
from airflow_provider_distkeras.training.server.protocol import Frame, Op, WireError
from tests.training.server.loopback_server import server_weights
from tests.training.server.raw_connection import encode, header, send_raw
from tests.training.server.server_process import ONE, SIZE, wait_until


@pytest.mark.parametrize(
    "garbage",
    [
        b"x" * 200,
        b"GET / HTTP/1.1\r\n\r\n" * 10,
        header(magic=b"DKW1"),
        header(size=2**60),
        header(op=99),
        header(size=8) + b"12345678",
        header(op=Op.WEIGHTS),
        header(op=Op.HELLO, size=2) + b"{}",
        header(op=Op.HELLO, size=4) + b"null",
        header(op=Op.HELLO, size=3) + b"\xff\xfe\xfd",
        header(op=Op.HELLO, worker=9, size=36) + b'{"rows":1,"commits":1,"digest":1}   ',
        header(op=Op.EVALUATED, size=2) + b"[]",
    ],
)
@pytest.mark.parametrize("registered", [False, True])
def test_an_invalid_frame_ends_the_connection_and_changes_nothing(server, connect, garbage, registered):
    worker = connect()
    if registered:
        worker.hello()
    worker.connection._socket.sendall(garbage)
    with pytest.raises(ConnectionError):
        worker.connection.receive()
    assert server_weights(server) == [0, 0, 0, 0]
    assert connect(1).hello().op == Op.WEIGHTS


def test_a_worker_cannot_commit_for_another(server, connect):
    connect(1).hello()
    worker = connect(0)
    worker.hello()
    worker.number = 1
    with pytest.raises(ConnectionError):
        worker.commit()
    assert server_weights(server) == [0, 0, 0, 0]


def test_a_commit_that_broke_off_half_way_is_not_applied_and_the_next_attempt_makes_it(server_process):
    """As when a worker is killed while it sends."""
    dying = server_process.connect(attempt=1)
    dying.hello(8, 1, 5)
    dying.commit(ONE, 1, 1, 0, 8, 1.0)
    whole = encode(Frame(Op.COMMIT, 0, 1, 2, 1, 0, 8, 1.0, payload=protocol.as_payload(ONE)))
    dying._connections[0]._socket.sendall(whole[:-1])
    dying.close()
    retried = server_process.connect(attempt=2)
    assert retried.hello(8, 1, 5).sequence == 1
    retried.commit(ONE, 2, 1, 0, 8, 1.0)
    retried.close()
    after = server_process.status()
    assert after["weights"] == [2.0] * SIZE
    assert after["rows"] == 16


@pytest.mark.parametrize("number", [2, 9, 2**32 - 1])
def test_a_worker_number_out_of_range_is_refused(server_process, number):
    """It would count as one: in the turns, in the judgement of an epoch, in the progress that is reported."""
    with pytest.raises(ConnectionError):
        server_process.connect(number).hello(8, 1, 5)
    assert server_process.status()["workers"] == []


def responses_to(server, *frames):
    """The operations of the server's responses to frames of worker 1; None where it hangs up."""
    worker = server.connect(worker=1)
    worker.hello(8, 1, 5)
    connection = worker._connections[0]
    answers = []
    for frame in frames:
        try:
            connection.send(frame)
            answers.append(connection.receive())
        except (ConnectionError, WireError):
            answers.append(None)
            break
    worker.close()
    return answers


@pytest.mark.parametrize(
    "frame",
    [
        Frame(Op.EVALUATED, 1, 0, epoch=5_000_000, rows=1, payload=b'{"measured": {"loss": 1.0}, "stop": false}'),
        Frame(Op.COMMIT, 1, 0, 1, 1, epoch=5_000_000, rows=1, payload=protocol.as_payload(ONE)),
    ],
    ids=["evaluated", "commit"],
)
def test_an_epoch_far_ahead_does_not_fill_the_memory(server_process, frame):
    before = server_process.status()
    assert responses_to(server_process, frame) == [None]
    after = server_process.status()
    assert after["epochs"] <= 1
    assert after["rss"] - before["rss"] < 32 << 20


@pytest.mark.parametrize(
    "frame",
    [
        Frame(Op.HELLO, 0, 0, payload=b"[" * 60_000),
        Frame(Op.HELLO, 0, 0, payload=b'{"rows": 8, "commits": 1099511627776, "digest": 5}'),
        Frame(Op.HELLO, 0, 0, payload=b'{"rows": -8, "commits": -1, "digest": 5}'),
    ],
    ids=["nested", "large", "negative"],
)
def test_an_invalid_hello_is_refused_and_does_not_affect_other_workers(server_process, frame):
    assert send_raw(server_process, encode(frame), prove=server_process.secret) == b""
    other = server_process.connect(worker=1)
    assert other.hello(8, 1, 5).commits == 1
    other.close()
    assert "Traceback" not in server_process.log.read_text()


@pytest.mark.parametrize("measured", [{"loss": "much"}, {"loss": [1.0]}, {"loss": None}])
def test_a_metric_that_is_not_a_number_ends_the_connection(server_process, measured):
    payload = json.dumps({"measured": measured, "stop": False}).encode()
    threads = server_process.status()["threads"]
    assert responses_to(server_process, Frame(Op.EVALUATED, 1, 0, payload=payload, rows=1)) == [None]
    assert wait_until(lambda: server_process.status()["threads"] == threads)
    assert "Traceback" not in server_process.log.read_text()
