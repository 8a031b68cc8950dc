"""Floods of strangers' connections: all honest workers get in, and the log stays short."""

import re
import socket
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import pytest

from airflow_provider_distkeras.training.server import handshake
from tests.training.server.server_process import ONE, SIZE

WORKERS = 60
#: Opens connections by the hundred without waiting for any, sends something else than a proof, and closes them.
FLOOD = """
import contextlib, socket, sys
print("begun", flush=True)
while True:
    burst = [socket.socket() for _ in range(400)]
    for client in burst:
        client.setblocking(False)
        client.connect_ex(("127.0.0.1", int(sys.argv[1])))
    for client in burst:
        with contextlib.suppress(OSError):
            client.sendall(b"x" * int(sys.argv[2]))
        client.close()
"""


@pytest.fixture
def flood():
    """Starts processes that flood a server."""
    started = []

    def start(server, count, size):
        command = [sys.executable, "-c", FLOOD, str(server.address[1]), str(size)]
        started.extend(subprocess.Popen(command, stdout=subprocess.PIPE) for _ in range(count))
        for process in started:
            process.stdout.readline()

    yield start
    for process in started:
        process.kill()
        process.communicate()


@pytest.mark.parametrize("size", [0, 64], ids=["silent", "wrong proofs"])
def test_sixty_workers_get_in_while_strangers_flood(start_server_process, flood, size):
    server = start_server_process(workers=WORKERS)
    flood(server, 2, size)

    def work(number):
        worker = server.connect(number)
        worker.hello(8, 1, 5)
        worker.commit(ONE, 1, 1, 0, 8, 1.0)
        worker.close()

    with ThreadPoolExecutor(WORKERS) as pool:
        list(pool.map(work, range(WORKERS)))
    after = server.status()
    assert after["updates"] == WORKERS
    assert after["weights"] == [float(WORKERS)] * SIZE
    assert after["threads"] < 400


def test_a_worker_that_is_cut_off_knocks_again():
    """As when its connection is the oldest of too many that have not proved anything yet."""
    secret = b"s" * 32
    with socket.create_server(("127.0.0.1", 0)) as listener, ThreadPoolExecutor(1) as pool:
        listener.settimeout(20)

        def cut_off_twice():
            for _ in range(2):
                listener.accept()[0].close()
            assert handshake.ServerHandshake(listener.accept()[0], secret).advance()

        served = pool.submit(cut_off_twice)
        handshake.connect(listener.getsockname(), secret, 1024, 20.0).close()
        served.result(20)


def test_strangers_cost_one_line_of_the_log_a_minute_which_counts_them(server_process):
    for _ in range(200):
        with socket.create_connection(server_process.address, timeout=20) as stranger:
            stranger.sendall(b"x" * 64)
            while stranger.recv(1 << 10):
                pass
    server_process.process.communicate()
    lines = server_process.log.read_text().splitlines()
    assert len(lines) == 2  # the first one, and those of the minute that ended with the server
    counts = [int(re.search(r"Refused (\d+) connections of strangers from 1 addresses", line)[1]) for line in lines]
    assert sum(counts) == 200
    assert "127.0.0.1: The client does not know this run's secret." in lines[0]
