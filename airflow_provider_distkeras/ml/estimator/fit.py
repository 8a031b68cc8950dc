"""One fit of an estimator: validate its Params, prepare the rows, run the training, collect the model."""

from __future__ import annotations

import importlib.util
import logging
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import accumulate
from typing import Any

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from airflow_provider_distkeras.contract.errors import SpecError
from airflow_provider_distkeras.contract.fields import check_names
from airflow_provider_distkeras.contract.params.choices import BACKENDS
from airflow_provider_distkeras.contract.params.fitting import FITTING
from airflow_provider_distkeras.contract.params.label_transforms import NONE, check_label_transform, transforms_of
from airflow_provider_distkeras.contract.params.losses import is_positive
from airflow_provider_distkeras.contract.params.network import HYPERPARAMETERS
from airflow_provider_distkeras.contract.params.objectives import is_classification
from airflow_provider_distkeras.contract.params.schedules import REDUCE_ON_PLATEAU, check_rates
from airflow_provider_distkeras.contract.params.trainers import TRAINER_PARAMETERS, trainer_fields
from airflow_provider_distkeras.ml.data.feature_statistics import FILLED
from airflow_provider_distkeras.ml.estimator import sample_weights
from airflow_provider_distkeras.ml.estimator.checkpoints import CheckpointFile
from airflow_provider_distkeras.ml.estimator.fold import PART
from airflow_provider_distkeras.ml.estimator.model import DistKerasModel
from airflow_provider_distkeras.ml.estimator.network_cache import NETWORK_LOCK, NetworkCache
from airflow_provider_distkeras.ml.estimator.params import DistKerasParams
from airflow_provider_distkeras.ml.estimator.sample_weights import ClassSampling, ClassWeights, fitted_labels
from airflow_provider_distkeras.ml.network.builder import BuiltNetwork
from airflow_provider_distkeras.ml.network.inference import OutputKind, output_kind
from airflow_provider_distkeras.ml.network.label_units import output_activations
from airflow_provider_distkeras.ml.network.serialization import to_bytes
from airflow_provider_distkeras.spark.columns import as_labels, by_output, check_numeric, in_order, is_standardized, joined
from airflow_provider_distkeras.spark.storage import storage_for
from airflow_provider_distkeras.training import callbacks, driver, trainers
from airflow_provider_distkeras.training.algorithms.rule import Matrix
from airflow_provider_distkeras.training.backends.label_transform import LabelTransform
from airflow_provider_distkeras.training.backends.structure import input_names, output_names
from airflow_provider_distkeras.training.dataset import FEATURES, LABEL, VALIDATION, WEIGHT
from airflow_provider_distkeras.training.server.ledger import Plateau
from airflow_provider_distkeras.training.settings import WorkerSettings
from airflow_provider_distkeras.training.single_worker import SingleWorkerFit
from airflow_provider_distkeras.training.summary import TrainingSummary
from airflow_provider_distkeras.training.trainers import Trainer

logger = logging.getLogger(__name__)

#: Params that decide what `FitPlan.shared_rows` returns.
_ROW_PARAMS = ("featuresCol", "featuresCols", "labelCol", "labelCols", "weightCol", "validationIndicatorCol", "cache_mb")


@dataclass(frozen=True)
class FitPlan:
    """Everything that a fit needs besides the rows, validated.

    Attributes:
        params: the Params of the estimator.
        settings: the trainer and the optimizer, as the workers take them.
        backend: the Keras backend's name.
        options: the values of HYPERPARAMETERS and FITTING.
        network: the network, with its initial weights.
        label_transform: of the labels that it is trained on, to be fitted on the training rows; None to take them as they are.
    """

    params: DistKerasParams
    settings: WorkerSettings
    backend: str
    options: dict[str, Any]
    network: BuiltNetwork
    label_transform: LabelTransform | None

    @classmethod
    def of(cls, params: DistKerasParams, dataset: DataFrame, networks: NetworkCache | None = None) -> FitPlan:
        """Validate an estimator's Params and build its network.

        Args:
            params: the estimator's Params.
            dataset: the rows it will be fitted on, or rows of the same columns.
            networks: the networks that other fits on these columns have built; a new one is added.

        Raises:
            SpecError: the Params do not go together.
            DataError: a column is missing, or cannot hold features or labels.
        """
        trainer, backend = make_trainer(params), _installed_backend(params)
        options = params.values_of({**HYPERPARAMETERS, **FITTING})
        check_rates({name: value for name, value in options.items() if params.isSet(name)})
        derive = WorkerSettings.raw if options["settings"] == "raw" else WorkerSettings.derived
        settings = derive(trainer, options)
        network = (networks or NetworkCache()).get(params, dataset, settings, options, backend)
        settings.schedule.check()  # the network's custom objects are imported by now
        return cls(params, settings, backend, options, network, _label_transform(params, dataset, options, network))

    @property
    def trainer(self) -> Trainer:
        """The trainer, with its workers' parameters."""
        return self.settings.trainer

    @property
    def is_single_task(self) -> bool:
        """Whether a plain Spark task can train it: one worker, whose run is not checkpointed."""
        return self.trainer.num_workers == 1 and self.options.get("snapshot_path") is None

    @property
    def kind(self) -> OutputKind:
        """The network's kind of output."""
        return output_kind(self.network.outputs)

    @property
    def tasks_of_labels(self) -> list[str]:
        """What the outputs are for, if a row has several labels; empty for one label, a class as an array among them."""
        sizes, outputs = self.network.plan.label_sizes, self.network.outputs
        if sum(sizes) == 1 or [output.task for output in outputs] == ["multiclass"]:
            return []
        return [
            output.task if output.units == size else f"{output.task} by {output.units} values"
            for output, size in zip(outputs, sizes, strict=True)
        ]

    @property
    def cache_bytes(self) -> int:
        """The memory that the rows may take in a worker."""
        return int(self.options["cache_mb"] * 2**20)

    @cached_property
    def rows_key(self) -> str:
        """A text that is equal for fits with the same `shared_rows`."""
        columns = {name: self.params.getOrDefault(name) for name in _ROW_PARAMS if self.params.isDefined(name)}
        split = self.options["validation_split"] and (self.options["validation_split"], self.params.getSeed())
        outputs = [(output.loss, output.task, output.units) for output in self.network.outputs]
        return repr((sorted(columns.items()), split, outputs))

    @cached_property
    def class_weights(self) -> ClassWeights | None:
        """The factors of the training rows' weights. Raises SpecError if the network is not a classifier."""
        return self._per_class("class_weight")

    @cached_property
    def class_sampling(self) -> ClassSampling | None:
        """How the training rows are sampled. Raises SpecError if the network is not a classifier."""
        times = self._per_class("class_sampling")
        return None if times is None else ClassSampling(times, self.params.getSeed())

    def fit(self, dataset: DataFrame) -> DistKerasModel:
        """Train on the cluster and return the model."""
        for line in (self.settings.description, self.network.started_from):
            if line:
                logger.info("%s", line)
        rows, transform = self._training_rows(dataset), self.label_transform
        config = self._training_config(dataset, transform and fitted_labels(rows, transform))
        members, summary = driver.train(rows, config, self.network.initial)
        logger.info(
            "%s: %s rows x %d epochs in %.1f s (%s samples/s), loss %.4g",
            summary.trainer, f"{summary.rows:,}", summary.epochs, summary.seconds, f"{summary.samples_per_second:,.0f}",
            summary.loss[-1],
        )  # fmt: skip
        for warning in summary.warnings(self.trainer, self.settings.reach):
            logger.warning("%s", warning)
        return self.model(members, summary)

    def single_worker_fit(self, dataset: DataFrame) -> SingleWorkerFit:
        """Return the fit as plain values for a Spark task, if it `is_single_task`."""
        config = self._training_config(dataset, self.label_transform)
        job = driver.worker_job(config, self.trainer.rule(config.trainable, config.learning_rate))
        name = type(self.trainer).__name__
        return SingleWorkerFit(job, name, self.network.initial, config.patience, config.min_delta, config.plateau)

    def model(self, members: Matrix, summary: TrainingSummary) -> DistKerasModel:
        """Return the model with trained weights, (members, weights)."""
        transform = None if summary.label_transform is None else LabelTransform.from_dict(summary.label_transform)
        with NETWORK_LOCK:
            content = to_bytes(self.network.trained(members, transform))
        summary = replace(summary, settings=self.settings.description, started_from=self.network.started_from)
        model = DistKerasModel(content, self.network.plan.custom_modules, self.network.outputs, summary)
        model._resetUid(self.params.uid)
        return self.params._copyValues(model)._set(backend=self.backend)

    def shared_rows(self, data: DataFrame) -> DataFrame:
        """Return the rows that plain Spark tasks share, each with its part; a task samples and weighs the classes of its fold."""
        return self._select(data, *[name for name in (PART, FILLED) if name in data.columns])

    def _training_rows(self, dataset: DataFrame) -> DataFrame:
        """Return the columns that workers train on, as float32."""
        data = self._select(dataset)
        if self.class_sampling is not None:
            data = sample_weights.sample_classes(data, self.class_sampling)
        return data if self.class_weights is None else sample_weights.apply_class_weights(data, self.class_weights)

    def _per_class(self, name: str) -> str | dict[float, float] | None:
        value, network = self.options.get(name), self.network
        return None if value is None else sample_weights.parse_per_class(name, value, network.outputs, network.plan.label_sizes)

    def _select(self, dataset: DataFrame, *more: str) -> DataFrame:
        """Return features, labels, weights, validation marks and `more` columns; raise DataError for a bad label."""
        params, split, plan = self.params, self.options["validation_split"], self.network.plan
        features = in_order(params.feature_columns(), input_names(self.network.network), "featuresCols")
        columns = [params.features(dataset, features).alias(FEATURES), self.labels(dataset).alias(LABEL), *map(F.col, more)]
        if params.isDefined("weightCol"):
            check_numeric(dataset, params.getWeightCol(), "weightCol")
            columns.append(F.col(params.getWeightCol()).cast("float").alias(WEIGHT))
        if params.isDefined("validationIndicatorCol"):
            if split:
                raise SpecError(
                    "Two ways to say what to validate on: validationIndicatorCol and validation_split. Set one of them."
                )
            columns.append(sample_weights.validation_column(dataset, params.getValidationIndicatorCol()).alias(VALIDATION))
        data = dataset.select(*columns)
        if split:
            data = data.withColumn(VALIDATION, sample_weights.random_validation_column(split, params.getSeed()))
        for output, size, position in zip(
            self.network.outputs, plan.label_sizes, accumulate(plan.label_sizes, initial=0), strict=False
        ):
            if is_classification(output.task) and size == 1:
                sample_weights.check_classes(data, output, position)
            if is_positive(output.loss):
                sample_weights.check_not_negative(data, output, range(position, position + size))
        return data

    def labels(self, dataset: DataFrame) -> Column:
        """Return all labels of a row as one array, in the order of the network's outputs."""
        labels = by_output(self.params.label_columns(), output_names(self.network.network))
        return joined([as_labels(dataset, column) for columns in labels for column in columns])

    def _plateau(self) -> Plateau | None:
        reduction = self.options.get("reduce_on_plateau")
        if reduction is None:
            return None
        values = {name: reduction.get(name, field.default) for name, field in REDUCE_ON_PLATEAU.items()}
        return Plateau(values["factor"], values["patience"], values["min_delta"], values["min_lr"] / self.settings.schedule.rate)

    def _training_config(self, dataset: DataFrame, transform: LabelTransform | None) -> driver.TrainingConfig:
        options, network = self.options, self.network
        for path in options.get("callbacks") or ():
            callbacks.build_callback(path)
        config = driver.TrainingConfig(
            trainer=self.trainer,
            plan=network.plan,
            values=network.values,
            trainable=network.trainable,
            learning_rate=self.settings.learning_rate,
            schedule=self.settings.schedule,
            seed=self.params.getSeed() % 2**32,
            backend=self.backend,
            validates=bool(self.params.isDefined("validationIndicatorCol") or options["validation_split"]),
            patience=options.get("patience"),
            min_delta=options["min_delta"],
            plateau=self._plateau(),
            callbacks=tuple(options.get("callbacks") or ()),
            callbacks_on=options["callbacks_on"],
            cache_bytes=self.cache_bytes,
            force_repartition=options["force_repartition"] or self.class_sampling is not None,  # which leaves uneven partitions
            timeout=options["timeout"],
            encryption=options["encryption"],
            shards=options.get("server_shards"),
            checkpoint_seconds=options["snapshot_seconds"],
            progress_path=options.get("progress_path"),
            label_transform=transform,
        )
        folder = options.get("snapshot_path")
        if folder is None:
            return config
        checkpoints = CheckpointFile(storage_for(dataset.sparkSession, folder), folder, config, network.initial)
        return replace(config, checkpoints=checkpoints)


def make_trainer(params: DistKerasParams) -> Trainer:
    """Return the trainer with its parameters. Raise SpecError for a parameter that is set but belongs to another trainer."""
    name = params.getOrDefault("trainer")
    values = {param: params.getOrDefault(param) for param in TRAINER_PARAMETERS if params.isSet(params.getParam(param))}
    check_names(f"parameter of {name}", values, trainer_fields(name))
    return trainers.get(name)(**values)


def _label_transform(
    params: DistKerasParams, dataset: DataFrame, options: dict[str, Any], network: BuiltNetwork
) -> LabelTransform | None:
    """Return the transform of the labels, not fitted yet; None where there is none. Raise SpecError if the network forbids it."""
    outputs, activations = network.outputs, output_activations(network.network)
    for output, activation in zip(outputs, activations, strict=True):
        if output.task == "regression":
            check_label_transform(options.get("label_transform"), [output.loss], [output.task], activation)
    linear = [activation == "linear" for activation in activations]
    scaled = any(is_standardized(dataset, column) for column in params.feature_columns().values())
    losses, tasks = [output.loss for output in outputs], [output.task for output in outputs]
    kinds = transforms_of(options.get("label_transform"), losses, tasks, linear, scaled=scaled)
    return None if {*kinds} == {NONE} else LabelTransform(kinds, network.plan.label_sizes)


def _installed_backend(params: DistKerasParams) -> str:
    """Return the backend's name. Raise SpecError if it is not installed here, where the network is built."""
    backend = params.backend_name()
    if importlib.util.find_spec(backend) is None:
        raise SpecError(
            f"backend: {backend!r} is not installed. Install it in the driver's and the executors' Python: "
            f"pip install {backend}, or airflow-provider-distkeras[{backend}]; "
            f"or choose another of {', '.join(BACKENDS)}."
        )
    return backend
