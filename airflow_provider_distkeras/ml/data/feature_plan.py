"""`FeaturePlan`: what becomes of each column, decided once, from the spec and the first rows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from airflow_provider_distkeras.contract.errors import SpecError
from airflow_provider_distkeras.contract.feature_layout import FeatureLayout
from airflow_provider_distkeras.contract.files.csv_dialect import Dialect, length_of
from airflow_provider_distkeras.contract.label_columns import is_label
from airflow_provider_distkeras.contract.specs import PreprocessSpec
from airflow_provider_distkeras.contract.specs.categorical_encoding import CategoricalEncoding
from airflow_provider_distkeras.contract.specs.feature_columns import feature_columns
from airflow_provider_distkeras.contract.specs.feature_scaling import DEFAULT, LOG, QUANTILE, FeatureScaling
from airflow_provider_distkeras.ml.data.derived_features import CalendarFeature, DerivedFeature, LogFeature, features_of
from airflow_provider_distkeras.ml.data.profiling import ProfileRequest
from airflow_provider_distkeras.ml.data.schema import kind_of
from airflow_provider_distkeras.ml.data.select_columns import SelectColumns
from airflow_provider_distkeras.ml.data.sources.base import Source


@dataclass(frozen=True)
class PlannedColumn:
    """A column that is read.

    Attributes:
        name: The new name.
        name_in_files: The name in the files.
        kind: What it holds, see `contract.files.csv_dialect.KINDS`.
        role: What it is called in the prepared dataset: label (of several, label_ and its name), weight, fold, validation, group
            or time; None for a feature.
        missing: The policy about missing values, or the value to fill in.
        calendar: The features made from a column of times.
        encoding: The encoding of a column of categories.
        scaling: The scaling of its numbers; None if they stay as they are.
    """

    name: str
    name_in_files: str
    kind: str
    role: str | None
    missing: str | float
    calendar: tuple[CalendarFeature, ...] = ()
    encoding: CategoricalEncoding | None = None
    scaling: str | None = None

    @property
    def logarithms(self) -> list[LogFeature]:
        """The logarithms that are made of it."""
        if self.scaling != LOG or self.role is not None or self.kind == "text":
            return []
        return [LogFeature(feature.name, feature) for feature in self.calendar] or [LogFeature(self.name)]

    @property
    def is_label(self) -> bool:
        """Whether it is a column to predict."""
        return self.role is not None and is_label(self.role)


@dataclass(frozen=True)
class FeaturePlan:
    """Everything that is done with the columns of a source.

    Attributes:
        columns: The columns that are read: the features in order, then those with a role.
        max_categories: Number of categories from which on a column is hashed.
        unseen_categories: The policy about categories that training did not see.
        scaling: The scaling of every column.
        missing: The policy about missing values in general, or per column.
        dialect: How the files are written.
    """

    columns: tuple[PlannedColumn, ...]
    max_categories: int
    unseen_categories: str
    scaling: FeatureScaling
    missing: str | Mapping[str, Any]
    dialect: Dialect

    @classmethod
    def of(cls, spec: PreprocessSpec, source: Source) -> FeaturePlan:
        """Plan the features of a source. Raise DataError for a column that cannot be used, SpecError for one not so scaled."""
        scaling = FeatureScaling.of(spec.scaling)
        features = feature_columns(spec, source.columns_in_files)
        roles = {name: role for role, name in spec.roles.items()}
        columns = []
        for name in (*features, *roles):
            parts = spec.timestamp_columns.get(name, ()) if name in features else ()
            columns.append(
                PlannedColumn(
                    name=name,
                    name_in_files=source.names_in_files[name],
                    kind=kind_of(spec, source, name),
                    role=roles.get(name),
                    missing=spec.missing_policy(name),
                    calendar=tuple(features_of(name, parts, cyclic=spec.cyclic_timestamps)),
                    encoding=spec.encoding_of(name),
                    scaling=scaling.of_feature(name, "number"),
                )
            )
        _check_arrays(columns, scaling)
        return cls(tuple(columns), spec.max_categories, spec.unseen_categories, scaling, spec.missing, spec.dialect)

    @property
    def features(self) -> tuple[PlannedColumn, ...]:
        """The columns that become features, in order."""
        return tuple(column for column in self.columns if column.role is None)

    @property
    def roles(self) -> dict[str, str]:
        """Name per role of the other columns."""
        return {column.role: column.name for column in self.columns if column.role is not None}

    @property
    def labels(self) -> tuple[PlannedColumn, ...]:
        """The columns to predict."""
        return tuple(column for column in self.columns if column.is_label)

    @property
    def kinds(self) -> dict[str, str]:
        """Kind per column."""
        return {column.name: column.kind for column in self.columns}

    @property
    def kinds_in_files(self) -> dict[str, str]:
        """Kind per column, by its name in the files."""
        return {column.name_in_files: column.kind for column in self.columns}

    @property
    def calendar(self) -> tuple[CalendarFeature, ...]:
        """The features made from columns of times."""
        return tuple(feature for column in self.columns for feature in column.calendar)

    @property
    def required(self) -> list[str]:
        """The columns without whose values a row is dropped."""
        return [column.name for column in self.columns if column.missing == "drop"]

    @property
    def profile_request(self) -> ProfileRequest:
        """The profile that the stages are fitted from."""
        logarithms = [feature for column in self.columns for feature in column.logarithms]
        derived: tuple[DerivedFeature, ...] = (*self.calendar, *logarithms)
        return ProfileRequest(tuple(self.kinds), tuple(self.required), derived, self.roles.get("validation"))

    def select_columns(self, renamed: Mapping[str, str], layout: FeatureLayout) -> SelectColumns:
        """Return the first stage of the pipeline; `renamed` holds the new name per column of the files."""
        return SelectColumns(
            renamed=dict(renamed),
            kinds={column.name: column.kind for column in self.features},
            labelCol=[column.name for column in self.labels],
            missing={column.name: column.missing for column in self.columns},
            unseen=self.unseen_categories,
            dialect=self.dialect.to_dict(),
            layout=layout.to_list(),
            roles={
                column.role: [column.name, column.kind]
                for column in self.columns
                if column.role is not None and not column.is_label
            },
        )


def _check_arrays(columns: Sequence[PlannedColumn], scaling: FeatureScaling) -> None:
    """Raise SpecError for arrays to be scaled one number at a time."""
    for column in columns:
        if column.role is None and length_of(column.kind) is not None and column.scaling in (LOG, QUANTILE):
            named = {DEFAULT: scaling.default or "none", column.name: "minmax"}
            raise SpecError(
                f"scaling: {column.scaling!r} is for single numbers, and {column.name!r} holds arrays, which take standard, "
                f"minmax, robust or none: name one for it, such as scaling={named!r}."
            )
