"""Runs on executors. Rows of a DataFrame on their way through Python workers, which score them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F
from pyspark.sql.pandas.types import to_arrow_schema
from pyspark.sql.types import StructType

from airflow_provider_distkeras.ml.network.scorer import Scorer
from airflow_provider_distkeras.spark.columns import quoted
from airflow_provider_distkeras.spark.environment import worker_environment

#: A function from Arrow batches to Arrow batches, in a Python worker.
Batches = Callable[[Iterator[pa.RecordBatch]], Iterator[pa.RecordBatch]]
_SCORES = "__distkeras_scores"


@dataclass(frozen=True)
class Stream:
    """Rows on their way through Python workers, which score them.

    Attributes:
        source: the rows before.
        score: returns Arrow batches of `schema` for those of the source, in a worker.
        schema: the columns that the source keeps, and those of the scorer's schema.
        backend: the workers' Keras backend.
    """

    source: DataFrame
    score: Batches
    schema: StructType
    backend: str

    @property
    def frame(self) -> DataFrame:
        """The scored rows."""
        return self.mapped(self.score, self.schema)

    def mapped(self, function: Batches, schema: StructType) -> DataFrame:
        """Return the source's rows after a function that runs in the workers.

        Args:
            function: returns Arrow batches of `schema` for those of the source.
            schema: the columns of the result.
        """
        with worker_environment(self.source.sparkSession.sparkContext, self.backend):
            return self.source.mapInArrow(function, schema)


def stream(data: DataFrame, features: str, reason: str, scorer: Scorer, backend: str) -> Stream:
    """Return a stream of the rows of a DataFrame.

    Args:
        data: the columns that the result keeps, and two more, `features` and `reason`.
        features: the column of the features, as float32 arrays.
        reason: the column with a reason why a row cannot be scored, whatever its features.
        scorer: scores the rows.
        backend: the workers' Keras backend.
    """
    retained = [position for position, name in enumerate(data.columns) if name not in (features, reason)]
    schema = StructType([*(data.schema.fields[position] for position in retained), *scorer.schema])
    target, features_at, reason_at = to_arrow_schema(schema), data.columns.index(features), data.columns.index(reason)

    def score(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        for batch in batches:
            *scores, own = scorer(batch.column(features_at)).flatten()
            reasons = pc.coalesce(batch.column(reason_at), own)
            columns = [*map(batch.column, retained), *scores, reasons]
            yield pa.RecordBatch.from_arrays(columns, schema=target)

    # mapInArrow takes a dot in a name for the path to a field.
    return Stream(data.toDF(*map(str, range(len(data.columns)))), score, schema, backend)


def add_scores(data: DataFrame, features: Column, scorer: Scorer, backend: str) -> DataFrame:
    """Return the data with the columns of the scorer's schema. Only the features travel to Python.

    Args:
        data: any columns.
        features: the column of the features, as float32 arrays.
        scorer: scores the rows.
        backend: the workers' Keras backend.
    """
    from pyspark.sql.functions import arrow_udf

    def score(batches: Iterator[pa.Array]) -> Iterator[pa.Array]:
        for batch in batches:
            yield scorer(batch)

    score.__annotations__ = {"batches": Iterator[pa.Array], "return": Iterator[pa.Array]}
    create: Any = arrow_udf  # its overloads lack iterators over plain arrays
    with worker_environment(data.sparkSession.sparkContext, backend):
        # A filter on the result would otherwise be pushed below it, and the network run twice.
        scores = create(score, returnType=scorer.schema).asNondeterministic()(features)
    scored = data.withColumn(_SCORES, scores)
    return scored.select(*(F.col(quoted(name)) for name in data.columns), f"{_SCORES}.*")
