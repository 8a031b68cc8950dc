"""The records of CSV files as blocks of Arrow: by Spark's own readers, which know every file system."""

from __future__ import annotations

import io
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import reduce

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pyspark.sql import DataFrame, SparkSession

from airflow_provider_distkeras.contract.errors import DataError
from airflow_provider_distkeras.contract.files.csv_dialect import Dialect
from airflow_provider_distkeras.contract.files.csv_header import InputFiles

_BLOCK = 4 << 20
_COMPRESSIONS = {".gz": "gzip", ".bz2": "bz2", ".zst": "zstd"}


@dataclass(frozen=True)
class CsvBlock:
    """Some records, in the files' encoding and without line breaks, and the file of each, if it was requested."""

    records: pa.Array
    files: pa.Array | None


@dataclass(frozen=True)
class CsvFeed:
    """Files with the same header, on their way into Spark's Python workers.

    Attributes:
        columns: the names in the header.
        lines: the lines up to the header's, as `InputFiles.lines` has them.
        paths: the files.
        whole: whether a file is read as a whole: its records are no lines, or only Python can decompress it.
    """

    columns: tuple[str, ...]
    lines: tuple[bytes, ...]
    paths: tuple[str, ...]
    whole: bool

    def open(self, spark: SparkSession, named: bool = False) -> DataFrame:
        """Return a DataFrame of lines, or of whole files, for `blocks`; `named` with the file of every line."""
        if self.whole:
            return spark.read.format("binaryFile").load(list(self.paths)).select("content", "path")
        return spark.read.text(list(self.paths)).select("value", *(["_metadata.file_path"] if named else []))

    def blocks(self, batches: Iterable[pa.RecordBatch], dialect: Dialect) -> Iterator[CsvBlock]:
        """Yield the records behind the headers. Runs on executors."""
        above = sum(line.endswith(b"\n") for line in self.lines)
        for batch in batches:
            if self.whole:
                for content, path in zip(batch.column(0), batch.column(1).to_pylist(), strict=True):
                    for records in _without_first(split(path, content.as_buffer(), dialect, above)):
                        yield CsvBlock(records, pa.repeat(path, len(records)))
                continue
            lines = batch.column(0).cast(pa.binary())
            rows = reduce(pc.and_, (pc.not_equal(lines, line.rstrip(b"\r\n")) for line in self.lines))
            yield CsvBlock(lines.filter(rows), batch.column(1).filter(rows) if batch.num_columns > 1 else None)


def feeds(files: InputFiles, dialect: Dialect) -> list[CsvFeed]:
    """Return the files in groups that are read alike."""
    groups: dict[tuple[tuple[str, ...], tuple[bytes, ...], bool], list[str]] = {}
    for path, columns in files.headers.items():
        whole = not dialect.by_line or path.endswith(".zst")  # which Spark cannot decompress everywhere
        groups.setdefault((tuple(columns), files.lines[path], whole), []).append(path)
    return [CsvFeed(columns, lines, tuple(paths), whole) for (columns, lines, whole), paths in groups.items()]


def split(path: str, content: pa.Buffer, dialect: Dialect, above: int = 0) -> Iterator[pa.Array]:
    """Yield the records of a whole file in blocks, in UTF-8 if its encoding is wide; a line break inside quotes ends none.

    Args:
        path: the file, whose name says how it is compressed.
        content: its bytes.
        dialect: how it is written.
        above: the lines at its beginning to leave out.

    Raises:
        DataError: the file cannot be decompressed or decoded.
    """
    quote = dialect.quote.encode() if dialect.multiline and dialect.quote else None
    rest: list[bytes] = []
    is_open = 0
    try:
        stream = io.BufferedReader(_decoded(pa.input_stream(content, compression=_compression(path)), dialect), _BLOCK)
        for _ in range(above):
            stream.readline()
        while block := stream.read(_BLOCK):
            ends, is_open = _ends(block, quote, is_open)
            if not len(ends):
                rest.append(block)
                continue
            before = b"".join(rest)
            rest = [block[ends[-1] :]]
            yield _sliced(before + block[: ends[-1]], ends + len(before))
    except (OSError, UnicodeError, pa.ArrowInvalid) as error:
        raise DataError(f"The file {path} cannot be read: {error}. Is it whole, and written in {dialect.encoding}?") from error
    last = b"".join(rest)
    if last:
        yield _sliced(last, np.array([len(last)]))


def _compression(path: str) -> str | None:
    return next((name for ending, name in _COMPRESSIONS.items() if path.endswith(ending)), None)


def _decoded(stream: pa.NativeFile, dialect: Dialect) -> pa.NativeFile:
    return pa.transcoding_input_stream(stream, dialect.encoding, "utf-8") if dialect.is_wide else stream


def _ends(block: bytes, quote: bytes | None, is_open: int) -> tuple[np.ndarray, int]:
    """Return the ends of the block's records, behind their line breaks, and whether a quote is open after it."""
    values = np.frombuffer(block, np.uint8)
    breaks = np.flatnonzero(values == ord("\n"))
    if quote is not None:
        quotes = np.flatnonzero(values == quote[0])
        breaks = breaks[(is_open + np.searchsorted(quotes, breaks)) % 2 == 0]
        is_open = (is_open + len(quotes)) % 2
    return breaks + 1, is_open


def _sliced(content: bytes, ends: Sequence[int] | np.ndarray) -> pa.Array:
    """Return the records between these ends, without their line breaks."""
    offsets = pa.py_buffer(np.concatenate([[0], ends]).astype(np.int32))
    records = pa.StringArray.from_buffers(len(ends), offsets, pa.py_buffer(content))
    return pc.ascii_rtrim(records, "\r\n").cast(pa.binary())


def _without_first(blocks: Iterator[pa.Array]) -> Iterator[pa.Array]:
    """Yield all records but the first."""
    for first in blocks:
        yield first[1:]
        break
    yield from blocks
