"""`SelectColumns`: the first stage of every pipeline, which gives raw columns their training-time names and types."""

from __future__ import annotations

from typing import Any

from pyspark.ml import Transformer
from pyspark.ml.param import Param, Params, TypeConverters
from pyspark.ml.util import DefaultParamsReadable, DefaultParamsWritable
from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from airflow_provider_distkeras.contract.errors import DataError
from airflow_provider_distkeras.contract.fields import mapping_of, text
from airflow_provider_distkeras.ml.reading import as_number


class SelectColumns(Transformer, DefaultParamsWritable, DefaultParamsReadable):
    """Renames the columns a pipeline uses, gives them their recorded types, and lets all others pass.

    Args:
        renamed: new name per raw column that is renamed.
        types: Spark type per feature, by its new name and in order: double for a number, string for a category.
        labelCol: the label by its new name; absent when new data is scored.
        dropMissing: whether rows with a missing feature are dropped.
    """

    renamed: Param = Param(Params._dummy(), "renamed", "New name per raw column.", lambda v: mapping_of(text)("renamed", v))
    types: Param = Param(Params._dummy(), "types", "Spark type per feature.", lambda v: mapping_of(text)("types", v))
    labelCol: Param = Param(Params._dummy(), "labelCol", "The label, by its new name.", TypeConverters.toString)
    dropMissing: Param = Param(Params._dummy(), "dropMissing", "Drop rows with a missing feature.", TypeConverters.toBoolean)

    def __init__(self, **params: Any) -> None:
        super().__init__()
        self._setDefault(renamed={}, types={}, labelCol="label", dropMissing=False)
        self._set(**params)

    def new_name(self, column: str) -> str:
        """The name a raw column gets."""
        return str(self.getOrDefault("renamed").get(column, column))

    def types_of(self, columns: list[str]) -> dict[str, str]:
        """Spark type per raw column that is a feature."""
        types = self.getOrDefault("types")
        return {name: types[self.new_name(name)] for name in columns if self.new_name(name) in types}

    def check(self, columns: list[str]) -> None:
        """Raise DataError if a feature is absent from data with these columns, raw or renamed."""
        known = {self.new_name(name) for name in columns}
        old = {new: old for old, new in self.getOrDefault("renamed").items()}
        expected = {name: old.get(name, name) for name in self.getOrDefault("types")}
        lacking = [repr(raw) for name, raw in expected.items() if name not in known]
        if lacking:
            raise DataError(
                f"The data lacks the column{'s' if len(lacking) > 1 else ''} {', '.join(lacking)} that the pipeline was "
                f"fitted with. Expected {', '.join(expected.values())}; found {', '.join(columns)}."
            )

    def _transform(self, dataset: DataFrame) -> DataFrame:
        self.check(dataset.columns)
        renamed = {old: new for old, new in self.getOrDefault("renamed").items() if old in dataset.columns}
        data = dataset.withColumnsRenamed(renamed)
        types = self.getOrDefault("types")
        typed = {name: F.expr(as_number(name)) if kind == "double" else F.col(name).cast(kind) for name, kind in types.items()}
        data = data.withColumns(typed)
        return data.dropna(subset=list(types)) if self.getOrDefault("dropMissing") else data
