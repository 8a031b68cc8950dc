"""Parameter servers, and connections to them."""

from concurrent.futures import ThreadPoolExecutor

import pytest

from airflow_provider_distkeras.training.server import handshake
from tests.training.server.loopback_server import Worker, start
from tests.training.server.server_process import ServerProcess


@pytest.fixture
def server():
    with start() as server:
        yield server


@pytest.fixture
def connect(server):
    """Opens connections that are closed in the end."""
    opened = []

    def open_one(number=0, attempt=0, to=server, secret=None, certificate=None):
        opened.append(Worker(to, number, attempt, secret, certificate))
        return opened[-1]

    yield open_one
    for worker in opened:
        worker.connection.close()


@pytest.fixture
def short_handshake(monkeypatch):
    """Workers knock for half a second only."""
    monkeypatch.setattr(handshake, "HANDSHAKE_SECONDS", 0.5)


@pytest.fixture
def at_once():
    """Runs functions in threads of their own."""
    with ThreadPoolExecutor(16) as pool:
        yield lambda *functions: [pool.submit(function) for function in functions]


@pytest.fixture
def start_server_process(tmp_path):
    started = []

    def start(files=1024, workers=2, num_epoch=100):
        started.append(ServerProcess(tmp_path, files, workers, num_epoch))
        return started[-1]

    yield start
    for server in started:
        server.process.communicate()


@pytest.fixture
def server_process(start_server_process):
    return start_server_process()
