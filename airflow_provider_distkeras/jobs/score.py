"""The score job: from a model and new rows to predictions, and to a quarantine of the rows that have none."""

from __future__ import annotations

import logging
from functools import reduce
from operator import and_
from statistics import fmean

from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from airflow_provider_distkeras.contract.artifacts.attempt import Attempt
from airflow_provider_distkeras.contract.errors import ArtifactError, DataError, SpecError, unknown_name
from airflow_provider_distkeras.contract.specs import ScoreSpec
from airflow_provider_distkeras.contract.specs.score import ScoreDetails
from airflow_provider_distkeras.jobs.runner import JobResult, main
from airflow_provider_distkeras.ml.data.profile_checks import accepts_bad_records
from airflow_provider_distkeras.ml.estimator.evaluation import evaluate_predictions
from airflow_provider_distkeras.ml.network.scorer import Scorer
from airflow_provider_distkeras.ml.scoring import reader
from airflow_provider_distkeras.ml.scoring.trained_model import TrainedModel, UnknownLabels
from airflow_provider_distkeras.ml.scoring.writer import OutputTarget, WrittenOutput
from airflow_provider_distkeras.spark.columns import quoted
from airflow_provider_distkeras.spark.progress import ProgressReporter, tasks

logger = logging.getLogger("airflow_provider_distkeras.jobs")

#: The most reasons that the manifest and messages list.
_MAX_REASONS = 10


def score(spark: SparkSession, spec: ScoreSpec, attempt: Attempt, reporter: ProgressReporter) -> JobResult:
    """Write `predictions` (key columns and scores) and `quarantine` (rows that the model cannot score) into the attempt.

    Raises:
        SpecError: a column that is to be written is neither in the rows nor a score of the model.
        DataError: the files do not fit the model, or more rows are quarantined than may be.
        ArtifactError: there is no model of a train task, or rows got lost.
    """
    return score_with(TrainedModel.load(spec.model_path), spark, spec, attempt, reporter)


def score_with(
    model: TrainedModel, spark: SparkSession, spec: ScoreSpec, attempt: Attempt, reporter: ProgressReporter
) -> JobResult:
    """Score with a model that is loaded already; see `score`."""
    model.network.set(model.network.predict_batch_size, spec.batch_size)
    scorer, backend = model.network.scorer(spec.output_columns, model.classes), model.network.backend_name()
    reporter.begin("reading", 0.05, tasks(spark.sparkContext))
    rows = reader.read(spark, spec, model.stages, model.selected)
    keys = _keys(spec, rows, scorer)
    target = OutputTarget(attempt.path, spec.output_format, tuple(spec.partition_by))
    reporter.begin("scoring", 0.85, tasks(spark.sparkContext))
    with rows.written(keys, scorer, backend, target) as written:
        bad = written.bad_records
        if not accepts_bad_records(spec, bad, written.rows_read + bad):
            rows.counted(spark, spec)  # reads the files again, and raises an error that names a record
        if bad and spec.bad_lines == "quarantine":
            rows.source.bad_records(spark).write.json(f"{attempt.path}/quarantined_lines")
        quarantined = sum(written.reasons.values())
        _check(spec, written.rows_read if rows.source.count is None else rows.source.count, written, target)
        reporter.begin("measuring", 0.1, tasks(spark.sparkContext))
        metrics, unknown = _measure(written.measurable, rows, model, scorer)
    measured = " ".join(f"{name} {value:.4f}" for name, value in metrics.items())
    logger.info("%s rows scored, %s quarantined %s", f"{written.rows:,}", f"{quarantined:,}", measured)
    return JobResult(
        result={
            "predictions_path": target.predictions,
            "model_path": spec.model_path,
            "rows": written.rows,
            "quarantined_rows": quarantined,
            "metrics": metrics,
        },
        inputs=rows.source.sizes,
        details=ScoreDetails(
            quarantine_path=target.quarantine if quarantined else None,
            bad_lines=bad,
            quarantined=dict(list(written.reasons.items())[:_MAX_REASONS]),
            unknown_labels=unknown.rows,
            unknown_label_counts=unknown.counts,
        ),
    )


def _keys(spec: ScoreSpec, rows: reader.ScoringInput, scorer: Scorer) -> list[str]:
    """Return the columns of the input to write. Raises SpecError if a column that partitions the output is not among them."""
    keys = rows.keep(spec.key_columns, scorer.names)
    for name in spec.partition_by:
        if name not in keys:
            raise SpecError(f"partition_by: {unknown_name('column', name, keys)}")
    return keys


def _check(spec: ScoreSpec, rows: int, written: WrittenOutput, target: OutputTarget) -> None:
    """Raise an error unless every row is scored or quarantined, and not too many are quarantined."""
    quarantined = sum(written.reasons.values())
    if written.rows + quarantined != rows:
        raise ArtifactError(
            f"{rows:,} rows were read, but {written.rows:,} scored and {quarantined:,} quarantined: expected as many together. "
            f"Do not change {', '.join(spec.input_path[:3])} while it is read; clear the task to run it anew."
        )
    if quarantined > spec.max_quarantined * rows:
        listed = ", ".join(f"{reason} ({count:,} rows)" for reason, count in list(written.reasons.items())[:_MAX_REASONS])
        raise DataError(
            f"{quarantined:,} of {rows:,} rows cannot be scored: {listed}. max_quarantined={spec.max_quarantined:g} allows "
            f"{int(spec.max_quarantined * rows):,}. They are in {target.quarantine}: correct them, or raise max_quarantined."
        )


def _measure(
    scored: DataFrame, rows: reader.ScoringInput, model: TrainedModel, scorer: Scorer
) -> tuple[dict[str, float], UnknownLabels]:
    """Return the metrics on the rows that have all labels, none without labels or predictions, and labels that are no class."""
    if not rows.labels or not scorer.predictions:
        return {}, UnknownLabels()
    if len(rows.labels) > 1 and any(label.task != "regression" for label in scorer.labels):
        logger.info("no metrics: they are of numbers, where a row has several labels, and some of these are classes")
        return {}, UnknownLabels()
    names = [label.name or next(iter(rows.labels)) for label in scorer.labels]
    numbers = [model.label(scored, rows, name) for name in names]
    complete = scored.where(reduce(and_, (number.isNotNull() for number in numbers)))
    pairs = [
        complete.select(number.alias("label"), F.col(quoted(prediction)).alias("prediction"))
        for number, prediction in zip(numbers, scorer.predictions, strict=True)
    ]
    per_label = [evaluate_predictions(pair, scorer.classifies) for pair in pairs]
    metrics = {name: fmean(each[name] for each in per_label) for name in per_label[0]}
    if not metrics:
        logger.warning("no metrics: no row has a label in %s that the model can predict", ", ".join(map(repr, rows.labels)))
    if len(names) > 1:
        return metrics, UnknownLabels()
    return metrics, model.unknown_labels(scored, F.col(quoted(rows.labels[names[0]])), numbers[0])


if __name__ == "__main__":
    main(score)
