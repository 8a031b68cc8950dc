"""Only workers that know the run's secret are served; only a server that knows it, with the run's certificate, is trusted."""

import socket
import threading

import pytest

from airflow_provider_distkeras.training.server import handshake, protocol, tls
from airflow_provider_distkeras.training.server.protocol import Op, WireError
from tests.training.server.loopback_server import ONE, Worker, start
from tests.training.server.raw_connection import receive_all
from tests.training.server.server_process import PATIENCE


def test_a_client_without_the_secret_is_not_served(connect, short_handshake):
    with pytest.raises((WireError, ConnectionError)):
        connect(secret=b"x" * 32)
    assert connect().hello().op == Op.WEIGHTS


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
            handshake.connect(listener.getsockname(), b"s" * 32, 1024, 20.0)
        thread.join()


def test_encrypted_connections_carry_the_same_frames():
    encryption, fingerprint = tls.create_context()
    with start(encryption=encryption) as server:
        worker = Worker(server, certificate=fingerprint)
        worker.hello()
        assert worker.commit(3 * ONE).vector().tolist() == [3, 3, 3, 3]
        worker.connection.close()


def test_a_server_with_another_certificate_is_not_trusted():
    with start(encryption=tls.create_context()[0]) as server:
        _, other = tls.create_context()
        with pytest.raises(WireError, match="another certificate than this run's"):
            Worker(server, certificate=other)


def test_an_unencrypted_connection_to_a_server_that_encrypts_is_refused(short_handshake):
    with start(encryption=tls.create_context()[0]) as server:
        with pytest.raises((WireError, ConnectionError)):
            Worker(server)
        assert server.store.ledger.workers == {}


def test_the_servers_own_proof_is_not_accepted_as_a_workers(server_process):
    """What the server proves to one client is no proof of a worker to it."""
    with socket.create_connection(server_process.address, timeout=PATIENCE) as victim:
        challenge = memoryview(bytearray(32))
        protocol.receive_into(victim, challenge)
        victim.sendall(bytes(challenge) + handshake._prove(server_process.secret, b"server", bytes(challenge), bytes(challenge)))
        assert receive_all(victim) == b""


def test_a_proof_that_arrives_byte_by_byte_has_one_timeout(short_handshake):
    with start() as server, socket.create_connection(("127.0.0.1", server.port), timeout=PATIENCE) as client:
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
