"""What the frames of a worker may hold. A worker that knows the run's secret may spoil a run, but never its driver.

Every function raises WireError, which names the worker, for a frame that no worker of the run sends.
"""

from __future__ import annotations

import json
import math
from typing import Any

import numpy as np

from airflow_provider_distkeras.training.algorithms.rule import Vector
from airflow_provider_distkeras.training.server.ledger import WorkerAccount
from airflow_provider_distkeras.training.server.protocol import Frame, WireError

_MAX_COUNT = 2**32 - 1
_MAX_DIGEST = 2**63 - 1
_MAX_LOSS = 1e300
_MAX_METRICS = 100
_MAX_EVALUATION_BYTES = 1 << 14


def read_hello(frame: Frame, num_workers: int) -> dict[str, int]:
    """Return the rows, the commits per epoch and the digest of a worker that registers."""
    if not 0 <= frame.worker < num_workers:
        raise WireError(f"HELLO of worker {frame.worker}; expected a number below {num_workers}.")
    hello: dict[str, int] = _read_json(frame, {"rows": int, "commits": int, "digest": int})
    limits = {"rows": _MAX_COUNT, "commits": _MAX_COUNT, "digest": _MAX_DIGEST}
    if not all(0 <= hello[name] <= limit for name, limit in limits.items()):
        raise WireError(f"HELLO of worker {frame.worker} with {hello}; expected numbers from 0 to at most {limits}.")
    return hello


def check_commit(frame: Frame, account: WorkerAccount, size: int) -> None:
    """Check the size of a commit's update, and the numbers that the ledger adds up.

    Args:
        frame: the commit.
        account: the worker's account.
        size: the bytes of an update.
    """
    commit = f"Commit {frame.sequence} of worker {frame.worker}"
    if len(frame.payload) != size:
        raise WireError(f"{commit} has an update of {len(frame.payload)} bytes; expected {size}.")
    if frame.rows > account.rows or frame.steps > account.rows:
        raise WireError(f"{commit} has {frame.rows} rows in {frame.steps} steps; its worker has {account.rows} rows.")
    if not abs(frame.loss) <= _MAX_LOSS:
        raise WireError(f"{commit} has a loss of {frame.loss}; expected a finite number.")


def is_moderate(update: Vector) -> bool:
    """Return whether all entries are finite, and so small that no number of such updates makes a weight infinite."""
    with np.errstate(over="ignore", invalid="ignore"):
        return math.isfinite(np.dot(update, update))  # takes half the time of a look at every entry


def check_finite(frame: Frame) -> None:
    """Check that an update has no entry that is infinite or not a number."""
    if not is_moderate(frame.vector()) and not np.isfinite(frame.vector()).all():
        raise WireError(f"Commit {frame.sequence} of worker {frame.worker} has an update that is not finite.")


def check_epoch(frame: Frame, epochs: int, num_epoch: int) -> None:
    """Check that an epoch is one of the run's, and one of those begun or the next: a worker has commits in each.

    Args:
        frame: a commit or an evaluation.
        epochs: the epochs begun.
        num_epoch: the epochs of the run.
    """
    if frame.epoch > epochs or frame.epoch >= num_epoch:
        raise WireError(f"Worker {frame.worker} sent epoch {frame.epoch + 1} of {num_epoch} after {epochs} epochs.")


def read_evaluation(frame: Frame) -> tuple[dict[str, float], bool]:
    """Return a worker's metrics at the end of an epoch, and whether one of its callbacks requests the end of training."""
    evaluation = f"EVALUATED of worker {frame.worker}"
    if len(frame.payload) > _MAX_EVALUATION_BYTES:
        raise WireError(f"{evaluation} has {len(frame.payload)} bytes; expected at most {_MAX_EVALUATION_BYTES}.")
    report = _read_json(frame, {"measured": dict, "stop": bool})
    measured = report["measured"]
    if len(measured) > _MAX_METRICS:
        raise WireError(f"{evaluation} has {len(measured)} metrics; expected at most {_MAX_METRICS}.")
    if not all(type(value) in (int, float) for value in measured.values()):
        raise WireError(f"{evaluation}: expected a number for every metric.")
    try:
        return {name: float(value) for name, value in measured.items()}, report["stop"]
    except OverflowError as error:
        raise WireError(f"{evaluation} has a metric that no float can hold.") from error


def _read_json(frame: Frame, expected: dict[str, type]) -> dict[str, Any]:
    """Return a frame's JSON payload, which holds exactly these names with values of these types."""
    request = f"{frame.op.name} of worker {frame.worker}"
    try:
        content = json.loads(bytes(frame.payload))
    except (ValueError, RecursionError) as error:
        raise WireError(f"The payload of {request} is not JSON: {error}") from error
    if not isinstance(content, dict) or {name: type(value) for name, value in content.items()} != expected:
        received = sorted(content)[:8] if isinstance(content, dict) else type(content).__name__
        raise WireError(f"The payload of {request} has {received}; expected {sorted(expected)}.")
    return content
