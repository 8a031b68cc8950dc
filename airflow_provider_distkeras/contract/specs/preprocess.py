"""The spec of a preprocess job."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, fields
from difflib import get_close_matches
from typing import Any, ClassVar, Self

from airflow_provider_distkeras.contract.errors import SpecError
from airflow_provider_distkeras.contract.fields import boolean, choice, integer, list_of, mapping_of, number, optional, text
from airflow_provider_distkeras.contract.files.csv_dialect import KINDS, Dialect, length_of
from airflow_provider_distkeras.contract.label_columns import LabelCol, label_col, label_names, label_roles, option_of
from airflow_provider_distkeras.contract.params.choices import CALENDAR_PARTS, MISSING, UNSEEN
from airflow_provider_distkeras.contract.specs.base import JobDetails, spec_field
from airflow_provider_distkeras.contract.specs.categorical_encoding import CategoricalEncoding, check_encoding
from airflow_provider_distkeras.contract.specs.feature_scaling import FeatureScaling, check_scaling
from airflow_provider_distkeras.contract.specs.input import InputSpec
from airflow_provider_distkeras.contract.specs.paths import uri


def _name(name: str, value: Any) -> str:
    """Check for the name of a column in files, where it may be empty."""
    return value if value == "" else text(name, value)


#: The dialect of files that nothing is said of; what came later is None, as `added_fields` says.
_USUAL = {name: value for name, value in Dialect().to_dict().items() if name not in InputSpec.added_fields}

_policy = choice("policy", MISSING)


def _kind(name: str, value: Any) -> str:
    return value if isinstance(value, str) and length_of(value) else choice("kind", (*KINDS, "array[8]"))(name, value)


def _missing(name: str, value: Any) -> str | dict[str, Any]:
    if not isinstance(value, (str, Mapping)):
        policies = ", ".join(MISSING)
        raise SpecError(f"{name}: expected a policy ({policies}), or a dict of them by column, received {value!r}.")
    return _policy(name, value) if isinstance(value, str) else mapping_of(_missing_one)(name, value)


def _missing_one(name: str, value: Any) -> str | float:
    """Check for a policy or a value to fill in; `check_whole` checks which of them the column takes."""
    return text(name, value) if isinstance(value, str) else number()(name, value)


def _earlier(name: str, value: Any) -> str | None:
    """Check for a path; empty where a template has none, as in a first run."""
    return "" if value in ("", "None") else optional(uri)(name, value)


@dataclass(frozen=True, kw_only=True)
class PreprocessDetails(JobDetails):
    """What a preprocess job's manifest holds beside its result.

    Attributes:
        features: the length of a row's features.
        label_col: the column to predict, or the list of several, by their new names.
        bad_lines: lines that do not fit the files' header.
        repeated_headers: lines that repeat the header of their file, and are no rows.
        lacking: rows without a value, per column whose policy drops such rows.
        validation_rows: rows to validate on.
        scaling: how numbers were scaled, all of them or per column; None if they were not.
        layout: which positions of the features came from which column; see `contract.feature_layout`.
        like: the model as whose training files these were prepared, so that nothing was fitted on their rows; else None.
        kinds: what each column holds, by its name in the files.
        profile: what was measured of each column; see `ml.data.profile`.
        drift: the population stability index per column since an earlier run; None if none was compared with.
        columns_added: columns that the earlier run did not have.
        columns_gone: columns that only the earlier run had.
    """

    features: int | None = None
    label_col: str | list[str] | None = None
    bad_lines: int = 0
    repeated_headers: int = 0
    lacking: dict[str, int] = field(default_factory=dict)
    validation_rows: int = 0
    scaling: str | dict[str, str] | None = None
    layout: list[dict[str, Any]] | None = None
    like: str | None = None
    kinds: dict[str, str] = field(default_factory=dict)
    profile: dict[str, dict[str, Any]] = field(default_factory=dict)
    drift: dict[str, float] | None = None
    columns_added: list[str] = field(default_factory=list)
    columns_gone: list[str] = field(default_factory=list)


@dataclass(frozen=True, kw_only=True)
class PreprocessSpec(InputSpec):
    """Files to a prepared dataset and the fitted pipeline that prepared it."""

    kind: ClassVar[str] = "preprocess"
    result_fields: ClassVar[tuple[str, ...]] = ("dataset_path", "pipeline_path", "rows", "rejected_rows", "feature_columns")
    main_artifact: ClassVar[str] = "dataset_path"
    artifacts: ClassVar[Mapping[str, str]] = {"dataset_path": "dataset", "pipeline_path": "pipeline"}
    details_class: ClassVar[type[JobDetails]] = PreprocessDetails
    added_fields: ClassVar[tuple[str, ...]] = (*InputSpec.added_fields, "input_format", "categorical_encoding", "like")

    schema: dict[str, str] = spec_field(
        mapping_of(_kind), "The kind of columns, by their name in the files; by default inferred from their first rows.", {}
    )
    columns_renamed: dict[str, str] = spec_field(mapping_of(text), "New name per column of the files.", {})
    excluded_columns: list[str] = spec_field(
        list_of(_name), "Columns to leave out, by their name in the files, which may be empty.", []
    )
    label_col: LabelCol = spec_field(label_col, "The column to predict, or a list of several, by their new names.", "label")
    weight_col: str | None = spec_field(optional(text), "How much a row counts in training, by its new name.", None)
    fold_col: str | None = spec_field(optional(text), "The number, from 0, of the fold a row is held out in.", None)
    validation_col: str | None = spec_field(optional(text), "Rows to validate on, and not to train on, by its new name.", None)
    group_col: str | None = spec_field(optional(text), "Rows of one value stay in one fold, by its new name.", None)
    time_col: str | None = spec_field(
        optional(text), "A time or a number to order rows by, so that folds train on what came before.", None
    )
    categorical_columns: list[str] = spec_field(
        list_of(text), "Columns to one-hot encode, by their new names; labels are indexed.", []
    )
    categorical_encoding: dict[str, Any] | None = spec_field(
        optional(mapping_of(check_encoding)),
        "Per column of categories, by its new name: onehot, index (numbers for an Embedding) or {'hash': how many}.",
        None,
    )
    max_categories: int = spec_field(
        integer(1), "Columns with more categories are hashed into this many features, instead of a feature for each.", 256
    )
    unseen_categories: str = spec_field(
        choice("policy", UNSEEN), "New categories in scoring: ignore (all zeros) or quarantine.", "ignore"
    )
    timestamp_columns: dict[str, list[str]] = spec_field(
        mapping_of(list_of(choice("calendar part", CALENDAR_PARTS), minimum=1)),
        "What to take from columns of times, by their new names, such as month, weekday and hour.",
        {},
    )
    cyclic_timestamps: bool = spec_field(boolean, "Whether these are sines and cosines, so that 23 h is near 0 h.", False)
    missing: str | dict[str, Any] = spec_field(
        _missing, "Missing values: fail, mean, median, indicator or drop; or per column one of these or a value.", "fail"
    )
    scaling: str | dict[str, str] | None = spec_field(
        check_scaling, "standard, minmax, robust, log, quantile or none; or per column, 'default' for columns not named.", None
    )
    num_workers: int | None = spec_field(optional(integer(1)), "Partitions of the prepared dataset.", None)
    compare_with: str | None = spec_field(_earlier, "The manifest_path or dataset_path of an earlier preprocess task.", None)
    max_drift: float | None = spec_field(
        optional(number(0.0)), "The largest PSI of a column since then; by default it is only recorded.", None
    )
    like: str | None = spec_field(
        optional(uri),
        "The model_path of a train task, as whose training files these are prepared: by the same columns, categories and scales.",
        None,
    )

    @classmethod
    def build(cls, **values: Any) -> Self:
        """Return the spec of these values, as every spec, with all of the dialect: the model will keep it."""
        usual = _USUAL if values.get("like") is None else {}  # else what is not said is as in the model's files
        given = {name: value for name, value in values.items() if value is not None or name not in usual}
        return super().build(**{**usual, **given})

    @classmethod
    def fitting_options(cls) -> dict[str, Any]:
        """Return the options by which a pipeline is fitted, with their defaults; with `like`, they are not used."""
        others = ("num_workers", "compare_with", "max_drift", "like", *(field.name for field in fields(InputSpec)))
        return {field.name: field.metadata["field"].default for field in fields(cls) if field.name not in others}

    def check_like(self) -> None:
        """Raise SpecError if files are to be prepared as a model's were, and by options, too."""
        for name, usual in self.fitting_options().items():
            if self.like is not None and getattr(self, name) != usual:
                raise SpecError(
                    f"{name}: with like, files are prepared as those before; expected only options about how they are written. "
                    "Leave it out."
                )

    @property
    def left_out(self) -> Collection[str] | None:
        """The columns that are not used, by their names in the files; None where the model alone knows."""
        return self.excluded_columns if self.like is None else None

    @property
    def label_names(self) -> list[str]:
        """The columns to predict."""
        return label_names(self.label_col)

    @property
    def roles(self) -> dict[str, str]:
        """The columns that are no features, by what they are called in the prepared dataset."""
        columns = {
            "weight": self.weight_col, "fold": self.fold_col, "validation": self.validation_col, "group": self.group_col,
            "time": self.time_col,
        }  # fmt: skip
        return label_roles(self.label_names) | {role: column for role, column in columns.items() if column is not None}

    def encoding_of(self, column: str) -> CategoricalEncoding | None:
        """Return how a feature's categories are encoded; None if it is no column of categories."""
        encodings = self.categorical_encoding or {}
        if column in encodings:
            return CategoricalEncoding.of(encodings[column])
        return CategoricalEncoding() if column in self.categorical_columns else None

    def missing_policy(self, column: str) -> str | float:
        """Return the policy or the filling for a column's missing values; labels, weights and images are never filled."""
        policy = self.missing if isinstance(self.missing, str) else self.missing.get(column, "fail")
        return policy if policy in ("drop", "fail") or not self._is_never_filled(column) else "fail"

    def check_whole(self) -> None:
        """Check that each column has one use and a policy that fits it, and that drift has an earlier run to compare with."""
        super().check_whole()
        if self.max_drift is not None and self.compare_with is None:
            raise SpecError(
                f"max_drift: {self.max_drift:g} needs compare_with, the manifest_path of an earlier task: set it too."
            )
        ways = {name: column for name in ("fold_col", "group_col", "time_col") if (column := getattr(self, name)) is not None}
        if len(ways) > 1 and set(ways) != {"group_col", "time_col"}:
            raise SpecError(f"Expected one way to make folds, received {ways!r}: leave all but one of them out.")
        uses = [*self.roles.values(), *self.timestamp_columns]
        uses += {*self.categorical_columns} - {*self.label_names} | {*(self.categorical_encoding or ())}
        twice = next((column for column in uses if uses.count(column) > 1), None)
        if twice is not None:
            raise SpecError(
                f"The column {twice!r} has two uses: expected one of {', '.join(dict.fromkeys(map(option_of, self.roles)))}, "
                "categorical_columns (or categorical_encoding) and timestamp_columns."
            )
        for column, policy in (self.missing if isinstance(self.missing, dict) else {}).items():
            self._check_missing(f"missing[{column!r}]", column, policy)
        left_out = {*self.excluded_columns} - {*self.columns_renamed.values()}
        categories = {*self.categorical_columns, *(self.categorical_encoding or ())}
        FeatureScaling.of(self.scaling).check(
            dict.fromkeys(left_out, "among excluded_columns")
            | dict.fromkeys(categories, "a column of categories")
            | {column: f"the {option_of(role)}" for role, column in self.roles.items()}
        )

    def _check_missing(self, name: str, column: str, policy: str | float) -> None:
        if self._is_never_filled(column):
            choice("policy", ("fail", "drop"))(name, policy)
        elif self.encoding_of(column) is not None:
            if isinstance(policy, float):
                raise SpecError(f"{name}: expected a policy, or the category to fill in as a text, received {policy!r}.")
            if policy not in MISSING and get_close_matches(policy, MISSING, cutoff=0.75):
                _policy(name, policy)  # more likely a policy misspelt than a category
        elif isinstance(policy, str) or column in self.timestamp_columns:
            _policy(name, policy)

    def _is_never_filled(self, column: str) -> bool:
        old = {new: old for old, new in self.columns_renamed.items()}
        return column in self.roles.values() or length_of(self.schema.get(old.get(column, column), "")) is not None
