"""Runs on executors. Parquet that Python workers read themselves, so that features need not cross from Spark."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

import pyarrow as pa
import pyarrow.parquet as pq
from pyspark.sql import SparkSession
from pyspark.sql.pandas.types import to_arrow_schema
from pyspark.sql.types import (
    ArrayType,
    BinaryType,
    BooleanType,
    ByteType,
    DataType,
    DateType,
    DoubleType,
    FloatType,
    IntegerType,
    LongType,
    ShortType,
    StringType,
    StructType,
)

from airflow_provider_distkeras.contract.files.parquet import partitions_of
from airflow_provider_distkeras.contract.files.storage import LocalStorage, local_path
from airflow_provider_distkeras.ml.network.scorer import Scorer, Stream
from airflow_provider_distkeras.spark.storage import storage_for

#: Types that Spark and pyarrow read alike, whoever wrote the file. Dates and times are not: old writers had other calendars.
_ALIKE = (BooleanType, ByteType, ShortType, IntegerType, LongType, FloatType, DoubleType, StringType, BinaryType)
#: Uncompressed bytes of a task, at most, if its row groups are no larger.
_TASK_BYTES = 128 * 1024 * 1024
#: Bytes of features in a batch: enough that what a batch costs is spread over many rows, and a small part of a worker's memory.
_BATCH_BYTES = 8 * 1024 * 1024
_MOST_ROWS = 65_536
#: Bytes read from a file at once, per column; else pyarrow would hold whole column chunks.
_BUFFER_BYTES = 1024 * 1024


@dataclass(frozen=True)
class RowGroup:
    """A row group of a file.

    Attributes:
        path: the file; number: the row group's, in the file; rows, size: how many, and their uncompressed bytes.
        partitions: the values of its partition columns, as text; None where missing.
    """

    path: str
    number: int
    rows: int
    size: int
    partitions: dict[str, str | None] = field(default_factory=dict)


def footers(spark: SparkSession, paths: list[str]) -> list[pq.FileMetaData] | None:
    """Return the files' footers; None where only Spark can reach them."""
    if not all(isinstance(storage_for(spark, path), LocalStorage) for path in paths):
        return None
    return [pq.read_metadata(local_path(path)) for path in paths]


def readable(paths: list[str], metadata: list[pq.FileMetaData], schema: StructType, columns: list[str], features: str) -> bool:
    """Return whether Python workers can read these columns as Spark would.

    Args:
        paths: Parquet files.
        metadata: Their footers.
        schema: Their columns by Spark's types.
        columns: The columns to keep.
        features: The column of features.
    """
    in_folders = partitions_of(paths[0])
    kinds = {name: schema[name].dataType for name in columns}
    alike = all(is_alike(kind) or (name in in_folders and isinstance(kind, DateType)) for name, kind in kinds.items())
    one_schema = all(footer.schema.equals(metadata[0].schema) for footer in metadata)
    return alike and one_schema and _are_floats(schema[features].dataType)


def row_groups(paths: list[str], metadata: list[pq.FileMetaData]) -> list[RowGroup]:
    """Return all row groups of files with these footers, in order."""
    return [group for path, footer in zip(paths, metadata, strict=True) for group in _row_groups(path, footer)]


def stream(spark: SparkSession, groups: list[RowGroup], keys: StructType, features: str, scorer: Scorer, backend: str) -> Stream:
    """Return a stream of all rows of the row groups, with these key columns."""
    tasks = _tasks(groups, spark.sparkContext.defaultParallelism)
    schema = StructType([*keys, *scorer.schema])
    target = to_arrow_schema(schema)

    def score(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        for batch in batches:
            for task in batch.column(0).to_pylist():
                for group in tasks[task]:
                    yield from _scored(group, features, len(keys), target, scorer)

    return Stream(spark.range(0, len(tasks), 1, len(tasks)), score, schema, backend)


def _scored(group: RowGroup, features: str, keys: int, target: pa.Schema, scorer: Scorer) -> Iterator[pa.RecordBatch]:
    """Yield a row group's keys and scores, a batch at a time. Runs on executors."""
    names = target.names[:keys]
    stored = [name for name in names if name not in group.partitions]
    # Whole batches of the network: a part of one is filled up, and costs as much as a whole.
    rows = scorer.batch_size * max(1, min(_MOST_ROWS, _BATCH_BYTES // (4 * scorer.forward.features)) // scorer.batch_size)
    with pq.ParquetFile(local_path(group.path), buffer_size=_BUFFER_BYTES, pre_buffer=False) as file:
        for batch in file.iter_batches(rows, [group.number], [*stored, features], use_threads=False):
            lists = batch.column(features).cast(pa.list_(pa.float32()))
            key_columns = [_key(batch, name, group.partitions, target.field(name).type) for name in names]
            yield pa.RecordBatch.from_arrays([*key_columns, *scorer(lists).flatten()], schema=target)


def _key(batch: pa.RecordBatch, name: str, partitions: dict[str, str | None], kind: pa.DataType) -> pa.Array:
    if name not in partitions:
        return batch.column(name).cast(kind)
    return pa.repeat(pa.scalar(partitions[name], pa.string()).cast(kind), batch.num_rows)


def is_alike(kind: DataType) -> bool:
    """Return whether Spark and pyarrow read and write values of this type alike."""
    return isinstance(kind.elementType if isinstance(kind, ArrayType) else kind, _ALIKE)


def _are_floats(kind: DataType) -> bool:
    return isinstance(kind, ArrayType) and isinstance(kind.elementType, (FloatType, DoubleType))


def _row_groups(path: str, footer: pq.FileMetaData) -> list[RowGroup]:
    groups = [footer.row_group(number) for number in range(footer.num_row_groups)]
    partitions = partitions_of(path)
    return [RowGroup(path, i, group.num_rows, group.total_byte_size, partitions) for i, group in enumerate(groups)]


def _tasks(groups: list[RowGroup], slots: int) -> list[list[RowGroup]]:
    """Deal out the row groups in order, by size: a task per slot, or more where those would be large."""
    total = max(1, sum(group.size for group in groups))
    count = max(1, min(len(groups), max(slots, -(-total // _TASK_BYTES))))
    tasks: list[list[RowGroup]] = [[] for _ in range(count)]
    before = 0
    for group in groups:
        tasks[min(count - 1, (2 * before + group.size) * count // (2 * total))].append(group)
        before += group.size
    return [task for task in tasks if task]
