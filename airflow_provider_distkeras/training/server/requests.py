"""The requests of workers: each is admitted, ordered and applied exactly once, whichever thread serves its connection."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

from airflow_provider_distkeras.training.algorithms.rule import Vector
from airflow_provider_distkeras.training.algorithms.synchronous import SynchronousRule
from airflow_provider_distkeras.training.server import protocol, validation
from airflow_provider_distkeras.training.server.ledger import WorkerAccount
from airflow_provider_distkeras.training.server.protocol import Frame, Op, WireError
from airflow_provider_distkeras.training.server.store import ParameterStore, StoreState

_GENERATION_BITS = 32
#: The most seconds that workers wait for each other before their first window, if they need not begin together.
_BEGIN_SECONDS = 30.0


@dataclass(eq=False)
class WorkerId:
    """The worker behind a connection; -1 until its HELLO was accepted."""

    worker: int = -1
    attempt: int = -1


@dataclass(frozen=True)
class SyncPolicy:
    """Whether, and how, workers wait for each other, and for how many epochs.

    Attributes:
        barrier: workers begin together and complete every epoch together.
        round_robin: asynchronous workers commit one after the other, in the order of their numbers.
        together: asynchronous workers that begin together, if they all connect in time, and of which none is a commit ahead of
            another one that trains; 0 where nobody waits.
        timeout: the most seconds that the server waits for a worker.
        num_epoch: passes over the rows; a frame of a later epoch is refused.
    """

    barrier: bool = False
    round_robin: bool = False
    together: int = 0
    timeout: float = 1800.0
    num_epoch: int = 2**31


class RequestHandler:
    """Handles the frames of one run's workers; any thread may call it.

    A worker's commits carry a sequence number: one that is sent again is answered, not applied again. Its attempts carry a number
    too: only the newest one is served, and never two at once.

    Args:
        store: the weights and the ledger.
        policy: whether workers wait for each other.

    Attributes:
        failure: why the run has failed; None while it has not.
        active_at: `time.monotonic()` of the last frame; None before the first.
    """

    def __init__(self, store: ParameterStore, policy: SyncPolicy = SyncPolicy()) -> None:
        self.store = store
        self.failure: str | None = None
        self.active_at: float | None = None
        self._policy = policy
        self._connected: dict[int, WorkerId] = {}
        self._generation = 0
        self._begun: set[int] = set()  # workers of this generation that have their first weights
        self._round: dict[int, Frame] = {}
        self._changed = threading.Condition()
        self._closing = False

    def fail(self, reason: str) -> None:
        """End the run: every request is refused from now on."""
        with self._changed:
            self.failure = self.failure or reason
            self._changed.notify_all()

    def copy_state(self, copy: Callable[[StoreState], StoreState]) -> StoreState:
        """Return a copy of the state, made between two updates."""
        with self._changed:
            return copy(self.store.state)

    def close(self) -> None:
        """End every wait with a ConnectionError."""
        with self._changed:
            self._closing = True
            self._changed.notify_all()

    def disconnect(self, client: WorkerId) -> None:
        """Forget a client whose connection has ended, and its part of an incomplete round."""
        with self._changed:
            if self._connected.get(client.worker) is client:
                del self._connected[client.worker]
                self._round.pop(client.worker, None)
            self._changed.notify_all()

    def handle(self, client: WorkerId, frame: Frame) -> Frame:
        """Return the response to a frame.

        Args:
            client: the worker behind the connection; set by its HELLO.
            frame: the request.

        Raises:
            WireError: the frame breaks the protocol.
        """
        with self._changed:
            self.active_at = time.monotonic()
            if frame.op == Op.FAILED:
                self.fail(bytes(frame.payload[: protocol.MAX_FAILURE_BYTES]).decode("utf-8", "replace"))
            try:
                self._check_alive(frame)
                if frame.op == Op.HELLO:
                    return self._register(client, frame)
                account = self._account(client, frame)
                if frame.op == Op.COMMIT:
                    return self._commit(account, frame)
                if frame.op == Op.PULL:
                    return self._response(frame.worker, self.store.server_weights(frame.worker))
                if frame.op == Op.EVALUATED:
                    return self._evaluated(frame)
                if frame.op == Op.LEAVE:
                    account.left = True
                    self._changed.notify_all()
                    return Frame(Op.STATE)
                if frame.op == Op.SAVE:
                    self.store.state.saved[frame.worker] = bytes(frame.payload)
                    return Frame(Op.STATE)
                if frame.op == Op.RESTORE:
                    return Frame(Op.STATE, payload=self.store.state.saved.get(frame.worker, b""))
            except _RefusalError as refusal:
                return Frame(refusal.op, payload=str(refusal).encode())
        raise WireError(f"{frame.op.name} is not a request of a worker.")

    def _register(self, client: WorkerId, frame: Frame) -> Frame:
        """Accept a worker, once no other attempt of it is connected, so that two never train at once."""
        number, ledger = frame.worker, self.store.ledger
        hello = validation.read_hello(frame, self.store.rule.num_workers)
        account = ledger.worker(number)
        self._begin_generation(frame)
        self._await_earlier_attempt(number, frame)
        if frame.attempt < account.attempt:
            raise _RefusalError(Op.REPLACED, f"a newer attempt of worker {number} has taken over")
        if account.digest not in (None, hello["digest"]):
            raise _RefusalError(Op.ROWS_CHANGED, f"the rows of worker {number} differ from those of its earlier attempt")
        account.attempt, account.left = frame.attempt, False
        account.rows, account.commits, account.digest = hello["rows"], hello["commits"], hello["digest"]
        client.worker, client.attempt = number, frame.attempt
        self._connected[number] = client
        if self._policy.barrier:
            self._await_all_workers(frame)
        elif self._policy.together:
            self._await_first_workers()
        account.pulled_at = ledger.updates
        response = self._response(number, self.store.pull(number))
        self._begun.add(number)
        self._changed.notify_all()
        response.attempt, response.stop = frame.attempt, self.store.stopped
        response.epoch = max(worker.commits for worker in ledger.workers.values())
        alone = self.store.rule.is_independent
        response.rows = account.rows if alone else ledger.rows_of_all(self.store.rule.num_workers)
        return response

    def _await_earlier_attempt(self, number: int, frame: Frame) -> None:
        """Wait for an earlier attempt of a worker to end, as long as it commits; a silent one is waited for once."""
        limit, sequence = self._policy.timeout, -1

        def free() -> bool:
            return number not in self._connected or self.failure is not None or self._closing or self._is_outdated(frame)

        while not free() and sequence != self.store.ledger.worker(number).sequence:
            sequence = self.store.ledger.worker(number).sequence
            self._changed.wait_for(free, limit)
        self._check_alive(frame)
        if self._closing:
            raise ConnectionError("the server is closing")
        if number in self._connected:
            raise _RefusalError(Op.REPLACED, f"waited {limit:g} s for the earlier attempt of worker {number} to end; it goes on")

    def _await_all_workers(self, frame: Frame) -> None:
        """Wait until all workers of this attempt of the stage are connected."""
        self._changed.notify_all()

        def complete() -> bool:
            current = [c for c in self._connected.values() if c.attempt >> _GENERATION_BITS == self._generation]
            return len(current) == self.store.rule.num_workers

        self._wait(complete, "all workers to begin together", frame)

    def _await_first_workers(self) -> None:
        """Wait a while for the workers that should begin together; those that come later catch up."""
        self._changed.notify_all()

        def enough() -> bool:
            ended = self.failure is not None or self._closing
            done = sum(account.left for account in self.store.ledger.workers.values())
            return ended or len(self._connected) + done >= self._policy.together

        self._changed.wait_for(enough, _BEGIN_SECONDS)

    def _begin_generation(self, frame: Frame) -> None:
        """End the previous attempt of a barrier stage when the first worker of a new one connects."""
        generation = frame.attempt >> _GENERATION_BITS
        if self._policy.barrier and generation > self._generation:
            self._generation = generation
            self._begun.clear()
            self._round.clear()
            self._changed.notify_all()

    def _is_outdated(self, frame: Frame) -> bool:
        return self._policy.barrier and frame.attempt >> _GENERATION_BITS < self._generation

    def _account(self, client: WorkerId, frame: Frame) -> WorkerAccount:
        if client.worker < 0 or (frame.worker, frame.attempt) != (client.worker, client.attempt):
            raise WireError(f"A frame of worker {frame.worker} came on the connection of worker {client.worker}.")
        return self.store.ledger.worker(frame.worker)

    def _commit(self, account: WorkerAccount, frame: Frame) -> Frame:
        validation.check_commit(frame, account, self.store.state.store[0].nbytes)
        if frame.sequence <= account.sequence:  # sent again: it was applied before
            return self._response(frame.worker, self.store.pull(frame.worker))
        self._check_epoch(frame)
        if frame.sequence != account.sequence + 1:
            raise WireError(f"Commit {frame.sequence} of worker {frame.worker} came after its commit {account.sequence}.")
        if isinstance(self.store.rule, SynchronousRule):
            self._join_round(account, frame)
            return self._response(frame.worker, self.store.pull(frame.worker))
        if self._policy.round_robin:
            self._wait(lambda: self._is_turn(frame), f"the turn of worker {frame.worker}", frame)
        answer = self.store.apply(account, frame)
        if self._policy.round_robin or self._policy.together:
            self._changed.notify_all()
        if self._policy.together and not self._is_slowest(account, frame):
            answer = self._await_slower_workers(account, frame, answer)
        return self._response(frame.worker, answer)

    def _is_turn(self, frame: Frame) -> bool:
        """Return whether all commits before this one are made, by number of commit, then by worker.

        Behind a barrier, every worker has its first weights by then: else the first ones would depend on whose thread woke first.
        """
        if self._policy.barrier and len(self._begun) < self.store.rule.num_workers:
            return False
        return all(
            other.left or other.sequence >= frame.sequence - (number > frame.worker)
            for number, other in self.store.ledger.workers.items()
            if number != frame.worker
        )

    def _await_slower_workers(self, account: WorkerAccount, frame: Frame, answer: Vector) -> Vector:
        """Wait until no worker is behind; return the answer to the commit, with what the others have added."""
        self._wait(lambda: self._is_slowest(account, frame), "the slowest worker", frame)
        if not self.store.rule.answers_with_weights:
            return answer
        account.pulled_at = self.store.ledger.updates
        return self.store.pull(frame.worker)

    def _is_slowest(self, account: WorkerAccount, frame: Frame) -> bool:
        """Return whether no worker that trains now is behind; the windows of a worker with fewer rows count for more."""
        workers = self.store.ledger.workers
        others = [workers[number] for number in self._connected if number != frame.worker]
        # Shares of an epoch are compared in integers: by a rounding error, two workers would wait for each other.
        return all(other.left or other.sequence * account.commits >= frame.sequence * other.commits for other in others)

    def _join_round(self, account: WorkerAccount, frame: Frame) -> None:
        """Wait for every worker's update of this round; the last one's thread applies all, in the order of the workers."""
        validation.check_finite(frame)
        self._round[frame.worker] = frame
        if len(self._round) == self.store.rule.num_workers:
            self.store.apply_round([self._round[number] for number in sorted(self._round)])
            self._round.clear()
            self._changed.notify_all()
        self._wait(lambda: account.sequence >= frame.sequence, "the slowest worker of the round", frame)

    def _evaluated(self, frame: Frame) -> Frame:
        """Record a worker's metrics at the end of an epoch; behind a barrier, wait for those of all workers."""
        metrics, stop = validation.read_evaluation(frame)
        self._check_epoch(frame)
        awaited = self.store.rule.num_workers - (0 if self._policy.barrier else self.store.ledger.workers_without_rows)
        self.store.record_evaluation(frame, metrics, stop, awaited)
        self._changed.notify_all()
        if self._policy.barrier:
            self._wait(lambda: self.store.state.stopping.judged > frame.epoch, "all workers to end the epoch", frame)
        return Frame(Op.WEIGHTS, frame.worker, frame.attempt, loss=self.store.state.rate_factor, stop=self.store.stopped)

    def _check_epoch(self, frame: Frame) -> None:
        validation.check_epoch(frame, len(self.store.ledger.epochs), self._policy.num_epoch)

    def _response(self, worker: int, weights: Vector) -> Frame:
        ledger = self.store.ledger
        account = ledger.worker(worker)
        return Frame(
            Op.WEIGHTS,
            worker,
            account.attempt,
            account.sequence,
            account.steps if self.store.rule.is_independent else ledger.steps,
            loss=self.store.state.rate_factor,
            stop=self.store.stopped and not self._policy.barrier,  # behind a barrier, all stop together at an epoch's end
            payload=protocol.as_payload(weights),
        )

    def _wait(self, condition: Callable[[], bool], description: str, frame: Frame) -> None:
        """Wait, at most the policy's timeout, until another connection's thread makes the condition true."""
        ended = lambda: self.failure is not None or self._closing or self._is_outdated(frame)  # noqa: E731 - it is used once
        if not self._changed.wait_for(lambda: condition() or ended(), self._policy.timeout):
            self.fail(f"waited {self._policy.timeout:g} s for {description}; set timeout if that is too short")
        self._check_alive(frame)
        if self._closing:
            raise ConnectionError("the server is closing")

    def _check_alive(self, frame: Frame) -> None:
        if self.failure is not None:
            raise _RefusalError(Op.REFUSED, self.failure)
        if self._is_outdated(frame):
            raise _RefusalError(Op.REPLACED, "the stage has been started again")


class _RefusalError(Exception):
    """A request that is not served: the operation of its response, and the reason."""

    def __init__(self, op: Op, reason: str) -> None:
        super().__init__(reason)
        self.op = op
