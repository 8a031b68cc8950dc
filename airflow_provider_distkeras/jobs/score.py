"""A model and new rows to predictions, and to a quarantine for the rows that have none."""

from __future__ import annotations

import logging
from dataclasses import dataclass

from pyspark.ml import PipelineModel, Transformer
from pyspark.ml.feature import StringIndexerModel
from pyspark.sql import Column, DataFrame, SparkSession
from pyspark.sql import functions as F
from pyspark.sql.types import NumericType

from airflow_provider_distkeras.contract.errors import ArtifactError, DataError, SpecError, unknown_name
from airflow_provider_distkeras.contract.specs import ScoreSpec
from airflow_provider_distkeras.jobs.runner import Outcome, main
from airflow_provider_distkeras.ml import csv, inputs, layout
from airflow_provider_distkeras.ml.columns import SelectColumns
from airflow_provider_distkeras.ml.evaluation import measure
from airflow_provider_distkeras.ml.model import DistKerasModel
from airflow_provider_distkeras.ml.output import REASON_COLUMN, Target, Written
from airflow_provider_distkeras.ml.scoring import Scorer

logger = logging.getLogger("airflow_provider_distkeras.jobs")

#: How many reasons are named in the manifest and in messages.
_NAMED = 10


@dataclass(frozen=True)
class TrainedModel:
    """What a train task left: the stages that make features, and the network.

    Attributes:
        stages: the pipeline's stages less the network; selected: the first of them.
        texts: the classes as texts, by class number; none if the label was a number.
    """

    stages: list[Transformer]
    selected: SelectColumns
    network: DistKerasModel
    texts: list[str]

    @classmethod
    def load(cls, path: str) -> TrainedModel:
        """Load a train task's model_path. Raises ArtifactError if that holds something else."""
        *stages, network = PipelineModel.load(path).stages
        selected = stages[0] if stages else None
        if not isinstance(selected, SelectColumns) or not isinstance(network, DistKerasModel):
            raise ArtifactError(f"{path} holds no model of a train task; expected its model_path.")
        indexed = layout.index_of(selected.getOrDefault("labelCol"))
        indexers = [stage for stage in stages if isinstance(stage, StringIndexerModel) and stage.isDefined("outputCol")]
        texts = next((list(stage.labels) for stage in indexers if stage.getOutputCol() == indexed), [])
        return cls(stages, selected, network, texts)


def score(spark: SparkSession, spec: ScoreSpec, folder: str) -> Outcome:
    """Write `predictions`, the key columns and what the model says, and `quarantine`, the rows it cannot score, into the folder.

    Raises:
        SpecError: columns are asked for that the rows do not have, or that the model cannot tell.
        DataError: the files do not fit the model, or more rows are quarantined than may be.
        ArtifactError: there is no model of a train task, or rows got lost.
    """
    return score_with(TrainedModel.load(spec.model_path), spark, spec, folder)


def score_with(model: TrainedModel, spark: SparkSession, spec: ScoreSpec, folder: str) -> Outcome:
    """As `score`, with a model that is loaded."""
    model.network.set(model.network.predict_batch_size, spec.batch_size)
    scorer, backend = model.network.scorer(spec.output_columns, model.texts), model.network.backend_name()
    rows = inputs.read(spark, spec, model.stages, model.selected)
    keys = _keys(spec, rows, scorer)
    target = Target(folder, spec.output_format, tuple(spec.partition_by))
    with rows.written(keys, scorer, backend, target) as written:
        if rows.reader is not None and rows.bad_lines and spec.bad_lines == "quarantine":
            rows.reader.bad_records(spark).write.json(f"{folder}/quarantined_lines")
        quarantined = sum(written.reasons.values())
        _check(spec, rows.rows, written, target)
        metrics = _measure(written.measurable, rows, model.texts, scorer)
    told = " ".join(f"{name} {value:.4f}" for name, value in metrics.items())
    logger.info("%s rows scored, %s quarantined %s", f"{written.rows:,}", f"{quarantined:,}", told)
    return Outcome(
        result={
            "predictions_path": target.predictions,
            "rows": written.rows,
            "quarantined_rows": quarantined,
            "metrics": metrics,
        },
        inputs=rows.sizes,
        details={
            "model_path": spec.model_path,
            "quarantine_path": target.quarantine if quarantined else None,
            "bad_lines": rows.bad_lines,
            "quarantined": dict(list(written.reasons.items())[:_NAMED]),
        },
    )


def _keys(spec: ScoreSpec, rows: inputs.Input, scorer: Scorer) -> list[str]:
    """The columns to keep, among which must be those that partition the output."""
    keys = rows.keep(spec.key_columns, [*scorer.names, REASON_COLUMN])
    for name in spec.partition_by:
        if name not in keys:
            raise SpecError(f"partition_by: {unknown_name('column', name, keys)}")
    return keys


def _check(spec: ScoreSpec, rows: int, written: Written, target: Target) -> None:
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


def _measure(scored: DataFrame, rows: inputs.Input, texts: list[str], scorer: Scorer) -> dict[str, float]:
    """The metrics of the rows whose label is known; none where the labels or the predictions are not."""
    if rows.label is None or "prediction" not in scorer.columns:
        return {}
    return measure(scored.select(_label(scored, rows, texts).alias("label"), "prediction"), scorer.classifies)


def _label(data: DataFrame, rows: inputs.Input, texts: list[str]) -> Column:
    """The label as a number: its class number where it was declared categorical, -1 for a class that training never saw."""
    assert rows.label is not None
    is_number = isinstance(data.schema[rows.label].dataType, NumericType)
    if rows.indexed or not texts:
        # A number is not taken through text again: over millions of rows that takes longer than scoring them.
        return F.col(rows.label).cast("double") if is_number else csv.label_of(data, rows.label)
    classes = F.lit([float(text) for text in texts] if is_number else texts)
    return (F.array_position(classes, F.col(rows.label)) - 1).cast("double")


if __name__ == "__main__":
    main(score)
