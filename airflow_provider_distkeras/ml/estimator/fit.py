"""One fit of an estimator: its Params checked, its network built, and what its workers are given."""

from __future__ import annotations

import importlib.util
import logging
import threading
from dataclasses import dataclass, field, replace
from functools import cached_property
from itertools import accumulate
from typing import TYPE_CHECKING, Any

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from airflow_provider_distkeras.contract import params as contract_params
from airflow_provider_distkeras.contract.errors import SpecError
from airflow_provider_distkeras.contract.fields import check_names
from airflow_provider_distkeras.ml.data.feature_statistics import FILLED
from airflow_provider_distkeras.ml.estimator import sample_weights
from airflow_provider_distkeras.ml.estimator.checkpoints import CheckpointFile
from airflow_provider_distkeras.ml.estimator.fold import PART
from airflow_provider_distkeras.ml.estimator.model import DistKerasModel
from airflow_provider_distkeras.ml.estimator.sample_weights import ClassWeights
from airflow_provider_distkeras.ml.network.builder import BuiltNetwork, build_network, input_names, output_names
from airflow_provider_distkeras.ml.network.inference import OutputKind, kind_of
from airflow_provider_distkeras.ml.network.serialization import to_bytes
from airflow_provider_distkeras.spark.columns import as_labels, check_numeric, count_values, in_order, joined
from airflow_provider_distkeras.spark.storage import storage_for
from airflow_provider_distkeras.training import callbacks, driver, trainers
from airflow_provider_distkeras.training.algorithms import Matrix
from airflow_provider_distkeras.training.dataset import FEATURES, LABEL, VALIDATION, WEIGHT
from airflow_provider_distkeras.training.single_worker import SingleWorkerFit
from airflow_provider_distkeras.training.summary import TrainingSummary
from airflow_provider_distkeras.training.trainers import Trainer

if TYPE_CHECKING:
    from airflow_provider_distkeras.ml.estimator.estimator import DistKeras

logger = logging.getLogger(__name__)


#: Hyper-parameters that a network is the same without.
_NOT_BUILT = ("learning_rate", "lr_decay")
#: Networks that a search keeps.
_KEPT = 16
_building = threading.Lock()


@dataclass
class FitCache:
    """What fits on like rows have in common, so that it is found out and built once.

    Attributes:
        sizes: values per row of columns.
        networks: by what they were built for.
    """

    sizes: dict[str, int] = field(default_factory=dict)
    networks: dict[str, BuiltNetwork] = field(default_factory=dict)


@dataclass(frozen=True)
class FitPlan:
    """What a fit needs besides the rows.

    Attributes:
        estimator: whose fit it is; trainer, backend, said: what it says, checked.
        network: the network, with its initial weights.
    """

    estimator: DistKeras
    trainer: Trainer
    backend: str
    said: dict[str, Any]
    network: BuiltNetwork

    @classmethod
    def of(cls, estimator: DistKeras, dataset: DataFrame, known: FitCache | None = None) -> FitPlan:
        """Check an estimator's Params and build its network.

        Args:
            dataset: what it will be fitted on, or rows like them.
            known: of earlier fits of the same columns; what is new is added.

        Raises:
            SpecError: the Params do not go together.
            DataError: the columns are not what they should be.
        """
        trainer, backend = trainer_of(estimator), _check_backend(estimator)
        said = estimator.said({**contract_params.HYPERPARAMETERS, **contract_params.FITTING})
        return cls(estimator, trainer, backend, said, _build(estimator, dataset, trainer, said, backend, known or FitCache()))

    @property
    def runs_in_one_task(self) -> bool:
        """Whether one worker trains it, so that it may be a plain Spark task."""
        return self.trainer.num_workers == 1 and self.said.get("snapshot_path") is None

    @property
    def kind(self) -> OutputKind:
        """What the network tells about a row."""
        return kind_of(self.network.outputs)

    @property
    def cache_bytes(self) -> int:
        """How much memory the rows may take in a worker."""
        return int(self.said["cache_mb"] * 2**20)

    @cached_property
    def feed_key(self) -> str:
        """The same for fits that are cut out of the same `feed`."""
        names = ("featuresCol", "featuresCols", "labelCol", "labelCols", "weightCol", "validationIndicatorCol", "cache_mb")
        params = {name: self.estimator.getOrDefault(name) for name in names if self.estimator.isDefined(name)}
        split = self.said["validation_split"] and (self.said["validation_split"], self.estimator.getSeed())
        outputs = [(output.loss, output.units) for output in self.network.outputs]
        return repr((sorted(params.items()), split, outputs))

    @cached_property
    def class_weights(self) -> ClassWeights | None:
        """What the weights of training rows are multiplied by. Raises SpecError if classes are weighed that are none."""
        said = self.said.get("class_weight")
        return None if said is None else sample_weights.class_weights(said, self.network.outputs)

    def fit(self, dataset: DataFrame) -> DistKerasModel:
        """Train on the cluster."""
        members, summary = driver.train(self.rows(dataset), self._run(dataset), self.network.initial)
        logger.info(
            "%s: %s rows x %d epochs in %.1f s (%s samples/s), loss %.4g",
            summary.trainer, f"{summary.rows:,}", summary.epochs, summary.seconds, f"{summary.samples_per_second:,.0f}",
            summary.loss[-1],
        )  # fmt: skip
        return self.model(members, summary)

    def alone(self, dataset: DataFrame) -> SingleWorkerFit:
        """What a plain Spark task is given to train it; see `runs_in_one_task`."""
        run = self._run(dataset)
        job = driver.worker_job(run, self.trainer.rule(run.trainable, run.learning_rate))
        return SingleWorkerFit(job, type(self.trainer).__name__, self.network.initial, run.patience, run.min_delta)

    def feed(self, dealt: DataFrame) -> DataFrame:
        """The rows that plain Spark tasks share, each with its part; their classes are weighed where fits are cut out of them."""
        kept = [name for name in (PART, FILLED) if name in dealt.columns]
        return self._unweighed(dealt, *kept)

    def model(self, members: Matrix, summary: TrainingSummary) -> DistKerasModel:
        """The model with trained weights, (members, weights)."""
        with _building:  # other fits may have the same network
            content = to_bytes(self.network.trained(members))
        model = DistKerasModel(content, self.network.plan.custom_modules, self.network.outputs, summary)
        model._resetUid(self.estimator.uid)
        return self.estimator._copyValues(model)._set(backend=self.backend)

    def rows(self, dataset: DataFrame) -> DataFrame:
        """The columns that a worker trains on, as float32."""
        data = self._unweighed(dataset)
        return data if self.class_weights is None else sample_weights.weigh_classes(data, self.class_weights)

    def _unweighed(self, dataset: DataFrame, *kept: str) -> DataFrame:
        """The same, and the columns to be `kept`, with every class weighing as much."""
        estimator, said, network = self.estimator, self.said, self.network
        columns = [*self._columns(dataset), *map(F.col, kept)]
        if estimator.isDefined("weightCol"):
            check_numeric(dataset, estimator.getWeightCol(), "weightCol")
            columns.append(F.col(estimator.getWeightCol()).cast("float").alias(WEIGHT))
        if estimator.isDefined("validationIndicatorCol"):
            if said["validation_split"]:
                raise SpecError(
                    "Two ways to say what to validate on: validationIndicatorCol and validation_split. Set one of them."
                )
            columns.append(sample_weights.indicator(dataset, estimator.getValidationIndicatorCol()).alias(VALIDATION))
        data = dataset.select(*columns)
        if said["validation_split"]:
            data = data.withColumn(VALIDATION, sample_weights.split(said["validation_split"], estimator.getSeed()))
        positions = accumulate(network.plan.label_sizes, initial=0)
        for output, size, position in zip(network.outputs, network.plan.label_sizes, positions, strict=False):
            if contract_params.is_classification(output.loss) and size == 1:
                sample_weights.check_classes(data, output, position)
        return data

    def _columns(self, dataset: DataFrame) -> list[Column]:
        """Features and labels, in the order of the network's inputs and outputs."""
        features = in_order(self.estimator.feature_columns(), input_names(self.network.network), "featuresCols")
        labels = in_order(self.estimator.label_columns(), output_names(self.network.network), "labelCols")
        return [
            self.estimator.features(dataset, features).alias(FEATURES),
            joined([as_labels(dataset, column) for column in labels]).alias(LABEL),
        ]

    def _run(self, dataset: DataFrame) -> driver.Run:
        said, network = self.said, self.network
        for path in said.get("callbacks") or ():
            callbacks.make(path)
        run = driver.Run(
            trainer=self.trainer,
            plan=network.plan,
            values=network.values,
            trainable=network.trainable,
            learning_rate=said["learning_rate"],
            lr_decay=said["lr_decay"],
            seed=self.estimator.getSeed() % 2**32,
            backend=self.backend,
            validates=bool(self.estimator.isDefined("validationIndicatorCol") or said["validation_split"]),
            patience=said.get("patience"),
            min_delta=said["min_delta"],
            callbacks=tuple(said.get("callbacks") or ()),
            callbacks_on=said["callbacks_on"],
            cache_bytes=self.cache_bytes,
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
        return replace(run, snapshots=CheckpointFile(storage, said["snapshot_path"], run, network.initial))


def trainer_of(estimator: DistKeras) -> Trainer:
    """The trainer with its parameters. Raises SpecError for a parameter that was set but is another trainer's."""
    name = estimator.getOrDefault("trainer")
    known = contract_params.trainer_fields(name)
    said = {p: estimator.getOrDefault(p) for p in contract_params.TRAINER_PARAMETERS if estimator.isSet(estimator.getParam(p))}
    check_names(f"parameter of {name}", said, known)
    return trainers.get(name)(**said)


def _check_backend(estimator: DistKeras) -> str:
    """The backend's name. Raises SpecError if it is not installed here, where the network is made."""
    backend = estimator.backend_name()
    if importlib.util.find_spec(backend) is None:
        raise SpecError(
            f"backend: {backend!r} is not installed. Install it in the driver's and the executors' Python: "
            f"pip install {backend}, or airflow-provider-distkeras[{backend}]; "
            f"or choose another of {', '.join(contract_params.BACKENDS)}."
        )
    return backend


def _build(
    estimator: DistKeras, dataset: DataFrame, trainer: Trainer, said: dict[str, Any], backend: str, known: FitCache
) -> BuiltNetwork:
    """The network, for the sizes of the data's columns."""
    features, labels = estimator.feature_columns(), estimator.label_columns()
    optimizer = trainer.optimizer(said["optimizer"])
    members = trainer.num_workers if isinstance(trainer, trainers.EnsembleTrainer) else 1
    built_for = {
        name: value for name, value in said.items() if name in contract_params.HYPERPARAMETERS and name not in _NOT_BUILT
    }
    key = repr((features, labels, built_for, optimizer, members, estimator.getSeed(), backend))
    with _building:
        if key not in known.networks:
            label_sizes = _measure(estimator, dataset, features, labels, known.sizes)
            contract_params.check_network(said, sum(label_sizes.values()))
            feature_sizes = {name: known.sizes[column] for name, column in features.items()}
            while len(known.networks) >= _KEPT:
                del known.networks[next(iter(known.networks))]
            known.networks[key] = build_network(
                said, feature_sizes, label_sizes, estimator.getSeed(), backend, optimizer, members
            )
        return known.networks[key]


def _measure(
    estimator: DistKeras, dataset: DataFrame, features: dict[str, str], labels: dict[str, str], sizes: dict[str, int]
) -> dict[str, int]:
    """Check the columns, and add to `sizes` how many values a row of each has; those of the labels, by output."""
    estimator.features(dataset, list(features.values()))
    for column in labels.values():
        as_labels(dataset, column)
    for column in (*features.values(), *labels.values()):
        if column not in sizes:
            sizes[column] = count_values(dataset, column)
    return {name: sizes[column] for name, column in labels.items()}
