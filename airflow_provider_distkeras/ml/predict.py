"""Prediction inside Spark: Arrow batches of features through one compiled function, loaded once per Python process."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from airflow_provider_distkeras.contract.errors import DataError
from airflow_provider_distkeras.ml import artifact
from airflow_provider_distkeras.training.dataset import as_matrix
from airflow_provider_distkeras.training.steps import compile_forward

if TYPE_CHECKING:
    from pyspark.sql import Column

#: What a classifier gives per row; a regression gives a double.
CLASSIFICATION = "struct<prediction: double, probability: array<double>, raw: array<double>>"

_LOADED_AT_ONCE = 4
_loaded: dict[tuple[str, int], Callable[[NDArray[np.float32]], NDArray[np.float32]]] = {}


def predictor(content: bytes, custom_module: str | None, batch_size: int, classifies: bool) -> Callable[[Column], Column]:
    """A Spark function from a column of float arrays to predictions. The network travels to the executors inside it."""
    from pyspark.sql.functions import arrow_udf

    sha256 = artifact.digest(content)

    def predict(batches: Iterator[pa.Array]) -> Iterator[pa.Array]:
        forward = _forward(content, sha256, custom_module, batch_size)
        for batch in batches:
            if len(batch) == 0:
                yield pa.array([], type=pa.float64() if not classifies else _classes(np.empty((0, 1), np.float32)).type)
                continue
            outputs = forward(as_matrix(batch))
            yield _classes(outputs) if classifies else pa.array(outputs[:, 0].astype(np.float64))

    predict.__annotations__ = {"batches": Iterator[pa.Array], "return": Iterator[pa.Array]}
    make: Any = arrow_udf  # its overloads know no iterators over plain arrays
    udf: Callable[[Column], Column] = make(predict, returnType=CLASSIFICATION if classifies else "double")
    return udf


def _forward(content: bytes, sha256: str, custom_module: str | None, batch_size: int) -> Callable[[Any], NDArray[np.float32]]:
    """The compiled network of these bytes, from this process's cache or loaded into it."""
    key = (sha256, batch_size)
    if key not in _loaded:
        while len(_loaded) >= _LOADED_AT_ONCE:
            del _loaded[next(iter(_loaded))]
        network = artifact.from_bytes(content, custom_module)
        _loaded[key] = _in_batches(compile_forward(network), batch_size, network.input_shape[-1])
    return _loaded[key]


def _in_batches(forward: Callable[[Any], Any], batch_size: int, features: int) -> Callable[[Any], NDArray[np.float32]]:
    """Call `forward` with exactly `batch_size` rows at a time (the last ones padded), so that it is compiled once."""

    def run(rows: NDArray[np.float32]) -> NDArray[np.float32]:
        if features is not None and rows.shape[1] != features:
            raise DataError(f"The network takes {features} features, received {rows.shape[1]}: prepare the data as in training.")
        outputs = []
        for start in range(0, len(rows), batch_size):
            part = rows[start : start + batch_size]
            padded = part if len(part) == batch_size else np.pad(part, ((0, batch_size - len(part)), (0, 0)))
            outputs.append(forward(padded)[: len(part)])
        return np.concatenate(outputs)

    return run


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
