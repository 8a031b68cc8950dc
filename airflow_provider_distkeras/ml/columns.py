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


class SelectColumns(Transformer, DefaultParamsWritable, DefaultParamsReadable):
    """Renames the columns a pipeline uses, gives them their recorded types, and lets all others pass.

    Args:
        renamed: new name per raw column that is renamed.
        numeric: features that are numbers, by new name; they become doubles.
        categorical: features that are categories, by new name; they become texts.
        labelCol: the label by its new name; absent when new data is scored.
        dropMissing: whether rows with a missing feature are dropped.
    """

    renamed: Param = Param(Params._dummy(), "renamed", "New name per raw column.", lambda v: mapping_of(text)("renamed", v))
    numeric: Param = Param(Params._dummy(), "numeric", "Features that are numbers.", TypeConverters.toListString)
    categorical: Param = Param(Params._dummy(), "categorical", "Features that are categories.", TypeConverters.toListString)
    labelCol: Param = Param(Params._dummy(), "labelCol", "The label, by its new name.", TypeConverters.toString)
    dropMissing: Param = Param(Params._dummy(), "dropMissing", "Drop rows with a missing feature.", TypeConverters.toBoolean)

    def __init__(self, **params: Any) -> None:
        super().__init__()
        self._setDefault(renamed={}, numeric=[], categorical=[], labelCol="label", dropMissing=False)
        self._set(**params)

    @property
    def kinds(self) -> dict[str, str]:
        """Spark type per feature, by its new name."""
        numeric, categorical = self.getOrDefault("numeric"), self.getOrDefault("categorical")
        return {**dict.fromkeys(numeric, "double"), **dict.fromkeys(categorical, "string")}

    def new_name(self, column: str) -> str:
        """The name a raw column gets."""
        return str(self.getOrDefault("renamed").get(column, column))

    def types_of(self, columns: list[str]) -> dict[str, str]:
        """Spark type per raw column that is a feature."""
        return {name: self.kinds[self.new_name(name)] for name in columns if self.new_name(name) in self.kinds}

    def check(self, columns: list[str]) -> None:
        """Raise DataError if a feature is absent from data with these columns, raw or renamed."""
        known = {self.new_name(name) for name in columns}
        old = {new: old for old, new in self.getOrDefault("renamed").items()}
        lacking = [old.get(name, name) for name in self.kinds if name not in known]
        if lacking:
            raise DataError(
                f"The data lacks the column{'s' if len(lacking) > 1 else ''} {', '.join(map(repr, lacking))} that the pipeline "
                f"was fitted with. Expected {', '.join(old.get(name, name) for name in self.kinds)}; found {', '.join(columns)}."
            )

    def _transform(self, dataset: DataFrame) -> DataFrame:
        self.check(dataset.columns)
        renamed = {old: new for old, new in self.getOrDefault("renamed").items() if old in dataset.columns}
        data = dataset.withColumnsRenamed(renamed)
        data = data.withColumns({name: F.col(name).cast(kind) for name, kind in self.kinds.items()})
        return data.dropna(subset=list(self.kinds)) if self.getOrDefault("dropMissing") else data
