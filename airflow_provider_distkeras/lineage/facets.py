"""A task's request and manifest as OpenLineage's datasets and facets. Imported only where Airflow's OpenLineage provider is."""

from __future__ import annotations

import numbers
import re
from collections.abc import Iterable, Sequence
from typing import Any
from urllib.parse import urlsplit

import attrs
from airflow.providers.openlineage.extractors import OperatorLineage
from openlineage.client.event_v2 import InputDataset, OutputDataset
from openlineage.client.facet_v2 import (
    DatasetFacet,
    RunFacet,
    data_quality_metrics_dataset,
    dataset_version_dataset,
    output_statistics_output_dataset,
    schema_dataset,
)

from airflow_provider_distkeras.contract.artifacts.artifact_ref import ArtifactRef
from airflow_provider_distkeras.contract.artifacts.manifest import Manifest
from airflow_provider_distkeras.contract.artifacts.request import Request
from airflow_provider_distkeras.contract.files.storage import as_uri, is_local, local_path
from airflow_provider_distkeras.contract.specs.preprocess import PreprocessDetails
from airflow_provider_distkeras.hooks.storage import storage_for

#: How file systems are called in OpenLineage, where that is not as in their URIs.
_SCHEMES = {"s3a": "s3", "s3n": "s3", "gcs": "gs", "abfs": "abfss", "wasb": "wasbs"}
#: Object stores, whose names begin without a slash.
_OBJECT_STORES = ("s3", "gs", "abfss", "wasbs")
_WILDCARD = re.compile(r"[*?\[]")


@attrs.define
class DistKerasRunFacet(RunFacet):
    """What a job was asked for and what it found."""

    kind: str
    period: str
    specSha256: str
    manifestPath: str
    result: dict[str, Any]


@attrs.define
class DistKerasModelFacet(DatasetFacet):
    """How good a model is, per metric, and the hyper-parameters that were best."""

    metrics: dict[str, Any]
    bestParams: dict[str, Any]
    rows: int
    reportPath: str


@attrs.define
class DistKerasArtifactFacet(DatasetFacet):
    """Which period of data an artifact is about, and the request that it answers."""

    period: str
    specSha256: str


def started(paths: Iterable[Any]) -> OperatorLineage:
    """What a task is going to read, from its arguments: paths, lists of them, or nothing."""
    return OperatorLineage(inputs=[InputDataset(*name) for name in _names(paths, ())])


def completed(request: Request, result: dict[str, Any], path_fields: Sequence[str]) -> OperatorLineage:
    """What a task has read and made.

    Args:
        request: what was asked for.
        result: what the operator returns.
        path_fields: the fields of the spec that hold paths.
    """
    spec = request.spec
    manifest = Manifest.read(storage_for(result["manifest_path"]), result["manifest_path"])
    files = [*(request.inputs or manifest.inputs)]
    inputs = [InputDataset(*name) for name in _names([getattr(spec, field) for field in path_fields], files)]
    details = manifest.details
    if isinstance(details, PreprocessDetails) and len(inputs) == 1 and details.profile:
        inputs[0].facets = {"dataQualityMetrics": _quality(details.profile, result["rows"] + result["rejected_rows"])}
    told = {key: value for key, value in result.items() if not key.endswith("_path") and key != "feature_columns"}
    run = DistKerasRunFacet(spec.kind, request.attempt.period, spec.sha256, result["manifest_path"], told)
    return OperatorLineage(inputs=inputs, outputs=_outputs(request, manifest, result), run_facets={"distkeras": run})


def _names(paths: Iterable[Any], files: Sequence[str]) -> list[tuple[str, str]]:
    """The datasets that arguments stand for: a path is one, a pattern the folders of the files that it matched, if known."""
    listed = [path for said in paths for path in (said if isinstance(said, (list, tuple)) else [said]) if path]
    plain = [path for path in listed if _WILDCARD.search(path) is None]
    patterns = [path for path in listed if _WILDCARD.search(path) is not None]
    matched = [file for file in files if not any(f"{file}/".startswith(f"{as_uri(path).rstrip('/')}/") for path in plain)]
    folders = [path.rsplit("/", 1)[0] for path in (matched or [_WILDCARD.split(path)[0] for path in patterns])]
    return [*dict.fromkeys(dataset_name(path) for path in (*plain, *(folders if patterns else [])))]


def dataset_name(path: str) -> tuple[str, str]:
    """Namespace and name of what lies at a path, by OpenLineage's naming of datasets.

    Args:
        path: a URI, or a path of this machine.
    """
    if is_local(path):
        return "file", str(local_path(as_uri(path)))
    parts = urlsplit(path)
    scheme = _SCHEMES.get(parts.scheme, parts.scheme)
    name = parts.path.strip("/") if scheme in _OBJECT_STORES else f"/{parts.path.strip('/')}"
    return f"{scheme}://{parts.netloc}", name or "/"


def _outputs(request: Request, manifest: Manifest, result: dict[str, Any]) -> list[OutputDataset]:
    attempt = ArtifactRef.parse(result["manifest_path"]).attempt
    paths = {**manifest.details.to_dict(), **result}
    made = {artifact: paths[key] for key, artifact in request.spec.artifacts.items() if paths[key]}
    return [_output(path, request, attempt.name, _FACETS.get(artifact), result) for artifact, path in made.items()]


def _output(path: str, request: Request, version: str, facets: Any, result: dict[str, Any]) -> OutputDataset:
    output = OutputDataset(*dataset_name(path), facets=_about(request, version))
    if facets is not None:
        facets(output, result)
    return output


def champion(request: Request, folder: str, model_path: str) -> OutputDataset:
    """The champion of a name, of which there is one version per model.

    Args:
        request: of the promotion.
        folder: where the champions of the name are recorded.
        model_path: the model that became champion.
    """
    return OutputDataset(*dataset_name(folder), facets=_about(request, ArtifactRef.parse(model_path).attempt.name))


def _about(request: Request, version: str) -> dict[str, DatasetFacet]:
    return {
        "version": dataset_version_dataset.DatasetVersionDatasetFacet(version),
        "distkeras_artifact": DistKerasArtifactFacet(request.attempt.period, request.spec.sha256),
    }


def _rows(output: OutputDataset, result: dict[str, Any]) -> None:
    output.outputFacets = {
        "outputStatistics": output_statistics_output_dataset.OutputStatisticsOutputDatasetFacet(rowCount=result["rows"])
    }


def _dataset(output: OutputDataset, result: dict[str, Any]) -> None:
    _rows(output, result)
    features = [schema_dataset.SchemaDatasetFacetFields(name, "float") for name in result["feature_columns"]]
    columns = [
        schema_dataset.SchemaDatasetFacetFields("features", "array<float>", fields=features),
        schema_dataset.SchemaDatasetFacetFields("label"),
    ]
    output.facets = {**(output.facets or {}), "schema": schema_dataset.SchemaDatasetFacet(columns)}


def _model(output: OutputDataset, result: dict[str, Any]) -> None:
    told = DistKerasModelFacet(result["metrics"], result["best_params"], result["rows"], result["report_path"])
    output.facets = {**(output.facets or {}), "distkeras_model": told}


#: Per kind of artifact, as the specs call it, what adds its facets.
_FACETS = {"dataset": _dataset, "model": _model, "predictions": _rows}


def _quality(profile: dict[str, dict[str, Any]], rows: int) -> data_quality_metrics_dataset.DataQualityMetricsDatasetFacet:
    """What the columns hold, of those that hold numbers; of the others, how often."""
    metrics = {
        name: data_quality_metrics_dataset.ColumnMetrics(
            nullCount=column.get("missing"),
            distinctCount=column.get("distinct"),
            count=column.get("count"),
            min=_number(column.get("min")),
            max=_number(column.get("max")),
            quantiles={key: value for key, value in column.get("quantiles", {}).items() if _number(value) is not None},
        )
        for name, column in profile.items()
    }
    return data_quality_metrics_dataset.DataQualityMetricsDatasetFacet(metrics, rowCount=rows)


def _number(value: object) -> float | None:
    return float(value) if isinstance(value, numbers.Real) else None
