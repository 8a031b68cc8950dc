"""The one file an operator hands to its job: what is asked for, and which attempt it is."""

from __future__ import annotations

import contextlib
import json
from dataclasses import dataclass, field

from airflow_provider_distkeras.contract.artifacts.attempt import Attempt
from airflow_provider_distkeras.contract.errors import ArtifactError, DistKerasError
from airflow_provider_distkeras.contract.files.storage import Storage
from airflow_provider_distkeras.contract.specs import CONTRACT_VERSION, SPECS, Spec

#: The environment variable that tells a job in client mode without which processes nobody waits for it: their ids, by commas.
SUBMITTERS = "DISTKERAS_SUBMITTERS"


@dataclass(frozen=True)
class Request:
    """A spec and the attempt that answers it.

    Attributes:
        inputs: a fingerprint per input file, as the operator saw it; empty if it could not look.
    """

    spec: Spec
    attempt: Attempt
    inputs: dict[str, str] = field(default_factory=dict)

    def to_json(self) -> str:
        """The request as text. It holds no secret."""
        content = {
            "contract": CONTRACT_VERSION,
            "kind": self.spec.kind,
            "spec": self.spec.to_dict(),
            "attempt": self.attempt.to_dict(),
            "inputs": self.inputs,
        }
        return json.dumps(content, indent=2, sort_keys=True)

    @classmethod
    def from_json(cls, content: str | bytes) -> Request:
        """Read a request back, checking the spec again. Raises ArtifactError if an operator of another contract wrote it."""
        said = json.loads(content)
        if said.get("contract") != CONTRACT_VERSION:
            raise ArtifactError(
                f"The request has contract {said.get('contract')!r}, this job speaks {CONTRACT_VERSION}: "
                "install the same version of airflow-provider-distkeras for Airflow and for Spark."
            )
        return cls(SPECS[said["kind"]].build(**said["spec"]), Attempt(**said["attempt"]), said["inputs"])


def cut_off(storage: Storage, attempt: Attempt, spec: Spec) -> list[Attempt]:
    """Earlier attempts at the same that ended without a result, since the last one with a result; the oldest first."""
    found: list[Attempt] = []
    for name in storage.list_names(attempt.period_path):
        other = Attempt(attempt.period_path, name)
        if name >= attempt.name:
            continue
        if storage.exists(other.manifest_path):
            found.clear()
        elif storage.exists(other.spec_path):
            with contextlib.suppress(ValueError, KeyError, DistKerasError):  # of another version
                if Request.from_json(storage.read_bytes(other.spec_path)).spec.sha256 == spec.sha256:
                    found.append(other)
    return found
