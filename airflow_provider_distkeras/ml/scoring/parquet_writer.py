"""Predictions that Python workers write themselves, as Parquet: what scores a row also writes it, in one pass.

A task writes into a staging folder, under names of its own, and reports its files once they are complete. The driver moves into
place what was reported: of a task that Spark ran again, or twice, only the run that Spark counts. The rest goes with the folder.
"""

from __future__ import annotations

import os
import shutil
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from pyspark import TaskContext
from pyspark.sql import SparkSession
from pyspark.sql.pandas.types import from_arrow_schema, to_arrow_schema
from pyspark.sql.types import DateType, StringType, StructField, StructType

from airflow_provider_distkeras.contract.errors import ArtifactError
from airflow_provider_distkeras.contract.files.storage import LocalStorage, as_uri, local_path
from airflow_provider_distkeras.ml.data.sources.base import IS_BAD
from airflow_provider_distkeras.ml.data.sources.parquet_row_groups import is_alike
from airflow_provider_distkeras.ml.network.scorer import REASON
from airflow_provider_distkeras.ml.scoring import writer
from airflow_provider_distkeras.ml.scoring.stream import Batches, Stream
from airflow_provider_distkeras.ml.scoring.writer import REASON_COLUMN, OutputTarget, WrittenOutput
from airflow_provider_distkeras.spark.storage import literal, storage_for

#: Where tasks write, in the attempt's folder, and below it where the files to measure end up.
_STAGING, _SETTLED = "_staging", "settled"
#: The kinds of files that a task writes, each in a folder of this name.
_PREDICTIONS, _QUARANTINE, _MEASURED = "predictions", "quarantine", "measured"
#: The name of a task's report of its counts, beside its files.
_COUNTS = "counts"
#: The report of a task: a row per file with the reasons in it, and one of its counts.
_REPORT = pa.schema({"kind": pa.string(), "file": pa.string(), "reasons": pa.map_(pa.string(), pa.int64())})
#: Bytes of a row group before it is encoded: what a task holds of what it has scored.
_GROUP_BYTES = 16 * 1024 * 1024
#: Where Spark notes a file's columns in its own types; without, it would have to guess them from Parquet's.
_SPARK_SCHEMA = "org.apache.spark.sql.parquet.row.metadata"


def suits(spark: SparkSession, target: OutputTarget, columns: StructType) -> bool:
    """Return whether workers can write these columns of the input to this target, as Spark would."""
    is_plain = target.output_format == "parquet" and not target.partition_by
    are_alike = all(is_alike(field.dataType) or isinstance(field.dataType, DateType) for field in columns)
    return is_plain and are_alike and isinstance(storage_for(spark, target.folder), LocalStorage)


@contextmanager
def written(
    stream: Stream, keys: list[str], measured: list[str], predictions: list[str], target: OutputTarget
) -> Iterator[WrittenOutput]:
    """Score a stream's rows and write them.

    Args:
        stream: The rows.
        keys: the columns to keep.
        measured: columns to set aside with the predictions, for as long as the context lasts.
        predictions: the columns of the predictions.
        target: a folder of a file system that all machines share.
    """
    layouts = _layouts(stream.schema, keys, measured, predictions)
    staging = local_path(target.folder) / _STAGING
    for kind in layouts:
        (staging / kind).mkdir(parents=True)
    try:
        reports = stream.mapped(_writing(stream.score, layouts, staging), from_arrow_schema(_REPORT)).collect()
        counts = _sum(report.reasons for report in reports if report.kind == _COUNTS)
        files = {kind: [Path(report.file) for report in reports if report.kind == kind] for kind in layouts}
        folders = {
            _PREDICTIONS: local_path(target.predictions),
            _QUARANTINE: local_path(target.quarantine),
            _MEASURED: staging / _SETTLED,
        }
        rows = {
            kind: _settle(files[kind], folders[kind], layouts[kind]) for kind in layouts if files[kind] or kind != _QUARANTINE
        }
        shown = _MEASURED if measured else _PREDICTIONS
        read = stream.source.sparkSession.read.schema(layouts[shown].schema)
        reasons = writer.by_frequency(_sum(report.reasons for report in reports if report.kind == _QUARANTINE))
        measurable = read.parquet(literal(as_uri(str(folders[shown]))))
        yield WrittenOutput(rows[_PREDICTIONS], reasons, measurable, counts.get("rows", 0), counts.get("bad", 0))
    finally:
        _remove(staging)


@dataclass(frozen=True)
class _Layout:
    """A kind of file.

    Attributes:
        sources: its columns as they are named in scored batches; schema: as they are written.
    """

    sources: list[str]
    schema: StructType

    @property
    def arrow(self) -> pa.Schema:
        """The columns for pyarrow, with a note for Spark."""
        return to_arrow_schema(self.schema).with_metadata({_SPARK_SCHEMA: self.schema.json()})

    def open(self, path: Path) -> pq.ParquetWriter:
        """Open a new file."""
        repeating = [writer.path_of(field) for field in self.schema if not writer.rarely_repeats(field.dataType)]
        return pq.ParquetWriter(path, self.arrow, compression="snappy", use_dictionary=repeating, store_schema=False)


def _layouts(scored: StructType, keys: list[str], measured: list[str], predictions: list[str]) -> dict[str, _Layout]:
    """Return the kinds of files that a task writes."""
    key_fields = [scored[name] for name in keys]
    scores = [field for field in scored if field.name not in (*keys, *measured, REASON, IS_BAD)]
    reason = StructField(REASON_COLUMN, StringType())
    layouts = {
        _PREDICTIONS: _Layout([field.name for field in (*key_fields, *scores)], StructType([*key_fields, *scores])),
        _QUARANTINE: _Layout([*keys, REASON], StructType([*key_fields, reason])),
    }
    if measured:
        columns = [*measured, *predictions]
        layouts[_MEASURED] = _Layout(columns, StructType([scored[name] for name in columns]))
    return layouts


def _writing(score: Batches, layouts: dict[str, _Layout], staging: Path) -> Batches:
    """Return the function of a task: it scores rows, writes them, and reports the files. Runs on executors."""

    def write(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        task = TaskContext.get()
        assert task is not None
        name = f"part-{task.partitionId():05d}-{task.taskAttemptId()}.snappy.parquet"
        parts = {kind: _Part(staging / kind / name, layout) for kind, layout in layouts.items()}
        reasons: Counter[str] = Counter()
        counts: Counter[str] = Counter()
        for scored in score(batches):
            batch = _without_bad(scored)
            counts.update(rows=len(batch), bad=len(scored) - len(batch))
            reason = batch.column(REASON)
            is_good = reason.null_count == len(reason)
            good, bad = (batch, batch.slice(0, 0)) if is_good else map(batch.filter, (reason.is_null(), reason.is_valid()))
            reasons.update(bad.column(REASON).to_pylist())
            for kind, part in parts.items():
                part.add(bad if kind == _QUARANTINE else good)
        listed = {_QUARANTINE: list(reasons.items())}
        reports = [(kind, str(part.path), listed.get(kind, [])) for kind, part in parts.items() if part.close()]
        columns = zip(*reports, (_COUNTS, "", list(counts.items())), strict=True)
        yield pa.RecordBatch.from_arrays(
            [pa.array(column, field.type) for column, field in zip(columns, _REPORT, strict=True)], schema=_REPORT
        )

    return write


def _without_bad(scored: pa.RecordBatch) -> pa.RecordBatch:
    """Return the rows that do not stand for records that do not fit."""
    if IS_BAD not in scored.schema.names:
        return scored
    is_bad = scored.column(IS_BAD)
    return scored.filter(pc.invert(is_bad)) if is_bad.true_count else scored


class _Part:
    """A file of a task, opened when its first rows come and written a row group at a time."""

    def __init__(self, path: Path, layout: _Layout) -> None:
        self.path = path
        self._layout, self._schema = layout, layout.arrow
        self._pending: list[pa.RecordBatch] = []
        self._writer: pq.ParquetWriter | None = None

    def add(self, scored: pa.RecordBatch) -> None:
        """Add the columns of scored rows that belong into this file."""
        if scored.num_rows:
            columns = [scored.column(name) for name in self._layout.sources]
            self._pending.append(pa.RecordBatch.from_arrays(columns, schema=self._schema))
        if sum(batch.nbytes for batch in self._pending) >= _GROUP_BYTES:
            self._write()

    def close(self) -> bool:
        """Complete the file, and return whether there is one."""
        if self._pending:
            self._write()
        if self._writer is not None:
            self._writer.close()
        return self._writer is not None

    def _write(self) -> None:
        try:
            self._writer = self._writer or self._layout.open(self.path)
        except FileNotFoundError as error:
            raise ArtifactError(
                f"A worker does not find the folder {self.path.parent} that the driver made: expected a file system for both. "
                "Mount it on all machines, or choose an artifact_root in an object store or HDFS."
            ) from error
        self._writer.write_table(pa.Table.from_batches(self._pending))
        self._pending = []


def _settle(files: list[Path], folder: Path, layout: _Layout) -> int:
    """Move files into a new folder and return their number of rows. A file without rows stands for none."""
    folder.mkdir(parents=True)
    for file in files:
        os.replace(file, folder / file.name)
    if not files:
        layout.open(folder / "part-00000.snappy.parquet").close()
    (folder / "_SUCCESS").touch()
    return sum(pq.read_metadata(folder / file.name).num_rows for file in files)


def _sum(counts: Iterable[dict[str, int]]) -> dict[str, int]:
    total: Counter[str] = Counter()
    for count in counts:
        total.update(count)
    return total


def _remove(staging: Path) -> None:
    """Remove the folder, renamed first: a task that Spark has given up could otherwise still add files to it."""
    removed = staging.with_name(f"{staging.name}-removed")
    os.rename(staging, removed)
    # What such a task has open may stay for a while on NFS: nothing to fail for, as nobody looks there.
    shutil.rmtree(removed, ignore_errors=True)
