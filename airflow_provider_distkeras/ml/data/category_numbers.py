"""Categories as whole numbers, for Embeddings: by a list of them, or by a hash that any language can compute."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Self

import pyarrow as pa
from pyspark.ml import Transformer
from pyspark.ml.feature import SQLTransformer, StringIndexer
from pyspark.sql import SparkSession

from airflow_provider_distkeras.contract.specs.categorical_encoding import HASH, CategoricalEncoding
from airflow_provider_distkeras.spark.columns import quoted


@dataclass(frozen=True)
class CategoryNumbers:
    """The numbers of a column's categories; 0 stands for a missing category, and in a list for one that training did not see.

    Attributes:
        column: The column of texts.
        index: The column of Spark's own indices, from 0 on, that a list needs.
        frequent: The categories with a number each, from 1 on, in this order.
        rare: The categories that share the next number.
        buckets: The numbers from 1 on that hashes share; 0 for a list.
    """

    column: str
    index: str
    frequent: tuple[str, ...] = ()
    rare: tuple[str, ...] = ()
    buckets: int = 0

    @classmethod
    def of(cls, column: str, index: str, encoding: CategoricalEncoding, counts: Mapping[str, int]) -> Self:
        """Return the numbers of a column's categories; `counts` holds the rows to train on per category."""
        if encoding.kind == HASH:
            return cls(column, index, buckets=encoding.buckets)
        rare = tuple(sorted(category for category, rows in counts.items() if rows < encoding.min_count))
        return cls(column, index, tuple(sorted(counts.keys() - {*rare})), rare)

    @property
    def is_fitted(self) -> bool:
        """Whether the numbers depend on the rows to train on."""
        return not self.buckets

    @property
    def size(self) -> int:
        """How many numbers there are, 0 among them."""
        return 1 + (self.buckets or len(self.frequent) + bool(self.rare))

    @property
    def sql(self) -> str:
        """The number as an SQL expression. The hash is the CRC-32 of the text in UTF-8, as in zlib."""
        if self.buckets:
            return f"CAST(COALESCE(PMOD(CRC32({quoted(self.column)}), {self.buckets}) + 1, 0) AS DOUBLE)"
        index, unseen = quoted(self.index), len(self.frequent) + len(self.rare)
        return f"CASE WHEN {index} < {unseen} THEN LEAST({index}, {len(self.frequent)}D) + 1D ELSE 0D END"

    def indexer(self, spark: SparkSession) -> Transformer:
        """Return the stage that makes Spark's indices of a list: the frequent categories', the rare ones', and one for others."""
        # Spark orders texts by how often it reads them, and equally frequent ones by the alphabet.
        texts = pa.array([*self.frequent, *self.frequent, *self.rare], pa.string())
        indexer = StringIndexer(inputCols=["text"], outputCols=["index"], handleInvalid="keep", stringOrderType="frequencyDesc")
        fitted = indexer.fit(spark.createDataFrame(pa.table({"text": texts})))
        return fitted.setInputCols([self.column]).setOutputCols([self.index])


def stages(spark: SparkSession, numbers: Mapping[str, CategoryNumbers]) -> list[Transformer]:
    """Return the stages that make columns of numbers, which are named by the keys."""
    columns = ", ".join(f"{each.sql} AS {quoted(name)}" for name, each in numbers.items())
    indexers = [each.indexer(spark) for each in numbers.values() if each.is_fitted]
    return [*indexers, SQLTransformer(statement=f"SELECT *, {columns} FROM __THIS__")]
