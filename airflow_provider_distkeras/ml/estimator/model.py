"""`DistKerasModel`: the trained network as a Spark ML Model, saved with the digest of its file."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from pyspark.ml import Model
from pyspark.ml.functions import array_to_vector
from pyspark.ml.util import DefaultParamsReader, DefaultParamsWriter, MLReadable, MLReader, MLWritable, MLWriter
from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from airflow_provider_distkeras.contract.errors import ArtifactError
from airflow_provider_distkeras.contract.params.losses import task_of
from airflow_provider_distkeras.contract.params.objectives import is_classification, main_task
from airflow_provider_distkeras.ml.estimator.params import DistKerasParams
from airflow_provider_distkeras.ml.network import serialization
from airflow_provider_distkeras.ml.network.builder import NetworkOutput, input_names
from airflow_provider_distkeras.ml.network.inference import OutputKind, output_kind, predictor
from airflow_provider_distkeras.ml.network.scorer import Scorer, scored_labels
from airflow_provider_distkeras.spark.columns import in_order
from airflow_provider_distkeras.spark.environment import worker_environment
from airflow_provider_distkeras.spark.storage import storage_for
from airflow_provider_distkeras.training.summary import TrainingSummary

if TYPE_CHECKING:
    import keras

_NETWORK_FILE = "network.keras"
_OUTPUT = "__distkeras_output"


class DistKerasModel(Model, DistKerasParams, MLWritable, MLReadable):
    """A network trained by `DistKeras`.

    It adds the column `prediction` (double) and, for classes, `probability` and `rawPrediction` (vectors). A network with one
    output of several numbers predicts an array; one with several outputs adds these columns per output, such as
    `prediction_price`.

    Attributes:
        summary: the summary of its training; None if training diverged.
        custom_modules: the modules that register the network's custom objects, imported wherever it predicts.
    """

    __module__ = "airflow_provider_distkeras.ml"  # the public path, which Spark ML persistence writes

    def __init__(
        self,
        content: bytes = b"",
        custom_modules: Sequence[str] = (),
        outputs: Sequence[NetworkOutput] = (),
        summary: TrainingSummary | None = None,
    ) -> None:
        super().__init__()
        self._content = content
        self.custom_modules = tuple(custom_modules)
        self._allowed_modules: frozenset[str] = frozenset()
        self._outputs = tuple(outputs)
        self.summary = summary

    @property
    def diverged(self) -> bool:
        """Whether this stands for a training that diverged: it predicts infinity, or -1 where classes are predicted."""
        return not self._content

    @property
    def num_classes(self) -> int | None:
        """The number of classes that it predicts; None if it predicts something else."""
        if self.diverged or output_kind(self._outputs) is not OutputKind.CLASSES:
            return None
        return max(2, self._outputs[0].units)

    def allow_modules(self, modules: Iterable[str]) -> None:
        """Allow the import of modules that a loaded model names, beside those that this process has imported already."""
        self._allowed_modules |= {*modules}

    def keras_network(self) -> keras.Model:
        """Return the trained network, for use without Spark. Raise ArtifactError if training diverged."""
        self._refuse_diverged()
        return serialization.from_bytes(self._content, self._importable_modules())

    def scorer(self, columns: Sequence[str] | None = None, classes: Mapping[str, Sequence[str]] | None = None) -> Scorer:
        """Return what computes `columns` of `contract.params.choices.SCORES` of rows, in any Python process.

        Args:
            columns: the columns; by default the prediction, for classes their probabilities, and for a regression by an
                ensemble the standard deviation of its members.
            classes: per label, the classes as texts, by class number; empty if they were numbers. The columns of several labels
                end in their names.

        Raises:
            SpecError: the network cannot give one of the columns, or has other outputs than the labels.
            ArtifactError: an output has neither a number for each of its labels, nor the classes of one; or training diverged.
        """
        self._refuse_diverged()
        trainer = self.getOrDefault("trainer") if self.isDefined("trainer") else None
        ensemble = trainer == "EnsembleTrainer" and self.getOrDefault("num_ensembles") > 1
        return Scorer.of(
            columns, self._content, self._importable_modules(), self.getOrDefault("predict_batch_size"),
            scored_labels(self._outputs, classes or {}), ensemble=ensemble,
        )  # fmt: skip

    def write(self) -> DistKerasModelWriter:
        """Return a writer of metadata as JSON and of the network as a `.keras` file whose sha256 the metadata hold."""
        self._refuse_diverged()
        return DistKerasModelWriter(self)

    @classmethod
    def read(cls) -> DistKerasModelReader:
        """Return a reader of what `write` wrote."""
        return DistKerasModelReader()

    def _refuse_diverged(self) -> None:
        if self.diverged:
            raise ArtifactError("This model's training diverged; there is no network. Lower learning_rate or scale the features.")

    def _importable_modules(self) -> tuple[str, ...]:
        """Return the modules to import with the network. Raise ArtifactError for one that only the saved model has named."""
        unknown = [name for name in self.custom_modules if name not in sys.modules and name not in self._allowed_modules]
        if unknown:
            raise ArtifactError(
                f"The model names modules to import that this process has not imported: {', '.join(unknown)}. "
                "If you trust the model and them, import them first."
            )
        return self.custom_modules

    def _transform(self, dataset: DataFrame) -> DataFrame:
        if self.diverged:
            return self._predict_the_worst(dataset)
        kind = output_kind(self._outputs)
        output = self._output(dataset, kind)
        if kind is OutputKind.NUMBER:
            return dataset.withColumn(self.getPredictionCol(), output)
        return dataset.withColumn(_OUTPUT, output).withColumns(self._prediction_columns(kind)).drop(_OUTPUT)

    def outputs(self, dataset: DataFrame) -> Column:
        """Return the values of all outputs of a row as one array. Raise ArtifactError if training diverged."""
        self._refuse_diverged()
        return F.flatten(self._output(dataset, OutputKind.ARRAYS))

    def _output(self, dataset: DataFrame, kind: OutputKind) -> Column:
        features = self.features(dataset, self._ordered_feature_columns())
        predict = predictor(self._content, self._importable_modules(), self.getOrDefault("predict_batch_size"), kind)
        with worker_environment(dataset.sparkSession.sparkContext, self.backend_name()):
            return predict(features)

    def _prediction_columns(self, kind: OutputKind) -> dict[str, Column]:
        """Return the columns that the column _OUTPUT becomes, by name."""
        if kind is OutputKind.CLASSES:
            return {
                self.getPredictionCol(): F.col(f"{_OUTPUT}.prediction"),
                self.getProbabilityCol(): array_to_vector(F.col(f"{_OUTPUT}.probability")),
                self.getRawPredictionCol(): array_to_vector(F.col(f"{_OUTPUT}.raw")),
            }
        columns: dict[str, Column] = {}
        for position, output in enumerate(self._outputs):
            suffix = "" if len(self._outputs) == 1 else f"_{output.name}"
            columns |= self._columns_of(output, F.col(_OUTPUT)[position], suffix)
        return columns

    def _ordered_feature_columns(self) -> list[str]:
        """Return the feature columns in the order of the network's inputs."""
        columns = self.feature_columns()
        if not self.isDefined("featuresCols") or isinstance(self.getOrDefault("featuresCols"), list):
            return list(columns.values())
        return in_order(columns, input_names(self.keras_network()), "featuresCols")

    def _columns_of(self, output: NetworkOutput, values: Column, suffix: str) -> dict[str, Column]:
        """Return the columns of one of several outputs, or of an output of several numbers."""
        prediction, probability = f"{self.getPredictionCol()}{suffix}", f"{self.getProbabilityCol()}{suffix}"
        if output.task == "multilabel":
            decided = F.transform(values, lambda value: (value > 0.5).cast("double"))
            return {prediction: decided, probability: array_to_vector(values)}
        if not is_classification(output.task):
            return {prediction: values[0] if output.units == 1 else values}
        if output.units == 1:
            values = F.array(1 - values[0], values[0])
        most_probable = F.array_position(values, F.array_max(values)) - 1
        return {prediction: most_probable.cast("double"), probability: array_to_vector(values)}

    def _predict_the_worst(self, dataset: DataFrame) -> DataFrame:
        if not is_classification(main_task(self.values_of(("loss", "task")))):
            return dataset.withColumn(self.getPredictionCol(), F.lit(float("inf")))
        even = array_to_vector(F.array(F.lit(0.5), F.lit(0.5)))
        return dataset.withColumns(
            {
                self.getPredictionCol(): F.lit(-1.0),
                self.getProbabilityCol(): even,
                self.getRawPredictionCol(): even,
            }
        )


class DistKerasModelWriter(MLWriter):
    """Spark ML's writer of a DistKerasModel."""

    def __init__(self, model: DistKerasModel) -> None:
        super().__init__()
        self._model = model

    def saveImpl(self, path: str) -> None:
        """Write the metadata, then the network's file."""
        model = self._model
        extra: dict[str, Any] = {
            "network": {
                "file": _NETWORK_FILE,
                "sha256": serialization.digest(model._content),
                "custom_modules": model.custom_modules,
            },
            "outputs": [asdict(output) for output in model._outputs],
            "summary": model.summary.to_dict() if model.summary else None,
        }
        DefaultParamsWriter.saveMetadata(model, path, self.sparkSession, extraMetadata=extra)
        storage_for(self.sparkSession, path).write_bytes(f"{path.rstrip('/')}/{_NETWORK_FILE}", model._content)


class DistKerasModelReader(MLReader[DistKerasModel]):
    """Spark ML's reader of a DistKerasModel, which checks the network's sha256."""

    def load(self, path: str) -> DistKerasModel:
        """Return the model at a path. Raise ArtifactError if the network's file is not the one that was saved."""
        metadata = DefaultParamsReader.loadMetadata(path, self.sparkSession)
        network, summary = metadata["network"], metadata["summary"]
        file = f"{path.rstrip('/')}/{network['file']}"
        content = storage_for(self.sparkSession, path).read_bytes(file)
        serialization.check_digest(content, network["sha256"], file)
        # An earlier version saved no task: it followed from the loss.
        outputs = [
            NetworkOutput(**{**output, "task": output.get("task") or task_of(output["loss"])}) for output in metadata["outputs"]
        ]
        model = DistKerasModel(content, network["custom_modules"], outputs, TrainingSummary(**summary) if summary else None)
        model._resetUid(metadata["uid"])
        DefaultParamsReader.getAndSetParams(model, metadata)
        return model
