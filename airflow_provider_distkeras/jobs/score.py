"""A model and new CSV files to predictions."""

from __future__ import annotations

import logging

from pyspark.ml import PipelineModel
from pyspark.ml.functions import vector_to_array
from pyspark.sql import Column, DataFrame, SparkSession
from pyspark.sql import functions as F

from airflow_provider_distkeras.contract.errors import ArtifactError
from airflow_provider_distkeras.contract.specs import ScoreSpec
from airflow_provider_distkeras.contract.vocabulary import is_classification
from airflow_provider_distkeras.jobs.runner import Outcome, main
from airflow_provider_distkeras.ml import csv
from airflow_provider_distkeras.ml.columns import SelectColumns
from airflow_provider_distkeras.ml.evaluation import measure
from airflow_provider_distkeras.ml.model import DistKerasModel

logger = logging.getLogger("airflow_provider_distkeras.jobs")


def score(spark: SparkSession, spec: ScoreSpec, folder: str) -> Outcome:
    """Write `predictions`, the columns of the files and `prediction` (for classes also `probability`), into the folder."""
    pipeline = PipelineModel.load(spec.model_path)
    selected, network = pipeline.stages[0], pipeline.stages[-1]
    if not isinstance(selected, SelectColumns) or not isinstance(network, DistKerasModel):
        raise ArtifactError(f"{spec.model_path} holds no model of a train task; expected its model_path.")
    network.set(network.predict_batch_size, spec.batch_size)
    raw, reader, found = csv.apply(spark, pipeline, spec)
    files, rows = reader.files, found.rows
    scored = pipeline.transform(raw)
    classifies = is_classification(network.getOrDefault("loss"))
    predictions_path = f"{folder}/predictions"
    output = scored.select(*_output_columns(selected, files.columns, classifies, spec.output_format))
    written = _write(output, predictions_path, spec.output_format)
    scored_rows = written.agg(F.count(F.lit(1))).collect()[0][0]
    if scored_rows != rows:
        logger.warning("%s of %s rows have missing values and are not scored", f"{rows - scored_rows:,}", f"{rows:,}")
    metrics = _measure(written, pipeline, selected, classifies)
    logger.info("%s rows scored %s", f"{scored_rows:,}", " ".join(f"{name} {value:.4f}" for name, value in metrics.items()))
    return Outcome(
        result={"predictions_path": predictions_path, "rows": scored_rows, "metrics": metrics},
        inputs=files.sizes,
        details={"rejected_rows": rows - scored_rows, "model_path": spec.model_path},
    )


def _output_columns(selected: SelectColumns, columns: list[str], classifies: bool, output_format: str) -> list[Column]:
    """The files' columns under the files' own names, then what the model says."""
    kept = [F.col(selected.new_name(name)).alias(name) for name in columns]
    if not classifies:
        return [*kept, F.col("prediction")]
    probability = vector_to_array(F.col("probability"))
    return [*kept, F.col("prediction"), (F.to_json(probability) if output_format == "csv" else probability).alias("probability")]


def _write(output: DataFrame, path: str, output_format: str) -> DataFrame:
    """Write the predictions, and read them back: what is counted and measured is what was written."""
    if output_format == "csv":
        output.write.csv(path, header=True)
        return output.sparkSession.read.csv(path, header=True)
    output.write.parquet(path)
    return output.sparkSession.read.parquet(path)


def _measure(written: DataFrame, pipeline: PipelineModel, selected: SelectColumns, classifies: bool) -> dict[str, float]:
    """The metrics of the rows whose label is known; none if the files have no label."""
    label = selected.getOrDefault("labelCol")
    raw = next((name for name in written.columns if selected.new_name(name) == label), None)
    if raw is None:
        return {}
    data = written.withColumnRenamed(raw, label)
    for stage in pipeline.stages:
        if (
            stage.hasParam("outputCol")
            and stage.isDefined("outputCol")
            and stage.getOrDefault("outputCol") == csv.index_of(label)
        ):
            data = stage.transform(data.where(F.col(label).isNotNull()))
    labelled = data.select(csv.label_of(data, label).alias("label"), F.col("prediction").cast("double")).dropna(subset=["label"])
    return measure(labelled, classifies) if labelled.take(1) else {}


if __name__ == "__main__":
    main(score)
