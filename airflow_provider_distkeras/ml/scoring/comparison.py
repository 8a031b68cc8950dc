"""Comparison of models by their metrics on the same rows."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import reduce
from typing import Any

from pyspark.ml.functions import array_to_vector
from pyspark.sql import Column, DataFrame, SparkSession
from pyspark.sql import functions as F

from airflow_provider_distkeras.contract.errors import DataError, SpecError
from airflow_provider_distkeras.contract.params.objectives import check_judge, is_classification
from airflow_provider_distkeras.contract.specs import PromoteSpec
from airflow_provider_distkeras.ml.estimator.evaluation import MetricEvaluator, collected
from airflow_provider_distkeras.ml.network.metrics import Measurement
from airflow_provider_distkeras.ml.network.scorer import REASON, ScoredLabel, Scorer
from airflow_provider_distkeras.ml.scoring import reader
from airflow_provider_distkeras.ml.scoring.reader import ScoringInput
from airflow_provider_distkeras.ml.scoring.trained_model import TrainedModel
from airflow_provider_distkeras.spark.columns import quoted

_ROW, _LABEL = "__distkeras_row", "__distkeras_label"


@dataclass(frozen=True)
class Comparison:
    """Metrics of models on the same rows.

    Attributes:
        metrics: per model, its metrics.
        rows: Number of rows that the metrics are of.
        left_out: Number of rows without a label, or that a model cannot score.
        sizes: size in bytes per file.
        unknown_labels: Number of rows whose label is no class, per model that has such rows.
        larger_is_better: whether a larger one of the metric that decides is better.
    """

    metrics: dict[str, dict[str, float]]
    rows: int
    left_out: int
    sizes: dict[str, int]
    unknown_labels: dict[str, int]
    larger_is_better: bool


def compare(spark: SparkSession, spec: PromoteSpec, models: Mapping[str, TrainedModel]) -> Comparison:
    """Score the rows with each model, and measure each on the rows that have a label and that all can score.

    Args:
        spark: the session.
        spec: the rows and the metrics.
        models: by name.

    Raises:
        SpecError: the evaluator does not fit a model.
        DataError: the rows are not what the models take, have no label, or too many of them cannot be scored.
    """
    read = {name: reader.read(spark, spec, model.stages, model.selected) for name, model in models.items()}
    counts = {rows.counted(spark, spec) for rows in read.values()}
    _check_inputs(spec, read)
    together = _together({name: _scored(spec, name, model, read[name]) for name, model in models.items()}).persist()
    try:
        total = _check_rows(together, spec, models, counts)
        measurable = together.where(F.col(_LABEL).isNotNull()).dropna(subset=[*models])
        rows = measurable.count()
        if not rows:
            raise DataError(f"No row of {_named(spec)} has a label that the models could be measured on. Give rows with labels.")
        metrics = {name: _measure(measurable.select(f"{name}.*"), name, spec) for name in models}
        unknown = {
            name: model.unknown_labels(measurable, F.col(_LABEL), F.col(f"{name}.label")).rows
            for name, model in models.items()
            if len(model.classes) == 1
        }
    finally:
        together.unpersist()
    sizes = next(iter(read.values())).source.sizes
    unknown = {name: count for name, count in unknown.items() if count}
    return Comparison(metrics, rows, total - rows, sizes, unknown, spec.larger_is_better)


def _named(spec: PromoteSpec) -> str:
    return ", ".join(spec.input_path[:3])


def _check_inputs(spec: PromoteSpec, read: Mapping[str, ScoringInput]) -> None:
    """Raise DataError unless these are raw rows with the same labels for all models."""
    for name, rows in read.items():
        if rows.prepared:
            raise DataError(
                f"input_path: {_named(spec)} holds prepared rows, which fit one pipeline only; expected raw CSV or Parquet "
                "files, for each model prepares them by its own."
            )
        if not rows.labels:
            raise DataError(f"{_named(spec)} lacks the column that the {name} predicts; received {', '.join(rows.columns)}.")
    labels = {name: sorted(rows.labels.values()) for name, rows in read.items()}
    if len({*map(tuple, labels.values())}) > 1:
        listed = [f"the {name} {', '.join(map(repr, columns))}" for name, columns in labels.items()]
        raise DataError(
            f"The models predict different columns, {' and '.join(listed)}: "
            "expected the same. Keep the champions of different labels under different names."
        )


def _scored(spec: PromoteSpec, name: str, model: TrainedModel, rows: ScoringInput) -> DataFrame:
    """Return per row its number, its labels as text, and the scores under the model's name, null where there are none."""
    model.network.set(model.network.predict_batch_size, spec.batch_size)
    scorer = model.network.scorer(classes=model.classes)
    if spec.uses_evaluator:
        _check_evaluator(spec, name, scorer)
    labels = [*rows.labels.values()]
    scored = rows.scored(labels, scorer, model.network.backend_name())
    if len(labels) == 1:
        columns = [model.label(scored, rows, *rows.labels).alias("label"), F.col("prediction")]
        if scorer.classifies:
            probability = array_to_vector(F.col("probability"))
            columns += [probability.alias("probability"), probability.alias("rawPrediction")]
    else:
        numbers = [model.label(scored, rows, label.name) for label in scorer.labels]
        columns = [F.array(*numbers).alias("label"), F.concat(*map(_values, scorer.labels)).alias("output")]
    first, *others = [F.col(quoted(label)).cast("string") for label in sorted(labels)]
    text = F.concat(first, *[part for other in others for part in (F.lit("|"), other)]) if others else first  # null without all
    return scored.select(
        # Nothing on the way shuffles rows, and all models read the same files: so a row has one number for all of them.
        F.monotonically_increasing_id().alias(_ROW),
        text.alias(f"{_LABEL}_{name}"),
        F.when(F.col(REASON).isNull(), F.struct(*columns)).alias(name),
    )


def _check_evaluator(spec: PromoteSpec, name: str, scorer: Scorer) -> None:
    """Raise SpecError unless an evaluator fits a model."""
    if len(scorer.labels) > 1:
        check_judge(spec.evaluator, [label.judged_as for label in scorer.labels], f"of the {name}")
    elif scorer.classifies == (spec.evaluator == "regression"):
        fitting = "'binary' or 'multiclass'" if scorer.classifies else "'regression'"
        raise SpecError(f"evaluator: the {name} needs {fitting}, received {spec.evaluator!r}.")


def _values(label: ScoredLabel) -> Column:
    """Return what the network gives for a label, as an array."""
    values = F.col(quoted(label.field("prediction" if label.task == "regression" else "probability").name))
    if not is_classification(label.task):
        return F.array(values)
    return F.slice(values, 2, 1) if label.units == 1 else values


def _together(scored: Mapping[str, DataFrame]) -> DataFrame:
    """Return the scores of all models side by side, with the label that the first of them has read."""
    joined = reduce(lambda left, right: left.join(right, _ROW), scored.values())
    return joined.withColumn(_LABEL, F.col(f"{_LABEL}_{next(iter(scored))}"))


def _check_rows(together: DataFrame, spec: PromoteSpec, names: Iterable[str], counted: set[int]) -> int:
    """Return the number of rows. Raise DataError if the models read different ones, or cannot score too many of them."""
    differ = [F.count_if(~F.col(_LABEL).eqNullSafe(F.col(f"{_LABEL}_{name}"))) for name in names]
    unscored = [F.count_if(F.col(name).isNull()) for name in names]
    total, *counts = together.agg(F.count(F.lit(1)), *differ, *unscored).collect()[0]
    if any(counts[: len(differ)]) or {total} != counted:
        raise DataError(
            f"The models do not read the same rows of {_named(spec)}: a line fits one of them and not the other, or the files "
            "change meanwhile. Correct the lines that do not fit, or leave them out."
        )
    for name, count in zip(names, counts[len(differ) :], strict=True):
        if count > spec.max_quarantined * total:
            raise DataError(
                f"The {name} cannot score {count:,} of {total:,} rows of {_named(spec)}; max_quarantined="
                f"{spec.max_quarantined:g} allows {int(spec.max_quarantined * total):,}. Correct the rows (a score task reports "
                "what is wrong with them), or raise max_quarantined."
            )
    return int(total)


def _measure(scores: DataFrame, name: str, spec: PromoteSpec) -> dict[str, float]:
    """Return the metrics of one model."""
    several = collected(scores, F.col("label"), F.col("output"), F.lit(1.0)) if "output" in scores.columns else None
    if several is None:
        least, greatest = scores.agg(F.min("label"), F.max("label")).collect()[0]
    else:
        least, greatest = several[0].min(), several[0].max()
    if spec.evaluator == "binary" and not 0 <= least <= greatest <= 1:
        raise DataError(
            f"evaluator: 'binary' judges the classes 0 and 1; to the {name}, {_named(spec)} has labels from {least:g} to "
            f"{greatest:g} (-1 is a class that it was not trained on). Leave such rows out, or use 'multiclass'."
        )
    if "logLoss" in spec.metric_names and least < 0:
        raise DataError(
            f"metric: logLoss cannot judge classes that the {name} was not trained on, which {_named(spec)} has. Leave such rows "
            "out, or use another metric."
        )
    if several is None:
        evaluator: Any = MetricEvaluator(spec.evaluator, spec.metric_name, spec.metric_direction)
        metrics = {metric: evaluator.evaluate(scores, {evaluator.metricName: metric}) for metric in spec.metric_names}
    else:
        metrics = Measurement(spec.evaluator, tuple(spec.metric_names), classifies=False)(*several)
    for metric, value in metrics.items():
        if not math.isfinite(value):
            raise DataError(
                f"The {metric} of the {name} on {_named(spec)} is {value}: expected a number. Give more, or other, rows."
            )
    return metrics
