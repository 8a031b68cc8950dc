"""Simulated workers that do nothing but commit, or bounce bytes: what they reach together, and what it costs the far end."""

from __future__ import annotations

import json
import socket
import statistics
import struct
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from airflow_provider_distkeras.training.server import handshake, protocol
from benchmarks.lib.serving import Far

Exchange = Callable[[], object]
#: The offset of the number of commits in the header of a frame.
_SEQUENCE_AT = 20


@dataclass(frozen=True)
class Load:
    """The throughput of some workers together.

    Attributes:
        rate: exchanges per second of all workers; latency: the median seconds of one.
        busy: seconds of the far end's processor time per exchange.
    """

    rate: float
    latency: float
    busy: float


def committing(far: Far, number: int, weights: int) -> Exchange:
    """Return the exchange at the end of a window: send its update, receive the server's weights."""
    client, update, sequence = far.client(number), np.zeros(weights, np.float32), 0

    def exchange() -> None:
        nonlocal sequence
        sequence += 1
        client.commit(update, sequence, 3, 0, 1, 0.0)

    return exchange


def replaying(far: Far, number: int, weights: int) -> Exchange:
    """Return an exchange of the same bytes as `committing`, prepared beforehand.

    Many such workers are light enough to show what the server can do.
    """
    connection = _proven_socket(far, number)
    recorded = _Recorder()
    update = protocol.as_payload(np.zeros(weights, np.float32))
    protocol.Connection(recorded, 1 << 30).send(
        protocol.Frame(protocol.Op.COMMIT, number, sequence=1, steps=3, rows=1, payload=update)
    )
    frame, sequence, received = recorded.frame, 0, memoryview(bytearray(len(recorded.frame)))

    def exchange() -> None:
        nonlocal sequence
        sequence += 1
        struct.pack_into("!Q", frame, _SEQUENCE_AT, sequence)
        connection.sendall(frame)
        protocol.receive_into(connection, received)

    exchange()
    if received[4] != protocol.Op.WEIGHTS or struct.unpack_from("!Q", received, _SEQUENCE_AT)[0] != 1:
        raise ValueError("The server did not take a commit prepared beforehand: has the frame's header changed?")
    return exchange


def bouncing(far: Far, _number: int, weights: int) -> Exchange:
    """Return an exchange of as many bytes with an echo."""
    connection = socket.create_connection((far.shards[0].host, far.shards[0].port))
    protocol.tune(connection)
    sent, received = bytes(4 * weights), memoryview(bytearray(4 * weights))

    def exchange() -> None:
        connection.sendall(sent)
        protocol.receive_into(connection, received)

    return exchange


def _proven_socket(far: Far, number: int) -> socket.socket:
    """A worker's connection after its hello, without what reads and writes frames on it."""
    shard = far.shards[0]
    connection = handshake.connect((shard.host, shard.port), far.secret, 1 << 30, 60.0)
    hello = json.dumps({"rows": 3, "commits": 1, "digest": 0}).encode()
    connection.send(protocol.Frame(protocol.Op.HELLO, number, payload=hello))
    connection.receive()
    return connection._socket


class _Recorder(socket.socket):
    """A socket that records what is sent."""

    def __init__(self) -> None:
        super().__init__()
        self.frame = bytearray()

    def sendall(self, data: Any, flags: int = 0) -> None:
        self.frame += data


def measure(far: Far, exchanges: list[Exchange], seconds: float) -> Load:
    """Let every worker exchange as fast as it can, each in a thread of its own, for some seconds."""
    for exchange in exchanges:
        for _ in range(20):
            exchange()
    latencies: list[list[float]] = [[] for _ in exchanges]
    begin = threading.Barrier(len(exchanges) + 1)
    ends = [0.0]

    def work(exchange: Exchange, mine: list[float]) -> None:
        begin.wait()
        before = time.perf_counter()
        while before < ends[0]:
            exchange()
            after = time.perf_counter()
            mine.append(after - before)
            before = after

    threads = [threading.Thread(target=work, args=pair) for pair in zip(exchanges, latencies, strict=True)]
    for thread in threads:
        thread.start()
    busy, started = far.busy(), time.perf_counter()
    ends[0] = started + seconds
    begin.wait()
    for thread in threads:
        thread.join()
    took, busy = time.perf_counter() - started, far.busy() - busy
    done = sum(len(mine) for mine in latencies)
    return Load(done / took, statistics.median(value for mine in latencies for value in mine), busy / done)
