"""The request: the one file that an operator hands to its job, with the spec and the attempt."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar

from airflow_provider_distkeras.contract.artifacts.attempt import Attempt, attempts
from airflow_provider_distkeras.contract.artifacts.manifest import Manifest
from airflow_provider_distkeras.contract.errors import ArtifactError, DistKerasError
from airflow_provider_distkeras.contract.files.storage import Storage
from airflow_provider_distkeras.contract.json_object import build, check_members, parse_object
from airflow_provider_distkeras.contract.migration import Migration, migrate
from airflow_provider_distkeras.contract.specs import Spec, spec_class_of

_MEMBERS = {"kind": str, "spec": dict, "attempt": dict, "inputs": dict}

#: The environment variable with the ids, separated by commas, of the processes that a job in client mode must not outlive.
SUBMITTERS = "DISTKERAS_SUBMITTERS"


def _from_version_1(content: dict[str, Any]) -> dict[str, Any]:
    """Version 1 called its own version `contract`; all its specs had version 1."""
    return {**{name: value for name, value in content.items() if name != "contract"}, "spec_version": 1, "version": 2}


@dataclass(frozen=True)
class Request:
    """A spec and the attempt that answers it.

    Attributes:
        spec: what the job is to do.
        attempt: where the job writes.
        inputs: a fingerprint per input file, as the operator saw it; empty if Airflow cannot reach the files.
    """

    VERSION: ClassVar[int] = 2
    MIGRATIONS: ClassVar[Mapping[int, Migration]] = {1: _from_version_1}

    spec: Spec
    attempt: Attempt
    inputs: dict[str, str] = field(default_factory=dict)

    def to_json(self) -> str:
        """Return the request as text. It holds no secret."""
        content = {
            "version": self.VERSION,
            "kind": self.spec.kind,
            "spec_version": self.spec.version,
            "spec": self.spec.to_dict(),
            "attempt": self.attempt.to_dict(),
            "inputs": self.inputs,
        }
        return json.dumps(content, indent=2, sort_keys=True)

    @classmethod
    def from_json(cls, content: str | bytes) -> Request:
        """Return the request that `to_json` gave, its spec checked again.

        Raises:
            ArtifactError: the text is no request, or one of a newer version.
            SpecError: a value of the spec is wrong.
        """
        try:
            values = parse_object(content, "The request")
            written = values.get("version", values.get("contract"))
            values = migrate("The request", values, written=written, current=cls.VERSION, migrations=cls.MIGRATIONS)
            check_members(values, _MEMBERS, "The request")
            kind, spec, spec_version = values["kind"], values["spec"], values["spec_version"]
            attempt = build(Attempt, values["attempt"], {"period_path": str, "name": str}, "The attempt of the request")
            inputs = values["inputs"]
        except KeyError as error:
            raise ArtifactError(f"The request cannot be read: {error!r}.") from error
        return cls(spec_class_of(kind, "The request").from_dict(spec, spec_version), attempt, inputs)

    @classmethod
    def read(cls, storage: Storage, attempt: Attempt) -> Request:
        """Read the request of an attempt; FileNotFoundError if there is none, else as `from_json`."""
        return cls.from_json(storage.read_bytes(attempt.spec_path))


def is_answer(storage: Storage, attempt: Attempt, manifest: Manifest, spec: Spec) -> bool:
    """Return whether an attempt's manifest is the answer to a spec.

    Digests once depended on versions. So where the manifest's digest is another one, the attempt's request decides.
    """
    if manifest.spec_sha256 == spec.sha256:
        return True
    with contextlib.suppress(FileNotFoundError, DistKerasError):  # another answer, or one that cannot be compared any more
        return manifest.kind == spec.kind and Request.read(storage, attempt).spec.sha256 == spec.sha256
    return False


def cut_off(storage: Storage, attempt: Attempt, spec: Spec) -> list[Attempt]:
    """Return the earlier attempts at the same spec that ended without a result, since the last with one; the oldest first.

    A result that an earlier try of the same run has left is one that its task did not live to return.
    """
    unfinished: list[Attempt] = []
    later = attempt
    for earlier in reversed([each for each in attempts(storage, attempt.period_path) if each.name < attempt.name]):
        if storage.exists(earlier.manifest_path) and not later.is_retry_of(earlier):
            break
        with contextlib.suppress(FileNotFoundError, DistKerasError):  # unclaimed, or a request of a newer version
            if Request.read(storage, earlier).spec.sha256 == spec.sha256:
                unfinished.append(earlier)
        later = earlier
    return unfinished[::-1]
