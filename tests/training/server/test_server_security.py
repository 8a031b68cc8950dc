"""The parameter server besieged: by those who do not know its secret, and by those who do and break the rules."""

import contextlib
import json
import random
import socket
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from airflow_provider_distkeras.training.algorithms import AdagRule
from airflow_provider_distkeras.training.server import protocol
from airflow_provider_distkeras.training.server.client import ParameterClient, Shard
from airflow_provider_distkeras.training.server.protocol import Frame, Op, WireError
from airflow_provider_distkeras.training.server.requests import SyncPolicy
from airflow_provider_distkeras.training.server.server import ParameterServer
from airflow_provider_distkeras.training.server.store import StoreState

SIZE = 256
ONE = np.ones(SIZE, np.float32)
LIMIT = protocol.payload_limit(SIZE)
HELLO = json.dumps({"rows": 8, "commits": 1, "digest": 5}).encode()
FRAMES = 100_000
PATIENCE = 30.0


class Besieged:
    """A server in a process of its own."""

    def __init__(self, folder, files):
        self.log = folder / "log"
        command = [sys.executable, str(Path(__file__).with_name("besieged_server.py")), str(SIZE), str(files)]
        self.process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self.log.open("w"), text=True
        )
        payload = json.loads(self.process.stdout.readline())
        self.address, self.secret = ("127.0.0.1", payload["port"]), bytes.fromhex(payload["secret"])

    def status(self):
        self.process.stdin.write("\n")
        self.process.stdin.flush()
        return json.loads(self.process.stdout.readline())

    def connect(self, worker=0, attempt=0):
        return ParameterClient.connect((Shard(*self.address, 0, SIZE),), self.secret, None, PATIENCE, worker, attempt)


@pytest.fixture
def besiege(tmp_path):
    started = []

    def start(files=1024):
        started.append(Besieged(tmp_path, files))
        return started[-1]

    yield start
    for server in started:
        server.process.communicate()


@pytest.fixture
def besieged(besiege):
    return besiege()


def until(condition):
    """Wait for a condition; whether it came true in time."""
    deadline = time.monotonic() + PATIENCE
    while not condition():
        if time.monotonic() > deadline:
            return False
    return True


class Recorder:
    """A socket that records the bytes sent."""

    def __init__(self):
        self.bytes = b""

    def sendall(self, part):
        self.bytes += bytes(part)


def written(*frames):
    recorder = Recorder()
    connection = protocol.Connection(recorder, LIMIT)
    for frame in frames:
        connection.send(frame)
    return recorder.bytes


def header(op=Op.COMMIT, worker=0, attempt=0, sequence=1, epoch=0, size=0, magic=b"DKW2"):
    return protocol._HEADER.pack(magic, op, False, worker, attempt, sequence, 1, epoch, 1, 0.0, size)


def commits(first, count, worker=0):
    update = protocol.as_payload(1000 * ONE)
    return written(*[Frame(Op.COMMIT, worker, 0, first + i, 1, 0, 8, 1.0, payload=update) for i in range(count)])


def received(client):
    """Everything until the other side hangs up."""
    parts = []
    with contextlib.suppress(ConnectionError):
        while part := client.recv(1 << 16):
            parts.append(part)
    return b"".join(parts)


def knock(server, payload, prove=None):
    """Say something on a new connection, until the server hangs up; what it answered after its challenge.

    Args:
        payload: bytes to send in place of the proof.
        prove: a secret to prove first.
    """
    with socket.create_connection(server.address, timeout=PATIENCE) as client:
        challenge = memoryview(bytearray(32))
        protocol.receive_into(client, challenge)
        with contextlib.suppress(OSError):  # it may hang up before all is sent
            if prove is not None:
                own = random.randbytes(32)
                client.sendall(own + protocol._prove(prove, b"worker", bytes(challenge), own))
                if prove == server.secret:
                    protocol.receive_into(client, memoryview(bytearray(32)))
            client.sendall(payload)
            client.shutdown(socket.SHUT_WR)
        return received(client)


def recorded_connection(server):
    """The bytes that an honest worker sends for one commit, from its proof on."""
    with socket.create_connection(server.address, timeout=PATIENCE) as client:
        challenge, own = memoryview(bytearray(32)), b"o" * 32
        protocol.receive_into(client, challenge)
        proof = own + protocol._prove(server.secret, b"worker", bytes(challenge), own)
        client.sendall(proof)
        protocol.receive_into(client, memoryview(bytearray(32)))
        hello, commit = written(Frame(Op.HELLO, 1, 0, payload=HELLO)), commits(1, 1, worker=1)
        connection = protocol.Connection(client, LIMIT)
        for payload in (hello, commit):
            client.sendall(payload)
            assert connection.receive().op == Op.WEIGHTS
    return proof + hello + commit


def rule_breaker(rng):
    """One message that a client who knows the secret, but has not sent HELLO, may not send."""
    frame = bytearray(commits(1, 1))
    kind = rng.randrange(9)
    if kind == 0:
        return rng.randbytes(rng.randrange(1, 4096))
    if kind == 1:
        return bytes(frame[: rng.randrange(1, len(frame))])
    if kind == 2:
        return header(size=rng.randrange(LIMIT + 1, 1 << 63))
    if kind == 3:
        return header(op=rng.choice([0, *range(9, 256)]))
    if kind == 4:
        return header(rng.choice([Op.PULL, Op.LEAVE, Op.SAVE, Op.RESTORE, Op.EVALUATED]), rng.randrange(4), rng.randrange(4))
    if kind == 5:
        return header(Op.HELLO, rng.randrange(2, 1 << 32), size=len(HELLO)) + HELLO
    if kind == 6:
        payload = rng.choice([b"", b"{}", b"null", b"[1]", b"\xff", b'{"rows": "8", "commits": 1, "digest": 5}', HELLO[:-1]])
        return header(Op.HELLO, rng.randrange(2), size=len(payload)) + payload
    if kind == 7:
        return header(Op.COMMIT, size=1 << 12) + bytes(1 << 12)
    frame[0] ^= 1 << rng.randrange(8)
    return bytes(frame)


def test_a_hundred_thousand_bad_frames_change_nothing_while_a_worker_trains(besieged):
    recording = recorded_connection(besieged)
    honest = besieged.connect()
    honest.hello(8, 1, 5)
    done = threading.Event()
    made = 0

    def train():
        """A worker that commits all the while, and checks every answer."""
        nonlocal made
        while not done.is_set() or made < 100:
            made += 1
            reply = honest.commit(ONE, made, 1, 0, 8, 1.0)
            assert reply.sequence == made
            assert reply.weights.min() == reply.weights.max()
            assert reply.weights[0] - made in (1000, 1001)
        return made

    def strangers(seed, rounds):
        """Wrong proofs, with as many frames behind them as will go; what was recorded, again; less than a proof."""
        rng, sent = random.Random(seed), 0
        for _ in range(rounds):
            for payload in (rng.randbytes(64) + commits(made + 1, 40), recording + commits(2, 40, worker=1)):
                assert knock(besieged, payload) == b""
                sent += 40
            assert knock(besieged, commits(made + 1, 40), prove=rng.randbytes(32)) == b""
            assert knock(besieged, rng.randbytes(rng.randrange(64))) == b""
            sent += 41
        return sent

    def insiders(seed, rounds):
        rng = random.Random(seed)
        for _ in range(rounds):
            assert knock(besieged, rule_breaker(rng), prove=besieged.secret) == b""
        return rounds

    def repeater(times):
        """One commit, over and over on a connection of its own."""
        worker = besieged.connect(worker=1, attempt=1)
        assert worker.hello(8, 1, 5).sequence == 1
        for _ in range(times):
            assert worker.commit(ONE, 2, 1, 0, 8, 1.0).sequence == 2
        worker.close()
        return times

    strangers(0, 5)
    insiders(0, 50)
    before, peak = besieged.status(), 0
    with ThreadPoolExecutor(5) as pool:
        training = pool.submit(train)
        attacks = [pool.submit(strangers, 1, 250), pool.submit(strangers, 2, 250), pool.submit(insiders, 3, 1_500)]
        attacks.append(pool.submit(repeater, FRAMES - 500 * 121 - 1_500))
        while not all(attack.done() for attack in attacks) and not training.done():
            peak = max(peak, besieged.status()["threads"])
            done.wait(0.1)
        done.set()
        trained = training.result(PATIENCE)
        assert sum(attack.result(PATIENCE) for attack in attacks) == FRAMES
    honest.close()
    after = besieged.status()
    assert after["weights"] == [trained + 1000.0 + 1.0] * SIZE  # the honest worker's, the recorded one's, the repeated one
    assert after["updates"] == trained + 2
    assert after["rows"] == 8 * (trained + 2)
    assert after["failure"] is None
    assert after["rss"] - before["rss"] < 32 << 20
    assert peak < 40
    assert until(lambda: besieged.status()["threads"] <= before["threads"])
    assert besieged.process.poll() is None
    assert "Traceback" not in besieged.log.read_text()


def test_a_session_that_is_replayed_on_a_new_connection_is_refused_before_its_first_frame(besieged):
    recording = recorded_connection(besieged)
    assert besieged.status()["weights"] == [1000.0] * SIZE
    for _ in range(20):
        assert knock(besieged, recording) == b""
    after = besieged.status()
    assert after["weights"] == [1000.0] * SIZE
    assert after["updates"] == 1


def test_a_proof_is_not_taken_from_the_servers_own_mouth(besieged):
    """What the server proves to one client is no proof of a worker to it."""
    with socket.create_connection(besieged.address, timeout=PATIENCE) as victim:
        challenge = memoryview(bytearray(32))
        protocol.receive_into(victim, challenge)
        victim.sendall(bytes(challenge) + protocol._prove(besieged.secret, b"server", bytes(challenge), bytes(challenge)))
        assert received(victim) == b""


def test_a_commit_that_broke_off_half_way_is_not_applied_and_the_next_attempt_makes_it(besieged):
    """What a worker that is killed while it sends leaves behind."""
    dying = besieged.connect(attempt=1)
    dying.hello(8, 1, 5)
    dying.commit(ONE, 1, 1, 0, 8, 1.0)
    whole = written(Frame(Op.COMMIT, 0, 1, 2, 1, 0, 8, 1.0, payload=protocol.as_payload(ONE)))
    dying._connections[0]._socket.sendall(whole[:-1])
    dying.close()
    retried = besieged.connect(attempt=2)
    assert retried.hello(8, 1, 5).sequence == 1
    retried.commit(ONE, 2, 1, 0, 8, 1.0)
    retried.close()
    after = besieged.status()
    assert after["weights"] == [2.0] * SIZE
    assert after["rows"] == 16


@pytest.mark.parametrize("number", [2, 9, 2**32 - 1])
def test_a_worker_that_does_not_exist_gets_no_account(besieged, number):
    """An account would count as a worker: in the turns, in the judgement of an epoch, in the progress that is told."""
    with pytest.raises(ConnectionError):
        besieged.connect(number).hello(8, 1, 5)
    assert besieged.status()["workers"] == []


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
def test_an_epoch_far_ahead_does_not_fill_the_memory(besieged, frame):
    before = besieged.status()
    assert responses_to(besieged, frame) == [None]
    after = besieged.status()
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
def test_a_hello_that_makes_no_sense_is_refused_and_spoils_nothing_for_the_others(besieged, frame):
    assert knock(besieged, written(frame), prove=besieged.secret) == b""
    other = besieged.connect(worker=1)
    assert other.hello(8, 1, 5).commits == 1
    other.close()
    assert "Traceback" not in besieged.log.read_text()


@pytest.mark.parametrize("measured", [{"loss": "much"}, {"loss": [1.0]}, {"loss": None}])
def test_a_measure_that_is_no_number_is_refused_as_a_breach_of_the_rules(besieged, measured):
    payload = json.dumps({"measured": measured, "stop": False}).encode()
    threads = besieged.status()["threads"]
    assert responses_to(besieged, Frame(Op.EVALUATED, 1, 0, payload=payload, rows=1)) == [None]
    assert until(lambda: besieged.status()["threads"] == threads)
    assert "Traceback" not in besieged.log.read_text()


@contextlib.contextmanager
def silent_clients(server, count):
    """Connections that never say a word."""
    with contextlib.ExitStack() as opened:
        for _ in range(count):
            opened.enter_context(socket.create_connection(server.address, timeout=PATIENCE))
        yield


def test_clients_that_say_nothing_do_not_each_hold_a_thread_and_a_worker_still_gets_in(besieged):
    with silent_clients(besieged, 600):
        worker = besieged.connect()
        worker.hello(8, 1, 5)
        assert worker.commit(ONE, 1, 1, 0, 8, 1.0).sequence == 1
        assert besieged.status()["threads"] < 300
        worker.close()


def test_a_server_that_ran_out_of_files_listens_again_when_there_are_some(besiege):
    server = besiege(files=30)  # fewer than the silent peers that a server bears with
    with silent_clients(server, 100):
        assert until(lambda: server.status()["files"] == 30)
    worker = server.connect()
    worker.hello(8, 1, 5)
    assert worker.commit(ONE, 1, 1, 0, 8, 1.0).sequence == 1
    worker.close()


def serve(timeout):
    rule = AdagRule(SIZE, 1)
    return ParameterServer(
        StoreState(rule.open(np.zeros((1, SIZE), np.float32))), rule, "127.0.0.1", policy=SyncPolicy(timeout=timeout)
    )


def client_of(server, attempt):
    return ParameterClient.connect((Shard("127.0.0.1", server.port, 0, SIZE),), server.secret, None, PATIENCE, 0, attempt)


def test_a_proof_that_trickles_in_is_not_waited_for_byte_by_byte(monkeypatch):
    monkeypatch.setattr(protocol, "HANDSHAKE_SECONDS", 0.5)
    with serve(20.0) as server, socket.create_connection(("127.0.0.1", server.port), timeout=PATIENCE) as client:
        protocol.receive_into(client, memoryview(bytearray(32)))
        client.settimeout(0.25)  # the pace
        sent = 0
        while sent < 64:
            try:
                client.sendall(b"x")
                sent += 1
                if not client.recv(1):
                    break
            except TimeoutError:
                continue
            except ConnectionError:
                break
        assert sent < 12


def test_of_two_attempts_at_once_only_one_commits_and_a_healthy_one_is_not_failed_by_the_twin_that_waits():
    """Spark may start a task a second time while the first goes on for longer than `timeout`."""
    with serve(0.5) as server, ThreadPoolExecutor(1) as pool:
        first, twin = client_of(server, 1), client_of(server, 2)
        first.hello(8, 1, 5)
        welcome = pool.submit(twin.hello, 8, 1, 5)
        started, sequence = time.monotonic(), 0
        while time.monotonic() - started < 2.0:  # four times as long as the server waits for one that is silent
            sequence += 1
            assert first.commit(ONE, sequence, 1, 0, 8, 1.0).sequence == sequence
        assert server.handler.failure is None
        first.leave()
        first.close()
        assert welcome.result(PATIENCE).sequence == sequence
        twin.close()
        assert server.store.ledger.updates == sequence
        assert server.store.state.store[0].tolist() == [float(sequence)] * SIZE
