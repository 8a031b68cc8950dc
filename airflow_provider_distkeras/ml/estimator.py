"""`DistKeras`: a Spark ML Estimator that trains a Keras network on the whole cluster."""

from __future__ import annotations

import importlib.util
import logging
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from pyspark.ml import Estimator
from pyspark.ml.base import _FitMultipleIterator
from pyspark.ml.util import DefaultParamsReadable, DefaultParamsWritable
from pyspark.sql import DataFrame
from pyspark.sql import functions as F
from pyspark.sql.types import NumericType

from airflow_provider_distkeras.contract import vocabulary
from airflow_provider_distkeras.contract.errors import DataError, DivergenceError, SpecError
from airflow_provider_distkeras.contract.fields import check_names
from airflow_provider_distkeras.ml.artifact import to_bytes
from airflow_provider_distkeras.ml.features import as_floats, check_column, count_features
from airflow_provider_distkeras.ml.model import DistKerasModel
from airflow_provider_distkeras.ml.network import Blueprint, blueprint
from airflow_provider_distkeras.ml.params import DistKerasParams, trainer_name
from airflow_provider_distkeras.training import engine, trainers, weights
from airflow_provider_distkeras.training.dataset import FEATURES, LABEL
from airflow_provider_distkeras.training.summary import TrainingSummary
from airflow_provider_distkeras.training.trainers import Trainer

logger = logging.getLogger(__name__)


class DistKeras(Estimator, DistKerasParams, DefaultParamsWritable, DefaultParamsReadable):
    """Trains a Keras network on a DataFrame of features and labels, distributed over Spark tasks.

    Every name of `contract.vocabulary` is a Param, so each may be set here, by `setParams`, or varied in a grid. A cross
    entropy as `loss` makes the model a classifier, whose labels are the class numbers 0, 1, ....

    Args:
        trainer: a class of `training.trainers`, or its name.
        trainer_params: the trainer's parameters, such as batch_size, num_epoch, num_workers, communication_window.
        **params: any other Params, such as layer_dims, loss, featuresCol, seed, backend.

    Raises:
        SpecError: a name that does not exist, or a value of a wrong type or range.

    Example:
        >>> estimator = DistKeras(trainers.ADAG, {"batch_size": 256, "num_workers": 8}, layer_dims=[None, 64, 32, 1])
        >>> model = estimator.fit(df_train)
        >>> model.transform(df_test)  # with a double column "prediction"
    """

    def __init__(
        self, trainer: type[Trainer] | str = trainers.ADAG, trainer_params: Mapping[str, Any] | None = None, **params: Any
    ) -> None:
        super().__init__()
        self._set_vocabulary_defaults()
        self._setDefault(trainer="ADAG", seed=0, predict_batch_size=4096)
        name = trainer_name(trainer)
        check_names(f"parameter of {name}", trainer_params or {}, vocabulary.trainer_fields(name))
        self.setParams(trainer=name, **(trainer_params or {}), **params)

    def setParams(self, **params: Any) -> DistKeras:
        """Set Params by name. Raises SpecError for a name that is not a Param."""
        check_names("Param of DistKeras", params, [p.name for p in self.params])
        self._set(**{name: value for name, value in params.items() if value is not None})
        return self

    def fitMultiple(self, dataset: DataFrame, paramMaps: Sequence[Any]) -> Iterator[tuple[int, DistKerasModel]]:
        """Fit one model per map of Params, as tuning does.

        A cell whose training diverges gives a model that predicts infinity, or no class, so that r2, the errors and the
        accuracies rank it last and the other cells are not lost; `fit` raises.
        """

        def fit_cell(index: int) -> DistKerasModel:
            cell = self.copy(paramMaps[index])
            try:
                return cell.fit(dataset)
            except DivergenceError as error:
                logger.warning("Cell %d counts as the worst: %s", index, str(error).splitlines()[0])
                return cell._diverged()

        return _FitMultipleIterator(fit_cell, len(paramMaps))

    def _fit(self, dataset: DataFrame) -> DistKerasModel:
        trainer = self._trainer()
        said = self.said(vocabulary.HYPERPARAMETERS)
        vocabulary.check_network(said)
        data = self._prepare(dataset)
        backend = self._check_backend()
        network = blueprint(said, count_features(dataset, self.getFeaturesCol()), self.getSeed(), backend)
        if vocabulary.is_classification(said["loss"]):
            _check_classes(data, network.network.output_shape[-1], said["loss"])
        center, summary = engine.train(data, self._run(trainer, network, said, backend), network.initial)
        logger.info(
            "%s: %s rows x %d epochs in %.1f s (%s samples/s), loss %.4g",
            summary.trainer, f"{summary.rows:,}", summary.epochs, summary.seconds, f"{summary.samples_per_second:,.0f}",
            summary.loss[-1],
        )  # fmt: skip
        return self._model(network, center, summary, backend)

    def _trainer(self) -> Trainer:
        """The trainer with its parameters. Raises SpecError for a parameter that was set but is another trainer's."""
        name = self.getOrDefault("trainer")
        known = vocabulary.trainer_fields(name)
        said = {p: self.getOrDefault(p) for p in vocabulary.TRAINER_PARAMETERS if self.isSet(self.getParam(p))}
        check_names(f"parameter of {name}", said, known)
        return trainers.get(name)(**said)

    def _check_backend(self) -> str:
        """The backend's name. Raises SpecError if it is not installed here, where the network is made."""
        backend = self.backend_name()
        if importlib.util.find_spec(backend) is None:
            raise SpecError(
                f"backend: {backend!r} is not installed. Install it in the driver's and the executors' Python, such as: "
                f"pip install {backend}; or choose another of {', '.join(vocabulary.BACKENDS)}."
            )
        return backend

    def _prepare(self, dataset: DataFrame) -> DataFrame:
        """The columns a worker trains on, as float32."""
        label = self.getLabelCol()
        check_column(dataset, label, "labelCol")
        kind = dataset.schema[label].dataType
        if not isinstance(kind, NumericType):
            raise DataError(
                f"labelCol: expected numbers in {label!r}, received {kind.simpleString()}. For classes, index them first "
                "(StringIndexer, or process_csv with the label in categorical_columns)."
            )
        return dataset.select(as_floats(dataset, self.getFeaturesCol()).alias(FEATURES), F.col(label).cast("float").alias(LABEL))

    def _run(self, trainer: Trainer, network: Blueprint, said: dict[str, Any], backend: str) -> engine.Run:
        return engine.Run(
            trainer=trainer,
            plan=network.plan,
            trainable=network.trainable,
            learning_rate=said["learning_rate"],
            lr_decay=said["lr_decay"],
            seed=self.getSeed(),
            backend=backend,
        )

    def _model(self, network: Blueprint, center: Any, summary: TrainingSummary, backend: str) -> DistKerasModel:
        weights.set_flat(network.network, center)
        model = DistKerasModel(to_bytes(network.network), network.plan.custom_module, summary)
        return self._hand_over(model)._set(backend=backend)

    def _diverged(self) -> DistKerasModel:
        return self._hand_over(DistKerasModel())

    def _hand_over(self, model: DistKerasModel) -> DistKerasModel:
        model._resetUid(self.uid)
        return self._copyValues(model)


def _check_classes(data: DataFrame, units: int, loss: str) -> None:
    """Raise DataError for a label that is not one of the classes that the network tells apart."""
    classes = max(units, 2)
    label = F.col(LABEL)
    bad = data.where((label < 0) | (label != F.floor(label)) | (label >= classes)).select(LABEL).first()
    if bad is not None:
        raise DataError(
            f"labelCol: expected class numbers 0 to {classes - 1} (loss {loss}, {units} output{'s' if units > 1 else ''}), "
            f"received {bad[LABEL]:g}. For more classes, use categorical_crossentropy with an output per class."
        )
