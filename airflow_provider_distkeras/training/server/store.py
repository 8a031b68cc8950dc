"""The center: holds the weights that are trained and the books, and applies the workers' updates, each exactly once."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from airflow_provider_distkeras.training.algorithms import AsynchronousRule, Matrix, SynchronousRule, UpdateRule, Vector
from airflow_provider_distkeras.training.server import protocol
from airflow_provider_distkeras.training.server.ledger import EarlyStopping, Ledger, WorkerAccount
from airflow_provider_distkeras.training.server.protocol import Frame, Op

_GENERATION_BITS = 32
_MOST_COUNTED = 2**32 - 1


@dataclass(eq=False)
class WorkerId:
    """Who speaks: nobody, until a worker has said hello."""

    worker: int = -1
    attempt: int = -1


@dataclass(frozen=True)
class Rendezvous:
    """Whether, and how, workers wait for each other.

    Attributes:
        gather: workers begin together and judge an epoch together.
        turns: asynchronous workers commit one after the other, in the order of their numbers.
        timeout: the most seconds that a worker is waited for.
    """

    gather: bool = False
    turns: bool = False
    timeout: float = 1800.0


@dataclass
class StoreState:
    """What a server would need to go on after a restart.

    Attributes:
        store: what the update rule remembers; its first row is the center.
        ledger: the books.
        saved: per worker, its optimizer's state and random numbers, as it last sent them.
        stopping: whether to stop early; best: the store of the best epoch so far.
    """

    store: Matrix
    ledger: Ledger = field(default_factory=Ledger)
    saved: dict[int, bytes] = field(default_factory=dict)
    stopping: EarlyStopping = field(default_factory=EarlyStopping)
    best: Matrix | None = None


class ParameterStore:
    """Answers the frames of one training run's workers, or of one shard of its weights; any thread may ask.

    Args:
        state: the weights and the books to begin with; trained in place.
        rule: how updates move the center.
        rendezvous: whether workers wait for each other.
        on_best: called when an epoch was the best so far.
    """

    def __init__(
        self,
        state: StoreState,
        rule: UpdateRule,
        rendezvous: Rendezvous = Rendezvous(),
        on_best: Callable[[], None] | None = None,
    ) -> None:
        self.state = state
        self.failure: str | None = None
        self.active_at: float | None = None
        self._rule = rule
        self._rendezvous = rendezvous
        self._on_best = on_best or self.keep_best
        self._holders: dict[int, WorkerId] = {}
        self._generation = 0
        self._round: dict[int, Frame] = {}
        self._stop = False
        self._changed = threading.Condition()
        self._closing = False

    @property
    def ledger(self) -> Ledger:
        """The books; only to be read, while training goes on."""
        return self.state.ledger

    @property
    def stopped(self) -> bool:
        """Whether training was told to end before its last epoch."""
        return self._stop

    def fail(self, reason: str) -> None:
        """End the run: every worker is refused from now on."""
        with self._changed:
            self.failure = self.failure or reason
            self._changed.notify_all()

    def frozen(self, copy: Callable[[StoreState], StoreState]) -> StoreState:
        """A copy of the state that no update is half in."""
        with self._changed:
            return copy(self.state)

    def keep_best(self) -> None:
        """Keep the center as the best so far."""
        self.state.best = self.state.store.copy()

    def close(self) -> None:
        """End the waiting of whoever waits."""
        with self._changed:
            self._closing = True
            self._changed.notify_all()

    def part(self, peer: WorkerId) -> None:
        """Forget a peer that has left."""
        with self._changed:
            if self._holders.get(peer.worker) is peer:
                del self._holders[peer.worker]
                self._round.pop(peer.worker, None)
            self._changed.notify_all()

    def answer(self, peer: WorkerId, frame: Frame) -> Frame:
        """The answer to a frame. Raises WireError for one that is against the rules."""
        with self._changed:
            self.active_at = time.monotonic()
            if frame.op == Op.FAILED:
                self.fail(bytes(frame.payload).decode("utf-8", "replace"))
            try:
                self._check_alive(frame)
                if frame.op == Op.HELLO:
                    return self._welcome(peer, frame)
                account = self._account(peer, frame)
                if frame.op == Op.COMMIT:
                    return self._commit(account, frame)
                if frame.op == Op.PULL:
                    return self._reply(frame.worker, self._rule.center(self.state.store, frame.worker))
                if frame.op == Op.EVALUATED:
                    return self._evaluated(frame)
                if frame.op == Op.LEAVE:
                    account.left = True
                    self._changed.notify_all()
                    return Frame(Op.STATE)
                if frame.op == Op.SAVE:
                    self.state.saved[frame.worker] = bytes(frame.payload)
                    return Frame(Op.STATE)
                if frame.op == Op.RESTORE:
                    return Frame(Op.STATE, payload=self.state.saved.get(frame.worker, b""))
            except _Refused as refused:
                return Frame(refused.op, payload=str(refused).encode())
        raise protocol.WireError(f"{frame.op.name} is not for a worker to say.")

    def _welcome(self, peer: WorkerId, frame: Frame) -> Frame:
        """Take up a worker: only when no other attempt of it is connected, so that two never train at once."""
        number = frame.worker
        said = _read_json(frame, {"rows": int, "commits": int, "digest": int})
        if not 0 <= number < self._rule.num_workers:
            raise protocol.WireError(f"Worker {number} of {self._rule.num_workers} said hello.")
        if not (0 <= said["rows"] <= _MOST_COUNTED and 0 <= said["commits"] <= _MOST_COUNTED):
            raise protocol.WireError(f"Worker {number} says {said['rows']} rows and {said['commits']} commits.")
        account = self.ledger.worker(number)
        self._renew(frame)
        self._wait_for_end(number, frame)
        if frame.attempt < account.attempt:
            raise _Refused(Op.REPLACED, f"a newer attempt of worker {number} has taken over")
        if account.digest not in (None, said["digest"]):
            raise _Refused(Op.ROWS_CHANGED, f"the rows of worker {number} are not those that its earlier attempt had")
        account.attempt, account.left = frame.attempt, False
        account.rows, account.commits, account.digest = said["rows"], said["commits"], said["digest"]
        peer.worker, peer.attempt = number, frame.attempt
        self._holders[number] = peer
        if self._rendezvous.gather:
            self._gather(frame)
        account.pulled_at = self.ledger.updates
        reply = self._reply(number, self._rule.pull(self.state.store, number))
        return Frame(
            Op.CENTER,
            number,
            frame.attempt,
            account.sequence,
            self.ledger.steps,
            max(worker.commits for worker in self.ledger.workers.values()),
            stop=self._stop,
            payload=reply.payload,
        )

    def _wait_for_end(self, number: int, frame: Frame) -> None:
        """Wait for an earlier attempt of a worker, as long as it commits; one that is silent may yet be right to go on."""
        limit, seen = self._rendezvous.timeout, -1

        def free() -> bool:
            return number not in self._holders or self.failure is not None or self._closing or self._is_outdated(frame)

        while not free() and seen != self.ledger.worker(number).sequence:
            seen = self.ledger.worker(number).sequence
            self._changed.wait_for(free, limit)
        self._check_alive(frame)
        if self._closing:
            raise ConnectionError("the server closes")
        if number in self._holders:
            raise _Refused(Op.REPLACED, f"waited {limit:g} s for the earlier attempt of worker {number} to end; it goes on")

    def _gather(self, frame: Frame) -> None:
        """Wait until all workers of this attempt of the stage are here."""
        self._changed.notify_all()

        def all_here() -> bool:
            here = [p for p in self._holders.values() if p.attempt >> _GENERATION_BITS == self._generation]
            return len(here) == self._rule.num_workers

        self._wait(all_here, "all workers to begin together", frame)

    def _renew(self, frame: Frame) -> None:
        """Where workers go in step, the first of a new attempt of the stage sends those of the last one away."""
        generation = frame.attempt >> _GENERATION_BITS
        if self._rendezvous.gather and generation > self._generation:
            self._generation = generation
            self._round.clear()
            self._changed.notify_all()

    def _is_outdated(self, frame: Frame) -> bool:
        return self._rendezvous.gather and frame.attempt >> _GENERATION_BITS < self._generation

    def _account(self, peer: WorkerId, frame: Frame) -> WorkerAccount:
        if peer.worker < 0 or (frame.worker, frame.attempt) != (peer.worker, peer.attempt):
            raise protocol.WireError(f"A frame of worker {frame.worker} on the connection of worker {peer.worker}.")
        return self.ledger.worker(frame.worker)

    def _commit(self, account: WorkerAccount, frame: Frame) -> Frame:
        if len(frame.payload) != self.state.store[0].nbytes:
            raise protocol.WireError(f"An update of {len(frame.payload)} bytes, expected {self.state.store[0].nbytes}.")
        if frame.sequence <= account.sequence:  # sent again: it was applied before
            return self._reply(frame.worker, self._rule.pull(self.state.store, frame.worker))
        self._check_epoch(frame)
        if frame.sequence != account.sequence + 1:
            raise protocol.WireError(f"Commit {frame.sequence} of worker {frame.worker} after its commit {account.sequence}.")
        if isinstance(self._rule, SynchronousRule):
            self._join_round(account, frame)
            return self._reply(frame.worker, self._rule.pull(self.state.store, frame.worker))
        assert isinstance(self._rule, AsynchronousRule)
        if self._rendezvous.turns:
            self._wait(lambda: self._is_turn(frame), f"the turn of worker {frame.worker}", frame)
        staleness = self.ledger.updates - account.pulled_at
        received = self._rule.exchange(self.state.store, frame.worker, frame.vector(), staleness)
        self.ledger.book(account, frame)
        account.pulled_at = self.ledger.updates
        if self._rendezvous.turns:
            self._changed.notify_all()
        return self._reply(frame.worker, received)

    def _check_epoch(self, frame: Frame) -> None:
        """An epoch follows those that are known: a worker has commits in each."""
        if frame.epoch > len(self.ledger.epochs):
            raise protocol.WireError(f"Epoch {frame.epoch} of worker {frame.worker} after {len(self.ledger.epochs)} epochs.")

    def _is_turn(self, frame: Frame) -> bool:
        """Whether all others have made the commits that go before this one: by number of commit, then by worker."""
        return all(
            other.left or other.sequence >= frame.sequence - (number > frame.worker)
            for number, other in self.ledger.workers.items()
            if number != frame.worker
        )

    def _join_round(self, account: WorkerAccount, frame: Frame) -> None:
        """Wait for everybody's update of this round; the last to come applies them all, in the order of the workers."""
        assert isinstance(self._rule, SynchronousRule)
        self._round[frame.worker] = frame
        if len(self._round) == self._rule.num_workers:
            frames = [self._round[number] for number in sorted(self._round)]
            self._rule.combine(self.state.store, [f.vector() for f in frames], [f.rows for f in frames])
            for f in frames:
                self.ledger.worker(f.worker).pulled_at = self.ledger.updates
                self.ledger.book(self.ledger.worker(f.worker), f)
            self._round.clear()
            self._changed.notify_all()
        self._wait(lambda: account.sequence >= frame.sequence, "the slowest worker of the round", frame)

    def _evaluated(self, frame: Frame) -> Frame:
        """Take what a worker measured at the end of an epoch; the last to tell decides whether training goes on."""
        said = _read_json(frame, {"measured": dict, "stop": bool})
        if not all(type(value) in (int, float) for value in said["measured"].values()):
            raise protocol.WireError(f"Worker {frame.worker} measured something that is not a number.")
        self._check_epoch(frame)
        measured = {name: float(value) for name, value in said["measured"].items()}
        self.ledger.epoch(frame.epoch).evaluations[frame.worker] = (frame.rows, measured)
        self._stop = self._stop or said["stop"]
        self._judge()
        self._changed.notify_all()
        if self._rendezvous.gather:
            self._wait(lambda: self.state.stopping.judged > frame.epoch, "all workers to end the epoch", frame)
        return Frame(Op.CENTER, frame.worker, frame.attempt, stop=self._stop)

    def _judge(self) -> None:
        """Judge every epoch that all workers have ended, in order."""
        stopping = self.state.stopping
        empty = sum(worker.digest is not None and not worker.rows for worker in self.ledger.workers.values())
        while stopping.judged < len(self.ledger.epochs):
            epoch = self.ledger.epochs[stopping.judged]
            if len(epoch.evaluations) + (0 if self._rendezvous.gather else empty) < self._rule.num_workers:
                return
            better = stopping.judge(epoch.measured.get("loss", epoch.mean_loss))
            if better and stopping.patience is not None:
                self._on_best()
            self._stop = self._stop or stopping.due

    def _reply(self, worker: int, center: Vector) -> Frame:
        stop = self._stop and not self._rendezvous.gather  # those that wait for each other stop at an epoch's end, together
        account = self.ledger.worker(worker)
        return Frame(
            Op.CENTER,
            worker,
            account.attempt,
            account.sequence,
            self.ledger.steps,
            stop=stop,
            payload=protocol.as_payload(center),
        )

    def _wait(self, condition: Callable[[], bool], what: str, frame: Frame) -> None:
        """Wait until something another connection does makes the condition true; not forever."""
        ended = lambda: self.failure is not None or self._closing or self._is_outdated(frame)  # noqa: E731 - it is used once
        if not self._changed.wait_for(lambda: condition() or ended(), self._rendezvous.timeout):
            self.fail(f"waited {self._rendezvous.timeout:g} s for {what}; set timeout if that is too short")
        self._check_alive(frame)
        if self._closing:
            raise ConnectionError("the server closes")

    def _check_alive(self, frame: Frame) -> None:
        if self.failure is not None:
            raise _Refused(Op.REFUSED, self.failure)
        if self._is_outdated(frame):
            raise _Refused(Op.REPLACED, "the stage has been started again")


class _Refused(Exception):
    """What a worker asks for is not done, and why."""

    def __init__(self, op: Op, reason: str) -> None:
        super().__init__(reason)
        self.op = op


def _read_json(frame: Frame, expected: dict[str, type]) -> dict[str, Any]:
    """A frame's JSON payload. Raises WireError unless it holds exactly these names with values of these types."""
    try:
        said = json.loads(bytes(frame.payload))
    except (ValueError, RecursionError) as error:
        raise protocol.WireError(f"{frame.op.name} without its JSON: {error}") from error
    if not isinstance(said, dict) or {name: type(value) for name, value in said.items()} != expected:
        raise protocol.WireError(
            f"{frame.op.name} says {sorted(said) if isinstance(said, dict) else said!r}, expected {sorted(expected)}."
        )
    return said
