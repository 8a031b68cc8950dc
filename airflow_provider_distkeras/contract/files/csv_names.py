"""Whether the first line of CSV files names their columns, or is a row: names that look like values."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence

from airflow_provider_distkeras.contract.errors import DataError
from airflow_provider_distkeras.contract.files.csv_dialect import DECIMAL

#: What to do about a first line that may be no header.
WITHOUT_HEADER = (
    "If the file has no header, set header=False: its columns are then named '0', '1' and so on. If these are names, set "
    "header=True."
)
_WITHOUT_NAMES = (
    "If the file has no header, give it that of the training files, by whose names the model takes the columns. If these are "
    "names, set header=True."
)
#: A name that is rather a value: a number, a date, a time, an amount of money or in percent, true or false.
_VALUE = re.compile(
    rf"[+-]?{DECIMAL}|\d{{1,4}}[-/.]\d{{1,2}}[-/.]\d{{1,4}}([ T].*)?|\d{{1,2}}:\d\d(:\d\d.*)?"
    r"|[+-]?[$€£¥]\s?\d[\d.,' ]*|[+-]?\d[\d.,' ]*[%$€£¥]|(?i:true|false)"
)


def is_value(name: str) -> bool:
    """Return whether a text is rather a value than a name."""
    return _VALUE.fullmatch(name) is not None


def refuse_values(headers: Mapping[str, Sequence[str]], left_out: Collection[str] | None) -> None:
    """Raise DataError if a first line, which was taken for the header, looks like a row.

    Args:
        headers: the names per file.
        left_out: as for `csv_header.inspect`. Where the model alone knows it, a line is refused that has no name at all: the
            others are, if they lack one that the model takes.
    """
    values = {
        path: [name for name in names if name not in (left_out or ()) and is_value(name)] for path, names in headers.items()
    }
    rows = [path for path in headers if values[path] and (left_out is not None or len(values[path]) == len(headers[path]))]
    if not rows:
        return
    what = f"The header of {rows[0]} looks like values, such as {values[rows[0]][0]!r}"
    named = [path for path in headers if not values[path]]
    if named:
        raise DataError(
            f"{what}, and that of {named[0]} does not: files that are read together must all begin with a header, or none of "
            "them. Give each its header. If these are names, set header=True."
        )
    raise DataError(f"{what}. {_WITHOUT_NAMES if left_out is None else WITHOUT_HEADER}")
