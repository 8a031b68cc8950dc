"""Attacks on a parameter server change neither its weights nor its memory, threads and files; workers still get in."""

import contextlib
import random
import socket
import threading
from concurrent.futures import ThreadPoolExecutor

from tests.training.server.raw_connection import (
    encode_commits,
    invalid_message,
    record_session,
    send_raw,
)
from tests.training.server.server_process import ONE, PATIENCE, SIZE, wait_until

#: How many bad frames are sent.
FRAMES = 100_000


def test_a_hundred_thousand_bad_frames_change_nothing_while_a_worker_trains(server_process):
    recording = record_session(server_process)
    honest = server_process.connect()
    honest.hello(8, 1, 5)
    done = threading.Event()
    made = 0

    def train():
        """Commit until the attacks have ended, and check every reply."""
        nonlocal made
        while not done.is_set() or made < 100:
            made += 1
            reply = honest.commit(ONE, made, 1, 0, 8, 1.0)
            assert reply.sequence == made
            assert reply.weights.min() == reply.weights.max()
            assert reply.weights[0] - made in (1000, 1001)
        return made

    def outsiders(seed, rounds):
        """Send wrong proofs followed by frames, a recorded session, and less than a proof."""
        rng, sent = random.Random(seed), 0
        for _ in range(rounds):
            for payload in (rng.randbytes(64) + encode_commits(made + 1, 40), recording + encode_commits(2, 40, worker=1)):
                assert send_raw(server_process, payload) == b""
                sent += 40
            assert send_raw(server_process, encode_commits(made + 1, 40), prove=rng.randbytes(32)) == b""
            assert send_raw(server_process, rng.randbytes(rng.randrange(64))) == b""
            sent += 41
        return sent

    def insiders(seed, rounds):
        rng = random.Random(seed)
        for _ in range(rounds):
            assert send_raw(server_process, invalid_message(rng), prove=server_process.secret) == b""
        return rounds

    def repeater(times):
        """Send one commit again and again."""
        worker = server_process.connect(worker=1, attempt=1)
        assert worker.hello(8, 1, 5).sequence == 1
        for _ in range(times):
            assert worker.commit(ONE, 2, 1, 0, 8, 1.0).sequence == 2
        worker.close()
        return times

    outsiders(0, 5)
    insiders(0, 50)
    before, peak = server_process.status(), 0
    with ThreadPoolExecutor(5) as pool:
        training = pool.submit(train)
        attacks = [pool.submit(outsiders, 1, 250), pool.submit(outsiders, 2, 250), pool.submit(insiders, 3, 1_500)]
        attacks.append(pool.submit(repeater, FRAMES - 500 * 121 - 1_500))
        while not all(attack.done() for attack in attacks) and not training.done():
            peak = max(peak, server_process.status()["threads"])
            done.wait(0.1)
        done.set()
        trained = training.result(PATIENCE)
        assert sum(attack.result(PATIENCE) for attack in attacks) == FRAMES
    honest.close()
    after = server_process.status()
    assert after["weights"] == [trained + 1000.0 + 1.0] * SIZE  # the honest worker's, the recorded one's, the repeated one
    assert after["updates"] == trained + 2
    assert after["rows"] == 8 * (trained + 2)
    assert after["failure"] is None
    assert after["rss"] - before["rss"] < 32 << 20
    assert peak < 40
    assert wait_until(lambda: server_process.status()["threads"] <= before["threads"])
    assert server_process.process.poll() is None
    assert "Traceback" not in server_process.log.read_text()


def test_a_session_that_is_replayed_on_a_new_connection_is_refused_before_its_first_frame(server_process):
    recording = record_session(server_process)
    assert server_process.status()["weights"] == [1000.0] * SIZE
    for _ in range(20):
        assert send_raw(server_process, recording) == b""
    after = server_process.status()
    assert after["weights"] == [1000.0] * SIZE
    assert after["updates"] == 1


@contextlib.contextmanager
def silent_clients(server, count):
    """Connections on which nothing is sent."""
    with contextlib.ExitStack() as opened:
        for _ in range(count):
            opened.enter_context(socket.create_connection(server.address, timeout=PATIENCE))
        yield


def test_silent_clients_do_not_each_hold_a_thread_and_a_worker_still_gets_in(server_process):
    with silent_clients(server_process, 600):
        worker = server_process.connect()
        worker.hello(8, 1, 5)
        assert worker.commit(ONE, 1, 1, 0, 8, 1.0).sequence == 1
        assert server_process.status()["threads"] < 300
        worker.close()


def test_a_server_that_ran_out_of_files_accepts_connections_again_when_some_are_closed(start_server_process):
    server = start_server_process(files=30)  # fewer than the silent clients that a server allows
    with silent_clients(server, 100):
        assert wait_until(lambda: server.status()["files"] == 30)
    worker = server.connect()
    worker.hello(8, 1, 5)
    assert worker.commit(ONE, 1, 1, 0, 8, 1.0).sequence == 1
    worker.close()
