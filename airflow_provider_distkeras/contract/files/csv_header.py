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
from collections.abc import Callable, Collection, Iterator, Sequence
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
        above: the lines per file above its header, or above the first row of files without one, as they are written (in UTF-8
            if the encoding is wide), with their line breaks.
        header_lines: the header per file, written so, without its line break; none of files without a header.
        samples: the rows at the beginning of some files: lists of fields as long as the header, none of them cut off.
    """

    sizes: dict[str, int]
    columns: list[str] = field(default_factory=list)
    headers: dict[str, list[str]] = field(default_factory=dict)
    above: dict[str, tuple[bytes, ...]] = field(default_factory=dict)
    header_lines: dict[str, bytes] = field(default_factory=dict)
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
        any_row = _add(files, path, _head(storage, path, dialect, unzstd), dialect) or any_row
    if dialect.header is not False:
        _check_headers(files, dialect, left_out)
    if not any_row:
        hint = "" if dialect.encoding == "utf-8" else f" Are they written in {dialect.encoding}?"
        raise DataError(f"There is no row in {', '.join(list(files.sizes)[:3])}: the files hold only a header.{hint}")
    return replace(files, columns=_shared_columns(files.headers, left_out))


@dataclass(frozen=True)
class _Head:
    """The beginning of a file.

    Attributes:
        content: it, decompressed.
        above: the lines above the first record.
        first_line: the first line of the first record.
        records: the whole records in it.
    """

    content: bytes
    above: tuple[bytes, ...]
    first_line: bytes
    records: list[list[str]]


def _add(files: InputFiles, path: str, head: _Head, dialect: Dialect) -> bool:
    """Add what is seen of a file, and return whether there is a row. Raise DataError if it is no CSV file."""
    if not head.records:
        empty = "is empty"
        if dialect.skip_lines:
            empty += f", or holds nothing but the first {dialect.skip_lines} lines, which skip_lines leaves out"
        raise DataError(f"The file {path} {empty}: expected a header line and rows. Remove it or restore it.")
    first, has_header = _stripped(head.records[0]), dialect.header is not False
    _check_text(path, first, head.content, dialect)
    header, rows = (first, head.records[1:]) if has_header else ([str(number) for number in range(len(first))], head.records)
    if has_header:
        files.header_lines[path] = head.first_line
        _check_preamble(path, head.records, head.above)
    files.headers[path], files.above[path] = header, head.above
    if len(files.samples) < _SAMPLED_FILES:  # joined files repeat their header
        files.samples[path] = [row for row in rows if len(row) == len(header) and not (has_header and _stripped(row) == first)]
    return bool(rows)


def _head(storage: Storage, path: str, dialect: Dialect, unzstd: Decompress | None) -> _Head:
    """Return the beginning of a file that holds its first record and, if there is one, another."""
    limit = HEAD_BYTES
    while True:
        content = storage.read_bytes(path, limit)
        head = _decompressed(path, content, limit, unzstd)
        whole = len(content) < limit and len(head) < limit
        text = _text(head, dialect)
        lines = list(io.StringIO(text, newline=""))
        above = _lines_above(lines, dialect)
        records = _parsed([line for line in lines[above:] if not _is_comment(line, dialect)], dialect)
        # The last one may have been cut off.
        records = records[: max(len(records) - (dialect.skip_footer if whole else 1), 0)]
        if len(records) > 1 or whole or limit >= _MOST_BYTES:
            as_read = text.encode() if dialect.is_wide else head.removeprefix(MARK)
            written = as_read.splitlines(keepends=True)
            first_line = b"".join(written[above : above + 1]).rstrip(b"\r\n")
            return _Head(head, tuple(written[:above]), first_line, records)
        limit *= 4


def _lines_above(lines: list[str], dialect: Dialect) -> int:
    """Return how many lines precede the header, or the first row.

    These are the lines to skip, and comments and lines of separators, quotes and spaces behind them.
    """
    nothing = f"{dialect.delimiter}{dialect.quote or ''}{string.whitespace}" if dialect.header is not False else "\r\n"
    for position, line in enumerate(lines[dialect.skip_lines :], dialect.skip_lines):
        if line.strip(nothing) and not _is_comment(line, dialect):
            return position
    return len(lines)


def _is_comment(line: str, dialect: Dialect) -> bool:
    return dialect.comment is not None and line.lstrip().startswith(dialect.comment)


def may_be_rows(above: Sequence[bytes], fields: int, dialect: Dialect) -> bool:
    """Return whether a line above the first record may be the same as a row: it has as many fields."""
    texts = [_text(line, dialect) for line in above[: dialect.skip_lines]]
    return any(len(record) == fields for record in fields_of(texts, dialect))


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


def _check_preamble(path: str, records: Sequence[Sequence[str]], above: Sequence[bytes]) -> None:
    """Raise DataError if the lines below the header agree on more fields than it has, from some line on: it is a preamble."""
    usual = Counter(map(len, records[1:])).most_common(1)[0][0] if len(records) > 1 else 0
    start = next((position for position, record in enumerate(records) if len(record) == usual), 0)
    if usual > len(records[0]) and start > 1 and all(len(record) == usual for record in records[start:]):
        raise DataError(
            f"The header of {path}, {list(records[0])!r}, has {len(records[0])} fields, and lines further down have {usual}, the "
            f"first of them {list(records[start])[:3]!r} and so on. If that one names the columns, set skip_lines to how many "
            f"lines precede it: {len(above) + start} without empty ones."
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
        if dialect.by_line and len(_parsed([_text(files.header_lines[path], dialect)], dialect)[0]) != len(header):
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
