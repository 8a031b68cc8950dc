"""The manifest: what a job's result is and what it came from, written last of all."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, ClassVar, TypeVar

from airflow_provider_distkeras.contract.errors import ArtifactError
from airflow_provider_distkeras.contract.files.storage import Storage
from airflow_provider_distkeras.contract.json_object import Count, check_members, parse_object
from airflow_provider_distkeras.contract.migration import Migration, migrate
from airflow_provider_distkeras.contract.specs import JobDetails, spec_class_of

_DetailsT = TypeVar("_DetailsT", bound=JobDetails)

_MEMBERS = {"spec_sha256": str, "result": dict, "inputs": dict, "details": dict}
_COUNTS = dict.fromkeys(("rows", "rejected_rows", "quarantined_rows"), Count)


def _from_version_1(content: dict[str, Any]) -> dict[str, Any]:
    """Version 1 called its own version `contract`, and trials cells."""
    details = dict(content.get("details", {}))
    if "cells" in details:
        details["trials"] = details.pop("cells")
    return {**{name: value for name, value in content.items() if name != "contract"}, "details": details, "version": 2}


@dataclass(frozen=True)
class Manifest:
    """A job's result and what it came from.

    Attributes:
        kind: the kind of job, such as "train".
        spec_sha256: the digest of the job's spec.
        result: what the operator returns, less `manifest_path`: paths, numbers and small dicts.
        inputs: a fingerprint per input file, by which a later run sees whether the inputs are still the same.
        details: further facts: versions, timings, the result of every trial.
        version: the version of this format.
    """

    FILE_NAME: ClassVar[str] = "_MANIFEST.json"
    VERSION: ClassVar[int] = 2
    MIGRATIONS: ClassVar[Mapping[int, Migration]] = {1: _from_version_1}

    kind: str
    spec_sha256: str
    result: dict[str, Any]
    inputs: dict[str, Any] = field(default_factory=dict)
    details: JobDetails = field(default_factory=JobDetails)
    version: int = VERSION

    def to_json(self) -> str:
        """Return the manifest as text."""
        return json.dumps(asdict(self), indent=2)

    def details_as(self, details_class: type[_DetailsT]) -> _DetailsT:
        """Return the details. Raises ArtifactError if they are those of another kind of job."""
        if not isinstance(self.details, details_class):
            raise ArtifactError(f"The manifest is of a {self.kind} job: expected one with {details_class.__name__}.")
        return self.details

    @classmethod
    def read(cls, storage: Storage, path: str) -> Manifest:
        """Read and check a manifest. Raises ArtifactError where there is none or it is not one of ours."""
        what = f"The manifest at {path}"
        try:
            content = parse_object(storage.read_bytes(path), what)
            written = content.get("version", content.get("contract"))
            content = migrate(what, content, written=written, current=cls.VERSION, migrations=cls.MIGRATIONS)
            spec_class = spec_class_of(content.pop("kind", None), what)
            check_members(content, _MEMBERS, what)
            check_members(content.get("result", {}), _COUNTS, f"{what}, its result,")
            details = spec_class.details_class.from_dict(content.pop("details", {}), f"{what}, its details,")
            manifest = cls(kind=spec_class.kind, **content, details=details)
        except FileNotFoundError:
            gone = f"There is no manifest at {path}: the job did not commit a result, or its folder is gone."
            raise ArtifactError(gone) from None
        except ArtifactError:
            raise
        except Exception as error:  # each storage's driver raises its own kind
            raise ArtifactError(f"{what} cannot be read: {error!r}.") from error
        missing = [key for key in spec_class.result_fields if key not in manifest.result]
        if missing:
            raise ArtifactError(f"{what} is not valid: kind {manifest.kind!r}, without {', '.join(missing)} in its result.")
        return manifest
