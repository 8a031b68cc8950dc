"""A model and new rows to predictions, and to a quarantine for the rows that have none."""

from __future__ import annotations

import logging

from pyspark.sql import DataFrame, SparkSession

from airflow_provider_distkeras.contract.errors import ArtifactError, DataError, SpecError, unknown_name
from airflow_provider_distkeras.contract.specs import ScoreSpec
from airflow_provider_distkeras.contract.specs.score import ScoreDetails
from airflow_provider_distkeras.jobs.runner import JobResult, main
from airflow_provider_distkeras.ml.estimator.evaluation import evaluate_predictions
from airflow_provider_distkeras.ml.network.scorer import Scorer
from airflow_provider_distkeras.ml.scoring import reader
from airflow_provider_distkeras.ml.scoring.trained_model import TrainedModel
from airflow_provider_distkeras.ml.scoring.writer import REASON_COLUMN, OutputTarget, WrittenOutput
from airflow_provider_distkeras.spark.progress import ProgressReporter, tasks

logger = logging.getLogger("airflow_provider_distkeras.jobs")

#: How many reasons are named in the manifest and in messages.
_NAMED = 10


def score(spark: SparkSession, spec: ScoreSpec, folder: str, reporter: ProgressReporter) -> JobResult:
    """Write `predictions`, the key columns and what the model says, and `quarantine`, the rows it cannot score, into the folder.

    Raises:
        SpecError: columns are asked for that the rows do not have, or that the model cannot tell.
        DataError: the files do not fit the model, or more rows are quarantined than may be.
        ArtifactError: there is no model of a train task, or rows got lost.
    """
    return score_with(TrainedModel.load(spec.model_path), spark, spec, folder, reporter)


def score_with(model: TrainedModel, spark: SparkSession, spec: ScoreSpec, folder: str, reporter: ProgressReporter) -> JobResult:
    """As `score`, with a model that is loaded."""
    model.network.set(model.network.predict_batch_size, spec.batch_size)
    scorer, backend = model.network.scorer(spec.output_columns, model.texts), model.network.backend_name()
    look = tasks(spark.sparkContext)
    reporter.begin("reading", 0.3, look)
    rows = reader.read(spark, spec, model.stages, model.selected)
    keys = _keys(spec, rows, scorer)
    target = OutputTarget(folder, spec.output_format, tuple(spec.partition_by))
    reporter.begin("scoring", 0.6, look)
    with rows.written(keys, scorer, backend, target) as written:
        if rows.reader is not None and rows.bad_lines and spec.bad_lines == "quarantine":
            rows.reader.bad_records(spark).write.json(f"{folder}/quarantined_lines")
        quarantined = sum(written.reasons.values())
        _check(spec, rows.rows, written, target)
        reporter.begin("measuring", 0.1, look)
        metrics = _measure(written.measurable, rows, model, scorer)
    told = " ".join(f"{name} {value:.4f}" for name, value in metrics.items())
    logger.info("%s rows scored, %s quarantined %s", f"{written.rows:,}", f"{quarantined:,}", told)
    return JobResult(
        result={
            "predictions_path": target.predictions,
            "model_path": spec.model_path,
            "rows": written.rows,
            "quarantined_rows": quarantined,
            "metrics": metrics,
        },
        inputs=rows.sizes,
        details=ScoreDetails(
            quarantine_path=target.quarantine if quarantined else None,
            bad_lines=rows.bad_lines,
            quarantined=dict(list(written.reasons.items())[:_NAMED]),
        ),
    )


def _keys(spec: ScoreSpec, rows: reader.ScoringInput, scorer: Scorer) -> list[str]:
    """The columns to keep, among which must be those that partition the output."""
    keys = rows.keep(spec.key_columns, [*scorer.names, REASON_COLUMN])
    for name in spec.partition_by:
        if name not in keys:
            raise SpecError(f"partition_by: {unknown_name('column', name, keys)}")
    return keys


def _check(spec: ScoreSpec, rows: int, written: WrittenOutput, target: OutputTarget) -> None:
    """Every row must be scored or quarantined, and not too many of them quarantined."""
    quarantined = sum(written.reasons.values())
    if written.rows + quarantined != rows:
        raise ArtifactError(
            f"{rows:,} rows were read, but {written.rows:,} scored and {quarantined:,} quarantined: expected as many together. "
            f"Do not change {', '.join(spec.input_path[:3])} while it is read; clear the task to run it anew."
        )
    if quarantined > spec.max_quarantined * rows:
        listed = ", ".join(f"{reason} ({count:,} rows)" for reason, count in list(written.reasons.items())[:_NAMED])
        raise DataError(
            f"{quarantined:,} of {rows:,} rows cannot be scored: {listed}. max_quarantined={spec.max_quarantined:g} allows "
            f"{int(spec.max_quarantined * rows):,}. They are in {target.quarantine}: correct them, or raise max_quarantined."
        )


def _measure(scored: DataFrame, rows: reader.ScoringInput, model: TrainedModel, scorer: Scorer) -> dict[str, float]:
    """The metrics of the rows whose label is known; none where the labels or the predictions are not."""
    if rows.label is None or "prediction" not in scorer.columns:
        return {}
    found = evaluate_predictions(scored.select(model.label(scored, rows).alias("label"), "prediction"), scorer.classifies)
    if not found:
        logger.warning("no metrics: no row's label, %r, is what the model tells", rows.label)
    return found


if __name__ == "__main__":
    main(score)
