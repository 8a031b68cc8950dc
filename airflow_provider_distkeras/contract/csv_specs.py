"""What jobs are told that read files."""

from __future__ import annotations

import codecs
from collections.abc import Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any, ClassVar

from airflow_provider_distkeras.contract import vocabulary
from airflow_provider_distkeras.contract.dialect import KINDS, Dialect, length_of
from airflow_provider_distkeras.contract.errors import SpecError
from airflow_provider_distkeras.contract.fields import boolean, choice, integer, list_of, mapping_of, number, optional, text
from airflow_provider_distkeras.contract.spec import Spec, spec_field


def _paths(name: str, value: Any) -> list[str]:
    return list_of(text, minimum=1)(name, [value] if isinstance(value, str) else value)


def _share(name: str, value: Any) -> float:
    share: float = number(0.0)(name, value)
    if share > 1:
        raise SpecError(f"{name}: expected a share from 0 to 1, received {value!r}.")
    return share


def _character(name: str, value: Any) -> str:
    if not isinstance(value, str) or len(value) != 1 or not value.isascii() or value in "\r\n\0\x1a":
        raise SpecError(f"{name}: expected one ASCII character, no line break, 0x00 or 0x1a, received {value!r}.")
    return value


def _quote(name: str, value: Any) -> str:
    return "" if value == "" else _character(name, value)


def _encoding(name: str, value: Any) -> str:
    try:
        line_end = "\n".encode(text(name, value))
    except (LookupError, UnicodeError) as error:
        raise SpecError(f"{name}: expected the name of an encoding, such as utf-8 or cp1252, received {value!r}.") from error
    if len(line_end) == 1 and line_end != b"\n":
        raise SpecError(f"{name}: {value!r} ends lines by another byte than ASCII does: convert the files to UTF-8 first.")
    return codecs.lookup(value).name.removesuffix("-sig")


_policy = choice("policy", vocabulary.MISSING)


def _kind(name: str, value: Any) -> str:
    return value if isinstance(value, str) and length_of(value) else choice("kind", (*KINDS, "array[8]"))(name, value)


def _missing(name: str, value: Any) -> str | dict[str, Any]:
    if not isinstance(value, (str, Mapping)):
        policies = ", ".join(vocabulary.MISSING)
        raise SpecError(f"{name}: expected a policy ({policies}), or a dict of them by column, received {value!r}.")
    return _policy(name, value) if isinstance(value, str) else mapping_of(_missing_one)(name, value)


def _missing_one(name: str, value: Any) -> str | float:
    """A policy, or what to fill in: which of them a column takes is checked once all is known."""
    return text(name, value) if isinstance(value, str) else number()(name, value)


def _earlier(name: str, value: Any) -> str | None:
    """A path; empty where a template found none, as a first run does."""
    return "" if value in ("", "None") else optional(text)(name, value)


@dataclass(frozen=True, kw_only=True)
class CsvSpec(Spec):
    """Base of those that read CSV files."""

    input_path: list[str] = spec_field(_paths, "CSV files: a path, a glob, a directory, or a list of them.")
    delimiter: str = spec_field(_character, "What separates the fields of a line.", ",")
    quote: str = spec_field(_quote, "What surrounds a field with delimiters, doubled inside; empty where nothing does.", '"')
    encoding: str = spec_field(_encoding, "The files' encoding, by Python's name.", "utf-8")
    null_values: list[str] = spec_field(list_of(text), "Texts that stand for a missing value, beside an empty field.", [])
    multiline: bool = spec_field(boolean, "Whether quoted fields hold line breaks; a file is then read by one task.", False)
    timestamp_formats: list[str] = spec_field(list_of(text), "How times are written beside ISO 8601, as for strptime.", [])
    bad_lines: str = spec_field(
        choice("policy", vocabulary.BAD_LINES), "Lines that do not fit: fail, quarantine or drop.", "fail"
    )
    max_bad_lines: float = spec_field(number(0.0, 1.0), "The share of such lines above which the task fails anyway.", 0.01)

    @property
    def dialect(self) -> Dialect:
        """How the files are written."""
        quote, nulls, formats = self.quote or None, tuple(self.null_values), tuple(self.timestamp_formats)
        return Dialect(self.delimiter, quote, self.encoding, nulls, self.multiline, formats)

    def check_whole(self) -> None:
        """Delimiter and quote must differ."""
        if self.delimiter == self.quote:
            raise SpecError(f"quote: expected another character than the delimiter, received {self.quote!r} for both.")


@dataclass(frozen=True, kw_only=True)
class PreprocessSpec(CsvSpec):
    """CSV files to a prepared dataset and the fitted pipeline that prepared it."""

    kind: ClassVar[str] = "preprocess"

    schema: dict[str, str] = spec_field(
        mapping_of(_kind), "What columns hold, by their name in the files; else their first rows tell.", {}
    )
    columns_renamed: dict[str, str] = spec_field(mapping_of(text), "New name per column of the files.", {})
    excluded_columns: list[str] = spec_field(list_of(text), "Columns to leave out, by their name in the files.", [])
    label_col: str = spec_field(text, "The column to predict, by its new name.", "label")
    weight_col: str | None = spec_field(optional(text), "How much a row counts in training, by its new name.", None)
    fold_col: str | None = spec_field(optional(text), "The number, from 0, of the fold a row is held out in.", None)
    validation_col: str | None = spec_field(optional(text), "Rows to validate on, and not to train on, by its new name.", None)
    group_col: str | None = spec_field(optional(text), "Rows of one value stay in one fold, by its new name.", None)
    time_col: str | None = spec_field(
        optional(text), "A time or a number to order rows by, so that folds train on what came before.", None
    )
    categorical_columns: list[str] = spec_field(
        list_of(text), "Columns to one-hot encode, by their new names; the label is indexed.", []
    )
    max_categories: int = spec_field(
        integer(1), "Columns with more categories are hashed into this many features, instead of a feature for each.", 256
    )
    unseen_categories: str = spec_field(
        choice("policy", vocabulary.UNSEEN), "New categories in scoring: ignore (none of the known) or quarantine.", "ignore"
    )
    timestamp_columns: dict[str, list[str]] = spec_field(
        mapping_of(list_of(choice("calendar part", vocabulary.CALENDAR_PARTS), minimum=1)),
        "What to take from columns of times, by their new names, such as month, weekday and hour.",
        {},
    )
    cyclic_timestamps: bool = spec_field(boolean, "Whether these are sines and cosines, so that 23 h is near 0 h.", False)
    missing: str | dict[str, Any] = spec_field(
        _missing, "Missing values: fail, mean, median, indicator or drop; or per column one of these or a value.", "fail"
    )
    scaling: str | None = spec_field(optional(choice("scaling", vocabulary.SCALINGS)), "standard, minmax or none.", None)
    num_workers: int | None = spec_field(optional(integer(1)), "Partitions of the prepared dataset.", None)
    compare_with: str | None = spec_field(_earlier, "The manifest_path or dataset_path of an earlier preprocess task.", None)
    max_drift: float | None = spec_field(
        optional(number(0.0)), "The largest PSI of a column since then; else it is only told.", None
    )

    @property
    def roles(self) -> dict[str, str]:
        """The columns that are no features, by what they are for."""
        said = {
            "label": self.label_col, "weight": self.weight_col, "fold": self.fold_col, "validation": self.validation_col,
            "group": self.group_col, "time": self.time_col,
        }  # fmt: skip
        return {role: column for role, column in said.items() if column is not None}

    def missing_policy(self, column: str) -> str | float:
        """What to do about a column's missing values; a label, a weight or an image is never made up."""
        said = self.missing if isinstance(self.missing, str) else self.missing.get(column, "fail")
        return said if said in ("drop", "fail") or not self._is_never_filled(column) else "fail"

    def check_whole(self) -> None:
        """A column has one use, and a missing value that fits it; drift needs something to drift from."""
        super().check_whole()
        if self.max_drift is not None and self.compare_with is None:
            raise SpecError(
                f"max_drift: {self.max_drift:g} needs compare_with, the manifest_path of an earlier task: set it too."
            )
        ways = {name: said for name in ("fold_col", "group_col", "time_col") if (said := getattr(self, name)) is not None}
        if len(ways) > 1:
            raise SpecError(f"Expected one way to make folds, received {ways!r}: leave all but one of them out.")
        uses = [*self.roles.values(), *self.timestamp_columns, *(set(self.categorical_columns) - {self.label_col})]
        twice = next((column for column in uses if uses.count(column) > 1), None)
        if twice is not None:
            raise SpecError(
                f"The column {twice!r} has two uses: expected one of {', '.join(f'{role}_col' for role in self.roles)}, "
                "categorical_columns and timestamp_columns."
            )
        for column, said in (self.missing if isinstance(self.missing, dict) else {}).items():
            self._check_missing(f"missing[{column!r}]", column, said)

    def _check_missing(self, name: str, column: str, said: str | float) -> None:
        if self._is_never_filled(column):
            choice("policy", ("fail", "drop"))(name, said)
        elif column in self.categorical_columns:
            if isinstance(said, float):
                raise SpecError(f"{name}: expected a policy, or the category to fill in as a text, received {said!r}.")
            if said not in vocabulary.MISSING and get_close_matches(said, vocabulary.MISSING, cutoff=0.75):
                _policy(name, said)  # more likely a policy misspelt than a category
        elif isinstance(said, str) or column in self.timestamp_columns:
            _policy(name, said)

    def _is_never_filled(self, column: str) -> bool:
        old = {new: old for old, new in self.columns_renamed.items()}
        return column in self.roles.values() or length_of(self.schema.get(old.get(column, column), "")) is not None


@dataclass(frozen=True, kw_only=True)
class RowsSpec(CsvSpec):
    """Base of those that read rows for a trained model."""

    input_path: list[str] = spec_field(
        _paths, "CSV or Parquet files, or a dataset_path: a path, a glob, a directory, or a list of them."
    )
    input_format: str | None = spec_field(
        optional(choice("input format", vocabulary.INPUT_FORMATS)), "csv or parquet; by default as the files are named.", None
    )
    max_quarantined: float = spec_field(_share, "The largest share of rows that a model may be unable to score.", 0.1)
    batch_size: int = spec_field(integer(1), "Rows per call of the network.", 4096)


@dataclass(frozen=True, kw_only=True)
class ScoreSpec(RowsSpec):
    """A model and rows, raw or prepared, to predictions."""

    kind: ClassVar[str] = "score"

    model_path: str = spec_field(text, "The model_path a train task returned.")
    output_format: str = spec_field(choice("output format", vocabulary.OUTPUT_FORMATS), "parquet, csv or json.", "parquet")
    key_columns: list[str] | None = spec_field(optional(list_of(text)), "Columns of the input to keep; by default all.", None)
    output_columns: list[str] | None = spec_field(
        optional(list_of(choice("output column", vocabulary.SCORES), minimum=1)),
        "What to tell about a row; by default prediction, for classes probability, for a regression by an ensemble std.",
        None,
    )
    partition_by: list[str] = spec_field(list_of(text), "Columns whose values name the folders of the output.", [])

    def check_whole(self) -> None:
        """The output can only be partitioned by columns that are kept."""
        super().check_whole()
        for name in self.partition_by:
            if self.key_columns is not None and name not in self.key_columns:
                raise SpecError(f"partition_by: {name!r} is not among key_columns {self.key_columns!r}: add it there.")
