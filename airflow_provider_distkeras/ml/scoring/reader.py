"""Rows to score, in CSV or Parquet files: raw, as a model's pipeline takes them, or prepared by a preprocess task."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import reduce

from py4j.protocol import Py4JJavaError
from pyarrow.parquet import FileMetaData
from pyspark.errors import PySparkException
from pyspark.ml import PipelineModel, Transformer
from pyspark.ml.feature import StringIndexerModel, VectorAssembler
from pyspark.sql import Column, DataFrame, Observation, SparkSession
from pyspark.sql import functions as F
from pyspark.sql.types import StructType

from airflow_provider_distkeras.contract.errors import DataError, SpecError, unknown_name
from airflow_provider_distkeras.contract.files import parquet as contract
from airflow_provider_distkeras.contract.files.csv_header import is_usable
from airflow_provider_distkeras.contract.specs import RowsSpec
from airflow_provider_distkeras.ml.data import prepare
from airflow_provider_distkeras.ml.data.profile_checks import check_bad_records
from airflow_provider_distkeras.ml.data.profiling import ProfileRequest
from airflow_provider_distkeras.ml.data.select_columns import SelectColumns
from airflow_provider_distkeras.ml.data.sources import open_source
from airflow_provider_distkeras.ml.data.sources.base import IS_BAD, Source
from airflow_provider_distkeras.ml.data.sources.csv_parser import infer_kind
from airflow_provider_distkeras.ml.data.sql import as_number, quoted
from airflow_provider_distkeras.ml.network.scorer import REASON, Scorer, Stream, add_scores, stream
from airflow_provider_distkeras.ml.scoring import parquet_reader, parquet_writer, writer
from airflow_provider_distkeras.ml.scoring.writer import OutputTarget, WrittenOutput
from airflow_provider_distkeras.spark.columns import as_floats
from airflow_provider_distkeras.spark.storage import storage_for

logger = logging.getLogger(__name__)

_FEATURES, _REASON = "__distkeras_features", "__distkeras_why"


@dataclass(frozen=True)
class ScoringInput:
    """Rows to score.

    Attributes:
        data: The rows. Those read from a source have the column `IS_BAD`, as some stand for records that do not fit.
        columns: The columns of the input, as they are named in `data`.
        features: Their features, as arrays of float32.
        rows: Number of rows; None where only a pass over the files can count them.
        sizes: Size in bytes per file.
        label: The column of the label, if there is one.
        indexed: Whether the label is a class number, not a text.
        source: The source of the rows, if some of its records may not fit.
        reason: Reason why a row cannot be scored, whatever its features; null where it can. None if every row can.
    """

    data: DataFrame
    columns: list[str]
    features: Column
    rows: int | None
    sizes: dict[str, int]
    label: str | None
    indexed: bool = False
    source: Source | None = None
    reason: Column | None = None

    def keep(self, columns: list[str] | None, added: list[str]) -> list[str]:
        """Return the columns to keep.

        Raises:
            SpecError: One of them is absent.
            DataError: One of them has the name of a column that is added.
        """
        names = self.columns if columns is None else list(dict.fromkeys(columns))
        for name in names:
            if name not in self.columns:
                raise SpecError(f"key_columns: {unknown_name('column', name, self.columns)}")
            if name in added:
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
        measured = self.label if self.label not in keys and "prediction" in scorer.columns else None
        columns = [*keys, *([measured] if measured else [])]
        if parquet_writer.suits(self.data.sparkSession, target, StructType([self.data.schema[name] for name in columns])):
            with parquet_writer.written(self.stream(columns, scorer, backend), keys, measured, target) as written:
                yield written
        else:
            yield self._written_by_spark(keys, measured, scorer, backend, target)

    def counted(self, spark: SparkSession, spec: RowsSpec) -> ScoringInput:
        """Return the input with its number of rows, counted in a pass of its own. Raise DataError as `check_bad_records` does."""
        if self.source is None:
            return self
        profile = self.source.profile(spark, ProfileRequest())
        check_bad_records(spark, spec, self.source, profile)
        return replace(self, rows=profile.rows)

    def stream(self, columns: list[str], scorer: Scorer, backend: str) -> Stream:
        """Return a stream of these columns, of `IS_BAD` if the rows have it, and of the scorer's columns."""
        return stream(self._with_features(columns), _FEATURES, _REASON, scorer, backend)

    def scored(self, columns: list[str], scorer: Scorer, backend: str) -> DataFrame:
        """Return these columns of every row that fits, and the scorer's columns."""
        return _without_bad(self._scored_with_bad(columns, scorer, backend))

    def _scored_with_bad(self, columns: list[str], scorer: Scorer, backend: str) -> DataFrame:
        scored = add_scores(self._with_features(columns), F.col(_FEATURES), scorer, backend)
        return scored.withColumn(REASON, F.coalesce(_REASON, REASON)).drop(_FEATURES, _REASON)

    def _with_features(self, columns: list[str]) -> DataFrame:
        reason = F.lit(None).cast("string") if self.reason is None else self.reason
        features = F.when(reason.isNull(), self.features)
        marks = [] if self.source is None else [F.col(IS_BAD)]
        return self.data.select(*map(F.col, columns), *marks, features.alias(_FEATURES), reason.alias(_REASON))

    def _written_by_spark(
        self, keys: list[str], measured: str | None, scorer: Scorer, backend: str, target: OutputTarget
    ) -> WrittenOutput:
        """Write by Spark, which counts in the same pass.

        The network runs again only to write rows that cannot be scored, and for a label that is not a key.
        """
        scored = self._scored_with_bad(keys, scorer, backend)
        is_bad = F.lit(False) if self.source is None else F.col(IS_BAD)
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
        measurable = writer.good(self.scored([measured], scorer, backend)) if measured else predictions
        return WrittenOutput(rows, reasons, measurable, counts.get["rows"], counts.get["bad"])


def _without_bad(scored: DataFrame) -> DataFrame:
    """Return the rows that do not stand for records that do not fit."""
    return scored.where(~F.col(IS_BAD)).drop(IS_BAD) if IS_BAD in scored.columns else scored


@dataclass(frozen=True)
class ParquetScoringInput(ScoringInput):
    """Prepared rows in Parquet files, which Python workers read themselves where they can.

    Attributes:
        footers: The files' footers; None where only Spark can reach them.
    """

    footers: list[FileMetaData] | None = None

    def stream(self, columns: list[str], scorer: Scorer, backend: str) -> Stream:
        """Return a stream of these columns and the scorer's, read by the workers themselves where they can."""
        groups = self._row_groups(columns)
        if groups is None:
            return super().stream(columns, scorer, backend)
        key_schema = StructType([self.data.schema[name] for name in columns])
        return parquet_reader.stream(self.data.sparkSession, groups, key_schema, prepare.FEATURES, scorer, backend)

    def _scored_with_bad(self, columns: list[str], scorer: Scorer, backend: str) -> DataFrame:
        if self._row_groups(columns) is None:
            return super()._scored_with_bad(columns, scorer, backend)
        return self.stream(columns, scorer, backend).frame

    def _row_groups(self, columns: list[str]) -> list[parquet_reader.RowGroup] | None:
        """Return the row groups that workers read themselves; None if only Spark can read these columns."""
        paths, schema = list(self.sizes), self.data.schema
        if self.footers is None or not parquet_reader.readable(paths, self.footers, schema, columns, prepare.FEATURES):
            return None
        return parquet_reader.row_groups(paths, self.footers)


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
    storage = storage_for(spark, spec.input_path[0])
    if spec.input_format == "parquet" or (spec.input_format is None and contract.is_parquet(storage, spec.input_path)):
        return _read_parquet(spark, contract.find(storage, spec.input_path), stages, selected)
    return _read_source(spark, open_source(spark, spec), stages, selected)


def _read_source(spark: SparkSession, source: Source, stages: Sequence[Transformer], selected: SelectColumns) -> ScoringInput:
    """Read raw rows: columns that are no features as text, but a label that its first rows show to be a number."""
    selected.check(source.columns_in_files)
    kinds, columns = selected.kinds_of(source.columns_in_files), _passing_through(source.columns_in_files)
    source = source.with_kinds({name: kinds.get(name, "text") for name in columns})
    data = source.rows(spark, with_bad=True)
    label = _label_of(columns, selected)
    if label is not None:
        values = source.sample(label)
        if len(values.drop_null()) and infer_kind(values) in ("number", "boolean"):
            data = data.withColumn(label, F.expr(as_number(label)))
    return _raw(data, columns, None, source.sizes, stages, selected, source)


def _label_of(columns: Sequence[str], selected: SelectColumns) -> str | None:
    """Return the raw column of the label, if there is one."""
    return next((name for name in columns if selected.new_name(name) == selected.getOrDefault("labelCol")), None)


def _passing_through(columns: Sequence[str]) -> list[str]:
    """Return the columns of rows to score that can stand beside those that the model adds, unlike earlier predictions."""
    left_out = [name for name in columns if not is_usable(name)]
    if left_out:
        logger.info("left out, for the model adds columns of these names or Spark ML cannot take them: %s", ", ".join(left_out))
    return [name for name in columns if name not in left_out]


def _read_parquet(
    spark: SparkSession, sizes: dict[str, int], stages: Sequence[Transformer], selected: SelectColumns
) -> ScoringInput:
    bases = {contract.base_of(path) for path in sizes}
    try:
        parts = [
            spark.read.option("basePath", base).parquet(*(path for path in sizes if contract.base_of(path) == base))
            for base in bases
        ]
    except (PySparkException, Py4JJavaError) as error:
        cause = str(getattr(error, "java_exception", error)).splitlines()[0]
        raise DataError(
            f"Spark cannot read all of {', '.join(list(sizes)[:3])} as Parquet: {cause} Restore the files, write times in "
            "microseconds, or set input_format."
        ) from error
    data = reduce(DataFrame.unionByName, parts)
    footers = parquet_reader.footers(spark, list(sizes))
    rows = data.count() if footers is None else sum(footer.num_rows for footer in footers)
    if not rows:
        raise DataError(f"There is no row in {', '.join(list(sizes)[:3])}.")
    if prepare.FEATURES not in data.columns:
        selected.check(data.columns)
        data = data.select(*map(quoted, _passing_through(data.columns)))
        return _raw(data, data.columns, rows, sizes, stages, selected)
    label = "label" if "label" in data.columns else None
    return ParquetScoringInput(data, data.columns, as_floats(data, prepare.FEATURES), rows, sizes, label, True, footers=footers)


def _raw(
    data: DataFrame,
    columns: list[str],
    rows: int | None,
    sizes: dict[str, int],
    stages: Sequence[Transformer],
    selected: SelectColumns,
    source: Source | None = None,
) -> ScoringInput:
    """Return raw rows, taken through the pipeline's stages so that a row with missing values has missing features."""
    transformed = PipelineModel([_tolerant(stage) for stage in stages]).transform(data)
    reason = _reason(stages, selected).alias(_REASON)
    own = [F.col(selected.new_name(name)).alias(name) for name in columns]
    marks = [] if source is None else [F.col(IS_BAD)]
    features = as_floats(transformed, prepare.FEATURES).alias(prepare.FEATURES)
    prepared = transformed.select(*own, *marks, features, reason)
    label = _label_of(columns, selected)
    return ScoringInput(prepared, columns, F.col(prepare.FEATURES), rows, sizes, label, source=source, reason=F.col(_REASON))


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


def _tolerant(stage: Transformer) -> Transformer:
    """Return a stage that lets a row with missing values pass, with NaN in its features."""
    if isinstance(stage, SelectColumns):
        return stage.keeping_rows()
    return stage.copy({stage.handleInvalid: "keep"}) if isinstance(stage, VectorAssembler) else stage
