"""Networks, built once per search for all fits that begin with the same one."""

from __future__ import annotations

import threading
from typing import Any

from pyspark.sql import DataFrame

from airflow_provider_distkeras.contract.errors import ArtifactError
from airflow_provider_distkeras.contract.feature_layout import FeatureLayout
from airflow_provider_distkeras.contract.params.network import HYPERPARAMETERS, check_network
from airflow_provider_distkeras.ml.estimator.model import DistKerasModel
from airflow_provider_distkeras.ml.estimator.params import DistKerasParams
from airflow_provider_distkeras.ml.network.builder import BuiltNetwork, build_network
from airflow_provider_distkeras.ml.network.initial_weights import with_weights_of
from airflow_provider_distkeras.spark.columns import as_labels, count_values
from airflow_provider_distkeras.spark.saved_stages import load_stages
from airflow_provider_distkeras.training.settings import WorkerSettings
from airflow_provider_distkeras.training.trainers import EnsembleTrainer

#: Hyper-parameters that a network is the same without.
_NOT_BUILT = ("learning_rate", "lr_decay", "lr_schedule", "reduce_on_plateau", "label_transform")
_MAX_NETWORKS = 16
#: Held while a network is built or given its trained weights: fits of one cache share networks.
NETWORK_LOCK = threading.Lock()


class NetworkCache:
    """Networks by what they are built from, and the sizes of the columns that they are built for.

    All fits that share a cache must be on the same columns of the same data.
    """

    def __init__(self) -> None:
        self._sizes: dict[str, int] = {}
        self._networks: dict[str, BuiltNetwork] = {}

    def get(
        self, params: DistKerasParams, dataset: DataFrame, settings: WorkerSettings, options: dict[str, Any], backend: str
    ) -> BuiltNetwork:
        """Return the network of an estimator's Params, built now if no earlier fit has built it.

        Args:
            params: the estimator's Params.
            dataset: the rows, for the sizes of their columns.
            settings: the optimizer and the number of networks.
            options: the values of HYPERPARAMETERS, among others.
            backend: the Keras backend.

        Raises:
            SpecError: the hyper-parameters do not go together.
            DataError: a column cannot hold features, or labels.
            ArtifactError: `initial_model` is no model.
        """
        features, labels = params.feature_columns(), params.label_columns()
        trainer, optimizer = settings.trainer, settings.optimizer
        members = trainer.num_workers if isinstance(trainer, EnsembleTrainer) else 1
        built_from = {name: value for name, value in options.items() if name in HYPERPARAMETERS and name not in _NOT_BUILT}
        initial_model = params.getOrDefault("initial_model") if params.isDefined("initial_model") else None
        key = repr((features, labels, built_from, optimizer, members, params.getSeed(), backend, initial_model))
        with NETWORK_LOCK:
            if key not in self._networks:
                self._read_sizes(params, dataset, features, labels)
                feature_sizes = {name: self._sizes[column] for name, column in features.items()}
                label_sizes = {name: self._sizes[column] for name, column in labels.items()}
                check_network(options, sum(label_sizes.values()))
                while len(self._networks) >= _MAX_NETWORKS:
                    del self._networks[next(iter(self._networks))]
                layout = _layout(dataset, list(features.values()))
                network = build_network(
                    options, feature_sizes, label_sizes, params.getSeed(), backend, optimizer, members, layout
                )
                if initial_model is not None:  # the modules that it needs are imported by now
                    network = with_weights_of(network, _load(dataset, initial_model).keras_network(), initial_model)
                self._networks[key] = network
            return self._networks[key]

    def _read_sizes(self, params: DistKerasParams, dataset: DataFrame, features: dict[str, str], labels: dict[str, str]) -> None:
        """Check the columns, and count the values per row of those that are new."""
        params.features(dataset, list(features.values()))
        for column in labels.values():
            as_labels(dataset, column)
        for column in (*features.values(), *labels.values()):
            if column not in self._sizes:
                self._sizes[column] = count_values(dataset, column)


def _load(dataset: DataFrame, path: str) -> DistKerasModel:
    """Return the model at a path, which may be that of a pipeline that ends in it. Raise ArtifactError if there is none."""
    try:
        *_, model = load_stages(dataset.sparkSession, path)
    except ArtifactError as error:
        raise ArtifactError(f"initial_model: {error}") from error
    if not isinstance(model, DistKerasModel):
        raise ArtifactError(f"initial_model: expected a saved DistKerasModel, or a pipeline that ends in one, at {path}.")
    return model


def _layout(dataset: DataFrame, columns: list[str]) -> FeatureLayout | None:
    """Return the layout that the metadata of the one column of features hold; None without, or for several columns."""
    return FeatureLayout.of_metadata(dataset.schema[columns[0]].metadata) if len(columns) == 1 else None
