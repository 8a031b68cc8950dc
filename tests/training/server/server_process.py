"""A parameter server in a process of its own, which answers every line of its input with its status."""

import contextlib
import json
import os
import resource
import subprocess
import sys
import time

import numpy as np

from airflow_provider_distkeras.training.algorithms.additive import AdagRule
from airflow_provider_distkeras.training.server.client import ParameterClient, Shard
from airflow_provider_distkeras.training.server.requests import SyncPolicy
from airflow_provider_distkeras.training.server.server import ParameterServer
from airflow_provider_distkeras.training.server.store import StoreState

SIZE = 256
ONE = np.ones(SIZE, np.float32)
#: The most seconds that a test waits for the server.
PATIENCE = 30.0


class ServerProcess:
    """Starts the server; `status` asks for its state."""

    def __init__(self, folder, files, workers, num_epoch):
        self.log = folder / "log"
        command = [sys.executable, __file__, str(SIZE), str(files), str(workers), str(num_epoch)]
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


def wait_until(condition):
    """Wait for a condition; return whether it came true in time."""
    deadline = time.monotonic() + PATIENCE
    while not condition():
        if time.monotonic() > deadline:
            return False
    return True


def files_in_use():
    """Return the number of open files, without opening another."""
    used = 0
    for number in range(resource.getrlimit(resource.RLIMIT_NOFILE)[0]):
        with contextlib.suppress(OSError):
            os.fstat(number)
            used += 1
    return used


def status_of(server, file):
    file.seek(0)
    process = dict(line.split(":", 1) for line in file.read().splitlines())
    ledger = server.store.ledger
    return {
        "weights": server.store.state.store[0].tolist(),
        "rows": ledger.rows,
        "updates": ledger.updates,
        "epochs": len(ledger.epochs),
        "workers": sorted(ledger.workers),
        "saved": sorted(server.store.state.saved),
        "failure": server.handler.failure,
        "threads": int(process["Threads"]),
        "files": files_in_use(),
        "rss": int(process["VmRSS"].split()[0]) << 10,
    }


def main(size, files, workers, num_epoch):
    resource.setrlimit(resource.RLIMIT_NOFILE, (files, files))
    rule = AdagRule(size, workers)
    state = StoreState(rule.open(np.zeros((1, size), np.float32)))
    with (
        ParameterServer(state, rule, "127.0.0.1", policy=SyncPolicy(timeout=60, num_epoch=num_epoch)) as server,
        open("/proc/self/status") as file,
    ):
        print(json.dumps({"port": server.port, "secret": server.secret.hex()}), flush=True)
        for _ in sys.stdin:
            print(json.dumps(status_of(server, file)), flush=True)


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
