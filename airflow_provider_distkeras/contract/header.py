"""What the first line of a CSV file tells, before Spark starts and again in the job: files there, columns right."""

from __future__ import annotations

import bz2
import csv
import io
import zlib
from collections import Counter
from dataclasses import dataclass

from airflow_provider_distkeras.contract.errors import DataError, unknown_name
from airflow_provider_distkeras.contract.storage import Storage

#: Columns that the stages and the model add.
RESERVED = ("features", "prediction", "probability", "rawPrediction")

#: Enough for the header and the first row of any sane CSV file.
HEAD_BYTES = 256 * 1024


@dataclass(frozen=True)
class InputFiles:
    """CSV files and the columns they share.

    Attributes:
        sizes: size in bytes per file, sorted by path.
        headers: column names per file, in the file's own order.
    """

    sizes: dict[str, int]
    headers: dict[str, list[str]]

    @property
    def columns(self) -> list[str]:
        """The columns, in the order of the first file."""
        return next(iter(self.headers.values()))


@dataclass(frozen=True)
class ColumnPlan:
    """Which columns of the files are used, and as what."""

    renamed: dict[str, str]
    excluded: list[str]
    label_col: str
    categorical: list[str]

    def check(self, columns: list[str], *, needs_label: bool = True) -> list[str]:
        """The feature columns by their new names, in file order.

        Raises:
            DataError: a column is named that the files do not have, two would have one name, or the label is absent.
        """
        for what, names in (("columns_renamed", self.renamed), ("excluded_columns", self.excluded)):
            for name in names:
                if name not in columns:
                    raise DataError(f"{what}: {unknown_name('column', name, columns)}")
        kept = [self.renamed.get(name, name) for name in columns if name not in self.excluded]
        _refuse_twins(kept, "after columns_renamed")
        refuse_reserved(kept)
        if needs_label and self.label_col not in kept:
            raise DataError(
                f"The label column {self.label_col!r} is absent; the columns are {', '.join(kept)}. "
                f"Rename the one to predict, such as columns_renamed={{'cnt': {self.label_col!r}}}, or set label_col."
            )
        for name in self.categorical:
            if name not in kept:
                raise DataError(f"categorical_columns: {unknown_name('column', name, kept)}")
        features = [name for name in kept if name != self.label_col]
        if not features:
            raise DataError(f"No feature column is left of {', '.join(columns)}: exclude fewer.")
        return features


def refuse_reserved(columns: list[str]) -> None:
    """Raise DataError for a name that the model's own columns have, or that Spark ML cannot take."""
    for name in columns:
        if name in RESERVED:
            raise DataError(f"The column {name!r} has the name of a column that the model adds: rename or exclude it.")
        if "." in name or "`" in name:
            raise DataError(f"The column {name!r} has a character that Spark ML cannot take (. or `): rename or exclude it.")


def inspect(storage: Storage, patterns: list[str], delimiter: str) -> InputFiles:
    """Find the files and read their headers.

    Raises:
        DataError: nothing matches, a file is empty, there is no row at all, or the files' columns differ.
    """
    sizes: dict[str, int] = {}
    for pattern in patterns:
        found = storage.list_files(pattern)
        if not found:
            raise DataError(f"No file matches {pattern!r}. Check the path, and that every machine that reads it can reach it.")
        sizes.update(found)
    headers: dict[str, list[str]] = {}
    any_row = False
    for path in sizes:
        records = _first_records(path, storage.read_bytes(path, HEAD_BYTES), delimiter)
        if not records:
            raise DataError(f"The file {path} is empty: expected a header line and rows. Remove it or restore it.")
        header = [name.strip() for name in records[0]]
        _refuse_twins(header, f"in the header of {path}")
        headers[path] = header
        any_row = any_row or len(records) > 1
    if not any_row:
        raise DataError(f"There is no row in {', '.join(list(sizes)[:3])}: the files hold only a header.")
    _same_columns(headers)
    return InputFiles(sizes, headers)


def _first_records(path: str, head: bytes, delimiter: str) -> list[list[str]]:
    """The header and, if there is one, the first row; of a row that the head cuts off, as much as is there."""
    try:
        if path.endswith(".gz"):
            head = zlib.decompressobj(wbits=31).decompress(head)
        elif path.endswith(".bz2"):
            head = bz2.BZ2Decompressor().decompress(head)
    except (zlib.error, OSError) as error:
        raise DataError(f"The file {path} is not compressed as its name says: {error}. Rename it, or restore it.") from error
    reader = csv.reader(io.StringIO(head.decode("utf-8-sig", errors="replace"), newline=""), delimiter=delimiter)
    records: list[list[str]] = []
    for record in reader:
        if any(value.strip() for value in record):
            records.append(record)
        if len(records) == 2:
            break
    return records


def _refuse_twins(columns: list[str], where: str) -> None:
    twins = sorted(name for name, count in Counter(columns).items() if count > 1)
    if twins:
        raise DataError(f"Duplicate column {twins[0]!r} {where}: {', '.join(columns)}. Rename or exclude one of them.")
    if "" in columns:
        raise DataError(f"A column without a name {where}: {columns!r}. Give every column a name.")


def _same_columns(headers: dict[str, list[str]]) -> None:
    first, *others = headers
    for path in others:
        lacking = [name for name in headers[first] if name not in headers[path]]
        added = [name for name in headers[path] if name not in headers[first]]
        if lacking or added:
            raise DataError(
                f"The columns of {path} differ from those of {first}: lacking {lacking}, added {added}. "
                "Files read together must have the same columns (their order does not matter)."
            )
