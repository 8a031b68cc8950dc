"""The statistics of a fold against those of its raw training rows, computed by NumPy."""

import numpy as np
import pyarrow as pa
import pytest

from airflow_provider_distkeras.contract.errors import ArtifactError
from airflow_provider_distkeras.ml.data.feature_statistics import FeaturePreparation
from airflow_provider_distkeras.ml.tuning.fold_features import apply_feature_map, fold_feature_maps
from airflow_provider_distkeras.ml.tuning.splitters import Splitter
from tests.ml.prepared import filled, layout, lists, prepare, raw

ROWS = 140
#: A scaling per column: the prepared rows have a mean's or a median's fillings in ranks, logarithms and quartiles.
SCALINGS = [
    {"a": "log", "b": "robust", "c": "quantile", "v": "robust"},
    {"a": "quantile", "b": "quantile", "c": "minmax", "v": "standard"},
    {"a": "robust", "b": "log", "c": "robust", "k": "standard", "v": "minmax"},
]


def dataset(spark, values, scaling, fold, validation=None):
    columns = {
        "number": pa.array(range(len(values))),
        "features": lists(prepare(values, scaling, slice(None) if validation is None else ~validation)),
        "filled": pa.array(filled(values), pa.list_(pa.int32())),
        "fold": pa.array(fold, pa.int32()),
        "validation": pa.array(validation if validation is not None else np.zeros(len(values), bool)),
    }
    return spark.createDataFrame(pa.table(columns)).repartition(3)


def features_of(data):
    rows = data.select("number", "features").orderBy("number").collect()
    return np.array([row["number"] for row in rows]), np.array([row["features"] for row in rows])


@pytest.mark.spark
@pytest.mark.parametrize("scaling", ["standard", "minmax", None])
def test_a_fold_has_what_its_training_rows_alone_would_give(spark, scaling):
    values, fold = raw(ROWS), np.arange(ROWS) % 7 % 3
    validation = np.arange(ROWS) % 11 == 0
    values[validation, 2] = 1e4  # which no statistic may include
    splitter = Splitter(3, fold_col="fold", validation_col="validation")
    assigned = splitter.assign(dataset(spark, values, scaling, fold, validation)).cache()
    preparation = FeaturePreparation.of({"scaling": scaling, "layout": layout()})
    for number, (cv_fold, feature_map) in enumerate(
        zip(splitter.folds, fold_feature_maps(assigned, "features", preparation, splitter.folds), strict=True)
    ):
        expected = prepare(values, scaling, (fold != number) & ~validation)
        for rows in (cv_fold.training_rows(assigned), cv_fold.held_out_rows(assigned)):
            numbers, features = features_of(apply_feature_map(rows, "features", feature_map))
            np.testing.assert_allclose(features, expected[numbers], rtol=2e-4, atol=2e-4)


@pytest.mark.spark
@pytest.mark.parametrize("scaling", SCALINGS)
def test_so_has_a_fold_where_every_column_is_scaled_in_its_way(spark, scaling):
    """Ranks are as close as straight lines between 101 quantiles: only beside a number of many rows, where they jump, not so."""
    values, fold = raw(4 * ROWS), np.arange(4 * ROWS) % 7 % 3
    values[:, 2][::3] = 7.0  # ties
    splitter = Splitter(3, fold_col="fold")
    assigned = splitter.assign(dataset(spark, values, scaling, fold)).cache()
    preparation = FeaturePreparation.of({"scaling": scaling, "layout": layout(scaling)})
    maps = fold_feature_maps(assigned, "features", preparation, splitter.folds)
    ranked = [at for at, column in enumerate("abc") if scaling[column] == "quantile"]
    others = [at for at in range(values.shape[1]) if at not in ranked]
    for number, feature_map in enumerate(maps):
        numbers, features = features_of(apply_feature_map(assigned, "features", feature_map))
        expected = prepare(values, scaling, fold != number)[numbers]
        np.testing.assert_allclose(features[:, others], expected[:, others], rtol=2e-4, atol=2e-4)
        distance = np.abs(features[:, ranked] - expected[:, ranked])
        assert (distance < 0.01).mean(axis=0).min(initial=1) > 0.98
        assert distance.max(initial=0) < 0.1


@pytest.mark.spark
def test_ranks_of_a_fold_know_nothing_of_the_rows_it_holds_out(spark):
    values, fold = raw(4 * ROWS), np.arange(4 * ROWS) % 2
    values[fold == 1, 2] += 1e6  # beyond all that the second fold trains on
    splitter = Splitter(2, fold_col="fold")
    scaling = {"c": "quantile"}
    assigned = splitter.assign(dataset(spark, values, scaling, fold))
    preparation = FeaturePreparation.of({"scaling": scaling, "layout": layout(scaling)})
    feature_map = fold_feature_maps(assigned, "features", preparation, splitter.folds)[1]
    numbers, features = features_of(apply_feature_map(assigned, "features", feature_map))
    assert (features[fold[numbers] == 1, 2] == features[:, 2].max()).all()
    assert np.ptp(features[fold[numbers] == 0, 2]) == 1


@pytest.mark.spark
def test_a_category_that_a_fold_never_trained_on_is_zero(spark):
    values = raw(ROWS)
    fold = (values[:, 6] == 1).astype(int)  # all rows of the third category are held out together
    splitter = Splitter(2, fold_col="fold")
    assigned = splitter.assign(dataset(spark, values, None, fold))
    feature_map = fold_feature_maps(
        assigned, "features", FeaturePreparation.of({"scaling": None, "layout": layout()}), splitter.folds
    )[1]
    numbers, features = features_of(apply_feature_map(splitter.folds[1].held_out_rows(assigned), "features", feature_map))
    assert (values[numbers, 6] == 1).all()
    assert (features[:, 4:7] == 0).all()


@pytest.mark.spark
def test_a_feature_that_was_missing_in_all_training_rows_is_constant(spark):
    values = raw(ROWS)
    fold = np.arange(ROWS) % 2
    values[fold == 0, 0] = np.nan
    splitter = Splitter(2, fold_col="fold")
    assigned = splitter.assign(dataset(spark, values, "standard", fold))
    feature_map = fold_feature_maps(
        assigned, "features", FeaturePreparation.of({"scaling": "standard", "layout": layout()}), splitter.folds
    )[1]
    _, features = features_of(apply_feature_map(assigned, "features", feature_map))
    assert (features[:, 0] == 0).all()


@pytest.mark.parametrize(
    "details",
    [
        {},
        {"scaling": "standard", "layout": None},
        {"scaling": None, "layout": [{"column": "x", "kind": "number", "start": 0, "stop": 1, "fill": None}]},
        {"scaling": "standard", "layout": [{"column": "x", "kind": "hashed", "start": 0, "stop": 8, "fill": None}]},
    ],
)
def test_where_nothing_was_fitted_no_pass_is_made(details):
    assert fold_feature_maps(None, "features", FeaturePreparation.of(details), Splitter(3).folds) == [None] * 3


def test_a_layout_with_gaps_is_refused():
    spans = [{"column": "x", "kind": "number", "start": 1, "stop": 2, "fill": None}]
    with pytest.raises(ArtifactError, match="expected spans that follow each other from 0"):
        FeaturePreparation.of({"scaling": None, "layout": spans})
