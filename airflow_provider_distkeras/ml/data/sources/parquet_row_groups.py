"""Runs on executors. Parquet that Python workers read themselves, so that features need not cross from Spark."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
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

from airflow_provider_distkeras.contract.files.listing import partitions_of
from airflow_provider_distkeras.contract.files.storage import LocalStorage, local_path
from airflow_provider_distkeras.ml.data.sources.base import WorkerReader
from airflow_provider_distkeras.spark.storage import storage_for

#: Types that Spark and pyarrow read alike, whoever wrote the file. Dates and times are not: old writers had other calendars.
_ALIKE = (BooleanType, ByteType, ShortType, IntegerType, LongType, FloatType, DoubleType, StringType, BinaryType)
#: Uncompressed bytes of a task, at most, if its row groups are no larger.
_TASK_BYTES = 128 * 1024 * 1024
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


def readable(paths: list[str], metadata: list[pq.FileMetaData], schema: StructType, columns: Sequence[str], arrays: str) -> bool:
    """Return whether Python workers can read these columns as Spark would.

    Args:
        paths: Parquet files.
        metadata: Their footers.
        schema: Their columns by Spark's types.
        columns: The columns to read as they are.
        arrays: The column to read as arrays of float32.
    """
    in_folders = partitions_of(paths[0])
    kinds = {name: schema[name].dataType for name in columns}
    alike = all(is_alike(kind) or (name in in_folders and isinstance(kind, DateType)) for name, kind in kinds.items())
    one_schema = all(footer.schema.equals(metadata[0].schema) for footer in metadata)
    return alike and one_schema and _are_floats(schema[arrays].dataType)


def row_groups(paths: list[str], metadata: list[pq.FileMetaData]) -> list[RowGroup]:
    """Return all row groups of files with these footers, in order."""
    return [group for path, footer in zip(paths, metadata, strict=True) for group in _row_groups(path, footer)]


def reader(spark: SparkSession, groups: list[RowGroup], columns: StructType, arrays: str) -> WorkerReader:
    """Return a reader of all rows of the row groups: these columns, then one of arrays, as float32."""
    tasks = _tasks(groups, spark.sparkContext.defaultParallelism)
    target = to_arrow_schema(columns).append(pa.field(arrays, pa.list_(pa.float32())))

    def read(batches: Iterable[pa.RecordBatch], rows: int) -> Iterator[pa.RecordBatch]:
        for batch in batches:
            for task in batch.column(0).to_pylist():
                for group in tasks[task]:
                    yield from _read(group, target, rows)

    return WorkerReader(spark.range(0, len(tasks), 1, len(tasks)), read)


def _read(group: RowGroup, target: pa.Schema, rows: int) -> Iterator[pa.RecordBatch]:
    """Yield a row group, some rows at a time. Runs on executors."""
    stored = [name for name in target.names if name not in group.partitions]
    with pq.ParquetFile(local_path(group.path), buffer_size=_BUFFER_BYTES, pre_buffer=False) as file:
        for batch in file.iter_batches(rows, [group.number], stored, use_threads=False):
            columns = [_column(batch, field.name, group.partitions, field.type) for field in target]
            yield pa.RecordBatch.from_arrays(columns, schema=target)


def _column(batch: pa.RecordBatch, name: str, partitions: dict[str, str | None], kind: pa.DataType) -> pa.Array:
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
