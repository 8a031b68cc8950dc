"""A parameter server in a process of its own, for test_server_security.py: answers every line of its input with its status."""

import contextlib
import json
import os
import resource
import sys

import numpy as np

from airflow_provider_distkeras.training.algorithms import AdagRule
from airflow_provider_distkeras.training.server.requests import SyncPolicy
from airflow_provider_distkeras.training.server.server import ParameterServer
from airflow_provider_distkeras.training.server.store import StoreState


def files_in_use():
    """Counted without opening another."""
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


def main(size, files):
    resource.setrlimit(resource.RLIMIT_NOFILE, (files, files))
    rule = AdagRule(size, 2)
    state = StoreState(rule.open(np.zeros((1, size), np.float32)))
    with (
        ParameterServer(state, rule, "127.0.0.1", policy=SyncPolicy(timeout=60)) as server,
        open("/proc/self/status") as file,
    ):
        print(json.dumps({"port": server.port, "secret": server.secret.hex()}), flush=True)
        for _ in sys.stdin:
            print(json.dumps(status_of(server, file)), flush=True)


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
