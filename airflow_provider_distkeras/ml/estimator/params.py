"""The Params of the Estimator and its Model.

Names, checks, defaults and documentation come from `contract.params`, so they are the same in a notebook and in a DAG.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import partial
from typing import TYPE_CHECKING, Any

from pyspark.ml.param import Param, Params, TypeConverters
from pyspark.ml.param.shared import (
    HasFeaturesCol,
    HasLabelCol,
    HasPredictionCol,
    HasProbabilityCol,
    HasRawPredictionCol,
    HasSeed,
    HasValidationIndicatorCol,
    HasWeightCol,
)
from pyspark.sql import Column, DataFrame

from airflow_provider_distkeras.contract.fields import choice, list_of, mapping_of, text
from airflow_provider_distkeras.contract.params import BACKENDS, FITTING, HYPERPARAMETERS, TRAINER_PARAMETERS
from airflow_provider_distkeras.spark.columns import as_floats, joined
from airflow_provider_distkeras.spark.environment import default_backend
from airflow_provider_distkeras.training import trainers


def column_names(name: str, value: Any) -> list[str] | dict[str, str]:
    """Return column names as a list, or as a dict by input or output. Raise SpecError for anything else."""
    return mapping_of(text)(name, value) if isinstance(value, dict) else list_of(text, minimum=1)(name, value)


def trainer_name(value: Any) -> str:
    """Return the name of a trainer given as a class of `training.trainers` or by name. Raise SpecError for an unknown one."""
    name = value.__name__ if isinstance(value, type) else value
    return trainers.get(name).__name__


class DistKerasParams(
    HasFeaturesCol, HasLabelCol, HasWeightCol, HasValidationIndicatorCol, HasSeed, HasPredictionCol, HasProbabilityCol,
    HasRawPredictionCol,
):  # fmt: skip
    """All Params of the Estimator and its Model: Spark's shared ones, these, and every name of `contract.params`."""

    trainer: Param = Param(Params._dummy(), "trainer", "A trainer of training.trainers, or its name.", typeConverter=trainer_name)
    backend: Param = Param(
        Params._dummy(),
        "backend",
        f"Keras backend of the workers: {', '.join(BACKENDS)}; else KERAS_BACKEND, else tensorflow.",
        typeConverter=partial(choice("backend", BACKENDS), "backend"),
    )
    featuresCols: Param = Param(
        Params._dummy(),
        "featuresCols",
        "In place of featuresCol, one column per input: a list in the inputs' order, or a dict by input name.",
        typeConverter=partial(column_names, "featuresCols"),
    )
    labelCols: Param = Param(
        Params._dummy(),
        "labelCols",
        "In place of labelCol, one column per output: a list in the outputs' order, or a dict by output name.",
        typeConverter=partial(column_names, "labelCols"),
    )
    predict_batch_size: Param = Param(
        Params._dummy(), "predict_batch_size", "Rows per call of the network.", typeConverter=TypeConverters.toInt
    )

    if TYPE_CHECKING:

        def __getattr__(self, name: str) -> Param: ...  # the Params of `contract.params`, such as `estimator.batch_size`

    def backend_name(self) -> str:
        """Return the backend that is set, or the default."""
        return str(self.getOrDefault("backend")) if self.isDefined("backend") else default_backend()

    def values_of(self, fields: Iterable[str]) -> dict[str, Any]:
        """Return the values of the Params of these names, defaults included, without those that have no value."""
        return {name: self.getOrDefault(name) for name in fields if self.isDefined(name)}

    def param_map(self, values: Mapping[str, Any]) -> dict[Param, Any]:
        """Return values by name as a map of Params, such as `fit` takes."""
        return {self.getParam(name): value for name, value in values.items()}

    def feature_columns(self) -> dict[str, str]:
        """Return the feature columns by the input they are for, or by position where no inputs are named."""
        return self._columns("featuresCols", self.getFeaturesCol())

    def label_columns(self) -> dict[str, str]:
        """Return the label columns by the output they are for, or by position where no outputs are named."""
        return self._columns("labelCols", self.getLabelCol())

    def features(self, data: DataFrame, columns: list[str]) -> Column:
        """Return all features of a row as one array of float32. Raise DataError for a column that cannot hold features."""
        several = self.isDefined("featuresCols")
        return joined([as_floats(data, column, numbers=several) for column in columns])

    def _columns(self, param: str, single: str) -> dict[str, str]:
        names = self.getOrDefault(param) if self.isDefined(param) else [single]
        return names if isinstance(names, dict) else {str(position): column for position, column in enumerate(names)}

    def _set_contract_defaults(self) -> None:
        fields = {**HYPERPARAMETERS, **FITTING}
        self._setDefault(**{name: field.default for name, field in fields.items() if field.default is not None})


for _name, _field in {**TRAINER_PARAMETERS, **HYPERPARAMETERS, **FITTING}.items():
    setattr(DistKerasParams, _name, Param(Params._dummy(), _name, _field.doc, typeConverter=partial(_field.cast, _name)))
