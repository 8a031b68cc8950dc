"""Rows to score: raw, as a model's pipeline takes them, or prepared by a preprocess task."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
from pyspark.ml import PipelineModel, Transformer
from pyspark.ml.feature import StringIndexerModel, VectorAssembler
from pyspark.sql import Column, DataFrame, Observation, SparkSession
from pyspark.sql import functions as F
from pyspark.sql.pandas.types import to_arrow_schema
from pyspark.sql.types import StructType

from airflow_provider_distkeras.contract.errors import DataError, SpecError, unknown_name
from airflow_provider_distkeras.contract.files.csv_dialect import Dialect
from airflow_provider_distkeras.contract.files.csv_header import is_reserved
from airflow_provider_distkeras.contract.label_columns import label_roles
from airflow_provider_distkeras.contract.specs import RowsSpec
from airflow_provider_distkeras.ml.data.pipeline import FEATURES
from airflow_provider_distkeras.ml.data.profile_checks import check_bad_records
from airflow_provider_distkeras.ml.data.profiling import ProfileRequest
from airflow_provider_distkeras.ml.data.select_columns import SelectColumns
from airflow_provider_distkeras.ml.data.sources import open_source
from airflow_provider_distkeras.ml.data.sources.base import AS_IT_IS, IS_BAD, Source, WorkerReader
from airflow_provider_distkeras.ml.data.sources.sql import as_number, holds_arrays, kind_of_type, without_nulls
from airflow_provider_distkeras.ml.network.scorer import REASON, Scorer
from airflow_provider_distkeras.ml.scoring import parquet_writer, writer
from airflow_provider_distkeras.ml.scoring.stream import Stream, add_scores, stream
from airflow_provider_distkeras.ml.scoring.writer import OutputTarget, WrittenOutput
from airflow_provider_distkeras.spark.columns import as_floats, quoted

logger = logging.getLogger(__name__)

_FEATURES, _REASON = "__distkeras_features", "__distkeras_why"
#: What begins the column of a label whose own name is one that the model adds, and of those that the model does not take.
_LABEL, _COLUMN = "__distkeras_label_", "__distkeras_column_"
#: Bytes of features in a batch that workers read: enough that what a batch costs is spread over many rows, and a small part of
#: a worker's memory.
_BATCH_BYTES = 8 * 1024 * 1024
_MOST_ROWS = 65_536


@dataclass(frozen=True)
class ScoringInput:
    """Rows to score.

    Attributes:
        data: The rows; with the column `IS_BAD` if some may stand for records that do not fit.
        columns: The columns of the input, as they are named in `data`.
        features: Their features, as arrays of float32.
        source: The source of the rows.
        labels: The column of each label, if all are there.
        prepared: Whether a preprocess task prepared the rows: a label of such is a class number, not a text.
        reason: Reason why a row cannot be scored, whatever its features; null where it can. None if every row can.
    """

    data: DataFrame
    columns: list[str]
    features: Column
    source: Source
    labels: dict[str, str]
    prepared: bool = False
    reason: Column | None = None

    def keep(self, columns: list[str] | None, scores: list[str]) -> list[str]:
        """Return the columns to keep; by default all but those that have the name of a score, as scores of before.

        Raises:
            SpecError: One of them is absent.
            DataError: One of them has the name of a column that is added.
        """
        names = _passing_through(self.columns, scores.__contains__) if columns is None else list(dict.fromkeys(columns))
        for name in names:
            if name not in self.columns:
                raise SpecError(f"key_columns: {unknown_name('column', name, self.columns)}")
            if name in (*scores, writer.REASON_COLUMN):
                raise DataError(
                    f"The column {name!r} has the name of a column that scoring adds: rename it, or leave it out of key_columns "
                    f"(received {names})."
                )
        return names

    @contextmanager
    def written(self, keys: list[str], scorer: Scorer, backend: str, target: OutputTarget) -> Iterator[WrittenOutput]:
        """Score the rows in one pass, and write the key columns of each with its scores, or with the reason why it has none.

        The workers that score rows also write them, where they can. End the context when the output has been measured.
        """
        labels = [*self.labels.values()] if scorer.predictions else []
        measured = labels if not {*labels} <= {*keys} else []
        columns = list(dict.fromkeys([*keys, *measured]))
        if parquet_writer.suits(self.data.sparkSession, target, StructType([self.data.schema[name] for name in columns])):
            with parquet_writer.written(
                self.stream(columns, scorer, backend), keys, measured, scorer.predictions, target
            ) as written:
                yield written
        else:
            yield self._written_by_spark(keys, measured, scorer, backend, target)

    def counted(self, spark: SparkSession, spec: RowsSpec) -> int:
        """Return the number of rows, counted in a pass of its own where need be. Raise DataError as `check_bad_records` does."""
        if self.source.count is not None:
            return self.source.count
        profile = self.source.profile(spark, ProfileRequest())
        check_bad_records(spark, spec, self.source, profile)
        return profile.rows

    def stream(self, columns: list[str], scorer: Scorer, backend: str) -> Stream:
        """Return a stream of these columns, of `IS_BAD` if the rows have it, and of the scorer's columns.

        Workers read prepared rows themselves where they can.
        """
        by_workers = self._worker_stream(columns, scorer, backend)
        return by_workers or stream(self._with_features(columns), _FEATURES, _REASON, scorer, backend)

    def scored(self, columns: list[str], scorer: Scorer, backend: str) -> DataFrame:
        """Return these columns of every row that fits, and the scorer's columns."""
        return _without_bad(self._scored_with_bad(columns, scorer, backend))

    def _worker_stream(self, columns: list[str], scorer: Scorer, backend: str) -> Stream | None:
        """Return the stream of prepared rows that workers read themselves; None where they cannot."""
        reader = self.source.by_workers(self.data.sparkSession, columns, FEATURES) if self.prepared else None
        if reader is None:
            return None
        return _worker_stream(reader, StructType([self.data.schema[name] for name in columns]), scorer, backend)

    def _scored_with_bad(self, columns: list[str], scorer: Scorer, backend: str) -> DataFrame:
        by_workers = self._worker_stream(columns, scorer, backend)
        if by_workers is not None:
            return by_workers.frame
        scored = add_scores(self._with_features(columns), F.col(_FEATURES), scorer, backend)
        return scored.withColumn(REASON, F.coalesce(_REASON, REASON)).drop(_FEATURES, _REASON)

    def _with_features(self, columns: list[str]) -> DataFrame:
        reason = F.lit(None).cast("string") if self.reason is None else self.reason
        features = F.when(reason.isNull(), self.features)
        marks = _marks(self.data)
        return self.data.select(
            *[F.col(quoted(name)) for name in columns], *marks, features.alias(_FEATURES), reason.alias(_REASON)
        )

    def _written_by_spark(
        self, keys: list[str], measured: list[str], scorer: Scorer, backend: str, target: OutputTarget
    ) -> WrittenOutput:
        """Write by Spark, which counts in the same pass.

        The network runs again only to write rows that cannot be scored, and for labels that are no keys.
        """
        scored = self._scored_with_bad(keys, scorer, backend)
        (is_bad,) = _marks(scored) or [F.lit(False)]
        has_reason = F.col(REASON).isNotNull()
        counts = Observation()
        observed = scored.observe(
            counts,
            F.count_if(~is_bad).alias("rows"),
            F.count_if(~is_bad & has_reason).alias("refused"),
            F.count_if(is_bad).alias("bad"),
        )
        good = writer.good(_without_bad(observed))
        predictions = writer.write(good, target.predictions, target.output_format, target.partition_by)
        rows = writer.count(predictions, target.predictions)
        reasons = writer.quarantine(_without_bad(scored), scorer.names, target) if counts.get["refused"] else {}
        measurable = writer.good(self.scored(measured, scorer, backend)) if measured else predictions
        return WrittenOutput(rows, reasons, measurable, counts.get["rows"], counts.get["bad"])


def _marks(data: DataFrame) -> list[Column]:
    """Return the column that marks records that do not fit, where there is one."""
    return [F.col(IS_BAD)] if IS_BAD in data.columns else []


def _without_bad(scored: DataFrame) -> DataFrame:
    """Return the rows that do not stand for records that do not fit."""
    return scored.where(~F.col(IS_BAD)).drop(IS_BAD) if IS_BAD in scored.columns else scored


def _worker_stream(reader: WorkerReader, keys: StructType, scorer: Scorer, backend: str) -> Stream:
    """Return a stream of the rows that workers read themselves, with these key columns."""
    schema = StructType([*keys, *scorer.schema])
    target, read_tasks = to_arrow_schema(schema), reader.read

    def score(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        # Whole batches of the network: a part of one is filled up, and costs as much as a whole.
        most = min(_MOST_ROWS, _BATCH_BYTES // (4 * scorer.forward.features))
        for batch in read_tasks(batches, scorer.batch_size * max(1, most // scorer.batch_size)):
            *key_columns, features = batch.columns
            yield pa.RecordBatch.from_arrays([*key_columns, *scorer(features).flatten()], schema=target)

    return Stream(reader.tasks, score, schema, backend)


def read(spark: SparkSession, spec: RowsSpec, stages: Sequence[Transformer], selected: SelectColumns) -> ScoringInput:
    """Find the rows to score, without reading more than the files' heads.

    Args:
        spark: The session.
        spec: The files and their format.
        stages: The model's pipeline without its network.
        selected: The first stage.

    Raises:
        DataError: The files or their columns are not those that the pipeline takes.
    """
    kept = selected.getOrDefault("dialect")
    whole = spec.with_dialect(kept)
    source = open_source(spark, whole)
    if source.typed and _are_prepared(spark, source, selected):
        return _prepared(spark, source, selected)
    logger.info("%s", _described(whole.dialect, own=spec.dialect_options, kept=kept))
    return _raw(spark, source, stages, selected, whole.dialect)


def _described(dialect: Dialect, own: Mapping[str, Any], kept: Mapping[str, Any]) -> str:
    """Return which dialect rows are read in, and whose it is."""
    usual = Dialect().to_dict()
    options = {name: value for name, value in dialect.to_dict().items() if name in own or value != usual[name]}
    listed = [f"{name}={value!r} ({'as this task says' if name in own else 'as in training'})" for name, value in options.items()]
    unknown = "" if kept else "; the model was saved without the dialect of its training files"
    return f"the rows are read with {', '.join(listed) or 'the usual dialect'}{unknown}"


def _are_prepared(spark: SparkSession, source: Source, selected: SelectColumns) -> bool:
    """Return whether rows have features already, and not a column of that name that a model takes, or cannot take, as raw."""
    names = source.columns_in_files
    if FEATURES not in names or FEATURES in selected.used(names):
        return False
    return holds_arrays(source.with_kinds({FEATURES: AS_IT_IS}).rows(spark).schema[FEATURES].dataType)


def _prepared(spark: SparkSession, source: Source, selected: SelectColumns) -> ScoringInput:
    columns = source.columns_in_files
    source = source.with_kinds(dict.fromkeys(columns, AS_IT_IS))
    data = source.rows(spark, with_bad=True)
    labels = _all_labels(selected, {name: column for column, name in label_roles(selected.labels).items() if column in columns})
    return ScoringInput(data, columns, as_floats(data, FEATURES), source, labels, prepared=True)


def _raw(
    spark: SparkSession, source: Source, stages: Sequence[Transformer], selected: SelectColumns, dialect: Dialect
) -> ScoringInput:
    """Return raw rows, taken through the pipeline's stages so that a row with missing values has missing features."""
    names = source.columns_in_files
    selected.check(names)
    columns, used = _passing_through(names, is_reserved), selected.used(names)
    labels = _all_labels(selected, {new: name for name, new in used.items()})
    # What the model does not take goes past its stages under names that none of them makes or uses.
    aside = {name: f"{_COLUMN}{position}" for position, name in enumerate(columns) if name not in used}
    # Columns with types are converted by the first stage.
    kinds = {} if source.typed else selected.kinds_of(names)
    source = source.with_kinds({name: kinds.get(name, AS_IT_IS) for name in names if name in used or name in aside})
    data = source.rows(spark, with_bad=True)
    for label in labels.values():
        if not source.typed and _is_number(source, label):
            data = data.withColumn(label, F.expr(as_number(label)))
        kind = kind_of_type(data.schema[label].dataType)
        data = data.withColumn(label, without_nulls(F.col(quoted(label)), kind, dialect))
    named = data.select(*[F.col(quoted(name)).alias(aside.get(name, name)) for name in data.columns])
    transformed = PipelineModel([_tolerant(stage, dialect) for stage in stages]).transform(named)
    own = [F.col(quoted(aside.get(name) or used[name])).alias(name) for name in columns]
    for name in [name for name, label in labels.items() if label not in columns]:
        labels[name] = f"{_LABEL}{name}"
        own.append(F.col(quoted(name)).alias(labels[name]))
    features = as_floats(transformed, FEATURES).alias(FEATURES)
    rows = transformed.select(*own, *_marks(data), features, _reason(stages, selected).alias(_REASON))
    return ScoringInput(rows, columns, F.col(FEATURES), source, labels, reason=F.col(_REASON))


def _all_labels(selected: SelectColumns, columns: Mapping[str, str]) -> dict[str, str]:
    """Return the column of each label; none unless all have one."""
    return {name: columns[name] for name in selected.labels} if {*selected.labels} <= {*columns} else {}


def _is_number(source: Source, column: str) -> bool:
    """Return whether a column of text has values in the first rows, which are numbers."""
    return len(source.sample(column).drop_null()) > 0 and source.kind_of(column) in ("number", "boolean")


def _passing_through(columns: Sequence[str], is_added: Callable[[str], bool]) -> list[str]:
    """Return the columns of rows to score that can stand beside those that the model adds, unlike earlier predictions."""
    left_out = [name for name in columns if is_added(name)]
    if left_out:
        logger.info("not among the columns to keep, for the model adds columns of these names: %s", ", ".join(left_out))
    return [name for name in columns if name not in left_out]


def _reason(stages: Sequence[Transformer], selected: SelectColumns) -> Column:
    """Return the reason why a row of raw columns has no features: a missing value that nothing stands for, or a new category."""
    kinds = selected.getOrDefault("kinds")
    reasons: list[Column] = []
    for name in selected.with_policy("fail", "drop"):
        is_number = kinds[name] in ("number", "boolean")
        is_missing = F.col(name).isNull() | F.isnan(name) if is_number else F.col(name).isNull()
        reasons.append(F.when(is_missing, f"{name!r} is missing"))
    indexers = [stage for stage in stages if isinstance(stage, StringIndexerModel) and stage.isDefined("inputCols")]
    for indexer in indexers if selected.getOrDefault("unseen") == "quarantine" else []:
        for name, labels, index in zip(indexer.getInputCols(), indexer.labelsArray, indexer.getOutputCols(), strict=True):
            is_new = (F.col(index) == len(labels)) & F.col(name).isNotNull()
            reasons.append(F.when(is_new, F.concat(F.lit(f"{name!r} is a category that training did not see: "), F.col(name))))
    return F.coalesce(*reasons, F.lit(None).cast("string"))


def _tolerant(stage: Transformer, dialect: Dialect) -> Transformer:
    """Return a stage that lets a row with missing values pass, with NaN in its features."""
    if isinstance(stage, SelectColumns):
        return stage.for_scoring(dialect)
    return stage.copy({stage.handleInvalid: "keep"}) if isinstance(stage, VectorAssembler) else stage
