"""Runs on executors. Scoring: features in, the network's scores of each row out, or the reason why there are none."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from pyspark.sql.pandas.types import to_arrow_type
from pyspark.sql.types import ArrayType, DoubleType, StringType, StructField, StructType

from airflow_provider_distkeras.contract.errors import ArtifactError, SpecError
from airflow_provider_distkeras.contract.params.choices import SCORES
from airflow_provider_distkeras.contract.params.objectives import is_classification
from airflow_provider_distkeras.ml.network import inference, serialization
from airflow_provider_distkeras.ml.network.builder import NetworkOutput
from airflow_provider_distkeras.spark.columns import by_output

#: The column with the reason why a row has no scores; null where it has.
REASON = "__distkeras_reason"
_TYPES: dict[str, Any] = {
    "prediction": DoubleType(),
    "probability": ArrayType(DoubleType()),
    "label": StringType(),
    "raw": ArrayType(DoubleType()),
    "std": DoubleType(),
}


@dataclass(frozen=True)
class ScoredLabel:
    """A label that a network predicts.

    Attributes:
        name: its name, which the names of its columns end in; empty for the only label.
        output: the number of the network's output.
        task: what the output is for.
        units: the values of the output.
        position: of the label's value among them, if it is no class.
        classes: the classes as texts, by class number; empty if they have none.
    """

    name: str
    output: int
    task: str
    units: int
    position: int
    classes: tuple[str, ...]

    @property
    def judged_as(self) -> str:
        """The task, by which an evaluator judges one value; with their number, of a class that has several."""
        is_one = self.units == 1 or not is_classification(self.task)
        return self.task if is_one else f"{self.task} by {self.units} values"

    def has(self, score: str) -> bool:
        """Return whether there is such a score of the label."""
        return {
            "probability": self.task != "regression",
            "label": bool(self.classes),
            "raw": is_classification(self.task),
        }.get(score, True)

    def field(self, score: str) -> StructField:
        """Return the column of a score."""
        kind = DoubleType() if self.task == "multilabel" and score == "probability" else _TYPES[score]
        return StructField(f"{SCORES[score]}_{self.name}" if self.name else SCORES[score], kind)

    def scores(self, columns: Sequence[str], outputs: list[NDArray[np.float32]], bad: NDArray[np.bool_]) -> dict[str, pa.Array]:
        """Return the scores by name, null in bad rows; of `columns`, those that take a while to compute."""
        output, classes = outputs[self.output], None
        if is_classification(self.task):
            probability = inference.class_probabilities(output)
            classes = probability.argmax(axis=1)
            scores = {"probability": inference.list_array(probability, bad)}
            if "raw" in columns:
                scores["raw"] = inference.list_array(inference.raw_scores(probability), bad)
        else:
            values = output[:, self.position].astype(np.float64)
            scores = {"prediction": pa.array(values, mask=bad)}
            if self.task == "multilabel":
                scores, classes = {"probability": scores["prediction"]}, (values > 0.5).astype(np.int64)
        if classes is not None:
            scores["prediction"] = pa.array(classes.astype(np.float64), mask=bad)
            if "label" in columns and self.classes:
                nameless = bad | (classes >= len(self.classes))
                scores["label"] = pa.array(self.classes, pa.string()).take(pa.array(classes, mask=nameless))
        return scores


def scored_labels(outputs: Sequence[NetworkOutput], classes: Mapping[str, Sequence[str]]) -> tuple[ScoredLabel, ...]:
    """Return the labels that a network predicts, in the order of its outputs.

    Args:
        outputs: the network's outputs.
        classes: per label, the classes as texts, by class number, empty if they have none; if no label is named, it is one, or
            one per output.

    Raises:
        ArtifactError: an output has neither a number for each of its labels, nor the classes of one.
        SpecError: several outputs have other names than the labels.
    """
    names = [output.name for output in outputs]
    texts = dict(classes) or dict.fromkeys(names, ())
    labels = []
    for number, (output, predicted) in enumerate(zip(outputs, by_output({name: name for name in texts}, names), strict=True)):
        if len(predicted) != (1 if is_classification(output.task) else output.units):
            raise ArtifactError(
                f"Only a network with a number for each label, or the classes of one, can score; the output {output.name!r} has "
                f"{output.units} values (task {output.task}) for the labels {predicted}."
            )
        labels += [
            ScoredLabel(name if len(texts) > 1 else "", number, output.task, output.units, position, tuple(texts[name]))
            for position, name in enumerate(predicted)
        ]
    return tuple(labels)


@dataclass(frozen=True)
class Scorer:
    """Scores rows with a network. It travels to the executors, which load the network once per Python process.

    Attributes:
        columns: the scores, as names of `contract.params.choices.SCORES`, in order; of several labels, those that each has.
        content: the network, as the content of a `.keras` file.
        sha256: its digest.
        custom_modules: modules to import first, which register the network's custom objects.
        batch_size: rows per call of the network.
        labels: the labels, in the order of the network's outputs.
    """

    columns: tuple[str, ...]
    content: bytes
    sha256: str
    custom_modules: tuple[str, ...]
    batch_size: int
    labels: tuple[ScoredLabel, ...]

    @classmethod
    def of(
        cls,
        columns: Sequence[str] | None,
        content: bytes,
        custom_modules: tuple[str, ...],
        batch_size: int,
        labels: tuple[ScoredLabel, ...],
        *,
        ensemble: bool,
    ) -> Scorer:
        """Return a scorer.

        Args:
            columns: the scores, as names of `contract.params.choices.SCORES`; None for the usual ones of the network.
            content: the network, as the content of a `.keras` file.
            custom_modules: modules to import first, which register the network's custom objects.
            batch_size: rows per call of the network.
            labels: the labels, in the order of the network's outputs.
            ensemble: whether the network is an ensemble.

        Raises:
            SpecError: the network does not have such a score.
        """
        regression = all(label.task == "regression" for label in labels)
        spreads = ensemble and regression and len(labels) == 1
        default = ("prediction", "std") if spreads else ("prediction",) if regression else ("prediction", "probability")
        selected = tuple(dict.fromkeys(columns)) if columns is not None else default
        reasons = {
            "probability": "the model is a regression",
            "raw": "the model is a regression",
            "label": "the label was no text column listed in categorical_columns",
            "std": "the model is no regression by an EnsembleTrainer",
        }
        for name in selected:
            if not (spreads if name == "std" else any(label.has(name) for label in labels)):
                raise SpecError(f"output_columns: {name!r} is not available, as {reasons[name]}: leave it out.")
        return cls(selected, content, serialization.digest(content), custom_modules, batch_size, labels)

    @property
    def classifies(self) -> bool:
        """Whether the only label is a class."""
        return len(self.labels) == 1 and is_classification(self.labels[0].task)

    @property
    def names(self) -> list[str]:
        """The names of the written columns, in order."""
        return self.schema.names[:-1]

    @property
    def predictions(self) -> list[str]:
        """The columns of the predictions, one per label; none if they are not written."""
        return [label.field("prediction").name for label in self.labels if "prediction" in self.columns]

    @property
    def schema(self) -> StructType:
        """The schema of a row's scores: the columns, then `REASON`."""
        fields = [label.field(score) for label in self.labels for score in self.columns if label.has(score)]
        return StructType([*fields, StructField(REASON, StringType())])

    @property
    def forward(self) -> inference.ForwardPass:
        """The compiled network, from this process's cache or loaded now."""
        return inference.load(self.content, self.sha256, self.custom_modules, self.batch_size, "std" in self.columns)

    def __call__(self, features: pa.Array) -> pa.StructArray:
        """Return the columns of `schema` for an array of float32 lists; where there is a reason, the scores are null."""
        if not len(features):
            return pa.array([], to_arrow_type(self.schema))
        forward = self.forward
        rows, reasons = scorable_rows(features, forward.features)
        outputs = forward(rows)
        for output in {label.output for label in self.labels}:
            for row in np.flatnonzero(~np.isfinite(outputs[output]).all(axis=1)):
                reasons.setdefault(int(row), "the prediction is not finite")
        bad = np.zeros(len(rows), bool)
        bad[list(reasons)] = True
        scores = self._scores(outputs, bad)
        text, count = pa.string(), len(rows)
        reason = pa.array([reasons.get(row) for row in range(count)], text) if reasons else pa.nulls(count, text)
        return pa.StructArray.from_arrays([*scores, reason], self.schema.names)

    def _scores(self, outputs: list[NDArray[np.float32]], bad: NDArray[np.bool_]) -> list[pa.Array]:
        """Return the scores in the order of their columns, null in bad rows."""
        arrays = []
        for label in self.labels:
            scores = label.scores(self.columns, outputs, bad)
            if "std" in self.columns:  # of the only label
                members = np.hstack(outputs[1:]).astype(np.float64)
                scores["std"] = pa.array(members.std(axis=1, ddof=1), mask=bad)
            arrays += [scores[score] for score in self.columns if label.has(score)]
        return arrays


def scorable_rows(features: pa.Array, width: int) -> tuple[NDArray[np.float32], dict[int, str]]:
    """Return the rows as a matrix, (rows, width), and the reason for each row, by number, that cannot be scored.

    Rows that cannot be scored are zeros in the matrix.

    Args:
        features: float32 lists.
        width: features per row that the network takes.
    """
    lengths = features.value_lengths().fill_null(-1).to_numpy(zero_copy_only=False)
    fits = lengths == width
    values = (features if fits.all() else features.filter(pa.array(fits))).flatten()
    rows = values.to_numpy(zero_copy_only=False).reshape(int(fits.sum()), width)
    if fits.all() and np.isfinite(rows).all():
        return rows, {}
    reasons = {int(row): _misfit(int(lengths[row]), width) for row in np.flatnonzero(~fits)}
    placed = np.zeros((len(features), width), np.float32)
    placed[fits] = rows
    for row in np.flatnonzero(~np.isfinite(placed).all(axis=1)):
        reasons[int(row)] = _not_finite(placed[row])
        placed[row] = 0
    return placed, reasons


def _misfit(length: int, width: int) -> str:
    return "the features are missing" if length < 0 else f"expected {width} features, received {length}"


def _not_finite(row: NDArray[np.float32]) -> str:
    position = int(np.flatnonzero(~np.isfinite(row))[0])
    return f"feature {position} is {'missing' if np.isnan(row[position]) else 'infinite'}"
