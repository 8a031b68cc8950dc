"""Bytes sent to a parameter server past its client: what an attacker, or a broken worker, may send."""

import contextlib
import json
import random
import socket

from airflow_provider_distkeras.training.server import handshake, protocol
from airflow_provider_distkeras.training.server.protocol import Frame, Op
from tests.training.server.server_process import ONE, PATIENCE, SIZE

LIMIT = protocol.payload_limit(SIZE)
HELLO = json.dumps({"rows": 8, "commits": 1, "digest": 5}).encode()


class Recorder:
    """A socket that records the bytes sent."""

    def __init__(self):
        self.bytes = b""

    def sendall(self, part):
        self.bytes += bytes(part)


def encode(*frames):
    recorder = Recorder()
    connection = protocol.Connection(recorder, LIMIT)
    for frame in frames:
        connection.send(frame)
    return recorder.bytes


def header(op=Op.COMMIT, worker=0, attempt=0, sequence=1, epoch=0, size=0, magic=b"DKW3"):
    return protocol._HEADER.pack(magic, op, False, worker, attempt, sequence, 1, epoch, 1, 0.0, size)


def encode_commits(first, count, worker=0):
    update = protocol.as_payload(1000 * ONE)
    return encode(*[Frame(Op.COMMIT, worker, 0, first + i, 1, 0, 8, 1.0, payload=update) for i in range(count)])


def receive_all(client):
    """Return all bytes until the other side hangs up."""
    parts = []
    with contextlib.suppress(ConnectionError):
        while part := client.recv(1 << 16):
            parts.append(part)
    return b"".join(parts)


def send_raw(server, payload, prove=None):
    """Send bytes on a new connection and return what the server sent after its challenge, until it hung up.

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
                client.sendall(own + handshake._prove(prove, b"worker", bytes(challenge), own))
                if prove == server.secret:
                    protocol.receive_into(client, memoryview(bytearray(32)))
            client.sendall(payload)
            client.shutdown(socket.SHUT_WR)
        return receive_all(client)


def record_session(server):
    """Make one commit as an honest worker; return the bytes it sent, from its proof on."""
    with socket.create_connection(server.address, timeout=PATIENCE) as client:
        challenge, own = memoryview(bytearray(32)), b"o" * 32
        protocol.receive_into(client, challenge)
        proof = own + handshake._prove(server.secret, b"worker", bytes(challenge), own)
        client.sendall(proof)
        protocol.receive_into(client, memoryview(bytearray(32)))
        hello, commit = encode(Frame(Op.HELLO, 1, 0, payload=HELLO)), encode_commits(1, 1, worker=1)
        connection = protocol.Connection(client, LIMIT)
        for payload in (hello, commit):
            client.sendall(payload)
            assert connection.receive().op == Op.WEIGHTS
    return proof + hello + commit


def invalid_message(rng):
    """Return a random message that a client which knows the secret, but has not sent HELLO, may not send."""
    frame = bytearray(encode_commits(1, 1))
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
