"""Prediction inside Spark: Arrow batches of features through one compiled function, loaded once per Python process."""

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
from airflow_provider_distkeras.contract.params import is_classification
from airflow_provider_distkeras.ml.network import serialization
from airflow_provider_distkeras.ml.network.builder import NetworkOutput, with_members
from airflow_provider_distkeras.spark import environment
from airflow_provider_distkeras.training.backends import compile_forward
from airflow_provider_distkeras.training.dataset import as_matrix

if TYPE_CHECKING:
    from pyspark.sql import Column

_LOADED_AT_ONCE = 4
#: A probability's least value before its logarithm is taken.
_LEAST = 1e-15
_loaded: dict[tuple[str, int, bool], ForwardPass] = {}


@dataclass(frozen=True)
class ForwardPass:
    """A compiled network.

    Attributes:
        compiled: what `training.backends.compile_forward` gives.
        features: the features it takes, all inputs together.
    """

    compiled: Callable[[NDArray[np.float32]], list[NDArray[np.float32]]]
    features: int

    def __call__(self, rows: NDArray[np.float32]) -> list[NDArray[np.float32]]:
        """Per output, its values of these rows, at least one, as (rows, values)."""
        if rows.shape[1] != self.features:
            raise DataError(
                f"The network takes {self.features} features, received {rows.shape[1]}: prepare the data as in training."
            )
        return self.compiled(rows)


class OutputKind(Enum):
    """What the prediction function gives per row, as Spark's type."""

    NUMBER = "double"
    CLASSES = "struct<prediction: double, probability: array<double>, raw: array<double>>"
    ARRAYS = "array<array<double>>"


def kind_of(outputs: Sequence[NetworkOutput]) -> OutputKind:
    """A number or classes for a network with one output of one number or of classes; else an array per output."""
    if len(outputs) > 1:
        return OutputKind.ARRAYS
    if is_classification(outputs[0].loss):
        return OutputKind.CLASSES
    return OutputKind.NUMBER if outputs[0].units == 1 else OutputKind.ARRAYS


def predictor(content: bytes, custom_modules: tuple[str, ...], batch_size: int, kind: OutputKind) -> Callable[[Column], Column]:
    """A Spark function from a column of float arrays to predictions. The network travels to the executors inside it."""
    from pyspark.sql.functions import arrow_udf

    sha256 = serialization.digest(content)

    def predict(batches: Iterator[pa.Array]) -> Iterator[pa.Array]:
        forward = load(content, sha256, custom_modules, batch_size)
        for batch in batches:
            yield _as_arrow(forward(as_matrix(batch)), kind) if len(batch) else _nothing(kind)

    predict.__annotations__ = {"batches": Iterator[pa.Array], "return": Iterator[pa.Array]}
    make: Any = arrow_udf  # its overloads know no iterators over plain arrays
    udf: Callable[[Column], Column] = make(predict, returnType=kind.value)
    return udf


def load(content: bytes, sha256: str, custom_modules: tuple[str, ...], batch_size: int, members: bool = False) -> ForwardPass:
    """The compiled network of these bytes, from this process's cache or loaded into it.

    Args:
        content: a `.keras` file's content; sha256: its digest.
        custom_modules: modules to import first, which register the network's custom objects.
        batch_size: rows per call of the network.
        members: whether an ensemble also tells what each of its members says, in outputs of their own.
    """
    key = (sha256, batch_size, members)
    if key not in _loaded:
        while len(_loaded) >= _LOADED_AT_ONCE:
            del _loaded[next(iter(_loaded))]
        network = serialization.from_bytes(content, custom_modules)
        features = sum(math.prod(tensor.shape[1:]) for tensor in network.inputs)
        _loaded[key] = ForwardPass(compile_forward(with_members(network) if members else network, batch_size), features)
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


def _nothing(kind: OutputKind) -> pa.Array:
    """No rows, in the type that rows would have."""
    return _as_arrow([np.empty((1, 1), np.float32)], kind).slice(0, 0)


def _classes(outputs: NDArray[np.float32]) -> pa.StructArray:
    """The likeliest class's number, probabilities per class as class number, and raw scores (their logarithms)."""
    probability = class_probabilities(outputs)
    prediction = pa.array(probability.argmax(axis=1).astype(np.float64))
    columns = [prediction, lists_of(probability), lists_of(raw_scores(probability))]
    return pa.StructArray.from_arrays(columns, ["prediction", "probability", "raw"])


def class_probabilities(outputs: NDArray[np.float32]) -> NDArray[np.float64]:
    """A column per class; a single output is the probability of the second of two."""
    probability = outputs.astype(np.float64)
    return np.hstack([1.0 - probability, probability]) if probability.shape[1] == 1 else probability


def raw_scores(probability: NDArray[np.float64]) -> NDArray[np.float64]:
    """The logarithms of probabilities, kept finite."""
    scores: NDArray[np.float64] = np.log(np.clip(probability, _LEAST, None))
    return scores


def lists_of(matrix: NDArray[np.float64], missing: NDArray[np.bool_] | None = None) -> pa.ListArray:
    """A matrix as an Arrow array of a list per row, null where the row is missing."""
    offsets = pa.array(np.arange(0, matrix.size + 1, matrix.shape[1], dtype=np.int32))
    return pa.ListArray.from_arrays(offsets, pa.array(matrix.ravel()), mask=None if missing is None else pa.array(missing))
