"""The rows of folds, with features by the statistics of what each fold trains on."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from pyspark.sql import DataFrame

from airflow_provider_distkeras.ml.folds import Fold, Folds, count_parts
from airflow_provider_distkeras.ml.refit import Preparation, fold_maps, refitted


@dataclass(frozen=True)
class FoldRows:
    """The rows of a fold: to train on, and to measure on."""

    name: str
    training: DataFrame
    held_out: DataFrame


@contextmanager
def fold_rows(
    dataset: DataFrame, folds: Folds, asked: Sequence[Fold], features: str, preparation: Preparation | None
) -> Iterator[list[FoldRows]]:
    """Deal the rows out once, and keep them while folds are asked for their own.

    Args:
        dataset: all rows.
        folds: how they are dealt; asked: the folds wanted.
        features: the column of features; preparation: how they were prepared, if that is known.

    Raises:
        DataError: a fold would have no rows to train on, or none to be measured on.
    """
    dealt = folds.assign(dataset).persist()
    try:
        folds.check_sizes(count_parts(dealt))
        maps = fold_maps(dealt, features, preparation, asked)
        yield [
            FoldRows(
                f"fold {number}",
                refitted(fold.training_rows(dealt), features, mapping),
                refitted(fold.held_out_rows(dealt), features, mapping),
            )
            for number, (fold, mapping) in enumerate(zip(asked, maps, strict=True))
        ]
    finally:
        dealt.unpersist()
