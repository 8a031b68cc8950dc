"""OpenLineage's datasets and facets of a task's request and manifest; needs Airflow's OpenLineage provider."""

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
from airflow_provider_distkeras.contract.label_columns import label_names, label_roles
from airflow_provider_distkeras.contract.secrets import holds_credentials
from airflow_provider_distkeras.contract.specs.preprocess import PreprocessDetails
from airflow_provider_distkeras.hooks.storage import storage_for

#: OpenLineage's names of file systems that differ from the schemes of their URIs.
_SCHEMES = {"s3a": "s3", "s3n": "s3", "gcs": "gs", "abfs": "abfss", "wasb": "wasbs"}
#: Object stores, whose names begin without a slash.
_OBJECT_STORES = ("s3", "gs", "abfss", "wasbs")
_WILDCARD = re.compile(r"[*?\[]")


@attrs.define
class DistKerasRunFacet(RunFacet):
    """A job's request and result."""

    kind: str
    period: str
    specSha256: str
    manifestPath: str
    result: dict[str, Any]


@attrs.define
class DistKerasModelFacet(DatasetFacet):
    """A model's metrics and its best hyper-parameters."""

    metrics: dict[str, Any]
    bestParams: dict[str, Any]
    rows: int
    reportPath: str


@attrs.define
class DistKerasArtifactFacet(DatasetFacet):
    """The data period of an artifact, and the digest of its request."""

    period: str
    specSha256: str


def started(paths: Iterable[Any]) -> OperatorLineage:
    """Return the lineage of a task that starts: its inputs, from arguments that are paths, lists of paths, or empty."""
    return OperatorLineage(inputs=[InputDataset(*name) for name in _names(paths, ())])


def completed(request: Request, result: dict[str, Any], path_fields: Sequence[str]) -> OperatorLineage:
    """Return the lineage of a task that has ended: its inputs, its outputs and the facets of its run.

    Args:
        request: The task's request.
        result: The task's result.
        path_fields: The fields of the spec that hold paths.

    Raises:
        ArtifactError: The manifest cannot be read.
    """
    spec = request.spec
    manifest = Manifest.read(storage_for(result["manifest_path"]), result["manifest_path"])
    files = [*(request.inputs or manifest.inputs)]
    inputs = [InputDataset(*name) for name in _names([getattr(spec, field) for field in path_fields], files)]
    details = manifest.details
    if isinstance(details, PreprocessDetails) and len(inputs) == 1 and details.profile:
        inputs[0].facets = {"dataQualityMetrics": _quality(details.profile, result["rows"] + result["rejected_rows"])}
    values = {key: value for key, value in result.items() if not key.endswith("_path") and key != "feature_columns"}
    run = DistKerasRunFacet(spec.kind, request.attempt.period, spec.sha256, result["manifest_path"], values)
    return OperatorLineage(inputs=inputs, outputs=_outputs(request, manifest, result), run_facets={"distkeras": run})


def _names(paths: Iterable[Any], files: Sequence[str]) -> list[tuple[str, str]]:
    """Return the datasets of arguments: a path is one; a pattern stands for the folders of the files that it matched.

    A path with a password, which the task is about to refuse, is none.
    """
    listed = [path for value in paths for path in (value if isinstance(value, (list, tuple)) else [value]) if path]
    listed = [path for path in listed if not holds_credentials(path)]
    plain = [path for path in listed if _WILDCARD.search(path) is None]
    patterns = [path for path in listed if _WILDCARD.search(path) is not None]
    matched = [file for file in files if not any(f"{file}/".startswith(f"{as_uri(path).rstrip('/')}/") for path in plain)]
    folders = [path.rsplit("/", 1)[0] for path in (matched or [_WILDCARD.split(path)[0] for path in patterns])]
    return [*dict.fromkeys(dataset_name(path) for path in (*plain, *(folders if patterns else [])))]


def dataset_name(path: str) -> tuple[str, str]:
    """Return namespace and name of the dataset at a path, by OpenLineage's naming of datasets.

    Args:
        path: A URI, or a local path.
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
    artifacts = {artifact: paths[key] for key, artifact in request.spec.artifacts.items() if paths[key]}
    return [_output(path, request, attempt.name, _FACETS.get(artifact), paths) for artifact, path in artifacts.items()]


def _output(path: str, request: Request, version: str, facets: Any, result: dict[str, Any]) -> OutputDataset:
    output = OutputDataset(*dataset_name(path), facets=_artifact_facets(request, version))
    if facets is not None:
        facets(output, result)
    return output


def champion(request: Request, folder: str, model_path: str) -> OutputDataset:
    """Return the dataset of a champion's name, whose versions are the models.

    Args:
        request: The request of the promotion.
        folder: The folder of the name's records.
        model_path: The model that became champion.
    """
    return OutputDataset(*dataset_name(folder), facets=_artifact_facets(request, ArtifactRef.parse(model_path).attempt.name))


def _artifact_facets(request: Request, version: str) -> dict[str, DatasetFacet]:
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
        *map(schema_dataset.SchemaDatasetFacetFields, label_roles(label_names(result["label_col"] or "label"))),
    ]
    output.facets = {**(output.facets or {}), "schema": schema_dataset.SchemaDatasetFacet(columns)}


def _model(output: OutputDataset, result: dict[str, Any]) -> None:
    facet = DistKerasModelFacet(result["metrics"], result["best_params"], result["rows"], result["report_path"])
    output.facets = {**(output.facets or {}), "distkeras_model": facet}


#: The function that adds the facets of an artifact, by the artifact's name in the specs.
_FACETS = {"dataset": _dataset, "model": _model, "predictions": _rows}


def _quality(profile: dict[str, dict[str, Any]], rows: int) -> data_quality_metrics_dataset.DataQualityMetricsDatasetFacet:
    """Return the profile of the columns; only columns of numbers have min, max and quantiles."""
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
