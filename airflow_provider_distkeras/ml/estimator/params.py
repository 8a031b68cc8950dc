"""The Params of the Estimator and its Model: one mixin per concern.

Names, checks, defaults and documentation come from `contract.params`, so they are the same in a notebook and in a DAG.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar

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

from airflow_provider_distkeras.contract.fields import Field, choice, list_of, mapping_of, text
from airflow_provider_distkeras.contract.params.choices import BACKENDS
from airflow_provider_distkeras.contract.params.fitting import FITTING
from airflow_provider_distkeras.contract.params.network import HYPERPARAMETERS
from airflow_provider_distkeras.contract.params.trainers import TRAINER_PARAMETERS
from airflow_provider_distkeras.spark.columns import as_floats, joined
from airflow_provider_distkeras.spark.environment import default_backend
from airflow_provider_distkeras.training import trainers

P = TypeVar("P", bound=Params)


def column_names(name: str, value: Any) -> list[str] | dict[str, str]:
    """Return column names as a list, or as a dict by input or output. Raise SpecError for anything else."""
    return mapping_of(text)(name, value) if isinstance(value, dict) else list_of(text, minimum=1)(name, value)


def trainer_name(value: Any) -> str:
    """Return the name of a trainer given as a class of `training.trainers` or by name. Raise SpecError for an unknown one."""
    name = value.__name__ if isinstance(value, type) else value
    return trainers.get(name).__name__


def with_params(fields: Mapping[str, Field]) -> Callable[[type[P]], type[P]]:
    """Return a class decorator that gives a mixin a Param for each field of the contract."""

    def decorate(mixin: type[P]) -> type[P]:
        for name, field in fields.items():
            setattr(mixin, name, Param(Params._dummy(), name, field.doc, typeConverter=partial(field.cast, name)))
        return mixin

    return decorate


@with_params(TRAINER_PARAMETERS)
class HasTrainer(Params):
    """The trainer and its parameters."""

    trainer: Param = Param(Params._dummy(), "trainer", "A trainer of training.trainers, or its name.", typeConverter=trainer_name)


@with_params(HYPERPARAMETERS)
class HasHyperparameters(Params):
    """The network, its loss, its metrics and its optimizer."""


@with_params(FITTING)
class HasFitting(Params):
    """How a fit proceeds: class weights and sampling, validation, callbacks, workers' rows, parameter server, checkpoints."""


class HasInitialModel(Params):
    """The model whose weights a fit begins with."""

    initial_model: Param = Param(
        Params._dummy(),
        "initial_model",
        "Path of a saved DistKerasModel, or of a pipeline that ends in one: layers of the same name and shapes begin with its "
        "weights. Its features must mean the same.",
        typeConverter=partial(text, "initial_model"),
    )


class HasColumns(HasFeaturesCol, HasLabelCol):
    """The columns of features and labels: one of each, or one per input and output of the network."""

    featuresCols: Param = Param(
        Params._dummy(),
        "featuresCols",
        "In place of featuresCol, one column per input: a list in the inputs' order, or a dict by input name.",
        typeConverter=partial(column_names, "featuresCols"),
    )
    labelCols: Param = Param(
        Params._dummy(),
        "labelCols",
        "In place of labelCol, one column per output: a list in the outputs' order, or a dict by output name. For a network with "
        "one output, the columns of its values in their order, under any names.",
        typeConverter=partial(column_names, "labelCols"),
    )

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


class HasBackend(Params):
    """The Keras backend of the workers."""

    backend: Param = Param(
        Params._dummy(),
        "backend",
        f"Keras backend of the workers: {', '.join(BACKENDS)}; else KERAS_BACKEND, else tensorflow.",
        typeConverter=partial(choice("backend", BACKENDS), "backend"),
    )

    def backend_name(self) -> str:
        """Return the backend that is set, or the default."""
        return str(self.getOrDefault("backend")) if self.isDefined("backend") else default_backend()


class HasPredictions(HasPredictionCol, HasProbabilityCol, HasRawPredictionCol):
    """The columns of predictions, and how they are computed."""

    predict_batch_size: Param = Param(
        Params._dummy(), "predict_batch_size", "Rows per call of the network.", typeConverter=TypeConverters.toInt
    )


class DistKerasParams(
    HasTrainer, HasHyperparameters, HasInitialModel, HasFitting, HasColumns, HasBackend, HasPredictions, HasWeightCol,
    HasValidationIndicatorCol, HasSeed,
):  # fmt: skip
    """All Params of the Estimator and its Model."""

    if TYPE_CHECKING:

        def __getattr__(self, name: str) -> Param: ...  # the Params of `contract.params`, such as `estimator.batch_size`

    def values_of(self, fields: Iterable[str]) -> dict[str, Any]:
        """Return the values of the Params of these names, defaults included, without those that have no value."""
        return {name: self.getOrDefault(name) for name in fields if self.isDefined(name)}

    def param_map(self, values: Mapping[str, Any]) -> dict[Param, Any]:
        """Return values by name as a map of Params, such as `fit` takes."""
        return {self.getParam(name): value for name, value in values.items()}

    def _set_contract_defaults(self) -> None:
        fields = {**HYPERPARAMETERS, **FITTING}
        self._setDefault(**{name: field.default for name, field in fields.items() if field.default is not None})
