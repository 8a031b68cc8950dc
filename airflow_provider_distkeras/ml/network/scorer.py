"""Scoring: features in, what the network tells about each row out, or the reason why it can tell nothing."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray
from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F
from pyspark.sql.pandas.types import to_arrow_schema, to_arrow_type
from pyspark.sql.types import ArrayType, DoubleType, StringType, StructField, StructType

from airflow_provider_distkeras.contract.errors import SpecError
from airflow_provider_distkeras.contract.params import SCORES
from airflow_provider_distkeras.ml.network import inference, serialization
from airflow_provider_distkeras.spark.environment import worker_environment

#: What makes Arrow batches of others, in a Python worker.
Batches = Callable[[Iterator[pa.RecordBatch]], Iterator[pa.RecordBatch]]
#: The column that says why a row could not be scored; null where it was.
REASON = "__distkeras_reason"
_SCORES = "__distkeras_scores"
_TYPES: dict[str, Any] = {
    "prediction": DoubleType(),
    "probability": ArrayType(DoubleType()),
    "label": StringType(),
    "raw": ArrayType(DoubleType()),
    "std": DoubleType(),
}


@dataclass(frozen=True)
class Scorer:
    """Tells about rows what a network says; it travels to the executors, which load the network once per Python process.

    Attributes:
        columns: names of `contract.params.SCORES`, in the order they are told in.
        content, custom_modules: the network, as `ml.artifact` takes it; sha256: its digest.
        batch_size: rows per call of the network.
        classifies: whether it tells classes; labels: those as texts, by class number, if they have texts.
    """

    columns: tuple[str, ...]
    content: bytes
    sha256: str
    custom_modules: tuple[str, ...]
    batch_size: int
    classifies: bool
    labels: tuple[str, ...]

    @classmethod
    def of(
        cls,
        columns: Sequence[str] | None,
        content: bytes,
        custom_modules: tuple[str, ...],
        batch_size: int,
        *,
        classifies: bool,
        ensemble: bool,
        labels: tuple[str, ...],
    ) -> Scorer:
        """A scorer of the columns asked for. Raises SpecError for one that the network cannot tell."""
        usual = ("prediction", "probability") if classifies else ("prediction", "std") if ensemble else ("prediction",)
        asked = tuple(dict.fromkeys(columns)) if columns is not None else usual
        refused = {
            "probability": None if classifies else "the model is a regression",
            "raw": None if classifies else "the model is a regression",
            "label": None if labels else "the label was no text column listed in categorical_columns",
            "std": None if ensemble and not classifies else "the model is no regression by an EnsembleTrainer",
        }
        for name in asked:
            if refused.get(name):
                raise SpecError(f"output_columns: {name!r} cannot be told, as {refused[name]}: leave it out.")
        return cls(asked, content, serialization.digest(content), custom_modules, batch_size, classifies, labels)

    @property
    def names(self) -> list[str]:
        """The columns that are written, in order."""
        return [SCORES[column] for column in self.columns]

    @property
    def schema(self) -> StructType:
        """What a row is told: the columns, then `REASON`."""
        fields = [StructField(SCORES[column], _TYPES[column]) for column in self.columns]
        return StructType([*fields, StructField(REASON, StringType())])

    @property
    def forward(self) -> inference.ForwardPass:
        """The compiled network, loaded if this process has not done so before."""
        return inference.load(self.content, self.sha256, self.custom_modules, self.batch_size, "std" in self.columns)

    def __call__(self, features: pa.Array) -> pa.StructArray:
        """The columns of `schema` for an array of float32 lists; all but the reason are null where there is a reason."""
        if not len(features):
            return pa.array([], to_arrow_type(self.schema))
        forward = self.forward
        rows, reasons = usable(features, forward.features)
        outputs = forward(rows)
        for row in np.flatnonzero(~np.isfinite(outputs[0]).all(axis=1)):
            reasons.setdefault(int(row), "the prediction is not finite")
        bad = np.zeros(len(rows), bool)
        bad[list(reasons)] = True
        told = self._told(outputs, bad)
        texts = pa.string()
        why = pa.array([reasons.get(row) for row in range(len(rows))], texts) if reasons else pa.nulls(len(rows), texts)
        return pa.StructArray.from_arrays([*(told[column] for column in self.columns), why], self.schema.names)

    def _told(self, outputs: list[NDArray[np.float32]], bad: NDArray[np.bool_]) -> dict[str, pa.Array]:
        """The columns, null in bad rows."""
        if not self.classifies:
            told = {"prediction": pa.array(outputs[0][:, 0].astype(np.float64), mask=bad)}
            if "std" in self.columns:
                members = np.hstack(outputs[1:]).astype(np.float64)
                told["std"] = pa.array(members.std(axis=1, ddof=1), mask=bad)
            return told
        probability = inference.class_probabilities(outputs[0])
        likeliest = probability.argmax(axis=1)
        told = {
            "prediction": pa.array(likeliest.astype(np.float64), mask=bad),
            "probability": inference.lists_of(probability, bad),
        }
        if "raw" in self.columns:
            told["raw"] = inference.lists_of(inference.raw_scores(probability), bad)
        if "label" in self.columns:
            nameless = bad | (likeliest >= len(self.labels))
            told["label"] = pa.array(self.labels, pa.string()).take(pa.array(likeliest, mask=nameless))
        return told


def usable(features: pa.Array, width: int) -> tuple[NDArray[np.float32], dict[int, str]]:
    """Rows of features as a matrix, and why some of them, by row number, cannot be scored; those are zeros in it.

    Args:
        features: float32 lists.
        width: how many features the network takes.
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


@dataclass(frozen=True)
class Stream:
    """Rows that go through Python workers, which score them.

    Attributes:
        source: what Spark hands to the workers.
        score: makes Arrow batches of `schema` from that, in a worker.
        schema: columns of the input, and those of the scorer's schema.
        backend: what the workers run Keras on.
    """

    source: DataFrame
    score: Batches
    schema: StructType
    backend: str

    @property
    def frame(self) -> DataFrame:
        """The scored rows, back in Spark."""
        return self.mapped(self.score, self.schema)

    def mapped(self, function: Batches, schema: StructType) -> DataFrame:
        """What a function that runs in the workers makes of the source."""
        with worker_environment(self.source.sparkSession.sparkContext, self.backend):
            return self.source.mapInArrow(function, schema)


def stream(data: DataFrame, features: str, reason: str, scorer: Scorer, backend: str) -> Stream:
    """A stream of rows that Spark has read.

    Args:
        data: the columns to keep, and two more:
        features: the column of the features, as float32 arrays.
        reason: the column that says why a row cannot be scored, whatever its features.
    """
    kept = [field for field in data.schema if field.name not in (features, reason)]
    schema = StructType([*kept, *scorer.schema])
    target = to_arrow_schema(schema)

    def score(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        for batch in batches:
            *told, own = scorer(batch.column(features)).flatten()
            why = pc.coalesce(batch.column(reason), own)
            yield pa.RecordBatch.from_arrays([*(batch.column(field.name) for field in kept), *told, why], schema=target)

    return Stream(data, score, schema, backend)


def add_scores(data: DataFrame, features: Column, scorer: Scorer, backend: str) -> DataFrame:
    """The data, and for every row of `features` (float32 arrays) the columns of the scorer's schema.

    Only the features travel to Python and back.
    """
    from pyspark.sql.functions import arrow_udf

    def score(batches: Iterator[pa.Array]) -> Iterator[pa.Array]:
        for batch in batches:
            yield scorer(batch)

    score.__annotations__ = {"batches": Iterator[pa.Array], "return": Iterator[pa.Array]}
    make: Any = arrow_udf  # its overloads know no iterators over plain arrays
    with worker_environment(data.sparkSession.sparkContext, backend):
        # A filter on the result would otherwise be pushed below it, and the network run twice.
        scores = make(score, returnType=scorer.schema).asNondeterministic()(features)
    scored = data.withColumn(_SCORES, scores)
    return scored.select(*(F.col(f"`{name}`") for name in data.columns), f"{_SCORES}.*")
