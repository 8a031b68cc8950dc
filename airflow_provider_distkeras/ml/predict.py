"""Prediction inside Spark: Arrow batches of features through one compiled function, loaded once per Python process."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from enum import Enum
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from airflow_provider_distkeras.contract.errors import DataError
from airflow_provider_distkeras.contract.vocabulary import is_classification
from airflow_provider_distkeras.ml import artifact
from airflow_provider_distkeras.ml.network import Output
from airflow_provider_distkeras.training.dataset import as_matrix
from airflow_provider_distkeras.training.steps import compile_forward

if TYPE_CHECKING:
    from pyspark.sql import Column

_LOADED_AT_ONCE = 4
_loaded: dict[tuple[str, int], Callable[[NDArray[np.float32]], list[NDArray[np.float32]]]] = {}


class Kind(Enum):
    """What the prediction function gives per row, as Spark's type."""

    NUMBER = "double"
    CLASSES = "struct<prediction: double, probability: array<double>, raw: array<double>>"
    ARRAYS = "array<array<double>>"


def kind_of(outputs: Sequence[Output]) -> Kind:
    """A number or classes for a network with one output of one number or of classes; else an array per output."""
    if len(outputs) > 1:
        return Kind.ARRAYS
    if is_classification(outputs[0].loss):
        return Kind.CLASSES
    return Kind.NUMBER if outputs[0].units == 1 else Kind.ARRAYS


def predictor(content: bytes, custom_modules: tuple[str, ...], batch_size: int, kind: Kind) -> Callable[[Column], Column]:
    """A Spark function from a column of float arrays to predictions. The network travels to the executors inside it."""
    from pyspark.sql.functions import arrow_udf

    sha256 = artifact.digest(content)

    def predict(batches: Iterator[pa.Array]) -> Iterator[pa.Array]:
        forward = _forward(content, sha256, custom_modules, batch_size)
        for batch in batches:
            yield _as_arrow(forward(as_matrix(batch)), kind) if len(batch) else _nothing(kind)

    predict.__annotations__ = {"batches": Iterator[pa.Array], "return": Iterator[pa.Array]}
    make: Any = arrow_udf  # its overloads know no iterators over plain arrays
    udf: Callable[[Column], Column] = make(predict, returnType=kind.value)
    return udf


def _forward(
    content: bytes, sha256: str, custom_modules: tuple[str, ...], batch_size: int
) -> Callable[[Any], list[NDArray[np.float32]]]:
    """The compiled network of these bytes, from this process's cache or loaded into it."""
    key = (sha256, batch_size)
    if key not in _loaded:
        while len(_loaded) >= _LOADED_AT_ONCE:
            del _loaded[next(iter(_loaded))]
        network = artifact.from_bytes(content, custom_modules)
        shapes = [tensor.shape[1:] for tensor in network.inputs]
        features = None if any(None in shape for shape in shapes) else sum(math.prod(shape) for shape in shapes)
        _loaded[key] = _in_batches(compile_forward(network), batch_size, features)
    return _loaded[key]


def _in_batches(
    forward: Callable[[Any], list[NDArray[Any]]], batch_size: int, features: int | None
) -> Callable[[Any], list[NDArray[np.float32]]]:
    """Call `forward` with exactly `batch_size` rows at a time (the last ones padded), so that it is compiled once."""

    def run(rows: NDArray[np.float32]) -> list[NDArray[np.float32]]:
        if features is not None and rows.shape[1] != features:
            raise DataError(f"The network takes {features} features, received {rows.shape[1]}: prepare the data as in training.")
        parts = []
        for start in range(0, len(rows), batch_size):
            part = rows[start : start + batch_size]
            padded = part if len(part) == batch_size else np.pad(part, ((0, batch_size - len(part)), (0, 0)))
            parts.append([output[: len(part)].reshape(len(part), -1) for output in forward(padded)])
        return [np.concatenate(outputs) for outputs in zip(*parts, strict=True)]

    return run


def _as_arrow(outputs: list[NDArray[np.float32]], kind: Kind) -> pa.Array:
    if kind is Kind.NUMBER:
        return pa.array(outputs[0][:, 0].astype(np.float64))
    if kind is Kind.CLASSES:
        return _classes(outputs[0])
    sizes = np.array([output.shape[1] for output in outputs])
    rows = len(outputs[0])
    inner = np.concatenate([[0], np.cumsum(np.tile(sizes, rows))]).astype(np.int32)
    outer = np.arange(0, rows * len(outputs) + 1, len(outputs), dtype=np.int32)
    values = pa.array(np.hstack(outputs).astype(np.float64).ravel())
    return pa.ListArray.from_arrays(pa.array(outer), pa.ListArray.from_arrays(pa.array(inner), values))


def _nothing(kind: Kind) -> pa.Array:
    """No rows, in the type that rows would have."""
    return _as_arrow([np.empty((1, 1), np.float32)], kind).slice(0, 0)


def _classes(outputs: NDArray[np.float32]) -> pa.StructArray:
    """Probabilities per class as class number, probabilities, and raw scores (their logarithms)."""
    probability = outputs.astype(np.float64)
    if probability.shape[1] == 1:
        probability = np.hstack([1.0 - probability, probability])
    raw = np.log(np.clip(probability, 1e-15, None))
    prediction = pa.array(probability.argmax(axis=1).astype(np.float64))
    return pa.StructArray.from_arrays([prediction, _lists(probability), _lists(raw)], ["prediction", "probability", "raw"])


def _lists(matrix: NDArray[np.float64]) -> pa.ListArray:
    offsets = np.arange(0, matrix.size + 1, matrix.shape[1], dtype=np.int32)
    return pa.ListArray.from_arrays(pa.array(offsets), pa.array(matrix.ravel()))
