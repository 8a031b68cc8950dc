"""Whether a period's committed result stands in for a new one."""

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
    """The period's committed result, where it is to be reused.

    Args:
        request: what is asked for.
        if_exists: what to do about a committed result, as the operators take it.
        log: where the decision is told.
        reads_files: whether the answer depends on input files, beside the request.

    Raises:
        SpecError: there is one, and `if_exists` is "fail".
    """
    if if_exists == "overwrite":
        return None
    attempt = request.attempt
    try:
        storage = storage_for(attempt.period_path)
        shown = current(storage, attempt.period_path)
        if shown is None:
            return None
        manifest = Manifest.read(storage, shown.manifest_path)
    except UnreadableHere:
        raise
    except ArtifactError as error:
        if if_exists == "fail":
            raise
        log.warning("The committed result cannot be reused: %s", error)
        return None
    if if_exists == "fail":
        raise SpecError(
            f"The period has a committed result, {shown.manifest_path}, and if_exists is 'fail'. "
            "Set if_exists to 'overwrite' for a new attempt, or to 'reuse' to return that result."
        )
    # If Airflow cannot see the files, they are taken to have changed.
    same_inputs = not reads_files or (bool(request.inputs) and manifest.inputs == request.inputs)
    if not is_answer(storage, shown, manifest, request.spec) or not same_inputs:
        log.info("The committed result %s answers another request or other inputs: running again.", shown.manifest_path)
        return None
    log.info("Reusing the committed result %s.", shown.manifest_path)
    return {**manifest.result, "manifest_path": shown.manifest_path}
