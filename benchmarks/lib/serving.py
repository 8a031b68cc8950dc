"""The far ends of the wire benchmark, in a process of their own: the parameter servers, or a bare echo."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np

from airflow_provider_distkeras.training.server import protocol
from airflow_provider_distkeras.training.server.client import ParameterClient, Shard


@dataclass(frozen=True)
class Far:
    """A far end that runs.

    Attributes:
        process: the process.
        shards: its addresses.
        secret: the secret that a client must prove to have.
    """

    process: subprocess.Popen[str]
    shards: tuple[Shard, ...]
    secret: bytes

    def busy(self) -> float:
        """Return the seconds of processor time that the process has used."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write("busy\n")
        self.process.stdin.flush()
        return float(self.process.stdout.readline())

    def client(self, number: int) -> ParameterClient:
        """Return a worker's client after its hello."""
        client = ParameterClient.connect(self.shards, self.secret, None, 60.0, number, 0)
        client.hello(3, 1, 0)
        return client


@contextmanager
def far(kind: str, weights: int, workers: int, shards: int = 1) -> Iterator[Far]:
    """Run a far end for so many weights and workers; `kind` is server or echo."""
    command = [sys.executable, "-m", "benchmarks.lib.serving", kind, str(weights), str(workers), str(shards)]
    pipe = subprocess.PIPE
    process = subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True, env={**os.environ, "OMP_NUM_THREADS": "1"})
    try:
        assert process.stdout is not None
        address = json.loads(process.stdout.readline())
        yield Far(process, tuple(Shard(*shard) for shard in address["shards"]), bytes.fromhex(address["secret"]))
    finally:
        process.communicate()


def _serve(weights: int, workers: int, shards: int) -> None:
    from airflow_provider_distkeras.training.algorithms.additive import AdagRule
    from airflow_provider_distkeras.training.server.requests import SyncPolicy
    from airflow_provider_distkeras.training.server.shards import ShardedParameterServer

    start = np.zeros((1, weights), np.float32)
    rule = AdagRule(weights, workers)
    with ShardedParameterServer(start, rule, "127.0.0.1", "127.0.0.1", SyncPolicy(timeout=60), shards=shards) as server:
        _answer([(s.host, s.port, s.start, s.stop) for s in server.shards], server.secret)


def _echo(weights: int) -> None:
    """Send everything back. Written as a server in Python must be, one thread per connection, but with no frames or ledger."""
    listener = socket.create_server(("127.0.0.1", 0), backlog=128)

    def echo(connection: socket.socket) -> None:
        protocol.tune(connection)
        buffer = memoryview(bytearray(4 * weights))
        try:
            while True:
                protocol.receive_into(connection, buffer)
                connection.sendall(buffer)
        except OSError:
            connection.close()

    def listen() -> None:
        while True:
            threading.Thread(target=echo, args=(listener.accept()[0],), daemon=True).start()

    threading.Thread(target=listen, daemon=True).start()
    _answer([(*listener.getsockname(), 0, weights)], b"")


def _answer(shards: list[tuple[str, int, int, int]], secret: bytes) -> None:
    """Print the addresses, then the processor time so far for every line of input, until the input ends."""
    print(json.dumps({"shards": shards, "secret": secret.hex()}), flush=True)
    for _ in sys.stdin:
        print(time.process_time(), flush=True)


if __name__ == "__main__":
    if sys.argv[1] == "echo":
        _echo(int(sys.argv[2]))
    else:
        _serve(*map(int, sys.argv[2:]))
