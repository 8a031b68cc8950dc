"""The rows of a search: dealt out once, and per fold with features by the statistics of what the fold trains on."""

from __future__ import annotations

from collections.abc import Sequence

from pyspark.sql import DataFrame

from airflow_provider_distkeras.ml.data.feature_statistics import FeatureMap, FeaturePreparation
from airflow_provider_distkeras.ml.estimator.fold import Fold
from airflow_provider_distkeras.ml.estimator.row_cache import FoldSlice, RowSummary
from airflow_provider_distkeras.ml.estimator.sample_weights import ClassWeights
from airflow_provider_distkeras.ml.tuning.fold_features import fold_maps, refitted
from airflow_provider_distkeras.ml.tuning.splitters import Splitter, count_parts


class FoldData:
    """All rows with their parts; use it as a context manager, for what Spark keeps of them goes with it.

    Before a fold is asked for, `learn` must be told what the rows are like: by a task that reads them all anyway, or by `survey`.

    Args:
        dataset: all rows.
        folds: how they are dealt; asked: the folds wanted.
        features: the column of features; preparation: how they were prepared, if that is known.

    Attributes:
        data: the rows, each with its part.
        features: the column of features.
    """

    def __init__(
        self, dataset: DataFrame, folds: Splitter, asked: Sequence[Fold], features: str, preparation: FeaturePreparation | None
    ) -> None:
        self.data = folds.assign(dataset)
        self.features = features
        self._folds, self._asked = folds, list(asked)
        self._preparation = preparation
        self._maps: list[FeatureMap | None] | None = None

    def __enter__(self) -> FoldData:
        return self

    def __exit__(self, *exception: object) -> None:
        if self.data.is_cached:
            self.data.unpersist()

    @property
    def is_known(self) -> bool:
        """Whether it was told what the rows are like."""
        return self._maps is not None

    @property
    def is_refitted(self) -> bool:
        """Whether features were prepared by statistics, so that every fold has its own."""
        return self._preparation is not None and self._preparation.is_fitted

    def survey(self) -> RowSummary:
        """Find out what the rows are like, by Spark; it keeps them for the folds that will be asked for."""
        return RowSummary(count_parts(self._kept()), {})

    def learn(self, survey: RowSummary) -> None:
        """Take what the rows are like.

        Raises:
            DataError: a fold would have no rows to train on, or none to be measured on.
        """
        self._folds.check_sizes(survey.rows)
        self._maps = fold_maps(self.data, self.features, self._preparation, self._asked, survey.moments)

    def cut(self, number: int, class_weights: ClassWeights | None) -> FoldSlice:
        """What a fit on a fold is given of all rows."""
        return FoldSlice(self._asked[number], self._map(number), class_weights)

    def training(self, number: int) -> DataFrame:
        """The rows that a fold trains on, and those that it validates on."""
        return refitted(self._asked[number].training_rows(self._kept()), self.features, self._map(number))

    def held_out(self, number: int) -> DataFrame:
        """The rows that a fold is measured on."""
        return refitted(self._asked[number].held_out_rows(self._kept()), self.features, self._map(number))

    def _kept(self) -> DataFrame:
        """The rows, which Spark keeps from the first use on."""
        return self.data if self.data.is_cached else self.data.persist()

    def _map(self, number: int) -> FeatureMap | None:
        assert self._maps is not None  # `learn` comes first
        return self._maps[number]
