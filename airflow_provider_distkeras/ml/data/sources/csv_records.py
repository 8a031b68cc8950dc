"""The records of CSV files as blocks of Arrow: by Spark's own readers, which know every file system."""

from __future__ import annotations

import io
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from urllib.parse import unquote

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pyspark.sql import DataFrame, SparkSession

from airflow_provider_distkeras.contract.errors import DataError
from airflow_provider_distkeras.contract.files.csv_dialect import Dialect
from airflow_provider_distkeras.contract.files.csv_header import MARK, InputFiles, fields_of, may_be_rows
from airflow_provider_distkeras.spark.storage import literal

_BLOCK = 4 << 20
_COMPRESSIONS = {".gz": "gzip", ".bz2": "bz2", ".zst": "zstd"}


@dataclass(frozen=True)
class CsvBlock:
    """Some records, in the files' encoding and without line breaks.

    Attributes:
        records: the records.
        files: the file of each, if it was requested.
        headers: how many headers were left out among them, see `CsvFeed.own_headers`.
    """

    records: pa.Array
    files: pa.Array | None
    headers: int


@dataclass(frozen=True)
class CsvFeed:
    """Files with the same header, on their way into Spark's Python workers.

    Attributes:
        columns: the names in the header.
        above: the lines above the header, or the first row, as `InputFiles.above` has them.
        header: the header's line; None of files without one.
        paths: the files.
        whole: whether a file is read as a whole: its records are no lines, only Python can decompress it, or what precedes or
            follows them is known by its place alone.
    """

    columns: tuple[str, ...]
    above: tuple[bytes, ...]
    header: bytes | None
    paths: tuple[str, ...]
    whole: bool

    @property
    def own_headers(self) -> int:
        """How many of the headers that all blocks count head a file; the others are repeated."""
        return len(self.paths) if self.header is not None and not self.whole else 0

    def open(self, spark: SparkSession, named: bool = False) -> DataFrame:
        """Return a DataFrame of lines, or of whole files, for `blocks`; `named` with the file of every line."""
        paths = [literal(path) for path in self.paths]
        if self.whole:
            return spark.read.format("binaryFile").load(paths).select("content", "path")
        return spark.read.text(paths).select("value", *(["_metadata.file_path"] if named else []))

    def blocks(self, batches: Iterable[pa.RecordBatch], dialect: Dialect) -> Iterator[CsvBlock]:
        """Yield the records behind the headers, and behind each that is repeated. Runs on executors."""
        size = sum(map(len, self.above))
        above = [line.rstrip(b"\r\n") for line in (*self.above, *(MARK + line for line in self.above[:1]))]
        for batch in batches:
            if self.whole:
                for content, path in zip(batch.column(0), batch.column(1).to_pylist(), strict=True):
                    parts = _without_first(self.header is not None, split(path, content.as_buffer(), dialect, size))
                    for records in _without_last(dialect.skip_footer, parts):
                        headers = self._are_headers(records, dialect)
                        kept = records.filter(_are_records(records, headers, (), dialect))
                        yield CsvBlock(kept, pa.repeat(path, len(kept)), headers.true_count)
                continue
            lines = batch.column(0).cast(pa.binary())
            headers = self._are_headers(lines, dialect)
            kept = _are_records(lines, headers, above, dialect)
            files = _decoded_names(batch.column(1).filter(kept)) if batch.num_columns > 1 else None
            yield CsvBlock(lines.filter(kept), files, headers.true_count)

    def _are_headers(self, lines: pa.Array, dialect: Dialect) -> pa.Array:
        """Return which lines name the columns, however they are quoted and spaced."""
        if self.header is None:
            return pa.repeat(False, len(lines))
        encoding = "utf-8" if dialect.is_wide else dialect.encoding
        first, last = (name.encode(encoding) for name in (self.columns[0], self.columns[-1]))
        # Most lines are seen to be others by their ends.
        trimmed = pc.ascii_trim(lines.view(pa.string()), f" {dialect.quote or ''}").view(pa.binary())
        begins = pc.or_(pc.starts_with(trimmed, first), pc.starts_with(trimmed, MARK))
        likely = pc.and_(begins, pc.ends_with(trimmed, last))
        texts = [line.removeprefix(MARK).decode(encoding, "replace") for line in lines.filter(likely).to_pylist()]
        same = [record == list(self.columns) for record in fields_of(texts, dialect)]
        likely = pc.replace_with_mask(likely, likely, pa.array(same, pa.bool_()))
        return pc.or_(likely, pc.equal(lines, self.header.rstrip(b"\r\n")))


def _are_records(lines: pa.Array, headers: pa.Array, above: Sequence[bytes], dialect: Dialect) -> pa.Array:
    """Return which lines are neither headers nor the same as one above them, nor comments."""
    others = headers
    if above:
        others = pc.or_(others, pc.is_in(lines, pa.array(above, pa.binary())))
    if dialect.comment is not None:
        trimmed = pc.ascii_ltrim_whitespace(lines.view(pa.string())).view(pa.binary())
        others = pc.or_(others, pc.starts_with(trimmed, dialect.comment))
    return pc.invert(others)


def _decoded_names(names: pa.Array) -> pa.Array:
    """Return the names of files, which Spark's metadata have as encoded URIs."""
    encoded = names.dictionary_encode()
    return pa.array([unquote(name) for name in encoded.dictionary.to_pylist()], pa.string()).take(encoded.indices)


def feeds(files: InputFiles, dialect: Dialect) -> list[CsvFeed]:
    """Return the files in groups that are read alike."""
    groups: dict[tuple[tuple[str, ...], tuple[bytes, ...], bytes | None, bool], list[str]] = {}
    for path, columns in files.headers.items():
        above = files.above[path]
        whole = (
            not dialect.by_line
            or path.endswith(".zst")  # which Spark cannot decompress everywhere
            or dialect.skip_footer > 0
            or may_be_rows(above, len(columns), dialect)
        )
        groups.setdefault((tuple(columns), above, files.header_lines.get(path), whole), []).append(path)
    return [CsvFeed(columns, above, header, tuple(paths), whole) for (columns, above, header, whole), paths in groups.items()]


def split(path: str, content: pa.Buffer, dialect: Dialect, above: int = 0) -> Iterator[pa.Array]:
    """Yield the records of a whole file in blocks, in UTF-8 if its encoding is wide; a line break inside quotes ends none.

    Args:
        path: the file, whose name says how it is compressed.
        content: its bytes.
        dialect: how it is written.
        above: the bytes at its beginning to leave out, beside a byte order mark.

    Raises:
        DataError: the file cannot be decompressed or decoded.
    """
    quote = dialect.quote.encode() if dialect.multiline and dialect.quote else None
    escape = dialect.escape.encode() if dialect.escape else None
    rest: list[bytes] = []
    is_open = 0
    try:
        stream = io.BufferedReader(_decoded(pa.input_stream(content, compression=_compression(path)), dialect), _BLOCK)
        stream.read(above + (len(MARK) if stream.peek(len(MARK)).startswith(MARK) else 0))
        while block := stream.read(_BLOCK):
            block += stream.read(1) if block.endswith(b"\r") else b""  # perhaps half a line break
            ends, is_open = _ends(block, quote, escape, is_open)
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


def _ends(block: bytes, quote: bytes | None, escape: bytes | None, is_open: int) -> tuple[np.ndarray, int]:
    """Return the ends of the block's records, behind their line breaks, and whether a quote is open after it."""
    values = np.frombuffer(block, np.uint8)
    # CR alone ends a line, too; of CR and LF, the second does.
    breaks = np.flatnonzero((values == ord("\n")) | ((values == ord("\r")) & (np.append(values[1:], 0) != ord("\n"))))
    if quote is not None:
        quotes = np.flatnonzero(values == quote[0])
        if escape is not None:
            quotes = quotes[~_escaped(values == escape[0], quotes)]
        breaks = breaks[(is_open + np.searchsorted(quotes, breaks)) % 2 == 0]
        is_open = (is_open + len(quotes)) % 2
    return breaks + 1, is_open


def _escaped(escapes: np.ndarray, positions: np.ndarray) -> np.ndarray:
    """Return which positions have an odd number of escapes right before them."""
    places = np.arange(len(escapes))
    last_other = np.maximum.accumulate(np.where(escapes, -1, places))
    before = np.maximum(positions - 1, 0)
    return (positions > 0) & ((before - last_other[before]) % 2 == 1)


def _sliced(content: bytes, ends: Sequence[int] | np.ndarray) -> pa.Array:
    """Return the records between these ends, without their line breaks."""
    offsets = pa.py_buffer(np.concatenate([[0], ends]).astype(np.int32))
    records = pa.StringArray.from_buffers(len(ends), offsets, pa.py_buffer(content))
    return pc.ascii_rtrim(records, "\r\n").cast(pa.binary())


def _without_first(has_header: bool, blocks: Iterator[pa.Array]) -> Iterator[pa.Array]:
    """Yield all records but the header."""
    for block in blocks:
        yield block[int(has_header) :]
        has_header = False


def _without_last(count: int, blocks: Iterator[pa.Array]) -> Iterator[pa.Array]:
    """Yield all records but so many at the end, not counting empty ones."""
    if not count:
        yield from blocks
        return
    pending = pa.array([], pa.binary())
    for block in blocks:
        pending = pa.concat_arrays([pending, block.filter(pc.greater(pc.binary_length(block), 0))])
        yield pending[: max(len(pending) - count, 0)]
        pending = pending[max(len(pending) - count, 0) :]
