"""The kind of a column: as declared, else as its values in the first rows suggest."""

from __future__ import annotations

import re
from dataclasses import replace

import pyarrow as pa
import pyarrow.compute as pc

from airflow_provider_distkeras.contract.errors import DataError
from airflow_provider_distkeras.contract.files.csv_dialect import Dialect, length_of
from airflow_provider_distkeras.contract.files.csv_names import is_value
from airflow_provider_distkeras.contract.files.number_format import NUMBER_FORMATS, NumberFormat
from airflow_provider_distkeras.contract.label_columns import option_of
from airflow_provider_distkeras.contract.specs import InputSpec, PreprocessSpec
from airflow_provider_distkeras.ml.data.sources.base import Source
from airflow_provider_distkeras.ml.data.sources.csv_parser import infer_kind
from airflow_provider_distkeras.ml.data.sources.numbers import parse_numbers

#: Texts that often stand for a missing value, in lower case.
_NOTHING = frozenset(
    ("na", "n/a", "n.a.", "#n/a", "<na>", "nil", "null", "none", "missing", "unknown", "undefined", "-", "--", ".", "?", "*")
)
#: How many different texts among numbers may stand for missing values.
_FEW_TEXTS = 3
#: A number with a currency, a percent sign or separators of thousands.
_SIGNED = re.compile(r"[^\w\s]{0,2}\s?(\d{1,3}([.,' ]\d{3})*|\d+)([.,]\d+)?\s?[^\w\s]?")


def kind_of(spec: PreprocessSpec, source: Source, name: str) -> str:
    """Return the kind of a column.

    Raises:
        DataError: The column holds text, or times, and the spec does not say how to use them.
    """
    if spec.encoding_of(name) is not None or name == spec.group_col:
        return "text"
    if name in spec.timestamp_columns:
        return "timestamp"
    name_in_files = source.names_in_files[name]
    kind = spec.schema.get(name_in_files) or source.kind_of(name)
    is_array_feature = name not in spec.roles.values() and length_of(kind) is not None
    is_time_to_order_by = kind == "timestamp" and name == spec.time_col
    if kind in ("number", "boolean") or is_array_feature or is_time_to_order_by:
        return kind
    sample = source.sample(name).drop_null()
    texts = _examples(sample, kind, spec.dialect, name_in_files)
    if source.first_row.get(name_in_files) == texts[0] and begins_with_header(source):
        raise DataError(f"The column {name!r} holds text such as {texts[0]!r}; expected numbers. {fix_of_header(spec)}")
    mostly_numbers = kind == "text" and not source.typed and pc.sum(pc.is_in(sample, pa.array(texts))).as_py() < len(sample) / 2
    readings = [] if source.typed else _readings(spec.dialect, name_in_files, texts)
    raise DataError(_unusable(spec, name, name_in_files, kind, texts, readings, mostly_numbers))


def stands_for_nothing(text: str) -> bool:
    """Return whether a text often stands for a missing value."""
    return text.strip().lower() in _NOTHING


def begins_with_header(source: Source) -> bool:
    """Return whether the first row of files that are read without a header looks like one: no value, one of them above values."""
    row = source.first_row
    if not row or any(text is None or is_value(text) or stands_for_nothing(text) for text in row.values()):
        return False
    below = ({*source.sample(name).drop_null().to_pylist()} - {row[in_files]} for name, in_files in source.names_in_files.items())
    return any(values and all(map(is_value, values)) for values in below)


def fix_of_header(spec: InputSpec) -> str:
    """Return what to do about a header that is read as a row."""
    if spec.left_out is None:
        return "The first line looks like a header, and the model's training files had none: remove it."
    return "The first line looks like a header: leave header=False out, or set header=True."


def _examples(values: pa.Array, kind: str, dialect: Dialect, name_in_files: str) -> list[str]:
    """Return the different values, of text those that are no number."""
    texts: list[str] = values.unique().to_pylist()
    written = dialect.number_format(name_in_files)
    others = [text for text in texts if infer_kind(pa.array([text]), dialect, written) != "number"] if kind == "text" else []
    return others or texts or [""]


def _unusable(
    spec: PreprocessSpec, name: str, name_in_files: str, kind: str, examples: list[str], readings: list[str], mostly_numbers: bool
) -> str:
    """Return a message about a column of a kind that cannot be used without more."""
    example = examples[0]
    if kind == "timestamp" and name not in spec.roles.values():
        return (
            f"The column {name!r} holds times such as {example!r}. Add it to timestamp_columns={{{name!r}: "
            f"['month', 'weekday', 'hour']}}, or to excluded_columns=[{name_in_files!r}] to leave it out."
        )
    role = next((option_of(role).removesuffix("_col") for role, column in spec.roles.items() if column == name), None)
    of_texts = _fix_of_texts(spec, examples, readings, mostly_numbers) if kind == "text" else None
    if of_texts is not None:
        fix = of_texts
    elif role is not None and role != "label":
        fix = {"validation": "It must be true or false, or 1 or 0.", "time": "Set timestamp_formats if it holds times."}.get(
            role, "Give another column."
        )
    elif role == "label":
        fix = f"For classes, add {name!r} to categorical_columns; for a regression, the label must be numbers."
    else:
        fix = (
            f"Add it to categorical_columns=[{name!r}] to one-hot encode it, or to excluded_columns=[{name_in_files!r}] to leave "
            "it out."
        )
    return f"The {f'{role} ' if role else ''}column {name!r} holds text such as {example!r}; expected numbers. {fix}"


def _fix_of_texts(spec: PreprocessSpec, texts: list[str], readings: list[str], mostly_numbers: bool) -> str | None:
    """Return what to do about texts that are numbers with signs, or that stand for nothing; None if they are others."""
    if readings:
        return f"Set {' or '.join(readings)} to read them as numbers."
    if all(map(_SIGNED.fullmatch, texts)):
        return "Write the numbers alone: without currencies, percent signs and separators of thousands, and with a decimal point."
    if all(map(stands_for_nothing, texts)) or (mostly_numbers and len(texts) <= _FEW_TEXTS):
        return f"If they stand for missing values, set null_values={[*spec.dialect.null_values, *texts]!r}."
    return None


def _readings(dialect: Dialect, name_in_files: str, texts: list[str]) -> list[str]:
    """Return the options that read texts as numbers, as words: one per way of which each gives other numbers."""
    present = dialect.number_format(name_in_files)
    separators = {
        "decimal=','": NumberFormat(decimal=","),
        "thousands=','": NumberFormat(thousands=","),
        "decimal=',', thousands='.'": NumberFormat(decimal=",", thousands="."),
    }
    units: dict[str, NumberFormat] = {}
    for unit in NUMBER_FORMATS:
        words = f"number_formats={dict(dialect.number_formats) | {name_in_files: unit}!r}"
        units |= {words: replace(present, unit=unit), f"{words}, decimal=','": NumberFormat(unit, ",")}
    for proposals in (separators if present.is_plain else {}, units if present.unit is None else {}):
        found: dict[tuple[float, ...], str] = {}
        for words, written in proposals.items():
            numbers, refused = parse_numbers(pa.array(texts), written)
            if refused is None:
                found.setdefault(tuple(numbers.to_pylist()), words)
        if found:
            return [*found.values()]
    return []
