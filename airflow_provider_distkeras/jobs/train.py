"""The train job: from a prepared dataset to the best model of a search, with its pipeline and a report."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from contextlib import nullcontext
from typing import Any

from pyspark.ml import PipelineModel, Transformer
from pyspark.sql import SparkSession

from airflow_provider_distkeras.contract.artifacts.artifact_ref import ArtifactRef
from airflow_provider_distkeras.contract.artifacts.attempt import Attempt, require_claim, write_within
from airflow_provider_distkeras.contract.artifacts.manifest import Manifest
from airflow_provider_distkeras.contract.artifacts.request import cut_off
from airflow_provider_distkeras.contract.errors import DataError
from airflow_provider_distkeras.contract.specs import TrainSpec
from airflow_provider_distkeras.contract.specs.preprocess import PreprocessDetails
from airflow_provider_distkeras.contract.specs.train import TrainDetails
from airflow_provider_distkeras.jobs.runner import JobResult, main, versions
from airflow_provider_distkeras.ml.data.pipeline import feature_meanings
from airflow_provider_distkeras.ml.data.select_columns import SelectColumns
from airflow_provider_distkeras.ml.reporting import report, tensorboard
from airflow_provider_distkeras.ml.reporting.mlflow import MlflowRun
from airflow_provider_distkeras.ml.scoring.trained_model import TrainedModel
from airflow_provider_distkeras.ml.tuning.journal import Journal
from airflow_provider_distkeras.ml.tuning.progress import WRITING
from airflow_provider_distkeras.ml.tuning.search import SearchResult, search
from airflow_provider_distkeras.spark.progress import ProgressReporter
from airflow_provider_distkeras.spark.saved_stages import load_stages
from airflow_provider_distkeras.spark.storage import literal, storage_for

#: The folder of an attempt where its fits are recorded.
_TRIALS = "trials"
#: The most columns that a message lists.
_MAX_DIFFERENCES = 5


def train(spark: SparkSession, spec: TrainSpec, attempt: Attempt, reporter: ProgressReporter) -> JobResult:
    """Write `model` (a PipelineModel from raw columns to predictions) and `report.html` into the attempt.

    Every fit of the search is recorded in `trials`; fits of earlier attempts that were cut off are resumed from their records.
    With `tensorboard`, event files are written, and with `mlflow_experiment` an MLflow run.
    """
    storage = storage_for(spark, attempt.path)
    manifest = Manifest.read(storage_for(spark, spec.dataset_path), ArtifactRef.parse(spec.dataset_path).manifest_path)
    _check_rows(spec, manifest.result["rows"])
    report.check_installed()
    if spec.tensorboard:
        tensorboard.check_installed()
    with _mlflow_run(spec, attempt) or nullcontext() as run:
        data = spark.read.parquet(literal(spec.dataset_path))
        interrupted = [f"{earlier.path}/{_TRIALS}" for earlier in cut_off(storage, attempt, spec)]
        check = functools.partial(require_claim, storage, attempt)
        journal = Journal(storage, f"{attempt.path}/{_TRIALS}", interrupted, before_record=check, within=attempt.path)
        stages = load_stages(spark, manifest.result["pipeline_path"])
        if spec.initial_model:
            _check_same_features(stages, TrainedModel.load(spec.initial_model).stages, spec.initial_model)
        result = search(data, spec, manifest.details_as(PreprocessDetails).to_dict(), journal, reporter, manifest.result["rows"])
        reporter.begin("writing", WRITING)
        check()  # what Spark writes makes its folders anew
        model = PipelineModel([*stages, result.model])
        model_path, report_path = f"{attempt.path}/model", f"{attempt.path}/report.html"
        model.write().save(model_path)
        page = report.render(result, spec, manifest, versions(spark))
        write_within(storage, attempt, report_path, page.encode())
        if spec.tensorboard:
            for name, content in tensorboard.event_files(result, spec.metric_names).items():
                write_within(storage, attempt, f"{attempt.path}/tensorboard/{name}", content)
        logged = run.log(result, spec.metric_names, model, page, attempt.path) if run is not None else None
    return JobResult(
        result={
            "model_path": model_path,
            "report_path": report_path,
            "best_params": result.best_params,
            "metrics": {name: _statistics(result, name) for name in spec.metric_names},
            "rows": manifest.result["rows"],
        },
        inputs={"dataset_path": spec.dataset_path},
        details=TrainDetails(
            trials=[trial.to_dict() for trial in result.trials],
            training=result.summary.to_dict(),
            test_error=result.test_result.error if result.test_result else None,
            mlflow=logged,
            dialect=_dialect(model.stages[0]),
        ),
    )


def _mlflow_run(spec: TrainSpec, attempt: Attempt) -> MlflowRun | None:
    if spec.mlflow_experiment is None:
        return None
    tags = {"mlflow.runName": attempt.name, "period": attempt.period_path, "dataset_path": spec.dataset_path, "spec": spec.sha256}
    return MlflowRun(spec.mlflow_experiment, spec.mlflow_tracking_uri, tags)


def _check_rows(spec: TrainSpec, rows: int) -> None:
    """Raise DataError, before anything is trained, if a fold cannot have as many rows as a trial has workers."""
    largest = int(rows * (1 - spec.test_share) * (1 - 1 / spec.num_folds if spec.num_folds > 1 else 1))
    workers = max([spec.trainer_params.get("num_workers", 1), *spec.param_grid.get("num_workers", [])])
    if largest < workers or rows < spec.num_folds:
        raise DataError(
            f"The dataset has {rows} rows: too few for {spec.num_folds} folds and {workers} workers. "
            "Set a smaller num_workers or num_folds, or use more data."
        )


def _check_same_features(stages: Sequence[Transformer], earlier: Sequence[Transformer], path: str) -> None:
    """Raise DataError, which names the columns, unless the features of a pipeline mean the same as those of an earlier one."""
    now, before = feature_meanings(stages), feature_meanings(earlier)
    differences = [
        f"{name!r} ({'new' if name not in before else 'gone' if name not in now else _difference(now[name], before[name])})"
        for name in dict.fromkeys((*now, *before))
        if now.get(name) != before.get(name)
    ]
    if [*now] != [*before] and not differences:
        differences = [f"their order ({', '.join(now)}; there {', '.join(before)})"]
    if differences:
        raise DataError(
            f"initial_model: the dataset's columns are not those of {path}: {', '.join(differences[:_MAX_DIFFERENCES])}. "
            "Its weights would be taken for other features. Prepare the data as for that model, or leave initial_model out."
        )


def _difference(now: Sequence[str], before: Sequence[str]) -> str:
    """Return what tells the meanings of a column's features apart."""
    new, gone = [text for text in now if text not in before], [text for text in before if text not in now]
    return (
        "; ".join(f"{word} {', '.join(texts[:3])}" for word, texts in (("new:", new), ("gone:", gone)) if texts) or "other order"
    )


def _dialect(first: Transformer) -> dict[str, Any]:
    """Return the dialect of the files that a pipeline was fitted on; empty where its first stage does not read them."""
    return dict(first.getOrDefault("dialect")) if isinstance(first, SelectColumns) else {}


def _statistics(result: SearchResult, metric: str) -> dict[str, float | None]:
    """Return the mean and std of a metric over the folds of the best trial, and its value on rows set aside, if any."""
    statistics = {"mean": result.best.mean(metric), "std": result.best.std(metric)}
    return statistics if result.test_result is None else {**statistics, "test": result.test_result.metrics.get(metric)}


if __name__ == "__main__":
    main(train)
