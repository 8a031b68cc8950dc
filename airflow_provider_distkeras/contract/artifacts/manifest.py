"""What a job leaves behind: the truth about its result, written last."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from typing import Any, ClassVar

from airflow_provider_distkeras.contract.errors import ArtifactError
from airflow_provider_distkeras.contract.files.storage import Storage
from airflow_provider_distkeras.contract.specs.base import CONTRACT_VERSION

#: Per kind of job, what its operator returns.
RESULTS = {
    "preprocess": ("dataset_path", "pipeline_path", "rows", "rejected_rows", "feature_columns"),
    "train": ("model_path", "report_path", "best_params", "metrics", "rows"),
    "score": ("predictions_path", "model_path", "rows", "quarantined_rows", "metrics"),
    "promote": ("champion_path", "promoted", "reason", "metrics", "rows"),
}


@dataclass(frozen=True)
class Manifest:
    """A job's result and what it came from.

    Attributes:
        kind: preprocess, train, score or promote.
        spec_sha256: digest of what was asked for.
        result: what the operator returns, less `manifest_path`: paths, numbers and small dicts.
        inputs: a fingerprint per input file, to tell later whether the inputs are still the same.
        details: whatever else is worth keeping: versions, timings, the result of every cell.
    """

    FILE_NAME: ClassVar[str] = "_MANIFEST.json"

    kind: str
    spec_sha256: str
    result: dict[str, Any]
    inputs: dict[str, Any] = field(default_factory=dict)
    details: dict[str, Any] = field(default_factory=dict)
    contract: int = CONTRACT_VERSION

    def to_json(self) -> str:
        """The manifest as text."""
        return json.dumps(asdict(self), indent=2)

    @classmethod
    def read(cls, storage: Storage, path: str) -> Manifest:
        """Read and check a manifest. Raises ArtifactError where there is none or it is not one of ours."""
        try:
            content = json.loads(storage.read_bytes(path))
            manifest = cls(**content)
        except FileNotFoundError:
            raise ArtifactError(f"There is no manifest at {path}: the job did not commit a result.") from None
        except (ValueError, TypeError) as error:
            raise ArtifactError(f"The manifest at {path} cannot be read: {error}.") from error
        if manifest.contract != CONTRACT_VERSION:
            raise ArtifactError(f"The manifest at {path} has contract {manifest.contract}, expected {CONTRACT_VERSION}.")
        lacking = [key for key in RESULTS.get(manifest.kind, ()) if key not in manifest.result]
        if manifest.kind not in RESULTS or lacking:
            raise ArtifactError(f"The manifest at {path} is not valid: kind {manifest.kind!r}, lacking {lacking}.")
        return manifest


def beside(artifact_path: str) -> str:
    """The path of the manifest that an artifact, such as a dataset or a model, was committed with."""
    return f"{artifact_path.rstrip('/').rsplit('/', 1)[0]}/{Manifest.FILE_NAME}"
