"""Runs on executors. Inference: Arrow batches of features through a compiled network, loaded once per Python process."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from airflow_provider_distkeras.contract.errors import DataError
from airflow_provider_distkeras.contract.params.objectives import is_classification
from airflow_provider_distkeras.ml.network import serialization
from airflow_provider_distkeras.ml.network.builder import NetworkOutput
from airflow_provider_distkeras.ml.network.ensemble import with_member_outputs
from airflow_provider_distkeras.spark import environment
from airflow_provider_distkeras.training.backends import compile_forward
from airflow_provider_distkeras.training.dataset import as_matrix

if TYPE_CHECKING:
    from pyspark.sql import Column

_MAX_LOADED = 4
#: Probabilities below it count as it, so that their logarithms are finite.
_MIN_PROBABILITY = 1e-15
#: This process's compiled networks, by digest, batch size, and whether members have outputs.
_loaded: dict[tuple[str, int, bool], ForwardPass] = {}


@dataclass(frozen=True)
class ForwardPass:
    """A compiled network, for inference.

    Attributes:
        compiled: the function of `training.backends.compile_forward`.
        features: features per row, all inputs together.
    """

    compiled: Callable[[NDArray[np.float32]], list[NDArray[np.float32]]]
    features: int

    def __call__(self, rows: NDArray[np.float32]) -> list[NDArray[np.float32]]:
        """Return the values of each output, (rows, values).

        Args:
            rows: the features, (rows, features); at least one row.

        Raises:
            DataError: the network takes another number of features.
        """
        if rows.shape[1] != self.features:
            raise DataError(
                f"The network takes {self.features} features, received {rows.shape[1]}: prepare the data as in training."
            )
        return self.compiled(rows)


class OutputKind(Enum):
    """The kind of a row's prediction, as Spark's type."""

    NUMBER = "double"
    CLASSES = "struct<prediction: double, probability: array<double>, raw: array<double>>"
    ARRAYS = "array<array<double>>"


def output_kind(outputs: Sequence[NetworkOutput]) -> OutputKind:
    """Return a number, or classes, for a network whose one output is that; otherwise an array per output."""
    if len(outputs) > 1:
        return OutputKind.ARRAYS
    if is_classification(outputs[0].task):
        return OutputKind.CLASSES
    return OutputKind.NUMBER if outputs[0].units == 1 else OutputKind.ARRAYS


def predictor(content: bytes, custom_modules: tuple[str, ...], batch_size: int, kind: OutputKind) -> Callable[[Column], Column]:
    """Return a Spark function from a column of float arrays to predictions; it carries the network to the executors.

    Args:
        content: a `.keras` file's content.
        custom_modules: modules to import first, which register the network's custom objects.
        batch_size: rows per call of the network.
        kind: the kind of a prediction.
    """
    from pyspark.sql.functions import arrow_udf

    sha256 = serialization.digest(content)

    def predict(batches: Iterator[pa.Array]) -> Iterator[pa.Array]:
        forward = load(content, sha256, custom_modules, batch_size)
        for batch in batches:
            yield _as_arrow(forward(as_matrix(batch)), kind) if len(batch) else _empty(kind)

    predict.__annotations__ = {"batches": Iterator[pa.Array], "return": Iterator[pa.Array]}
    create: Any = arrow_udf  # its overloads lack iterators over plain arrays
    udf: Callable[[Column], Column] = create(predict, returnType=kind.value)
    return udf


def load(content: bytes, sha256: str, custom_modules: tuple[str, ...], batch_size: int, members: bool = False) -> ForwardPass:
    """Return a compiled network, from this process's cache or loaded now.

    Args:
        content: a `.keras` file's content.
        sha256: its digest.
        custom_modules: modules to import first, which register the network's custom objects.
        batch_size: rows per call of the network.
        members: whether the members of an ensemble have outputs of their own, too.

    Raises:
        ArtifactError: the content is not a network that may be loaded.
    """
    key = (sha256, batch_size, members)
    if key not in _loaded:
        while len(_loaded) >= _MAX_LOADED:
            del _loaded[next(iter(_loaded))]
        network = serialization.from_bytes(content, custom_modules)
        features = sum(math.prod(tensor.shape[1:]) for tensor in network.inputs)
        _loaded[key] = ForwardPass(compile_forward(with_member_outputs(network) if members else network, batch_size), features)
        environment.keep_loaded()
    return _loaded[key]


def _as_arrow(outputs: list[NDArray[np.float32]], kind: OutputKind) -> pa.Array:
    if kind is OutputKind.NUMBER:
        return pa.array(outputs[0][:, 0].astype(np.float64))
    if kind is OutputKind.CLASSES:
        return _classes(outputs[0])
    sizes = np.array([output.shape[1] for output in outputs])
    rows = len(outputs[0])
    inner = np.concatenate([[0], np.cumsum(np.tile(sizes, rows))]).astype(np.int32)
    outer = np.arange(0, rows * len(outputs) + 1, len(outputs), dtype=np.int32)
    values = pa.array(np.hstack(outputs).astype(np.float64).ravel())
    return pa.ListArray.from_arrays(pa.array(outer), pa.ListArray.from_arrays(pa.array(inner), values))


def _empty(kind: OutputKind) -> pa.Array:
    """Return no predictions, in the type of a kind."""
    return _as_arrow([np.empty((1, 1), np.float32)], kind).slice(0, 0)


def _classes(outputs: NDArray[np.float32]) -> pa.StructArray:
    """Return per row the likeliest class's number, the probability of each class, and the raw scores, their logarithms."""
    probability = class_probabilities(outputs)
    prediction = pa.array(probability.argmax(axis=1).astype(np.float64))
    columns = [prediction, list_array(probability), list_array(raw_scores(probability))]
    return pa.StructArray.from_arrays(columns, ["prediction", "probability", "raw"])


def class_probabilities(outputs: NDArray[np.float32]) -> NDArray[np.float64]:
    """Return the probability of each class, (rows, classes).

    Args:
        outputs: a classifier's output, (rows, values); a single value is the probability of the second of two classes.
    """
    probability = outputs.astype(np.float64)
    return np.hstack([1.0 - probability, probability]) if probability.shape[1] == 1 else probability


def raw_scores(probability: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the logarithms of probabilities, clipped to be finite."""
    scores: NDArray[np.float64] = np.log(np.clip(probability, _MIN_PROBABILITY, None))
    return scores


def list_array(matrix: NDArray[np.float64], missing: NDArray[np.bool_] | None = None) -> pa.ListArray:
    """Return a matrix as an Arrow array with a list per row; null where `missing`, (rows,), is true."""
    offsets = pa.array(np.arange(0, matrix.size + 1, matrix.shape[1], dtype=np.int32))
    return pa.ListArray.from_arrays(offsets, pa.array(matrix.ravel()), mask=None if missing is None else pa.array(missing))
