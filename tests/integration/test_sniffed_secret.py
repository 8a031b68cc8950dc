"""The run's secret on the wire, read while a standalone cluster trains whose driver and executors have other addresses.

What a machine's own processes send each other stays on 127.0.0.1: Spark gives its Python workers their functions there.
"""

import json
import os
import signal
import socket
import subprocess
import sys
import threading
from contextlib import contextmanager
from pathlib import Path

import pytest

from airflow_provider_distkeras.hooks.package_archive import zip_package
from tests.integration.standalone import spark_environment, standalone

pytestmark = pytest.mark.spark

SECRET = bytes(range(200, 232))
EXECUTORS, DRIVERS = "127.0.0.2", "127.0.0.3"
FIT = Path(__file__).with_name("faulty_fit.py")
#: Makes a fit whose secret is known.
DRIVER = f"""
import runpy, sys, types
from airflow_provider_distkeras.training.server import server
server.secrets = types.SimpleNamespace(token_bytes=lambda size: bytes.fromhex("{SECRET.hex()}"))
sys.argv = sys.argv[1:]
runpy.run_path(sys.argv[0], run_name="__main__")
"""
ENCRYPTED = {"spark.authenticate": "true", "spark.authenticate.secret": "of-the-test", "spark.network.crypto.enabled": "true"}


@contextmanager
def sniffer():
    """A list that gets every packet from or to a driver or an executor in which the secret is."""
    network = {socket.inet_aton(EXECUTORS), socket.inet_aton(DRIVERS)}
    try:
        raw = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(3))
    except PermissionError:
        pytest.skip("packets can be read by root only")
    caught, ended = [], threading.Event()
    raw.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 26)
    raw.bind(("lo", 0))
    raw.settimeout(0.2)

    def read():
        while not ended.is_set():
            try:
                packet = raw.recv(1 << 17)
            except TimeoutError:
                continue
            if SECRET in packet and network & {packet[26:30], packet[30:34]}:
                caught.append(packet)

    thread = threading.Thread(target=read)
    thread.start()
    yield caught
    ended.set()
    thread.join()
    raw.close()


def fit(folder, master, encryption, conf):
    """The result of a fit in a driver of its own."""
    params = {"learning_rate": 0.02, "encryption": encryption}
    trainer = {"batch_size": 10, "num_epoch": 2, "num_workers": 2, "communication_window": 2}
    request = {
        "master": master, "conf": {**conf, "spark.driver.host": DRIVERS, "spark.driver.bindAddress": DRIVERS}, "py_files": [str(zip_package(folder))],
        "fits": [{"trainer": "ADAG", "trainer_params": trainer, "params": params}],
    }  # fmt: skip
    process = subprocess.Popen(
        [sys.executable, "-c", DRIVER, str(FIT), json.dumps(request)],
        env={**spark_environment(), "KERAS_BACKEND": "jax"}, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        start_new_session=True,
    )  # fmt: skip
    try:
        out, log = process.communicate(timeout=120)
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
    lines = [line.removeprefix("RESULT ") for line in out.splitlines() if line.startswith("RESULT ")]
    assert lines, log[-3000:]
    return json.loads(lines[0])[0]


def test_the_secret_is_not_seen_on_a_cluster_with_tls_and_spark_encryption(tmp_path, monkeypatch):
    options = " ".join(f"-D{name}={value}" for name, value in ENCRYPTED.items())
    monkeypatch.setenv("SPARK_DAEMON_JAVA_OPTS", options)
    with standalone(tmp_path, EXECUTORS) as url, sniffer() as caught:
        result = fit(tmp_path, url, "tls", ENCRYPTED)
    assert result.get("rows_trained") == 800, result
    assert not caught


def test_the_secret_is_seen_without_encryption(tmp_path):
    with standalone(tmp_path, EXECUTORS) as url, sniffer() as caught:
        result = fit(tmp_path, url, "none", {})
    assert result.get("rows_trained") == 800, result
    assert caught
