"""One run of a task's job."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from airflow_provider_distkeras.contract.artifacts.attempt import Attempt, attempts, require_request, task_path
from airflow_provider_distkeras.contract.artifacts.champions import Champions
from airflow_provider_distkeras.contract.artifacts.request import Request
from airflow_provider_distkeras.contract.errors import ArtifactError
from airflow_provider_distkeras.contract.fields import text
from airflow_provider_distkeras.contract.period import period_key
from airflow_provider_distkeras.hooks.storage import storage_for

if TYPE_CHECKING:
    from airflow.providers.common.compat.sdk import Context

    from airflow_provider_distkeras.contract.specs import Spec


@dataclass
class JobRun:
    """One run of a task's job: its request, the attempt that it writes into, and its result.

    Attributes:
        context: Airflow's context of the task.
        root: The artifact root, a URI.
        segment: The map key, or the map index of a mapped task without one; -1 for a task that is not mapped.
        spec: What the job does; set after `resolve`.
        inputs: A fingerprint per input file; set by `check_inputs`.
        attempt: The attempt of this try.
        claimed: The attempt that the job writes into; an earlier try's, if the job was found again. None before the submission.
        external_id: The application's id on the cluster; None in client mode and before the submission.
        result: What the task returns; None until there is a result.
        resolved: What `resolve` has looked up, for later steps of the operator.
        event_details: What the extra of an asset event holds beside the result.
    """

    context: Context
    root: str = ""
    segment: int | str = -1
    spec: Spec = field(init=False)
    inputs: dict[str, str] = field(default_factory=dict)
    attempt: Attempt = field(init=False)
    claimed: Attempt | None = None
    external_id: str | None = None
    result: dict[str, Any] | None = None
    resolved: Any = None
    event_details: dict[str, Any] = field(default_factory=dict)

    @classmethod
    def of_attempt(cls, context: Context, attempt: Attempt, segment: int | str) -> JobRun:
        """Return the run of a claimed attempt, from its request, in a process that has not submitted it."""
        run = cls(context, segment=segment, claimed=attempt)
        request = Request.read(storage_for(attempt.path), attempt)
        run.spec, run.inputs, run.attempt = request.spec, request.inputs, attempt
        ti = context["ti"]
        root = attempt.root_of(ti.dag_id, ti.task_id, segment)
        assert root is not None
        run.root = root
        return run

    @property
    def request(self) -> Request:
        """The request: the spec, the attempt and the inputs."""
        return Request(self.spec, self.claimed or self.attempt, self.inputs)

    @property
    def period(self) -> str:
        """The data period of the DAG run."""
        dag_run = self.context["dag_run"]
        return period_key(getattr(dag_run, "partition_key", None), self.context.get("logical_date"), dag_run.run_after)

    @property
    def name(self) -> str:
        """What the job is called on the cluster: the DAG, the task with its segment, and the period."""
        ti = self.context["ti"]
        return f"{ti.dag_id}.{ti.task_id} {'' if self.segment == -1 else f'[{self.segment}] '}{self.period}"

    @property
    def task_path(self) -> str:
        """The folder of the task below the artifact root."""
        ti = self.context["ti"]
        return task_path(self.root, ti.dag_id, ti.task_id, self.segment)

    @property
    def external_id_key(self) -> str:
        """The key of the task's state under which the application's id is stored.

        Clearing a task changes it, a retry does not: so a retry finds a tracked job again, but a cleared task really runs again.
        `max_tries` alone would not do, as it stays the same if the DAG has fewer retries by then.
        """
        return f"spark_job_id:g{self.context['ti'].max_tries}c{self._clear_number}:{self.spec.sha256[:8]}"

    @property
    def _clear_number(self) -> int:
        """How often the DAG run was cleared."""
        return getattr(self.context["dag_run"], "clear_number", None) or 0

    @property
    def _attempt_key(self) -> str:
        return f"distkeras_attempt:{self.external_id_key}"

    def name_attempt(self) -> Attempt:
        """Return a new attempt of this task at the run's period; it is claimed when its request is written.

        Raises:
            ArtifactError: The attempt of an earlier try is gone, as after a share was unmounted.
        """
        ti, storage = self.context["ti"], storage_for(self.root)
        if (earlier := self._stored_attempt()) is not None:
            require_request(storage, earlier)
        generation = f"{ti.max_tries}c{self._clear_number}" if self._clear_number else ti.max_tries
        attempt = Attempt.claim(
            self.root, ti.dag_id, ti.task_id, self.segment, self.period,
            claimed_at=datetime.now(UTC), generation=generation, try_number=ti.try_number, spec_sha256=self.spec.sha256,
        )  # fmt: skip
        return attempt.after(attempts(storage, attempt.period_path))

    def champions(self, name: Any) -> Champions:
        """Return the champions of a name, promoted under the same root. Raise SpecError for a name that is no text."""
        return Champions(storage_for(self.root), self.root, text("champion", name))

    def store_attempt(self) -> None:
        """Store the claimed attempt in the task's state, for a retry that finds its job again."""
        self.claimed = self.attempt
        store = self.context.get("task_state_store")
        if store is not None:
            store.set(self._attempt_key, self.claimed.to_dict())

    def restore_attempt(self) -> Attempt:
        """Return the attempt that the job writes into: this try's, or the one that an earlier try has stored.

        Raises:
            ArtifactError: No attempt is stored.
        """
        self.claimed = self.claimed or self._stored_attempt()
        if self.claimed is None:
            raise ArtifactError("The job was found again, but not the attempt it writes into. Clear the task to run it anew.")
        return self.claimed

    def _stored_attempt(self) -> Attempt | None:
        """Return the attempt that an earlier try of this task has claimed and stored; None if none has."""
        store = self.context.get("task_state_store")
        content = store.get(self._attempt_key) if store is not None else None
        return Attempt(str(content["period_path"]), str(content["name"])) if isinstance(content, dict) else None


def has_committed(attempt: Attempt) -> bool:
    """Return whether an attempt has a result."""
    return storage_for(attempt.path).exists(attempt.manifest_path)
