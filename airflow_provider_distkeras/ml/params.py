"""The Params of the Estimator and its Model: one mixin per concern.

Names, checks, defaults and documentation come from `contract.vocabulary`, so a notebook and a DAG are told the same.
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
)

from airflow_provider_distkeras.contract.fields import Field, choice
from airflow_provider_distkeras.contract.vocabulary import BACKENDS, HYPERPARAMETERS, TRAINER_PARAMETERS
from airflow_provider_distkeras.training import trainers
from airflow_provider_distkeras.training.environment import default_backend


def _param(name: str, field: Field) -> Param:
    return Param(Params._dummy(), name, field.doc, typeConverter=partial(field.cast, name))


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


class HasObjective(Params):
    """What is minimized, and how the weights move."""

    loss = _param("loss", HYPERPARAMETERS["loss"])
    metrics = _param("metrics", HYPERPARAMETERS["metrics"])
    optimizer = _param("optimizer", HYPERPARAMETERS["optimizer"])
    learning_rate = _param("learning_rate", HYPERPARAMETERS["learning_rate"])
    lr_decay = _param("lr_decay", HYPERPARAMETERS["lr_decay"])


class HasBackend(Params):
    """The Keras backend of the workers."""

    backend: Param = Param(
        Params._dummy(),
        "backend",
        "Keras backend of the workers: tensorflow or jax; else KERAS_BACKEND, else tensorflow.",
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


class DistKerasParams(HasTrainer, HasNetwork, HasObjective, HasPredictions, HasLabelCol, HasSeed):
    """All Params of the Estimator."""

    def said(self, fields: dict[str, Field]) -> dict[str, Any]:
        """The values of these Params, defaults included, less those that have none."""
        return {name: self.getOrDefault(name) for name in fields if self.isDefined(name)}

    def _set_vocabulary_defaults(self) -> None:
        self._setDefault(**{name: field.default for name, field in HYPERPARAMETERS.items() if field.default is not None})
