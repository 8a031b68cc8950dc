"""The first lines of CSV files: which columns they have, checked before Spark starts and again in the job."""

from __future__ import annotations

import bz2
import codecs
import contextlib
import csv
import io
import re
import string
import zlib
from collections import Counter
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass, field, replace
from typing import Any

from airflow_provider_distkeras.contract.errors import DataError
from airflow_provider_distkeras.contract.files.csv_dialect import Dialect
from airflow_provider_distkeras.contract.files.csv_names import is_value, refuse_values
from airflow_provider_distkeras.contract.files.listing import find
from airflow_provider_distkeras.contract.files.storage import Storage

#: The columns that the pipeline and the model add.
RESERVED = ("features", "prediction", "probability", "rawPrediction")

#: Enough for the header and some rows of any sane CSV file; of others more is read, up to a limit.
HEAD_BYTES = 256 * 1024
_MOST_BYTES = 64 * 1024 * 1024
#: The number of files whose first rows are a sample of what columns hold.
_SAMPLED_FILES = 20
#: The byte order mark of UTF-8.
MARK = b"\xef\xbb\xbf"
#: How files begin that are no text, and what to do about them.
_NO_TEXT = {
    b"\x1f\x8b": "is compressed by gzip: give it a name that ends with .gz",
    b"BZh": "is compressed by bzip2: give it a name that ends with .bz2",
    b"\x28\xb5\x2f\xfd": "is compressed by zstd: give it a name that ends with .zst",
    b"\xfd7zXZ": "is compressed by xz: unpack it, or compress it by gzip, bzip2 or zstd",
    b"PK\x03\x04": "is a zip archive, or a spreadsheet: unpack it, or save it as CSV",
    b"PAR1": "is a Parquet file: expected CSV",
}
_DELIMITERS = ",;\t|"
#: What MySQL and Hive write for a missing value.
_NULL = re.compile(r"(?<!\\)\\N(?!\w)")

#: Takes the beginning of a compressed file and the number of bytes that are of use; raises OSError for what is not compressed.
Decompress = Callable[[bytes, int], bytes]


@dataclass(frozen=True)
class InputFiles:
    """Input files and, of CSV files, the columns they share.

    Attributes:
        sizes: size in bytes per file, sorted by path.
        columns: the columns to read from, in the order of the first file.
        headers: column names per file, in the file's own order.
        lines: the lines per file up to the header's, as they are written (in UTF-8 if the encoding is wide); all but the header's
            with their line breaks; none of files without a header.
        samples: the rows at the beginning of some files: lists of fields as long as the header, none of them cut off.
    """

    sizes: dict[str, int]
    columns: list[str] = field(default_factory=list)
    headers: dict[str, list[str]] = field(default_factory=dict)
    lines: dict[str, tuple[bytes, ...]] = field(default_factory=dict)
    samples: dict[str, list[list[str]]] = field(default_factory=dict)


def refuse_reserved(columns: list[str]) -> None:
    """Raise DataError for a name that the model's own columns have, or that Spark ML cannot take."""
    for name in columns:
        if is_reserved(name):
            raise DataError(f"The column {name!r} has the name of a column that the model adds: rename or exclude it.")
        if "." in name or "`" in name or name == "*":
            raise DataError(f"The column {name!r} has a character that Spark ML cannot take (. ` or *): rename or exclude it.")


def is_reserved(name: str) -> bool:
    """Return whether it is the name, in any case, of a column that the model adds."""
    return name.lower() in map(str.lower, RESERVED)


def inspect(
    storage: Storage,
    patterns: list[str],
    dialect: Dialect,
    unzstd: Decompress | None = None,
    left_out: Collection[str] | None = (),
) -> InputFiles:
    """Find the files and read their headers and first rows.

    Args:
        storage: the file system of the files.
        patterns: paths, globs or directories.
        dialect: how the files are written.
        unzstd: decompresses the beginning of a .zst file, which the standard library cannot do; without it, such files get no
            header.
        left_out: columns that are not used, so that their names may be empty or the same and some files may lack them; None if
            that is not known yet: all columns that have such names are left out.

    Raises:
        DataError: nothing matches, a file is empty, there is no row at all, or the files' columns differ.
    """
    files = InputFiles(find(storage, patterns, partitions=False))
    readable = [path for path in files.sizes if unzstd is not None or not path.endswith(".zst")]
    any_row = len(readable) < len(files.sizes)
    for path in readable:
        head, lines, records = _head(storage, path, dialect, unzstd)
        if not records:
            raise DataError(f"The file {path} is empty: expected a header line and rows. Remove it or restore it.")
        first = _stripped(records[0])
        _check_text(path, first, head, dialect)
        if dialect.header is False:
            header, lines, rows = [str(number) for number in range(len(first))], (), records
        else:
            header, rows = first, records[1:]
        files.headers[path], files.lines[path] = header, lines
        any_row = any_row or bool(rows)
        if len(files.samples) < _SAMPLED_FILES:  # joined files repeat their header
            files.samples[path] = [row for row in rows if len(row) == len(header) and (_stripped(row) != first or not lines)]
    if dialect.header is not False:
        _check_headers(files, dialect, left_out)
    if not any_row:
        hint = "" if dialect.encoding == "utf-8" else f" Are they written in {dialect.encoding}?"
        raise DataError(f"There is no row in {', '.join(list(files.sizes)[:3])}: the files hold only a header.{hint}")
    return replace(files, columns=_shared_columns(files.headers, left_out))


def _head(
    storage: Storage, path: str, dialect: Dialect, unzstd: Decompress | None
) -> tuple[bytes, tuple[bytes, ...], list[list[str]]]:
    """Return the beginning of a file, decompressed, its lines up to the header's, and the header and, if there is one, a row."""
    limit = HEAD_BYTES
    while True:
        content = storage.read_bytes(path, limit)
        head = _decompressed(path, content, limit, unzstd)
        whole = len(content) < limit and len(head) < limit
        text = _text(head, dialect)
        lines = list(io.StringIO(text, newline=""))
        above = 0 if dialect.header is False else _lines_above_header(lines, dialect)
        records = _parsed(lines[above:], dialect)
        if not whole:
            records = records[:-1]  # it may have been cut off
        if len(records) > 1 or whole or limit >= _MOST_BYTES:
            as_read = text.encode() if dialect.is_wide else head.removeprefix(MARK)
            first = b"".join(as_read.splitlines(keepends=True)[: above + 1]).rstrip(b"\r\n")
            return head, tuple(first.splitlines(keepends=True)), records
        limit *= 4


def _lines_above_header(lines: list[str], dialect: Dialect) -> int:
    """Return how many lines precede the header, the first line that holds more than separators, quotes and spaces."""
    nothing = f"{dialect.delimiter}{dialect.quote or ''}{string.whitespace}"
    return next((position for position, line in enumerate(lines) if line.strip(nothing)), len(lines))


def _check_text(path: str, first: list[str], head: bytes, dialect: Dialect) -> None:
    """Raise DataError for a file that is no text, or whose first record shows that it is written in another dialect."""
    for start, what in _NO_TEXT.items():
        if head.startswith(start):
            raise DataError(f"The file {path} {what}.")
    if head.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)) and not dialect.is_wide:
        raise DataError(f"The file {path} begins as UTF-16 does: set encoding='utf-16', not {dialect.encoding!r}.")
    if "\0" in "".join(first):
        raise DataError(
            f"The header of {path} holds NUL: this is no text in {dialect.encoding}. Set encoding, or restore the file."
        )
    if "\ufffd" in "".join(first):
        raise DataError(f"The header of {path} is no text in {dialect.encoding}. Set encoding, or restore the file.")
    others = [each for each in _DELIMITERS if each != dialect.delimiter and each in first[0]]
    if dialect.header is None and sum(map(is_value, first[0].split())) > 1:  # a name may hold a number, and spaces
        others.append(" ")
    if len(first) == 1 and others:
        raise DataError(
            f"The header of {path} is one field, {first[0][:200]!r}: expected fields that {dialect.delimiter!r} sets apart. "
            f"Set delimiter={others[0]!r}."
        )


def _check_headers(files: InputFiles, dialect: Dialect, left_out: Collection[str] | None) -> None:
    """Raise DataError for a header that cannot be right."""
    if dialect.header is None:
        refuse_values(files.headers, left_out)
    for path, header in files.headers.items():
        if left_out is not None:
            no_header = " If the file has no header, set header=False." if dialect.header is None else ""
            fix = f"Rename one in the file, or leave it out by excluded_columns.{no_header}"
            refuse_twins([name for name in header if name not in left_out], f"in the header of {path}", fix)
        if dialect.by_line and len(_parsed([_text(files.lines[path][-1], dialect)], dialect)[0]) != len(header):
            raise DataError(
                f"The header of {path} holds a line break inside quotes. Set multiline=True, or write it on one line."
            )


def _decompressed(path: str, head: bytes, limit: int, unzstd: Decompress | None) -> bytes:
    """Return the beginning of a file, decompressed if the file's name ends so."""
    try:
        if path.endswith(".gz"):
            return _members(head, limit, lambda: zlib.decompressobj(wbits=31))
        if path.endswith(".bz2"):
            return _members(head, limit, bz2.BZ2Decompressor)
        if path.endswith(".zst") and unzstd is not None:
            return unzstd(head, limit)
    except (zlib.error, OSError) as error:
        raise DataError(f"The file {path} is not compressed as its name says: {error}. Rename it, or restore it.") from error
    return head


def _members(content: bytes, limit: int, new: Callable[[], Any]) -> bytes:
    """Return the beginning of what the members of a compressed file hold, one behind the other."""
    head = b""
    while content and len(head) < limit:
        member = new()
        head += member.decompress(content, limit - len(head))
        if not member.eof:
            break
        content = member.unused_data
    return head


def fields_of(lines: list[str], dialect: Dialect) -> list[list[str]]:
    """Return the fields of lines that are a record each, without the spaces around them."""
    return [[field for record in _parsed([line], dialect) for field in _stripped(record)] for line in lines]


def _stripped(record: list[str]) -> list[str]:
    return [field.strip() for field in record]


def _parsed(lines: list[str], dialect: Dialect) -> list[list[str]]:
    """Return the records in lines, without empty ones."""
    if dialect.escape == "\\":  # \N is a missing value, not an escaped letter
        lines = [_NULL.sub(r"\\\\N", line) for line in lines]
    if dialect.quote:
        reader = csv.reader(
            lines, delimiter=dialect.delimiter, quotechar=dialect.quote, escapechar=dialect.escape, skipinitialspace=True
        )
    else:
        reader = csv.reader(lines, delimiter=dialect.delimiter, quoting=csv.QUOTE_NONE)
    records: list[list[str]] = []
    with _fields_of_any_length(), contextlib.suppress(csv.Error):  # what comes before what cannot be parsed will do
        records += filter(None, reader)
    return records


@contextlib.contextmanager
def _fields_of_any_length() -> Iterator[None]:
    before = csv.field_size_limit(_MOST_BYTES)
    try:
        yield
    finally:
        csv.field_size_limit(before)


def _text(content: bytes, dialect: Dialect) -> str:
    return content.removeprefix(MARK).decode(dialect.encoding, errors="replace").lstrip("\ufeff")


def refuse_twins(columns: list[str], where: str, fix: str = "Rename one of them in the file.") -> None:
    """Raise DataError for two columns of the same name, in any case, or one without a name."""
    twins = sorted(name for name, count in Counter(map(str.lower, columns)).items() if count > 1)
    if twins:
        same = [name for name in columns if name.lower() == twins[0]]
        case = f": {' and '.join(map(repr, same))} differ only in case, and Spark looks past case" if len(set(same)) > 1 else ""
        raise DataError(f"Duplicate column {same[0]!r} {where}{case}. {fix}")
    if "" in columns:
        raise DataError(f"A column without a name {where}: {columns!r}. Give it a name, or set excluded_columns=[''].")


def _shared_columns(headers: dict[str, list[str]], left_out: Collection[str] | None) -> list[str]:
    """Return the columns of the files. Raise DataError if they differ in one that is not left out."""
    first = next(iter(headers), "")
    columns = list(dict.fromkeys(name for header in headers.values() for name in header))
    for path, header in headers.items():
        lacking, added = (
            [name for name in names if name not in others and name not in (left_out or ())]
            for names, others in ((headers[first], header), (header, headers[first]))
        )
        if lacking or added:
            raise DataError(
                f"The columns of {path} differ from those of {first}: lacking {lacking}, added {added}. Files read together must "
                "have the same columns (their order does not matter); leave those that differ out by excluded_columns."
            )
    if left_out is not None:
        return columns
    odd = {
        name for header in headers.values() for name, count in Counter(map(str.lower, header)).items() if count > 1 or not name
    }
    return [name for name in columns if name.lower() not in odd]
