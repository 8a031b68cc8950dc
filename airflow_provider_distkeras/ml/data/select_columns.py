"""`SelectColumns`: the first stage of every pipeline, which gives raw columns their training-time names and types."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from pyspark.ml import Transformer
from pyspark.ml.functions import array_to_vector
from pyspark.ml.param import Param, Params, TypeConverters
from pyspark.ml.util import DefaultParamsReadable, DefaultParamsWritable
from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F
from pyspark.sql.types import DataType

from airflow_provider_distkeras.contract.errors import DataError
from airflow_provider_distkeras.contract.fields import json_value, list_of, mapping_of, text
from airflow_provider_distkeras.contract.files.csv_dialect import Dialect, length_of
from airflow_provider_distkeras.contract.files.csv_names import is_value
from airflow_provider_distkeras.contract.label_columns import label_col, label_names
from airflow_provider_distkeras.contract.params.choices import MISSING
from airflow_provider_distkeras.ml.data.sources.sql import as_kind, without_nulls
from airflow_provider_distkeras.spark.columns import quoted


class SelectColumns(Transformer, DefaultParamsWritable, DefaultParamsReadable):
    """Renames the columns a pipeline uses, gives them their recorded types, and lets all others pass.

    Args:
        renamed: new name per raw column that is renamed.
        kinds: the kind of each feature (see `contract.files.csv_dialect.KINDS`), by its new name and in order.
        labelCol: the label, or the list of several, by their new names; absent when new data is scored.
        missing: what to do about a missing value, per feature: one of `contract.params.choices.MISSING`, or what stands for it.
            For labels and the columns with other roles, what was done in training.
        unseen: what to do, in scoring, about a category that training did not see: ignore or quarantine.
        dialect: how the files were written that the pipeline was fitted on, see `contract.files.csv_dialect`; empty if it was
            fitted before that was kept. Its null values are missing values in data of any source.
        roles: name and kind of the training files' columns that are neither features nor labels, by what they are for.
        layout: what fills which positions of the features that the pipeline makes, see `contract.feature_layout`; empty if it was
            fitted before that was kept.
    """

    __module__ = "airflow_provider_distkeras.ml"  # the public path, which Spark ML persistence writes

    renamed: Param = Param(Params._dummy(), "renamed", "New name per raw column.", lambda v: mapping_of(text)("renamed", v))
    kinds: Param = Param(Params._dummy(), "kinds", "What each feature holds.", lambda v: mapping_of(text)("kinds", v))
    labelCol: Param = Param(Params._dummy(), "labelCol", "The label, or several.", lambda v: label_col("labelCol", v))
    missing: Param = Param(
        Params._dummy(), "missing", "Policy or value per feature.", lambda v: mapping_of(json_value)("missing", v)
    )
    unseen: Param = Param(Params._dummy(), "unseen", "What to do about new categories.", TypeConverters.toString)

    dialect: Param = Param(
        Params._dummy(), "dialect", "How the training files were written.", lambda v: mapping_of(json_value)("dialect", v)
    )
    roles: Param = Param(
        Params._dummy(), "roles", "Name and kind per other column.", lambda v: mapping_of(list_of(text))("roles", v)
    )
    layout: Param = Param(
        Params._dummy(), "layout", "What fills which positions of the features.", lambda v: list_of(json_value)("layout", v)
    )

    def __init__(self, **params: Any) -> None:
        super().__init__()
        self._setDefault(renamed={}, kinds={}, labelCol="label", missing={}, unseen="ignore", dialect={}, roles={}, layout=[])
        self._set(**params)

    @property
    def labels(self) -> list[str]:
        """The labels, by their new names."""
        return label_names(self.getOrDefault("labelCol"))

    def used(self, columns: Sequence[str], others: Iterable[str] = ()) -> dict[str, str]:
        """Return the new name per raw column that is a feature, a label or one of some others, of data with these columns.

        Another column, which training left out, may have one of the new names.
        """
        raw_names = {new: raw for raw, new in self.getOrDefault("renamed").items() if raw in columns}
        names = [*self.getOrDefault("kinds"), *self.labels, *others]
        return {raw_names.get(name, name): name for name in names if raw_names.get(name, name) in columns}

    def kinds_of(self, columns: Sequence[str]) -> dict[str, str]:
        """Return the kind of each raw column that is a feature."""
        kinds = self.getOrDefault("kinds")
        return {raw: kinds[name] for raw, name in self.used(columns).items() if name in kinds}

    def with_policy(self, *policies: str) -> list[str]:
        """Return the features with one of these policies about missing values; the default is "fail"."""
        policies_by_name = self.getOrDefault("missing")
        return [name for name in self.getOrDefault("kinds") if policies_by_name.get(name, "fail") in policies]

    def for_scoring(self, dialect: Dialect) -> SelectColumns:
        """Return a copy that drops no row, for rows in this dialect."""
        missing = {name: "fail" if policy == "drop" else policy for name, policy in self.getOrDefault("missing").items()}
        return self.copy({self.missing: missing, self.dialect: dialect.to_dict()})

    def check(self, columns: Sequence[str]) -> None:
        """Raise DataError if a feature is absent from data with these columns, raw or renamed."""
        names = {*self.used(columns).values()}
        old = {new: old for old, new in self.getOrDefault("renamed").items()}
        expected = {name: old.get(name, name) for name in self.getOrDefault("kinds")}
        lacking = [repr(raw) for name, raw in expected.items() if name not in names]
        if lacking:
            value, no_header = next(filter(is_value, columns), None), ""
            if value is not None and len(lacking) == len(expected) and not any(map(is_value, expected.values())):
                no_header = f" {value!r} looks like a value: if the files have no header, give them that of the training files."
            raise DataError(
                f"The data lacks the column{'s' if len(lacking) > 1 else ''} {', '.join(lacking)} that the pipeline was "
                f"fitted with. Expected {', '.join(expected.values())}; found {', '.join(columns)}.{no_header}"
            )

    def _transform(self, dataset: DataFrame) -> DataFrame:
        self.check(dataset.columns)
        # All at once: withColumnsRenamed goes one by one, and a name that moves on to another column would be there twice.
        used, renamed = self.used(dataset.columns), self.getOrDefault("renamed")
        names = {name: used.get(name, renamed.get(name, name)) for name in dataset.columns}
        taken = {*used.values()}
        data = dataset.select(
            *[F.col(quoted(name)).alias(new) for name, new in names.items() if name in used or new not in taken]
        )
        kinds, dialect = self.getOrDefault("kinds"), Dialect.of(self.getOrDefault("dialect"))
        data = data.withColumns({name: _typed(name, kind, data.schema[name].dataType, dialect) for name, kind in kinds.items()})
        constants = {n: value for n, value in self.getOrDefault("missing").items() if n in kinds and value not in MISSING}
        data = data.withColumns({name: _filled(name, kinds[name], value) for name, value in constants.items()})
        required = self.with_policy("drop")
        return data.dropna(subset=required) if required else data


def _typed(name: str, kind: str, data_type: DataType, dialect: Dialect) -> Column:
    """Return a column as its kind, arrays as vectors. Raise DataError if its type does not allow that."""
    values = as_kind(name, kind, data_type, dialect)
    if values is None:
        raise DataError(
            f"The column {name!r} has another type than the pipeline was fitted with: expected {kind}, "
            f"received {data_type.simpleString()}. Convert it, or train a model on such data."
        )
    values = without_nulls(values, kind, dialect)
    if length_of(kind) is None:
        return values
    return F.when(values.isNotNull(), array_to_vector(F.coalesce(values, F.array(F.lit(0.0)))))


def _filled(name: str, kind: str, value: Any) -> Column:
    column = F.col(name)
    is_missing = column.isNull() if kind == "text" else column.isNull() | F.isnan(column)
    return F.when(is_missing, F.lit(value)).otherwise(column)
