"""The Params of the Estimator and its Model: one mixin per concern.

Names, checks, defaults and documentation come from `contract.params`, so they are the same in a notebook and in a DAG.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
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


def column_names(name: str, value: Any) -> list[str] | dict[str, str]:
    """Return column names as a list, or as a dict by input or output. Raise SpecError for anything else."""
    return mapping_of(text)(name, value) if isinstance(value, dict) else list_of(text, minimum=1)(name, value)


def trainer_name(value: Any) -> str:
    """Return the name of a trainer given as a class of `training.trainers` or by name. Raise SpecError for an unknown one."""
    name = value.__name__ if isinstance(value, type) else value
    return trainers.get(name).__name__


class HasTrainer(Params):
    """The trainer and its parameters."""

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
    """The network, by its layers or as a network of the user's own."""

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
    """The loss, the metrics and the optimizer."""

    loss = _param("loss", HYPERPARAMETERS["loss"])
    loss_weights = _param("loss_weights", HYPERPARAMETERS["loss_weights"])
    metrics = _param("metrics", HYPERPARAMETERS["metrics"])
    optimizer = _param("optimizer", HYPERPARAMETERS["optimizer"])
    learning_rate = _param("learning_rate", HYPERPARAMETERS["learning_rate"])
    lr_decay = _param("lr_decay", HYPERPARAMETERS["lr_decay"])


class HasClassWeight(Params):
    """The weights of classes."""

    class_weight = _param("class_weight", FITTING["class_weight"])


class HasValidation(Params):
    """The share of rows to validate on, in place of validationIndicatorCol."""

    validation_split = _param("validation_split", FITTING["validation_split"])


class HasEarlyStopping(Params):
    """When training stops early."""

    patience = _param("patience", FITTING["patience"])
    min_delta = _param("min_delta", FITTING["min_delta"])


class HasCallbacks(Params):
    """Keras callbacks, and where they run."""

    callbacks = _param("callbacks", FITTING["callbacks"])
    callbacks_on = _param("callbacks_on", FITTING["callbacks_on"])


class HasWorkerRows(Params):
    """How rows are distributed to workers and cached there."""

    cache_mb = _param("cache_mb", FITTING["cache_mb"])
    force_repartition = _param("force_repartition", FITTING["force_repartition"])


class HasServer(Params):
    """The parameter server: its shards, its encryption, and how long it is waited for."""

    timeout = _param("timeout", FITTING["timeout"])
    encryption = _param("encryption", FITTING["encryption"])
    server_shards = _param("server_shards", FITTING["server_shards"])


class HasCheckpoints(Params):
    """Where a fit writes its checkpoints and its progress."""

    snapshot_path = _param("snapshot_path", FITTING["snapshot_path"])
    snapshot_seconds = _param("snapshot_seconds", FITTING["snapshot_seconds"])
    progress_path = _param("progress_path", FITTING["progress_path"])


class HasColumns(Params):
    """The columns of networks with several inputs or outputs, in place of featuresCol and labelCol."""

    featuresCols: Param = Param(
        Params._dummy(),
        "featuresCols",
        "Feature columns, one per input: a list in the inputs' order, or a dict by input name.",
        typeConverter=partial(column_names, "featuresCols"),
    )
    labelCols: Param = Param(
        Params._dummy(),
        "labelCols",
        "Label columns, one per output: a list in the outputs' order, or a dict by output name.",
        typeConverter=partial(column_names, "labelCols"),
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
        """Return the backend that is set, or the default."""
        return str(self.getOrDefault("backend")) if self.isDefined("backend") else default_backend()


class HasPredictions(HasFeaturesCol, HasPredictionCol, HasProbabilityCol, HasRawPredictionCol, HasBackend):
    """The columns of features and predictions, and how predictions are computed."""

    predict_batch_size: Param = Param(
        Params._dummy(), "predict_batch_size", "Rows per call of the network.", typeConverter=TypeConverters.toInt
    )


class DistKerasParams(
    HasTrainer, HasNetwork, HasObjective, HasClassWeight, HasValidation, HasEarlyStopping, HasCallbacks, HasWorkerRows, HasServer,
    HasCheckpoints, HasPredictions, HasColumns, HasLabelCol, HasWeightCol, HasValidationIndicatorCol, HasSeed,
):  # fmt: skip
    """All Params of the Estimator."""

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
