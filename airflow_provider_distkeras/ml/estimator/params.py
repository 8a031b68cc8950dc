"""The Params of the Estimator and its Model: one mixin per concern.

Names, checks, defaults and documentation come from `contract.params`, so a notebook and a DAG are told the same.
"""

from __future__ import annotations

from functools import partial
from typing import Any

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
from airflow_provider_distkeras.contract.params import BACKENDS, FITTING, HYPERPARAMETERS, TRAINER_PARAMETERS
from airflow_provider_distkeras.spark.columns import as_floats, joined
from airflow_provider_distkeras.spark.environment import default_backend
from airflow_provider_distkeras.training import trainers


def _param(name: str, field: Field) -> Param:
    return Param(Params._dummy(), name, field.doc, typeConverter=partial(field.cast, name))


def columns(name: str, value: Any) -> list[str] | dict[str, str]:
    """Column names as a list or as a dict."""
    return mapping_of(text)(name, value) if isinstance(value, dict) else list_of(text, minimum=1)(name, value)


def trainer_name(value: Any) -> str:
    """The name of a trainer given as a class of `training.trainers` or by name."""
    name = value.__name__ if isinstance(value, type) else value
    return trainers.get(name).__name__


class HasTrainer(Params):
    """Which trainer, and its parameters."""

    trainer: Param = Param(Params._dummy(), "trainer", "A trainer of training.trainers, or its name.", typeConverter=trainer_name)
    batch_size = _param("batch_size", TRAINER_PARAMETERS["batch_size"])
    num_epoch = _param("num_epoch", TRAINER_PARAMETERS["num_epoch"])
    num_workers = _param("num_workers", TRAINER_PARAMETERS["num_workers"])
    communication_window = _param("communication_window", TRAINER_PARAMETERS["communication_window"])
    num_ensembles = _param("num_ensembles", TRAINER_PARAMETERS["num_ensembles"])
    rho = _param("rho", TRAINER_PARAMETERS["rho"])
    momentum = _param("momentum", TRAINER_PARAMETERS["momentum"])
    outer_learning_rate = _param("outer_learning_rate", TRAINER_PARAMETERS["outer_learning_rate"])
    outer_momentum = _param("outer_momentum", TRAINER_PARAMETERS["outer_momentum"])
    deterministic = _param("deterministic", TRAINER_PARAMETERS["deterministic"])


class HasNetwork(Params):
    """The network: by its layers, or one of the user's own."""

    layer_dims = _param("layer_dims", HYPERPARAMETERS["layer_dims"])
    activations = _param("activations", HYPERPARAMETERS["activations"])
    initializers = _param("initializers", HYPERPARAMETERS["initializers"])
    regularizer = _param("regularizer", HYPERPARAMETERS["regularizer"])
    reg_strength = _param("reg_strength", HYPERPARAMETERS["reg_strength"])
    reg_decay = _param("reg_decay", HYPERPARAMETERS["reg_decay"])
    dropout_rate = _param("dropout_rate", HYPERPARAMETERS["dropout_rate"])
    network = _param("network", HYPERPARAMETERS["network"])
    input_shape = _param("input_shape", HYPERPARAMETERS["input_shape"])
    custom_objects = _param("custom_objects", HYPERPARAMETERS["custom_objects"])
    dtype = _param("dtype", HYPERPARAMETERS["dtype"])


class HasObjective(Params):
    """What is minimized, and how the weights move."""

    loss = _param("loss", HYPERPARAMETERS["loss"])
    loss_weights = _param("loss_weights", HYPERPARAMETERS["loss_weights"])
    metrics = _param("metrics", HYPERPARAMETERS["metrics"])
    optimizer = _param("optimizer", HYPERPARAMETERS["optimizer"])
    learning_rate = _param("learning_rate", HYPERPARAMETERS["learning_rate"])
    lr_decay = _param("lr_decay", HYPERPARAMETERS["lr_decay"])


class HasSelection(Params):
    """Which rows count how much, which are validated on, and when training stops."""

    class_weight = _param("class_weight", FITTING["class_weight"])
    validation_split = _param("validation_split", FITTING["validation_split"])
    patience = _param("patience", FITTING["patience"])
    min_delta = _param("min_delta", FITTING["min_delta"])


class HasExecution(Params):
    """How a fit runs on the cluster, and what it tells meanwhile."""

    callbacks = _param("callbacks", FITTING["callbacks"])
    callbacks_on = _param("callbacks_on", FITTING["callbacks_on"])
    cache_mb = _param("cache_mb", FITTING["cache_mb"])
    force_repartition = _param("force_repartition", FITTING["force_repartition"])
    timeout = _param("timeout", FITTING["timeout"])
    encryption = _param("encryption", FITTING["encryption"])
    server_shards = _param("server_shards", FITTING["server_shards"])
    snapshot_path = _param("snapshot_path", FITTING["snapshot_path"])
    snapshot_seconds = _param("snapshot_seconds", FITTING["snapshot_seconds"])
    progress_path = _param("progress_path", FITTING["progress_path"])


class HasColumns(Params):
    """The columns of networks with several inputs or outputs, in place of featuresCol and labelCol."""

    featuresCols: Param = Param(
        Params._dummy(),
        "featuresCols",
        "Feature columns, one per input: a list in the inputs' order, or a dict by input name.",
        typeConverter=partial(columns, "featuresCols"),
    )
    labelCols: Param = Param(
        Params._dummy(),
        "labelCols",
        "Label columns, one per output: a list in the outputs' order, or a dict by output name.",
        typeConverter=partial(columns, "labelCols"),
    )


class HasBackend(Params):
    """The Keras backend of the workers."""

    backend: Param = Param(
        Params._dummy(),
        "backend",
        "Keras backend of the workers: tensorflow, jax or torch; else KERAS_BACKEND, else tensorflow.",
        typeConverter=partial(choice("backend", BACKENDS), "backend"),
    )

    def backend_name(self) -> str:
        """The backend asked for, or the default."""
        return str(self.getOrDefault("backend")) if self.isDefined("backend") else default_backend()


class HasPredictions(HasFeaturesCol, HasPredictionCol, HasProbabilityCol, HasRawPredictionCol, HasBackend):
    """What both the Estimator and its Model know: where the features are and where predictions go."""

    predict_batch_size: Param = Param(
        Params._dummy(), "predict_batch_size", "Rows per call of the network.", typeConverter=TypeConverters.toInt
    )


class DistKerasParams(
    HasTrainer, HasNetwork, HasObjective, HasSelection, HasExecution, HasPredictions, HasColumns,
    HasLabelCol, HasWeightCol, HasValidationIndicatorCol, HasSeed,
):  # fmt: skip
    """All Params of the Estimator."""

    def said(self, fields: dict[str, Field]) -> dict[str, Any]:
        """The values of these Params, defaults included, less those that have none."""
        return {name: self.getOrDefault(name) for name in fields if self.isDefined(name)}

    def feature_columns(self) -> dict[str, str]:
        """The feature columns by the input they are for; by position where no inputs were named."""
        return self._columns("featuresCols", self.getFeaturesCol())

    def features(self, data: DataFrame, columns: list[str]) -> Column:
        """All features of a row as one array of float32. Raises DataError for a column that cannot be one of them."""
        several = self.isDefined("featuresCols")
        return joined([as_floats(data, column, numbers=several) for column in columns])

    def label_columns(self) -> dict[str, str]:
        """The label columns by the output they are for; by position where no outputs were named."""
        return self._columns("labelCols", self.getLabelCol())

    def _columns(self, several: str, one: str) -> dict[str, str]:
        said = self.getOrDefault(several) if self.isDefined(several) else [one]
        return said if isinstance(said, dict) else {str(position): column for position, column in enumerate(said)}

    def _set_vocabulary_defaults(self) -> None:
        fields = {**HYPERPARAMETERS, **FITTING}
        self._setDefault(**{name: field.default for name, field in fields.items() if field.default is not None})
