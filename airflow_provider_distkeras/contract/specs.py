"""What a job is told. Built and validated by an operator, read by the job; JSON in between."""

from __future__ import annotations

import codecs
import hashlib
import json
from dataclasses import MISSING as REQUIRED
from dataclasses import asdict, dataclass, field, fields
from difflib import get_close_matches
from typing import Any, ClassVar, Self

from airflow_provider_distkeras.contract import vocabulary
from airflow_provider_distkeras.contract.dialect import KINDS, Dialect, length_of
from airflow_provider_distkeras.contract.errors import SpecError
from airflow_provider_distkeras.contract.fields import (
    Check,
    Field,
    boolean,
    check_names,
    choice,
    integer,
    json_value,
    list_of,
    mapping_of,
    number,
    optional,
    text,
)

CONTRACT_VERSION = 1


def _said(check: Check, doc: str, default: Any = REQUIRED) -> Any:
    """A spec's field: how it is checked, what it means, and its default, if it has one."""
    metadata = {"field": Field(check, None if default is REQUIRED else default, doc)}
    if default is REQUIRED:
        return field(metadata=metadata)
    return field(default_factory=lambda: default.copy() if hasattr(default, "copy") else default, metadata=metadata)


def _paths(name: str, value: Any) -> list[str]:
    return list_of(text, minimum=1)(name, [value] if isinstance(value, str) else value)


def _share(name: str, value: Any) -> float:
    share: float = number(0.0)(name, value)
    if share > 1:
        raise SpecError(f"{name}: expected a share from 0 to 1, received {value!r}.")
    return share


def _character(name: str, value: Any) -> str:
    if not isinstance(value, str) or len(value) != 1 or not value.isascii() or value in "\r\n":
        raise SpecError(f"{name}: expected one ASCII character, received {value!r}.")
    return value


def _quote(name: str, value: Any) -> str:
    return "" if value == "" else _character(name, value)


def _encoding(name: str, value: Any) -> str:
    try:
        return codecs.lookup(text(name, value)).name.removesuffix("-sig")
    except LookupError as error:
        raise SpecError(f"{name}: expected the name of an encoding, such as utf-8 or cp1252, received {value!r}.") from error


_policy = choice("policy", vocabulary.MISSING)


def _kind(name: str, value: Any) -> str:
    return value if isinstance(value, str) and length_of(value) else choice("kind", (*KINDS, "array[8]"))(name, value)


def _missing(name: str, value: Any) -> str | dict[str, Any]:
    return _policy(name, value) if isinstance(value, str) else mapping_of(_missing_one)(name, value)


def _missing_one(name: str, value: Any) -> str | float:
    """A policy, or what to fill in: which of them a column takes is checked once all is known."""
    return text(name, value) if isinstance(value, str) else number()(name, value)


def _earlier(name: str, value: Any) -> str | None:
    """A path; empty where a template found none, as a first run does."""
    return "" if value in ("", "None") else optional(text)(name, value)


@dataclass(frozen=True, kw_only=True)
class Spec:
    """Base of the three specs."""

    kind: ClassVar[str]

    @classmethod
    def build(cls, **said: Any) -> Self:
        """Check and cast every value, then the spec as a whole. Raises SpecError, naming the field."""
        declared = {f.name: f for f in fields(cls)}
        check_names(f"argument of the {cls.kind} spec", said, declared)
        cast = {name: declared[name].metadata["field"].cast(name, value) for name, value in said.items()}
        required = [name for name, f in declared.items() if f.default is f.default_factory is REQUIRED and name not in said]
        if required:
            raise SpecError(f"The {cls.kind} spec lacks {', '.join(required)}.")
        spec = cls(**cast)
        spec.check_whole()
        return spec

    def check_whole(self) -> None:
        """Check what only several fields together can say."""

    def to_dict(self) -> dict[str, Any]:
        """The spec as plain JSON values."""
        return asdict(self)

    @property
    def sha256(self) -> str:
        """A digest of what is asked for: the same for the same request, whoever asks and whenever."""
        canonical = json.dumps([self.kind, CONTRACT_VERSION, self.to_dict()], sort_keys=True)
        return hashlib.sha256(canonical.encode()).hexdigest()


@dataclass(frozen=True, kw_only=True)
class CsvSpec(Spec):
    """Base of those that read CSV files."""

    input_path: list[str] = _said(_paths, "CSV files: a path, a glob, a directory, or a list of them.")
    delimiter: str = _said(_character, "What separates the fields of a line.", ",")
    quote: str = _said(_quote, "What surrounds a field with delimiters, doubled inside; empty where nothing does.", '"')
    encoding: str = _said(_encoding, "The files' encoding, by Python's name.", "utf-8")
    null_values: list[str] = _said(list_of(text), "Texts that stand for a missing value, beside an empty field.", [])
    multiline: bool = _said(boolean, "Whether quoted fields hold line breaks; a file is then read by one task.", False)
    timestamp_formats: list[str] = _said(list_of(text), "How times are written, beside ISO 8601, as for strptime.", [])
    bad_lines: str = _said(choice("policy", vocabulary.BAD_LINES), "Lines that do not fit: fail, quarantine or drop.", "fail")
    max_bad_lines: float = _said(number(0.0, 1.0), "The share of such lines above which the task fails anyway.", 0.01)

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

    schema: dict[str, str] = _said(
        mapping_of(_kind), "What columns hold, by their name in the files; else their first rows tell.", {}
    )
    columns_renamed: dict[str, str] = _said(mapping_of(text), "New name per column of the files.", {})
    excluded_columns: list[str] = _said(list_of(text), "Columns to leave out, by their name in the files.", [])
    label_col: str = _said(text, "The column to predict, by its new name.", "label")
    weight_col: str | None = _said(optional(text), "How much a row counts in training, by its new name.", None)
    fold_col: str | None = _said(optional(text), "The number, from 0, of the fold a row is held out in.", None)
    validation_col: str | None = _said(optional(text), "Rows to validate on, and not to train on, by its new name.", None)
    categorical_columns: list[str] = _said(
        list_of(text), "Columns to one-hot encode, by their new names; the label is indexed.", []
    )
    max_categories: int = _said(
        integer(1), "Columns with more categories are hashed into this many features, instead of a feature for each.", 256
    )
    unseen_categories: str = _said(
        choice("policy", vocabulary.UNSEEN), "New categories in scoring: ignore (none of the known) or quarantine.", "ignore"
    )
    timestamp_columns: dict[str, list[str]] = _said(
        mapping_of(list_of(choice("calendar part", vocabulary.CALENDAR_PARTS), minimum=1)),
        "What to take from columns of times, by their new names, such as month, weekday and hour.",
        {},
    )
    cyclic_timestamps: bool = _said(boolean, "Whether these are sines and cosines, so that 23 h is near 0 h.", False)
    missing: str | dict[str, Any] = _said(
        _missing, "Missing values: fail, mean, median, indicator or drop; or per column one of these or a value.", "fail"
    )
    scaling: str | None = _said(optional(choice("scaling", vocabulary.SCALINGS)), "standard, minmax or none.", None)
    num_workers: int | None = _said(optional(integer(1)), "Partitions of the prepared dataset.", None)
    compare_with: str | None = _said(_earlier, "The manifest_path or dataset_path of an earlier preprocess task.", None)
    max_drift: float | None = _said(optional(number(0.0)), "The largest PSI of a column since then; else it is only told.", None)

    @property
    def roles(self) -> dict[str, str]:
        """The columns that are no features, by what they are for."""
        said = {"label": self.label_col, "weight": self.weight_col, "fold": self.fold_col, "validation": self.validation_col}
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
        uses = [*self.roles.values(), *self.timestamp_columns, *(set(self.categorical_columns) - {self.label_col})]
        twice = next((column for column in uses if uses.count(column) > 1), None)
        if twice is not None:
            raise SpecError(
                f"The column {twice!r} has two uses: expected one of label_col, weight_col, fold_col, validation_col, "
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
class TrainSpec(Spec):
    """A prepared dataset to a cross-validated model, refitted on all rows."""

    kind: ClassVar[str] = "train"

    dataset_path: str = _said(text, "The dataset_path a preprocess task returned.")
    trainer: str = _said(choice("trainer", vocabulary.TRAINERS), "The trainer, by name.", "ADAG")
    trainer_params: dict[str, Any] = _said(mapping_of(json_value), "Parameters of the trainer.", {})
    hyperparameters: dict[str, Any] = _said(mapping_of(json_value), "Hyper-parameters that every cell shares.", {})
    param_grid: dict[str, list[Any]] = _said(mapping_of(list_of(json_value, minimum=1)), "Values to search, per name.", {})
    evaluator: str = _said(choice("evaluator", vocabulary.EVALUATORS), "regression, binary or multiclass.", "regression")
    metric: str | None = _said(optional(text), "The evaluator's metric that decides; its first if not given.", None)
    num_folds: int = _said(integer(2), "Folds of the cross validation.", 3)
    parallelism: int | None = _said(
        optional(integer(1)), "Cells trained at the same time, at most; by default as many as the cluster has slots for.", None
    )
    seed: int = _said(integer(0), "Seed of the folds, the weights, the shuffles and the dropout.", 0)
    backend: str | None = _said(
        optional(choice("backend", vocabulary.BACKENDS)),
        "Keras backend of the workers; else KERAS_BACKEND, else tensorflow.",
        None,
    )

    @classmethod
    def build(cls, **said: Any) -> Self:
        """As `Spec.build`; the values inside the three dicts are checked and cast under their own names."""
        spec = super().build(**said)
        known = vocabulary.trainer_fields(spec.trainer)
        check_names(f"parameter of {spec.trainer}", spec.trainer_params, known)
        fixed = {**vocabulary.HYPERPARAMETERS, **vocabulary.FITTING}
        check_names("hyper-parameter", spec.hyperparameters, fixed)
        grid = {**vocabulary.HYPERPARAMETERS, **known}
        check_names("name in param_grid", spec.param_grid, grid)
        for name, value in spec.trainer_params.items():
            spec.trainer_params[name] = known[name].cast(f"trainer_params[{name!r}]", value)
        for name, value in spec.hyperparameters.items():
            spec.hyperparameters[name] = fixed[name].cast(f"hyperparameters[{name!r}]", value)
        for name, values in spec.param_grid.items():
            spec.param_grid[name] = [grid[name].cast(f"param_grid[{name!r}][{i}]", value) for i, value in enumerate(values)]
        twice = sorted({*spec.hyperparameters, *spec.trainer_params} & {*spec.param_grid})
        if twice:
            raise SpecError(f"{twice[0]!r} is both fixed and in param_grid: leave it in one of them.")
        for cell in spec.cells():
            vocabulary.check_network({**spec.hyperparameters, **cell})
            vocabulary.check_evaluator(spec.evaluator, {**spec.hyperparameters, **cell})
        return spec

    def check_whole(self) -> None:
        """The metric must be one of the evaluator's."""
        check_names(f"metric of the {self.evaluator} evaluator", [self.metric_name], vocabulary.EVALUATORS[self.evaluator])

    @property
    def metric_name(self) -> str:
        """The metric that decides."""
        return self.metric or vocabulary.EVALUATORS[self.evaluator][0]

    def cells(self) -> list[dict[str, Any]]:
        """The grid, flattened: one dict of values per cell, in a fixed order."""
        cells: list[dict[str, Any]] = [{}]
        for name, values in sorted(self.param_grid.items()):
            cells = [{**cell, name: value} for cell in cells for value in values]
        return cells


@dataclass(frozen=True, kw_only=True)
class ScoreSpec(CsvSpec):
    """A model and rows, raw or prepared, to predictions."""

    kind: ClassVar[str] = "score"

    model_path: str = _said(text, "The model_path a train task returned.")
    input_path: list[str] = _said(
        _paths, "CSV or Parquet files, or a dataset_path: a path, a glob, a directory, or a list of them."
    )
    input_format: str | None = _said(
        optional(choice("input format", vocabulary.INPUT_FORMATS)), "csv or parquet; by default as the files are named.", None
    )
    output_format: str = _said(choice("output format", vocabulary.OUTPUT_FORMATS), "parquet, csv or json.", "parquet")
    key_columns: list[str] | None = _said(optional(list_of(text)), "Columns of the input to keep; by default all.", None)
    output_columns: list[str] | None = _said(
        optional(list_of(choice("output column", vocabulary.SCORES), minimum=1)),
        "What to tell about a row; by default prediction, for classes probability, for a regression by an ensemble std.",
        None,
    )
    partition_by: list[str] = _said(list_of(text), "Columns whose values name the folders of the output.", [])
    max_quarantined: float = _said(_share, "The largest share of rows that may be quarantined.", 0.1)
    batch_size: int = _said(integer(1), "Rows per call of the network.", 4096)

    def check_whole(self) -> None:
        """The output can only be partitioned by columns that are kept."""
        super().check_whole()
        for name in self.partition_by:
            if self.key_columns is not None and name not in self.key_columns:
                raise SpecError(f"partition_by: {name!r} is not among key_columns {self.key_columns!r}: add it there.")


SPECS: dict[str, type[Spec]] = {spec.kind: spec for spec in (PreprocessSpec, TrainSpec, ScoreSpec)}
