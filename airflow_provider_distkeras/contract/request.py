"""The one file an operator hands to its job: what is asked for, and which attempt it is."""

from __future__ import annotations

import json
from dataclasses import dataclass, field

from airflow_provider_distkeras.contract.errors import ArtifactError
from airflow_provider_distkeras.contract.paths import Attempt
from airflow_provider_distkeras.contract.specs import CONTRACT_VERSION, SPECS, Spec


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
