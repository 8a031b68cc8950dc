"""The rows of a search, each with its part, and per fold with features by the statistics of its training rows."""

from __future__ import annotations

from collections.abc import Sequence

from pyspark.sql import DataFrame

from airflow_provider_distkeras.ml.data.feature_statistics import FeatureMap, FeaturePreparation
from airflow_provider_distkeras.ml.estimator.fold import Fold
from airflow_provider_distkeras.ml.estimator.row_cache import FoldSlice, RowSummary
from airflow_provider_distkeras.ml.estimator.sample_weights import ClassSampling, ClassWeights
from airflow_provider_distkeras.ml.tuning.fold_features import apply_feature_map, fold_feature_maps
from airflow_provider_distkeras.ml.tuning.splitters import Splitter, count_parts


class FoldData:
    """All rows with their parts; a context manager that frees what Spark caches of them.

    The statistics of a fold are those of its training rows as they are, before their classes are sampled.

    `set_summary` comes before the rows of a fold: with the summary of a task that reads all rows anyway, or of `summarize`.

    Args:
        dataset: all rows.
        splitter: assigns parts to rows.
        folds: the folds that will be used.
        features: the column of features.
        preparation: how the features were prepared; None if that is unknown.

    Attributes:
        data: the rows, each with its part.
        features: the column of features.
    """

    def __init__(
        self,
        dataset: DataFrame,
        splitter: Splitter,
        folds: Sequence[Fold],
        features: str,
        preparation: FeaturePreparation | None,
    ) -> None:
        self.data = splitter.assign(dataset)
        self.features = features
        self._splitter, self._folds = splitter, list(folds)
        self._preparation = preparation
        self._feature_maps: list[FeatureMap | None] | None = None

    def __enter__(self) -> FoldData:
        return self

    def __exit__(self, *exception: object) -> None:
        if self.data.is_cached:
            self.data.unpersist()

    @property
    def has_summary(self) -> bool:
        """Whether `set_summary` was called."""
        return self._feature_maps is not None

    @property
    def has_fold_features(self) -> bool:
        """Whether features were prepared by statistics, so that every fold has its own."""
        return self._preparation is not None and self._preparation.is_fitted

    def summarize(self) -> RowSummary:
        """Return the number of rows of each part, counted by Spark, which caches them for the folds."""
        return RowSummary(count_parts(self._cached()), {})

    def set_summary(self, summary: RowSummary) -> None:
        """Check the parts' sizes, and prepare each fold's statistics.

        Raises:
            DataError: a fold has no rows to train on, or none to be evaluated on.
        """
        self._splitter.check_sizes(summary.rows)
        self._feature_maps = fold_feature_maps(self.data, self.features, self._preparation, self._folds, summary.moments)

    def fold_slice(self, number: int, class_weights: ClassWeights | None, class_sampling: ClassSampling | None) -> FoldSlice:
        """Return the rows of a fit on a fold, as plain values for a task."""
        return FoldSlice(self._folds[number], self._feature_map(number), class_weights, class_sampling)

    def training(self, number: int) -> DataFrame:
        """Return a fold's training and validation rows."""
        return self._with_fold_features(self._folds[number].training_rows(self._cached()), number)

    def held_out(self, number: int) -> DataFrame:
        """Return a fold's held-out rows."""
        return self._with_fold_features(self._folds[number].held_out_rows(self._cached()), number)

    def _with_fold_features(self, rows: DataFrame, number: int) -> DataFrame:
        return apply_feature_map(rows, self.features, self._feature_map(number))

    def _cached(self) -> DataFrame:
        """Return the rows, which Spark caches from the first use on."""
        return self.data if self.data.is_cached else self.data.persist()

    def _feature_map(self, number: int) -> FeatureMap | None:
        assert self._feature_maps is not None  # `set_summary` comes first
        return self._feature_maps[number]
