"""`SelectColumns`: the first stage of every pipeline, which gives raw columns their training-time names and types."""

from __future__ import annotations

from typing import Any

from pyspark.ml import Transformer
from pyspark.ml.param import Param, Params, TypeConverters
from pyspark.ml.util import DefaultParamsReadable, DefaultParamsWritable
from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F
from pyspark.sql.types import StringType

from airflow_provider_distkeras.contract.errors import DataError
from airflow_provider_distkeras.contract.fields import json_value, mapping_of, text
from airflow_provider_distkeras.ml.parsing import NUMBER, SPARK_TYPES
from airflow_provider_distkeras.ml.reading import quoted


class SelectColumns(Transformer, DefaultParamsWritable, DefaultParamsReadable):
    """Renames the columns a pipeline uses, gives them their recorded types, and lets all others pass.

    Args:
        renamed: new name per raw column that is renamed.
        kinds: what each feature holds (see `contract.dialect.KINDS`), by its new name and in order.
        labelCol: the label by its new name; absent when new data is scored.
        required: features without whose values a row is dropped.
        filled: what stands for a missing value, per feature that has such a constant.
    """

    renamed: Param = Param(Params._dummy(), "renamed", "New name per raw column.", lambda v: mapping_of(text)("renamed", v))
    kinds: Param = Param(Params._dummy(), "kinds", "What each feature holds.", lambda v: mapping_of(text)("kinds", v))
    labelCol: Param = Param(Params._dummy(), "labelCol", "The label, by its new name.", TypeConverters.toString)
    required: Param = Param(Params._dummy(), "required", "Features a row must have.", TypeConverters.toListString)
    filled: Param = Param(
        Params._dummy(), "filled", "Value per feature that may be missing.", lambda v: mapping_of(json_value)("filled", v)
    )

    def __init__(self, **params: Any) -> None:
        super().__init__()
        self._setDefault(renamed={}, kinds={}, labelCol="label", required=[], filled={})
        self._set(**params)

    def new_name(self, column: str) -> str:
        """The name a raw column gets."""
        return str(self.getOrDefault("renamed").get(column, column))

    def kinds_of(self, columns: list[str]) -> dict[str, str]:
        """What each raw column that is a feature holds."""
        kinds = self.getOrDefault("kinds")
        return {name: kinds[self.new_name(name)] for name in columns if self.new_name(name) in kinds}

    def check(self, columns: list[str]) -> None:
        """Raise DataError if a feature is absent from data with these columns, raw or renamed."""
        known = {self.new_name(name) for name in columns}
        old = {new: old for old, new in self.getOrDefault("renamed").items()}
        expected = {name: old.get(name, name) for name in self.getOrDefault("kinds")}
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
        required = self.getOrDefault("required")
        data = data.withColumns({name: self._typed(data, name, kind) for name, kind in self.getOrDefault("kinds").items()})
        return data.dropna(subset=required) if required else data

    def _typed(self, data: DataFrame, name: str, kind: str) -> Column:
        is_text = isinstance(data.schema[name].dataType, StringType)
        typed = F.expr(as_number(name)) if is_text and kind != "text" else F.col(name).cast(SPARK_TYPES[kind])
        filled = self.getOrDefault("filled")
        return F.coalesce(typed, F.lit(filled[name])) if name in filled else typed


def as_number(name: str) -> str:
    """SQL for a column of text as a double: a number, or true and false as 1 and 0; null for what is neither."""
    text = f"CAST({quoted(name)} AS STRING)"
    # Matched first, as a cast that fails costs a Java exception per value.
    return (
        f"CASE WHEN {text} RLIKE r'{NUMBER}' THEN try_cast({text} AS DOUBLE) "
        f"WHEN lower({text}) = 'true' THEN 1.0D WHEN lower({text}) = 'false' THEN 0.0D END"
    )
