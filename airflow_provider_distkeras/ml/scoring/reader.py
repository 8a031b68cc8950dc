"""What is scored: CSV or Parquet files, raw as a model's pipeline takes them, or prepared as a preprocess task leaves them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import reduce

from py4j.protocol import Py4JJavaError
from pyarrow.parquet import FileMetaData
from pyspark.errors import PySparkException
from pyspark.ml import PipelineModel, Transformer
from pyspark.ml.feature import StringIndexerModel, VectorAssembler
from pyspark.sql import Column, DataFrame, SparkSession
from pyspark.sql import functions as F
from pyspark.sql.types import StructType

from airflow_provider_distkeras.contract.errors import DataError, SpecError, unknown_name
from airflow_provider_distkeras.contract.files import parquet as contract
from airflow_provider_distkeras.contract.specs import RowsSpec
from airflow_provider_distkeras.ml.data import prepare
from airflow_provider_distkeras.ml.data.profiling import CsvReader
from airflow_provider_distkeras.ml.data.select_columns import SelectColumns
from airflow_provider_distkeras.ml.data.sql import quoted
from airflow_provider_distkeras.ml.network.scorer import REASON, Scorer, Stream, add_scores, stream
from airflow_provider_distkeras.ml.scoring import parquet_reader, parquet_writer, writer
from airflow_provider_distkeras.ml.scoring.writer import OutputTarget, WrittenOutput
from airflow_provider_distkeras.spark.columns import as_floats
from airflow_provider_distkeras.spark.storage import storage_for

_FEATURES, _REASON = "__distkeras_features", "__distkeras_why"


@dataclass(frozen=True)
class ScoringInput:
    """Rows to score.

    Attributes:
        data: the rows; columns: the columns of the input, as they are named in `data`.
        features: their features, as array of float32.
        rows: how many there are, as the files themselves say.
        sizes: size in bytes per file.
        label: the column that holds the label, if there is one; indexed: whether it holds class numbers, not texts.
        reason: why a row cannot be scored, whatever its features; null where it can; None if no row is like that.
        bad_lines: lines that do not fit and are not among the rows; reader: what read them.
    """

    data: DataFrame
    columns: list[str]
    features: Column
    rows: int
    sizes: dict[str, int]
    label: str | None
    indexed: bool = False
    bad_lines: int = 0
    reader: CsvReader | None = None
    reason: Column | None = None

    def keep(self, columns: list[str] | None, added: list[str]) -> list[str]:
        """The columns to keep. Raises SpecError for one that is not there, DataError for one named as one that is added."""
        kept = self.columns if columns is None else list(dict.fromkeys(columns))
        for name in kept:
            if name not in self.columns:
                raise SpecError(f"key_columns: {unknown_name('column', name, self.columns)}")
            if name in added:
                raise DataError(
                    f"The column {name!r} has the name of a column that scoring adds: rename it, or leave it out of key_columns "
                    f"(received {kept})."
                )
        return kept

    @contextmanager
    def written(self, keys: list[str], scorer: Scorer, backend: str, target: OutputTarget) -> Iterator[WrittenOutput]:
        """Score the rows, and write the key columns of each with what it is told or why it is told nothing.

        By the workers that score them, where they can. The context ends when what was written has been measured.
        """
        measured = self.label if self.label not in keys and "prediction" in scorer.columns else None
        columns = [*keys, measured] if measured else keys
        if parquet_writer.suits(self.data.sparkSession, target, StructType([self.data.schema[name] for name in columns])):
            with parquet_writer.written(self.stream(columns, scorer, backend), keys, measured, target) as written:
                yield written
        else:
            yield self._written_by_spark(keys, measured, scorer, backend, target)

    def stream(self, columns: list[str], scorer: Scorer, backend: str) -> Stream:
        """These columns of every row, and those of the scorer's schema, as workers have them."""
        return stream(self._with_features(columns), _FEATURES, _REASON, scorer, backend)

    def scored(self, columns: list[str], scorer: Scorer, backend: str) -> DataFrame:
        """These columns of every row, and those of the scorer's schema, as Spark has them."""
        scored = add_scores(self._with_features(columns), F.col(_FEATURES), scorer, backend)
        return scored.withColumn(REASON, F.coalesce(_REASON, REASON)).drop(_FEATURES, _REASON)

    def _with_features(self, columns: list[str]) -> DataFrame:
        reason = F.lit(None).cast("string") if self.reason is None else self.reason
        features = F.when(reason.isNull(), self.features)
        return self.data.select(*map(F.col, columns), features.alias(_FEATURES), reason.alias(_REASON))

    def _written_by_spark(
        self, keys: list[str], measured: str | None, scorer: Scorer, backend: str, target: OutputTarget
    ) -> WrittenOutput:
        """The network runs again to find the rows that cannot be scored, and for a label that is not kept."""
        scored = self.scored(keys, scorer, backend)
        predictions = writer.write(writer.good(scored), target.predictions, target.output_format, target.partition_by)
        count = writer.count(predictions, target.predictions)
        reasons = writer.quarantine(scored, scorer.names, target) if count < self.rows else {}
        measurable = writer.good(self.scored([measured], scorer, backend)) if measured else predictions
        return WrittenOutput(count, reasons, measurable)


@dataclass(frozen=True)
class ParquetScoringInput(ScoringInput):
    """Prepared rows in Parquet files, which Python workers read themselves where they can.

    Attributes:
        footers: what the files say of themselves; None where only Spark can reach them.
    """

    footers: list[FileMetaData] | None = None

    def stream(self, columns: list[str], scorer: Scorer, backend: str) -> Stream:
        groups = self._row_groups(columns)
        if groups is None:
            return super().stream(columns, scorer, backend)
        kept = StructType([self.data.schema[name] for name in columns])
        return parquet_reader.stream(self.data.sparkSession, groups, kept, prepare.FEATURES, scorer, backend)

    def scored(self, columns: list[str], scorer: Scorer, backend: str) -> DataFrame:
        if self._row_groups(columns) is None:
            return super().scored(columns, scorer, backend)
        return self.stream(columns, scorer, backend).frame

    def _row_groups(self, columns: list[str]) -> list[parquet_reader.RowGroup] | None:
        """What workers read themselves; None if only Spark can read these columns."""
        paths, schema = list(self.sizes), self.data.schema
        if self.footers is None or not parquet_reader.readable(paths, self.footers, schema, columns, prepare.FEATURES):
            return None
        return parquet_reader.row_groups(paths, self.footers)


def read(spark: SparkSession, spec: RowsSpec, stages: Sequence[Transformer], selected: SelectColumns) -> ScoringInput:
    """Find the rows to score, and what they look like.

    Args:
        spark: the session.
        spec: what is asked for.
        stages: the model's pipeline less its network; selected: the first of them.

    Raises:
        DataError: the files or their columns are not what the pipeline takes.
    """
    storage = storage_for(spark, spec.input_path[0])
    if spec.input_format == "parquet" or (spec.input_format is None and contract.is_parquet(storage, spec.input_path)):
        return _read_parquet(spark, contract.find(storage, spec.input_path), stages, selected)
    data, reader, found = prepare.apply(spark, selected, spec)
    files = reader.files
    rows = _raw(data, data.columns, found.rows, files.sizes, stages, selected)
    return replace(rows, bad_lines=found.bad, reader=reader)


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
        data = data.select(*map(quoted, prepare.passing_through(data.columns)))
        return _raw(data, data.columns, rows, sizes, stages, selected)
    label = "label" if "label" in data.columns else None
    return ParquetScoringInput(data, data.columns, as_floats(data, prepare.FEATURES), rows, sizes, label, True, footers=footers)


def _raw(
    data: DataFrame, columns: list[str], rows: int, sizes: dict[str, int], stages: Sequence[Transformer], selected: SelectColumns
) -> ScoringInput:
    """Raw rows, taken through the pipeline's stages so that a row with missing values comes out with missing features."""
    transformed = PipelineModel([_tolerant(stage) for stage in stages]).transform(data)
    reason = _reason(stages, selected).alias(_REASON)
    own = [F.col(selected.new_name(name)).alias(name) for name in columns]
    prepared = transformed.select(*own, as_floats(transformed, prepare.FEATURES).alias(prepare.FEATURES), reason)
    label = next((name for name in columns if selected.new_name(name) == selected.getOrDefault("labelCol")), None)
    return ScoringInput(prepared, columns, F.col(prepare.FEATURES), rows, sizes, label, reason=F.col(_REASON))


def _reason(stages: Sequence[Transformer], selected: SelectColumns) -> Column:
    """Why a row of raw columns has no features: a value is missing that nothing stands for, or a category is new."""
    kinds = selected.getOrDefault("kinds")
    found = []
    for name in selected.with_policy("fail", "drop"):
        is_number = kinds[name] in ("number", "boolean")
        is_missing = F.col(name).isNull() | F.isnan(name) if is_number else F.col(name).isNull()
        found.append(F.when(is_missing, f"{name!r} is missing"))
    indexers = [stage for stage in stages if isinstance(stage, StringIndexerModel) and stage.isDefined("inputCols")]
    for indexer in indexers if selected.getOrDefault("unseen") == "quarantine" else []:
        for name, known, index in zip(indexer.getInputCols(), indexer.labelsArray, indexer.getOutputCols(), strict=True):
            is_new = (F.col(index) == len(known)) & F.col(name).isNotNull()
            found.append(F.when(is_new, F.concat(F.lit(f"{name!r} is a category that training did not see: "), F.col(name))))
    return F.coalesce(*found, F.lit(None).cast("string"))


def _tolerant(stage: Transformer) -> Transformer:
    """A stage that lets a row with missing values pass, with NaN in its features."""
    if isinstance(stage, SelectColumns):
        return stage.keeping_rows()
    return stage.copy({stage.handleInvalid: "keep"}) if isinstance(stage, VectorAssembler) else stage
