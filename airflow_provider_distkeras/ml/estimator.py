"""`DistKeras`: a Spark ML Estimator that trains a Keras network on the whole cluster."""

from __future__ import annotations

import importlib.util
import logging
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import accumulate
from typing import Any

from pyspark.ml import Estimator
from pyspark.ml.base import _FitMultipleIterator
from pyspark.ml.util import DefaultParamsReadable, DefaultParamsWritable
from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from airflow_provider_distkeras.contract import vocabulary
from airflow_provider_distkeras.contract.errors import DivergenceError, SpecError
from airflow_provider_distkeras.contract.fields import check_names
from airflow_provider_distkeras.ml import selection
from airflow_provider_distkeras.ml.artifact import to_bytes
from airflow_provider_distkeras.ml.features import as_labels, check_numeric, count_values, in_order
from airflow_provider_distkeras.ml.model import DistKerasModel
from airflow_provider_distkeras.ml.network import Blueprint, blueprint, input_names, output_names
from airflow_provider_distkeras.ml.params import DistKerasParams, trainer_name
from airflow_provider_distkeras.ml.snapshots import Snapshots
from airflow_provider_distkeras.ml.storage import storage_for
from airflow_provider_distkeras.training import callbacks, engine, trainers
from airflow_provider_distkeras.training.dataset import FEATURES, LABEL, VALIDATION, WEIGHT
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
        twice = sorted({*(trainer_params or {})} & {*params})
        if twice:
            raise SpecError(f"{twice[0]!r} is both in trainer_params and an argument of its own: leave it in one of them.")
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
        trainer, backend = self._trainer(), self._check_backend()
        said = self.said({**vocabulary.HYPERPARAMETERS, **vocabulary.FITTING})
        network = self._blueprint(dataset, trainer, said, backend)
        data = self._prepare(dataset, network, said)
        run = self._run(dataset, trainer, network, said, backend)
        members, summary = engine.train(data, run, network.initial)
        logger.info(
            "%s: %s rows x %d epochs in %.1f s (%s samples/s), loss %.4g",
            summary.trainer, f"{summary.rows:,}", summary.epochs, summary.seconds, f"{summary.samples_per_second:,.0f}",
            summary.loss[-1],
        )  # fmt: skip
        return self._model(network, members, summary, backend)

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

    def _blueprint(self, dataset: DataFrame, trainer: Trainer, said: dict[str, Any], backend: str) -> Blueprint:
        """The network, for the sizes of the data's columns."""
        features, labels = self.feature_columns(), self.label_columns()
        self.features(dataset, list(features.values()))
        for column in labels.values():
            as_labels(dataset, column)
        label_sizes = {name: count_values(dataset, column) for name, column in labels.items()}
        vocabulary.check_network(said, sum(label_sizes.values()))
        return blueprint(
            said,
            {name: count_values(dataset, column) for name, column in features.items()},
            label_sizes,
            self.getSeed(),
            backend,
            trainer.optimizer(said["optimizer"]),
            trainer.num_workers if isinstance(trainer, trainers.EnsembleTrainer) else 1,
        )

    def _prepare(self, dataset: DataFrame, network: Blueprint, said: dict[str, Any]) -> DataFrame:
        """The columns a worker trains on, as float32."""
        features = in_order(self.feature_columns(), input_names(network.network), "featuresCols")
        labels = in_order(self.label_columns(), output_names(network.network), "labelCols")
        columns = [
            self.features(dataset, features).alias(FEATURES),
            F.concat(*[as_labels(dataset, column) for column in labels]).alias(LABEL),
        ]
        if self.isDefined("weightCol"):
            check_numeric(dataset, self.getWeightCol(), "weightCol")
            columns.append(F.col(self.getWeightCol()).cast("float").alias(WEIGHT))
        if self.isDefined("validationIndicatorCol"):
            if said["validation_split"]:
                raise SpecError(
                    "Two ways to say what to validate on: validationIndicatorCol and validation_split. Set one of them."
                )
            columns.append(selection.indicator(dataset, self.getValidationIndicatorCol()).alias(VALIDATION))
        data = dataset.select(*columns)
        if said["validation_split"]:
            data = data.withColumn(VALIDATION, selection.split(said["validation_split"], self.getSeed()))
        positions = accumulate(network.plan.label_sizes, initial=0)
        for output, size, position in zip(network.outputs, network.plan.label_sizes, positions, strict=False):
            if vocabulary.is_classification(output.loss) and size == 1:
                selection.check_classes(data, output, position)
        if said.get("class_weight") is not None:
            data = selection.weigh_classes(data, said["class_weight"], network.outputs)
        return data

    def _run(self, dataset: DataFrame, trainer: Trainer, network: Blueprint, said: dict[str, Any], backend: str) -> engine.Run:
        for path in said.get("callbacks") or ():
            callbacks.make(path)
        run = engine.Run(
            trainer=trainer,
            plan=network.plan,
            values=network.values,
            trainable=network.trainable,
            learning_rate=said["learning_rate"],
            lr_decay=said["lr_decay"],
            seed=self.getSeed() % 2**32,
            backend=backend,
            validates=bool(self.isDefined("validationIndicatorCol") or said["validation_split"]),
            patience=said.get("patience"),
            min_delta=said["min_delta"],
            callbacks=tuple(said.get("callbacks") or ()),
            callbacks_on=said["callbacks_on"],
            cache_bytes=int(said["cache_mb"] * 2**20),
            force_repartition=said["force_repartition"],
            timeout=said["timeout"],
            encryption=said["encryption"],
            shards=said.get("server_shards"),
            snapshot_seconds=said["snapshot_seconds"],
            progress_path=said.get("progress_path"),
        )
        if said.get("snapshot_path") is None:
            return run
        storage = storage_for(dataset.sparkSession, said["snapshot_path"])
        return replace(run, snapshots=Snapshots(storage, said["snapshot_path"], run, network.initial))

    def _model(self, network: Blueprint, members: Any, summary: TrainingSummary, backend: str) -> DistKerasModel:
        content = to_bytes(network.trained(members))
        model = DistKerasModel(content, network.plan.custom_modules, network.outputs, summary)
        return self._hand_over(model)._set(backend=backend)

    def _diverged(self) -> DistKerasModel:
        return self._hand_over(DistKerasModel())

    def _hand_over(self, model: DistKerasModel) -> DistKerasModel:
        model._resetUid(self.uid)
        return self._copyValues(model)
