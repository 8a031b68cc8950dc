"""The reuse of a period's committed result."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from airflow_provider_distkeras.contract.artifacts.attempt import current
from airflow_provider_distkeras.contract.artifacts.manifest import Manifest
from airflow_provider_distkeras.contract.artifacts.request import Request, is_answer
from airflow_provider_distkeras.contract.errors import ArtifactError, SpecError
from airflow_provider_distkeras.hooks.storage import UnreadableHere, storage_for

if TYPE_CHECKING:
    from airflow.sdk.types import Logger


def committed_result(request: Request, if_exists: str, log: Logger, *, reads_files: bool) -> dict[str, Any] | None:
    """Return the period's committed result if it is to be reused, else None.

    Args:
        request: The request of this run.
        if_exists: The operator's argument: "overwrite", "reuse" or "fail".
        log: Where the decision is logged.
        reads_files: Whether the result depends on input files, beside the request.

    Raises:
        ArtifactError: `if_exists` is "fail", and the committed result cannot be read.
        SpecError: `if_exists` is "fail", and there is a committed result.
        UnreadableHere: Airflow has no driver for the artifact root.
    """
    if if_exists == "overwrite":
        return None
    attempt = request.attempt
    try:
        storage = storage_for(attempt.period_path)
        committed = current(storage, attempt.period_path)
        if committed is None:
            return None
        manifest = Manifest.read(storage, committed.manifest_path)
    except UnreadableHere:
        raise
    except ArtifactError as error:
        if if_exists == "fail":
            raise
        log.warning("The committed result cannot be reused: %s", error)
        return None
    if if_exists == "fail":
        raise SpecError(
            f"The period has a committed result, {committed.manifest_path}, and if_exists is 'fail'. "
            "Set if_exists to 'overwrite' for a new attempt, or to 'reuse' to return that result."
        )
    # Files that Airflow cannot see may have changed.
    same_inputs = not reads_files or (bool(request.inputs) and manifest.inputs == request.inputs)
    if not is_answer(storage, committed, manifest, request.spec) or not same_inputs:
        log.info("The committed result %s answers another request or other inputs: running again.", committed.manifest_path)
        return None
    log.info("Reusing the committed result %s.", committed.manifest_path)
    return {**manifest.result, "manifest_path": committed.manifest_path}
