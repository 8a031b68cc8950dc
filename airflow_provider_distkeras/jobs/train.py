"""A prepared dataset to a cross-validated model, refitted on all rows, with its preprocessing and a report."""

from __future__ import annotations

import logging

from pyspark.ml import PipelineModel
from pyspark.sql import SparkSession

from airflow_provider_distkeras.contract.errors import DataError
from airflow_provider_distkeras.contract.manifest import Manifest, beside
from airflow_provider_distkeras.contract.specs import TrainSpec
from airflow_provider_distkeras.jobs.runner import Outcome, main
from airflow_provider_distkeras.ml import report
from airflow_provider_distkeras.ml.search import search
from airflow_provider_distkeras.ml.storage import storage_for

logger = logging.getLogger("airflow_provider_distkeras.jobs")


def train(spark: SparkSession, spec: TrainSpec, folder: str) -> Outcome:
    """Write `model` (a PipelineModel from raw columns to predictions) and `report.html` into the folder."""
    storage = storage_for(spark, spec.dataset_path)
    manifest = Manifest.read(storage, beside(spec.dataset_path))
    prepared = manifest.result
    _check_rows(spec, prepared["rows"])
    data = spark.read.parquet(spec.dataset_path)
    found = search(data, spec, manifest.details)
    pipeline = PipelineModel.load(prepared["pipeline_path"])
    model_path, report_path = f"{folder}/model", f"{folder}/report.html"
    PipelineModel([*pipeline.stages, found.model]).write().save(model_path)
    page = report.render(found, spec, manifest)
    storage_for(spark, folder).write_bytes(report_path, page.encode())
    metrics = {spec.metric_name: {"mean": found.best.mean, "std": found.best.std}}
    return Outcome(
        result={
            "model_path": model_path,
            "report_path": report_path,
            "best_params": found.best_params,
            "metrics": metrics,
            "rows": prepared["rows"],
        },
        inputs={"dataset_path": spec.dataset_path},
        details={"cells": [cell.to_dict() for cell in found.cells], "training": found.summary.to_dict()},
    )


def _check_rows(spec: TrainSpec, rows: int) -> None:
    """Raise DataError if a fold would have fewer rows than a cell has workers."""
    smallest = rows - -(-rows // spec.num_folds)
    workers = max([spec.trainer_params.get("num_workers", 1), *spec.param_grid.get("num_workers", [])])
    if smallest < workers or rows < spec.num_folds:
        raise DataError(
            f"The dataset has {rows} rows: too few for {spec.num_folds} folds and {workers} workers. "
            "Set a smaller num_workers or num_folds, or use more data."
        )


if __name__ == "__main__":
    main(train)
