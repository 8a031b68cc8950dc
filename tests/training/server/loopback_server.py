"""A parameter server on the loopback, and a worker's side of a connection to it, frame by frame."""

import json

import numpy as np

from airflow_provider_distkeras.training.algorithms.additive import AdagRule
from airflow_provider_distkeras.training.server import handshake, protocol
from airflow_provider_distkeras.training.server.ledger import EarlyStopping
from airflow_provider_distkeras.training.server.protocol import Frame, Op
from airflow_provider_distkeras.training.server.requests import SyncPolicy
from airflow_provider_distkeras.training.server.server import ParameterServer
from airflow_provider_distkeras.training.server.store import StoreState

SIZE = 4
ONE = np.ones(SIZE, np.float32)


def start(rule=None, policy=None, stopping=None, **others):
    """A server whose weights are zero."""
    rule = rule or AdagRule(SIZE, 2)
    state = StoreState(rule.open(np.zeros((1, SIZE), np.float32)), stopping=stopping or EarlyStopping())
    return ParameterServer(state, rule, "127.0.0.1", policy=policy or SyncPolicy(timeout=20), **others)


def server_weights(server):
    return server.store.state.store[0].tolist()


class Worker:
    """The worker's side of a connection, frame by frame."""

    def __init__(self, server, number=0, attempt=0, secret=None, certificate=None):
        self.number, self.attempt = number, attempt
        address = ("127.0.0.1", server.port)
        self.connection = handshake.connect(address, secret or server.secret, 1 << 20, 25.0, certificate)

    def ask(self, op, payload=b"", **fields):
        self.connection.send(Frame(op, self.number, self.attempt, payload=payload, **fields))
        return self.connection.receive()

    def hello(self, rows=8, commits=1, digest=5):
        return self.ask(Op.HELLO, json.dumps({"rows": rows, "commits": commits, "digest": digest}).encode())

    def commit(self, update=ONE, sequence=1, rows=8, epoch=0):
        return self.ask(Op.COMMIT, protocol.as_payload(update), sequence=sequence, steps=2, epoch=epoch, rows=rows, loss=4.0)

    def evaluated(self, loss=None, epoch=0, rows=8, stop=False):
        measured = {} if loss is None else {"loss": loss}
        return self.ask(Op.EVALUATED, json.dumps({"measured": measured, "stop": stop}).encode(), epoch=epoch, rows=rows)
