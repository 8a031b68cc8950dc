"""Hostile clients of a parameter server: a process that sends it what no worker sends, until the server is gone."""

from __future__ import annotations

import contextlib
import json
import random
import socket
import subprocess
import sys

from airflow_provider_distkeras.training.server import handshake, protocol
from airflow_provider_distkeras.training.server.protocol import Frame, Op

#: Frames sent on a connection, one after the other.
FRAMES_AT_ONCE = 40
_NOISE_BYTES = 64


def start(port: int, secret: bytes, seed: int) -> subprocess.Popen[str]:
    """Start a process of hostile clients; it prints how many frames it has sent once the server is gone."""
    command = [sys.executable, "-m", "benchmarks.lib.hostile", str(port), secret.hex(), str(seed)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)


def _attack(port: int, secret: bytes, seed: int) -> int:
    """Send frames until the server is gone; return how many were sent. Every fourth connection proves the run's secret."""
    rng, sent = random.Random(seed), 0
    while True:
        try:
            client = socket.create_connection(("127.0.0.1", port), timeout=10)
        except ConnectionRefusedError:
            return sent
        except OSError:
            continue
        with client, contextlib.suppress(OSError):
            challenge = memoryview(bytearray(32))
            protocol.receive_into(client, challenge)
            own, insider = rng.randbytes(32), rng.random() < 0.25
            client.sendall(own + handshake._prove(secret if insider else own, b"worker", bytes(challenge), own))
            if insider:
                protocol.receive_into(client, memoryview(bytearray(32)))
            client.sendall(b"".join(_frame(rng) for _ in range(FRAMES_AT_ONCE)))
            sent += FRAMES_AT_ONCE
            while client.recv(1 << 12):
                pass


def _frame(rng: random.Random) -> bytes:
    """Return a frame that no worker may send before its HELLO, or as its HELLO."""
    number = b"9" * rng.choice((1, 400))
    frames = (
        Frame(Op.COMMIT, sequence=1, steps=2**64 - 1, rows=1, loss=float("nan"), payload=b"\0\0\xc0\x7f" * 64),
        Frame(Op.EVALUATED, epoch=rng.randrange(2**32), payload=b'{"measured": {"loss": ' + number + b'}, "stop": true}'),
        Frame(Op.HELLO, 2 + rng.randrange(2**31), payload=json.dumps({"rows": 8, "commits": 1, "digest": 5}).encode()),
        Frame(Op.HELLO, payload=b'{"rows": -' + number + b', "commits": 1, "digest": 5}'),
        Frame(Op.HELLO, payload=b"[" * 10_000),
        Frame(rng.choice((Op.PULL, Op.SAVE, Op.RESTORE, Op.LEAVE, Op.WEIGHTS, Op.INVALID)), rng.randrange(2)),
    )
    recorder = _Recorder()
    protocol.Connection(recorder, 1 << 20).send(rng.choice(frames))
    if rng.random() < 0.2:
        return rng.randbytes(_NOISE_BYTES)
    return recorder.frame


class _Recorder(socket.socket):
    """A socket that records what is sent."""

    def __init__(self) -> None:
        super().__init__()
        self.frame = b""

    def sendall(self, data: object, flags: int = 0) -> None:
        self.frame += bytes(data)


if __name__ == "__main__":
    print(_attack(int(sys.argv[1]), bytes.fromhex(sys.argv[2]), int(sys.argv[3])))
